// The functions of sodium-native 5.1.0 that we use; the published types miss the whole IETF family.
declare module "sodium-native" {
  interface Sodium {
    readonly crypto_aead_chacha20poly1305_ietf_KEYBYTES: 32;
    readonly crypto_aead_chacha20poly1305_ietf_NPUBBYTES: 12;
    readonly crypto_aead_chacha20poly1305_ietf_ABYTES: 16;
    /** Writes message + 16 bytes to `ciphertext`; in place is allowed. Returns the length written. */
    crypto_aead_chacha20poly1305_ietf_encrypt(
      ciphertext: Uint8Array,
      message: Uint8Array,
      additional: Uint8Array | null,
      secretNonce: null,
      nonce: Uint8Array,
      key: Uint8Array,
    ): number;
    /** Throws when the tag is wrong, and then has zeroed `message`. */
    crypto_aead_chacha20poly1305_ietf_decrypt(
      message: Uint8Array,
      secretNonce: null,
      ciphertext: Uint8Array,
      additional: Uint8Array | null,
      nonce: Uint8Array,
      key: Uint8Array,
    ): number;
    crypto_generichash(output: Uint8Array, input: Uint8Array, key?: Uint8Array): void;
    /** Hashes the parts as if they were one input. `output` may be one of them. */
    crypto_generichash_batch(output: Uint8Array, parts: readonly Uint8Array[]): void;
    /** SipHash-2-4: 8 bytes of output, a key of 16. */
    crypto_shorthash(output: Uint8Array, input: Uint8Array, key: Uint8Array): void;
    /** Writes the public key of a private one, 32 bytes each. */
    crypto_scalarmult_base(publicKey: Uint8Array, privateKey: Uint8Array): void;
    /** Throws when the result is all zero. */
    crypto_scalarmult(shared: Uint8Array, privateKey: Uint8Array, publicKey: Uint8Array): void;
    randombytes_buf(buffer: Uint8Array): void;
    /** Guarded, locked memory; zeroed when freed. Never post it: the clone is ordinary memory. */
    sodium_malloc(bytes: number): Buffer;
    sodium_free(secure: Buffer): void;
    sodium_memzero(buffer: Uint8Array): void;
    sodium_mprotect_readonly(secure: Buffer): void;
    sodium_mprotect_readwrite(secure: Buffer): void;
  }
  const sodium: Sodium;
  export default sodium;
}
