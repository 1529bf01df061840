// From a 12-byte id and its scope to a number: open addressing over typed arrays, no allocation per
// operation. Ids come from the network, so the place of each depends on a seed (keyed-hash.ts), and
// deletion shifts back what follows: no tombstones, so a probe ends at the first empty slot.

import { assert } from "../base/assert.js";
import { MESSAGE_ID_BYTES } from "./constants.js";
import { hashWords, wordAt } from "./keyed-hash.js";

const SLOTS_MIN = 64;
/** Words of a slot's key: three of the id, one of the scope. */
const KEY_WORDS = 4;
/** Stored hash of an empty slot; a real hash of 0 is stored as 1. */
const EMPTY = 0;

assert(MESSAGE_ID_BYTES === 12, "a key is three words and a scope");

/** Slots are kept at least half empty: two probes on average, hit or miss. */
export class IdTable {
  readonly #seeds: readonly [number, number];
  readonly #entriesMax: number;
  #hashes = new Uint32Array(SLOTS_MIN);
  #keys = new Uint32Array(SLOTS_MIN * KEY_WORDS);
  #values = new Uint32Array(SLOTS_MIN);
  #mask = SLOTS_MIN - 1;
  #size = 0;
  /** Hash and words of the key last looked for. */
  #hash = 0;
  #word0 = 0;
  #word1 = 0;
  #word2 = 0;

  /** `seeds`: two random u32. `entriesMax`: entries at most; memory grows up to it as needed. */
  constructor(options: { readonly seeds: readonly [number, number]; readonly entriesMax: number }) {
    this.#seeds = options.seeds;
    this.#entriesMax = options.entriesMax;
  }

  get size(): number {
    return this.#size;
  }

  /** Value of the id at `at` within `scope` (u32), or -1. */
  find(bytes: Uint8Array, at: number, scope: number): number {
    const slot = this.#slotOf(bytes, at, scope);
    return this.#hashes[slot] === EMPTY ? -1 : this.#values[slot];
  }

  /** Maps the id to `value` (u32), in place of an earlier value; false when the table is full. */
  insert(bytes: Uint8Array, at: number, scope: number, value: number): boolean {
    let slot = this.#slotOf(bytes, at, scope);
    if (this.#hashes[slot] === EMPTY) {
      if (this.#size >= this.#entriesMax) return false;
      if (this.#size * 2 >= this.#hashes.length) {
        this.#grow();
        slot = this.#slotOf(bytes, at, scope);
      }
      const key = slot * KEY_WORDS;
      this.#hashes[slot] = this.#hash;
      this.#keys[key] = this.#word0;
      this.#keys[key + 1] = this.#word1;
      this.#keys[key + 2] = this.#word2;
      this.#keys[key + 3] = scope;
      this.#size += 1;
    }
    this.#values[slot] = value;
    return true;
  }

  /** Forgets the id; false when it was not there. */
  delete(bytes: Uint8Array, at: number, scope: number): boolean {
    let hole = this.#slotOf(bytes, at, scope);
    if (this.#hashes[hole] === EMPTY) return false;
    const mask = this.#mask;
    for (let slot = (hole + 1) & mask; this.#hashes[slot] !== EMPTY; slot = (slot + 1) & mask) {
      // What stands no further from its home than the hole is already where it must be found.
      const fromHome = (slot - this.#hashes[slot]) & mask;
      if (fromHome < ((slot - hole) & mask)) continue;
      this.#move(slot, hole);
      hole = slot;
    }
    this.#hashes[hole] = EMPTY;
    this.#size -= 1;
    return true;
  }

  /** Forgets everything and gives the memory back. */
  clear(): void {
    this.#allocate(SLOTS_MIN);
    this.#size = 0;
  }

  /** The slot that holds the key, or the empty one where it would go. */
  #slotOf(bytes: Uint8Array, at: number, scope: number): number {
    this.#word0 = wordAt(bytes, at);
    this.#word1 = wordAt(bytes, at + 4);
    this.#word2 = wordAt(bytes, at + 8);
    this.#hash = hashWords(this.#seeds, this.#word0, this.#word1, this.#word2, scope) || 1;
    let slot = this.#hash & this.#mask;
    while (this.#hashes[slot] !== EMPTY) {
      if (this.#hashes[slot] === this.#hash && this.#holds(slot, scope)) break;
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }

  #holds(slot: number, scope: number): boolean {
    const key = slot * KEY_WORDS;
    return (
      this.#keys[key] === this.#word0 &&
      this.#keys[key + 1] === this.#word1 &&
      this.#keys[key + 2] === this.#word2 &&
      this.#keys[key + 3] === scope
    );
  }

  #move(from: number, to: number): void {
    this.#hashes[to] = this.#hashes[from];
    this.#values[to] = this.#values[from];
    this.#keys.copyWithin(to * KEY_WORDS, from * KEY_WORDS, (from + 1) * KEY_WORDS);
  }

  #grow(): void {
    const hashes = this.#hashes;
    const keys = this.#keys;
    const values = this.#values;
    this.#allocate(hashes.length * 2);
    for (let old = 0; old < hashes.length; old++) {
      if (hashes[old] === EMPTY) continue;
      let slot = hashes[old] & this.#mask;
      while (this.#hashes[slot] !== EMPTY) slot = (slot + 1) & this.#mask;
      this.#hashes[slot] = hashes[old];
      this.#values[slot] = values[old];
      for (let i = 0; i < KEY_WORDS; i++) {
        this.#keys[slot * KEY_WORDS + i] = keys[old * KEY_WORDS + i];
      }
    }
  }

  #allocate(slots: number): void {
    this.#hashes = new Uint32Array(slots);
    this.#keys = new Uint32Array(slots * KEY_WORDS);
    this.#values = new Uint32Array(slots);
    this.#mask = slots - 1;
  }
}

/** Memory of a full table, bytes; half as much again while it grows. */
export function idTableBytesMax(entriesMax: number): number {
  const slots = Math.max(SLOTS_MIN, 2 ** Math.ceil(Math.log2(entriesMax * 2)));
  return slots * (KEY_WORDS + 2) * 4;
}
