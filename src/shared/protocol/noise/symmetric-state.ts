// SymmetricState of Noise rev 34 §5.2: chaining key, handshake hash, and the cipher they lead to.

import { CipherState } from "./cipher-state.js";
import type { Hkdf } from "./hkdf.js";
import {
  CIPHER_KEY_BYTES,
  type HashFunction,
  type NoisePrimitives,
  Stretches,
} from "./primitives.js";

const NO_BYTES = new Uint8Array(0);

/** Memory for what a state keeps, bytes. */
export const symmetricStateBytes = (hash: HashFunction): number =>
  2 * hash.hashBytes + CIPHER_KEY_BYTES;

/** Memory for what its methods compute with, bytes: three outputs of HKDF. */
export const symmetricScratchBytes = (hash: HashFunction): number => 3 * hash.hashBytes;

export interface SymmetricTools {
  readonly primitives: NoisePrimitives;
  readonly hkdf: Hkdf;
  /** Of {@link symmetricScratchBytes}; zeroes between calls, so several states may share it. */
  readonly scratch: Uint8Array;
}

export class SymmetricState {
  readonly #primitives: NoisePrimitives;
  readonly #hkdf: Hkdf;
  readonly #scratch: Uint8Array;
  readonly #chainingKey: Uint8Array;
  readonly #handshakeHash: Uint8Array;
  readonly #cipher: CipherState;

  /** `memory`, of {@link symmetricStateBytes}, belongs to it. */
  constructor({ primitives, hkdf, scratch }: SymmetricTools, memory: Uint8Array) {
    const stretches = new Stretches(memory);
    this.#primitives = primitives;
    this.#hkdf = hkdf;
    this.#scratch = scratch;
    this.#chainingKey = stretches.next(primitives.hash.hashBytes);
    this.#handshakeHash = stretches.next(primitives.hash.hashBytes);
    this.#cipher = new CipherState(primitives, stretches.next(CIPHER_KEY_BYTES));
  }

  /** The hash of all that was mixed in: a view, secret until the handshake is over. */
  get handshakeHash(): Uint8Array {
    return this.#handshakeHash;
  }
  get hasKey(): boolean {
    return this.#cipher.hasKey;
  }

  /** Starts with the protocol's name, hashed if it is longer than a hash. */
  initializeSymmetric(protocolName: Uint8Array): void {
    const hash = this.#handshakeHash;
    if (protocolName.length <= hash.length) {
      hash.fill(0);
      hash.set(protocolName);
    } else {
      this.#primitives.hash.hash(hash, [protocolName]);
    }
    this.#chainingKey.set(hash);
    this.#cipher.wipe();
  }

  mixKey(keyMaterial: Uint8Array): void {
    const [chainingKey, key] = this.#derive(keyMaterial);
    this.#chainingKey.set(chainingKey);
    this.#cipher.initializeKey(key.subarray(0, CIPHER_KEY_BYTES));
    this.#primitives.wipe(this.#scratch);
  }

  mixHash(data: Uint8Array): void {
    this.#primitives.hash.hash(this.#handshakeHash, [this.#handshakeHash, data]);
  }

  mixKeyAndHash(keyMaterial: Uint8Array): void {
    const [chainingKey, hashed, key] = this.#derive(keyMaterial);
    this.#chainingKey.set(chainingKey);
    this.mixHash(hashed);
    this.#cipher.initializeKey(key.subarray(0, CIPHER_KEY_BYTES));
    this.#primitives.wipe(this.#scratch);
  }

  /** `into` is 16 bytes longer than `plaintext`, if there is a key. */
  encryptAndHash(into: Uint8Array, plaintext: Uint8Array): void {
    this.#cipher.encryptWithAd(into, this.#handshakeHash, plaintext);
    this.mixHash(into);
  }

  /** False, and nothing mixed in, when the tag is wrong. */
  decryptAndHash(into: Uint8Array, sealed: Uint8Array): boolean {
    if (!this.#cipher.decryptWithAd(into, this.#handshakeHash, sealed)) return false;
    this.mixHash(sealed);
    return true;
  }

  /** Writes the key of the initiator's messages, and of the responder's: 32 bytes each. */
  split(initiatorKey: Uint8Array, responderKey: Uint8Array): void {
    const [first, second] = this.#derive(NO_BYTES);
    initiatorKey.set(first.subarray(0, CIPHER_KEY_BYTES));
    responderKey.set(second.subarray(0, CIPHER_KEY_BYTES));
    this.#primitives.wipe(this.#scratch);
  }

  /**
   * Writes a key for another purpose than Split's, once the last message is mixed in: HKDF with the
   * chaining key as salt, the handshake hash as key material, and `label` as info.
   * What: an output that Noise rev 34 does not define. Why: header keys leave the thread that holds
   * the cipher keys, which they must not betray. Effect: none on those. HMAC under the chaining key
   * is a PRF, and its final value meets two inputs only: nothing (Split) and the 64 bytes of the
   * hash (here). So both results are independent keys, and nobody learns either from what is
   * expanded from the other.
   */
  exportKey(into: Uint8Array, label: Uint8Array): void {
    this.#hkdf.derive(into, this.#chainingKey, [this.#handshakeHash], [label]);
  }

  /** Becomes the same state as `other`, which has the same hash. */
  copyFrom(other: SymmetricState): void {
    this.#chainingKey.set(other.#chainingKey);
    this.#handshakeHash.set(other.#handshakeHash);
    this.#cipher.copyFrom(other.#cipher);
  }

  wipe(): void {
    this.#primitives.wipe(this.#chainingKey);
    this.#primitives.wipe(this.#handshakeHash);
    this.#cipher.wipe();
  }

  /** Three outputs of HKDF, of which the first two are those of HKDF with two. In the scratch. */
  #derive(keyMaterial: Uint8Array): readonly [Uint8Array, Uint8Array, Uint8Array] {
    const bytes = this.#handshakeHash.length;
    const scratch = this.#scratch;
    this.#hkdf.derive(scratch, this.#chainingKey, [keyMaterial], []);
    return [
      scratch.subarray(0, bytes),
      scratch.subarray(bytes, 2 * bytes),
      scratch.subarray(2 * bytes, 3 * bytes),
    ];
  }
}
