// libsodium's ChaCha20-Poly1305 (RFC 8439), BLAKE2b and random bytes, for the crypto workers.
// With noise-primitives.ts the only importer of sodium-native.

import sodium from "sodium-native";

export const KEY_BYTES = 32;
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;

/**
 * Seals `plaintext` under a 12-byte nonce (classic has no additional data). `sealed` is 16 bytes longer and may
 * begin at the same address. The caller owns all of it.
 */
export function sealInPlace(
  sealed: Uint8Array,
  plaintext: Uint8Array,
  nonce: Uint8Array,
  key: Uint8Array,
  additional: Uint8Array | null = null,
): void {
  sodium.crypto_aead_chacha20poly1305_ietf_encrypt(sealed, plaintext, additional, null, nonce, key);
}

/**
 * Opens `sealed` into `plaintext` (16 bytes shorter); false when the tag is wrong. libsodium zeroes the
 * output of a failed open, so `plaintext` must not overlap what another key is to be tried on.
 * The stack trace of its exception costs five times the check (3.6 against 1.1 us), so it is switched off.
 */
export function open(
  plaintext: Uint8Array,
  sealed: Uint8Array,
  nonce: Uint8Array,
  key: Uint8Array,
  additional: Uint8Array | null = null,
): boolean {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    sodium.crypto_aead_chacha20poly1305_ietf_decrypt(
      plaintext,
      null,
      sealed,
      additional,
      nonce,
      key,
    );
    return true;
  } catch {
    return false;
  } finally {
    Error.stackTraceLimit = limit;
  }
}

/** BLAKE2b of `input`, as long as `into` (16 to 64 bytes). */
export function blake2b(into: Uint8Array, input: Uint8Array): void {
  sodium.crypto_generichash(into, input);
}

/** BLAKE2b of the parts as if they were one input, as long as `into` (16 to 64 bytes). */
export function blake2bOf(into: Uint8Array, parts: readonly Uint8Array[]): void {
  sodium.crypto_generichash_batch(into, parts);
}

/** SipHash-2-4 of `input` under a key of 16 bytes, to `into` (8). */
export function shortHash(into: Uint8Array, input: Uint8Array, key: Uint8Array): void {
  sodium.crypto_shorthash(into, input, key);
}

/** BLAKE2b-256 in memory of its own. */
export function blake2b256(input: Uint8Array): Uint8Array {
  const digest = new Uint8Array(32);
  sodium.crypto_generichash(digest, input);
  return digest;
}

/** Fills `into` from the operating system's generator. */
export function randomBytes(into: Uint8Array): void {
  sodium.randombytes_buf(into);
}

/** Locked memory that never reaches the swap or a core dump, of 32-byte keys side by side. */
export class KeyMemory {
  readonly #secure: Buffer;
  readonly #keys: readonly Uint8Array[];

  constructor(keys: number) {
    this.#secure = sodium.sodium_malloc(Math.max(1, keys) * KEY_BYTES);
    this.#keys = Array.from({ length: keys }, (_, i) =>
      this.#secure.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES),
    );
  }

  /** A view of the locked memory; never copied, never posted. */
  key(index: number): Uint8Array {
    return this.#keys[index] as Uint8Array;
  }

  /** Copies a key in and wipes the source. */
  take(index: number, source: Uint8Array): void {
    this.key(index).set(source);
    sodium.sodium_memzero(source);
  }

  /** Wipes and unmaps; every view of it is dead afterwards. */
  free(): void {
    sodium.sodium_free(this.#secure);
  }
}

/** Overwrites a buffer in a way that the compiler keeps. */
export function wipe(buffer: Uint8Array): void {
  sodium.sodium_memzero(buffer);
}
