// The keys of one object, to refuse a second one of the same text: readers disagree which of two
// counts (SQLite takes the first, JSON.parse the last). Part of the scanner; allocates once.

import { decodeInto } from "./json-string.js";

/** Top-level keys. Source: ours. */
export const JSON_KEYS_MAX = 1_024;
/** One key at any level, bytes of UTF-8 after its escapes are decoded. Source: ours. */
export const JSON_KEY_BYTES_MAX = 1_024;
/**
 * Different keys with one 32-bit hash. Among 1,024 keys chance gives two of them one time in 8,000,
 * nine never; so this bounds what forged hashes can cost, and both ends refuse the same texts.
 */
export const JSON_KEY_COLLISIONS_MAX = 8;

/** At most half full. */
const SLOTS = 2 * JSON_KEYS_MAX;
const FNV_OFFSET = 0x811c_9dc5 | 0;
const FNV_PRIME = 0x0100_0193;

export type KeyVerdict = "added" | "duplicate" | "full";

export class JsonKeys {
  #count = 0;
  readonly #from = new Uint32Array(JSON_KEYS_MAX);
  readonly #to = new Uint32Array(JSON_KEYS_MAX);
  readonly #hash = new Int32Array(JSON_KEYS_MAX);
  /** A slot is in use when its round is the present one, so none has to be cleared. */
  readonly #slotRound = new Uint32Array(SLOTS);
  readonly #slotKey = new Uint16Array(SLOTS);
  #round = 0;
  readonly #left = new Uint8Array(JSON_KEY_BYTES_MAX);
  readonly #right = new Uint8Array(JSON_KEY_BYTES_MAX);

  get count(): number {
    return this.#count;
  }

  /** Forgets all keys. */
  clear(): void {
    this.#count = 0;
    this.#round = (this.#round + 1) >>> 0;
    if (this.#round !== 0) return;
    this.#slotRound.fill(0);
    this.#round = 1;
  }

  /**
   * Adds the key that stands in `bytes` from `from` to `to`, quotes excluded; its decoded text is
   * the `length` bytes of `text` from `at`. `full` also when too many keys share a hash.
   */
  add(
    bytes: Uint8Array,
    from: number,
    to: number,
    text: Uint8Array,
    at: number,
    length: number,
  ): KeyVerdict {
    if (this.#count === JSON_KEYS_MAX) return "full";
    const hash = hashOf(text, at, length);
    let slot = slotOf(hash);
    let collisions = 0;
    while (this.#slotRound[slot] === this.#round) {
      const other = this.#slotKey[slot];
      if (this.#hash[other] === hash) {
        if (this.#same(bytes, other, from, to)) return "duplicate";
        collisions += 1;
        if (collisions > JSON_KEY_COLLISIONS_MAX) return "full";
      }
      slot = (slot + 1) % SLOTS;
    }
    this.#slotRound[slot] = this.#round;
    this.#slotKey[slot] = this.#count;
    this.#from[this.#count] = from;
    this.#to[this.#count] = to;
    this.#hash[this.#count] = hash;
    this.#count += 1;
    return "added";
  }

  #same(bytes: Uint8Array, key: number, from: number, to: number): boolean {
    const length = decodeInto(bytes, from, to, this.#left);
    if (decodeInto(bytes, this.#from[key], this.#to[key], this.#right) !== length) return false;
    return bytesEqual(this.#left, 0, this.#right, length);
  }
}

/** Whether the first `length` bytes of `right` stand in `left` at `at`. */
export function bytesEqual(
  left: Uint8Array,
  at: number,
  right: Uint8Array,
  length: number,
): boolean {
  for (let i = 0; i < length; i++) if (left[at + i] !== right[i]) return false;
  return true;
}

/** FNV-1a. */
function hashOf(text: Uint8Array, at: number, length: number): number {
  let hash = FNV_OFFSET;
  for (let i = at; i < at + length; i++) hash = Math.imul(hash ^ text[i], FNV_PRIME);
  return hash;
}

/** High bits mixed in: FNV alone leaves the low ones poor on short keys. */
const slotOf = (hash: number): number => (hash ^ (hash >>> 15)) & (SLOTS - 1);
