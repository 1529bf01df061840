// What the Noise engine needs from outside: Diffie-Hellman on Curve25519, ChaCha20-Poly1305, a hash
// and random bytes. The crypto worker gives libsodium's; tests may give others, with chosen bytes
// for random ones. Nothing here keeps state.

/** Private and public keys, and the results of DH. Source: Noise rev 34 §12.1. */
export const DH_BYTES = 32;
/** Keys of the cipher, and pre-shared keys. Source: Noise rev 34 §5.1, §9.1. */
export const CIPHER_KEY_BYTES = 32;
export const CIPHER_NONCE_BYTES = 12;
export const CIPHER_TAG_BYTES = 16;
/** Longest Noise message, with keys and tags in it. Source: Noise rev 34 §3. */
export const NOISE_MESSAGE_BYTES_MAX = 65_535;
/** Longest payload: that of a message with nothing but its tag. */
export const NOISE_PAYLOAD_BYTES_MAX = NOISE_MESSAGE_BYTES_MAX - CIPHER_TAG_BYTES;

export interface HashFunction {
  /** As it stands in a protocol name: "BLAKE2b". */
  readonly name: string;
  /** HASHLEN: 32 or 64. */
  readonly hashBytes: number;
  /** BLOCKLEN, for HMAC: 64 or 128. */
  readonly blockBytes: number;
  /**
   * Hashes the parts, one after the other, to `into` (hashBytes). `into` may be one of the parts.
   */
  hash(into: Uint8Array, parts: readonly Uint8Array[]): void;
}

export interface NoisePrimitives {
  readonly hash: HashFunction;
  /** Fills `into`: becomes an ephemeral private key. */
  random(into: Uint8Array): void;
  /** Writes the public key of `privateKey` to `into`. */
  publicKey(into: Uint8Array, privateKey: Uint8Array): void;
  /** Writes the shared secret to `into`; false, and zeroes there, when the result is all zero. */
  dh(into: Uint8Array, privateKey: Uint8Array, publicKey: Uint8Array): boolean;
  /** Writes ciphertext and tag to `into`, 16 bytes longer than `plaintext`. */
  seal(
    into: Uint8Array,
    plaintext: Uint8Array,
    nonce: Uint8Array,
    key: Uint8Array,
    additional: Uint8Array,
  ): void;
  /** Writes the plaintext to `into`; false, and none of it there, when the tag is wrong. */
  open(
    into: Uint8Array,
    sealed: Uint8Array,
    nonce: Uint8Array,
    key: Uint8Array,
    additional: Uint8Array,
  ): boolean;
  /** Overwrites with zeroes, in a way that no compiler leaves out. */
  wipe(buffer: Uint8Array): void;
}

/**
 * A static key pair. Whoever lends it keeps it alive, in locked memory, as long as the borrower.
 */
export interface KeyPair {
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** Hands out the bytes of a block of memory, one stretch after the other. */
export class Stretches {
  readonly #memory: Uint8Array;
  #at = 0;

  constructor(memory: Uint8Array) {
    this.#memory = memory;
  }

  /** The next `bytes` bytes, as a view. */
  next(bytes: number): Uint8Array {
    const from = this.#at;
    this.#at += bytes;
    if (this.#at > this.#memory.length) {
      throw new RangeError(`needs ${this.#at} bytes, and has ${this.#memory.length}`);
    }
    return this.#memory.subarray(from, this.#at);
  }
}
