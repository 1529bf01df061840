// CipherState of Noise rev 34 §5.1 with ChaChaPoly (§12.3): a key and the counter of its next
// message. During a handshake the key may be missing; what passes then stays as it is.

import { assert } from "../../base/assert.js";
import {
  CIPHER_KEY_BYTES,
  CIPHER_NONCE_BYTES,
  CIPHER_TAG_BYTES,
  type NoisePrimitives,
} from "./primitives.js";

/** The counter stands after four zero bytes, 64 bit, little-endian. Source: Noise rev 34 §12.3. */
const COUNTER_OFFSET = 4;
const WORD_VALUES = 2 ** 32;

export class CipherState {
  readonly #primitives: NoisePrimitives;
  readonly #key: Uint8Array;
  readonly #nonce = new Uint8Array(CIPHER_NONCE_BYTES);
  readonly #nonceView = new DataView(this.#nonce.buffer);
  #hasKey = false;
  #counter = 0;

  /** `memory` (32 bytes) belongs to it and will hold the key. */
  constructor(primitives: NoisePrimitives, memory: Uint8Array) {
    assert(memory.length === CIPHER_KEY_BYTES, "a cipher has memory for its key");
    this.#primitives = primitives;
    this.#key = memory;
  }

  /** True once `initializeKey` was called. */
  get hasKey(): boolean {
    return this.#hasKey;
  }

  /** Copies the key and starts its counter at 0. */
  initializeKey(key: Uint8Array): void {
    this.#key.set(key);
    this.#hasKey = true;
    this.#counter = 0;
  }

  /**
   * Seals, or copies without a key. `into` is 16 bytes longer than `plaintext`, if there is a key.
   */
  encryptWithAd(into: Uint8Array, additional: Uint8Array, plaintext: Uint8Array): void {
    if (!this.#hasKey) return into.set(plaintext);
    this.#writeNonce();
    this.#primitives.seal(into, plaintext, this.#nonce, this.#key, additional);
    this.#counter += 1;
  }

  /** Opens, or copies without a key; false, and the counter as before, when the tag is wrong. */
  decryptWithAd(into: Uint8Array, additional: Uint8Array, sealed: Uint8Array): boolean {
    if (!this.#hasKey) {
      into.set(sealed);
      return true;
    }
    if (sealed.length < CIPHER_TAG_BYTES) return false;
    this.#writeNonce();
    if (!this.#primitives.open(into, sealed, this.#nonce, this.#key, additional)) return false;
    this.#counter += 1;
    return true;
  }

  /** Becomes the same state as `other`. */
  copyFrom(other: CipherState): void {
    this.#key.set(other.#key);
    this.#hasKey = other.#hasKey;
    this.#counter = other.#counter;
  }

  /** Forgets the key; the state is as new. */
  wipe(): void {
    this.#primitives.wipe(this.#key);
    this.#hasKey = false;
    this.#counter = 0;
  }

  #writeNonce(): void {
    assert(this.#counter < Number.MAX_SAFE_INTEGER, "a key is used for less than 2^53 messages");
    this.#nonceView.setUint32(COUNTER_OFFSET, this.#counter % WORD_VALUES, true);
    this.#nonceView.setUint32(COUNTER_OFFSET + 4, Math.floor(this.#counter / WORD_VALUES), true);
  }
}
