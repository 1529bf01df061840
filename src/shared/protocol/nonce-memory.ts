// Nonces that must not be taken twice, each until a deadline of its own. Entries of like deadlines
// share a generation; a generation is dropped whole, memory and all, once its last deadline passed.
// A nonce is never forgotten early: without room the newcomer is refused, not an old entry evicted.
// Deadlines are of any one clock, which may be set back: what was to be kept until then is kept.

import { assert } from "../base/assert.js";
import { type Nanoseconds, NS_PER_SECOND } from "../base/units.js";
import { NONCE_BYTES } from "./constants.js";
import { hashWords, wordAt } from "./keyed-hash.js";

/** Words of a nonce. */
const KEY_WORDS = NONCE_BYTES / 4;
/** Entries of a new generation at least. */
const ENTRIES_INITIAL = 256;
/** Index slots for each entry that there is room for: half empty or more. */
const SLOTS_PER_ENTRY = 2;
/** Low bits of an index slot: entry number + 1, 0 when empty; above them, bits of the hash. */
const NUMBER_BITS = 21;
const NUMBER_MASK = 2 ** NUMBER_BITS - 1;
/** Generations alive at most: what one lookup may cost. */
const GENERATIONS_MAX = 16;
/** Deadlines are rounded up to a multiple of this at least, ns. */
const ROUNDING_NS_MIN = NS_PER_SECOND;
/** A nonce stays at most this share of its life longer than asked, or ROUNDING_NS_MIN; more only
 * while a jump of the clock spreads deadlines over more than GENERATIONS_MAX. */
const OVERSTAY_SHARE = 1 / 2;

assert(KEY_WORDS === 3, "a nonce is three words");

export class NonceMemory {
  readonly #seeds: readonly [number, number];
  readonly #entriesMax: number;
  #generations: Generation[] = [];
  #size = 0;

  /** `seeds`: two random u32. `entriesMax`: nonces at most, up to 2^20. */
  constructor(options: { readonly seeds: readonly [number, number]; readonly entriesMax: number }) {
    assert(options.entriesMax <= 2 ** 20, "an entry's number fits its index slot");
    this.#seeds = options.seeds;
    this.#entriesMax = options.entriesMax;
  }

  /** Nonces in memory. */
  get size(): number {
    return this.#size;
  }
  /** Generations alive, each with memory of its own; none when idle. */
  get generations(): number {
    return this.#generations.length;
  }

  /** Hash of the nonce at `at`: the same in every memory of the same seeds. */
  hashOf(bytes: Uint8Array, at: number): number {
    return hashWords(
      this.#seeds,
      wordAt(bytes, at),
      wordAt(bytes, at + 4),
      wordAt(bytes, at + 8),
      0,
    );
  }

  /** `hash`: what {@link hashOf} says of it. */
  has(bytes: Uint8Array, at: number, hash: number = this.hashOf(bytes, at)): boolean {
    if (this.#size === 0) return false;
    const a = wordAt(bytes, at);
    const b = wordAt(bytes, at + 4);
    const c = wordAt(bytes, at + 8);
    for (const generation of this.#generations) {
      if (generation.has(hash, a, b, c)) return true;
    }
    return false;
  }

  /** Remembers the nonce until `until` has passed; false, and nothing changed, without room. */
  remember(
    now: Nanoseconds,
    until: Nanoseconds,
    bytes: Uint8Array,
    at: number,
    hash: number = this.hashOf(bytes, at),
  ): boolean {
    const isFull = this.#size >= this.#entriesMax;
    if (isFull || this.#generations.length >= GENERATIONS_MAX) this.expire(now);
    if (this.#size >= this.#entriesMax) return false;
    const a = wordAt(bytes, at);
    const b = wordAt(bytes, at + 4);
    const c = wordAt(bytes, at + 8);
    const generation = this.#generationFor(now, until);
    if (generation.add(hash, a, b, c, this.#seeds)) this.#size += 1;
    return true;
  }

  /** Drops the generations whose deadlines have all passed. */
  expire(now: Nanoseconds): void {
    if (!this.#generations.some((generation) => generation.end < now)) return;
    this.#generations = this.#generations.filter((generation) => {
      if (generation.end >= now) return true;
      this.#size -= generation.size;
      return false;
    });
  }

  /** The generation, in order of their ends, that ends with or soon after `until`. */
  #generationFor(now: Nanoseconds, until: Nanoseconds): Generation {
    const rounding = roundingOf(until - now);
    const all = this.#generations;
    let index = all.length;
    while (index > 0 && all[index - 1].end >= until) index -= 1;
    const next = all[index];
    if (next !== undefined && next.end <= until + rounding) return next;
    // Not below `until` even where a division of wall-clock nanoseconds rounds down.
    const end = Math.max(until, Math.ceil(until / rounding) * rounding);
    if (all.length < GENERATIONS_MAX) {
      const isNewest = index === all.length;
      const generation = new Generation(end, isNewest ? this.#entriesExpected() : ENTRIES_INITIAL);
      all.splice(index, 0, generation);
      return generation;
    }
    if (next !== undefined) return next;
    const last = all[all.length - 1];
    last.end = end;
    return last;
  }

  /** Half of what the newest generation holds: no long growth under load, no waste when it ends. */
  #entriesExpected(): number {
    const newest = this.#generations[this.#generations.length - 1];
    if (newest === undefined || newest.size < ENTRIES_INITIAL * 4) return ENTRIES_INITIAL;
    return 2 ** Math.floor(Math.log2(newest.size / 2));
  }
}

/** Bytes of memory in use at most: every generation doubled on its last entry, and one growing. */
export function nonceMemoryBytesMax(entriesMax: number): number {
  const doubled = entriesMax * 2;
  const expected = entriesMax / 2;
  const whileGrowing = entriesMax;
  const entries = doubled + expected + whileGrowing + GENERATIONS_MAX * ENTRIES_INITIAL;
  return entries * (KEY_WORDS + SLOTS_PER_ENTRY) * 4;
}

/** Nonces in the order they came, and an index into them by hash. */
class Generation {
  /** Instant after which it may be dropped: no entry's deadline is later. */
  end: number;
  size = 0;
  #keys: Uint32Array;
  #index: Uint32Array;
  #mask: number;

  constructor(end: number, entries: number) {
    this.end = end;
    this.#keys = new Uint32Array(entries * KEY_WORDS);
    this.#index = new Uint32Array(entries * SLOTS_PER_ENTRY);
    this.#mask = this.#index.length - 1;
  }

  has(hash: number, a: number, b: number, c: number): boolean {
    return this.#index[this.#slotOf(hash, a, b, c)] !== 0;
  }

  /** False when it is there already. */
  add(hash: number, a: number, b: number, c: number, seeds: readonly [number, number]): boolean {
    let slot = this.#slotOf(hash, a, b, c);
    if (this.#index[slot] !== 0) return false;
    if (this.size * KEY_WORDS === this.#keys.length) {
      this.#grow(seeds);
      slot = this.#slotOf(hash, a, b, c);
    }
    const key = this.size * KEY_WORDS;
    this.#keys[key] = a;
    this.#keys[key + 1] = b;
    this.#keys[key + 2] = c;
    this.size += 1;
    this.#index[slot] = (hash & ~NUMBER_MASK) | this.size;
    return true;
  }

  /** The index slot of the nonce, or the empty one where it would go. */
  #slotOf(hash: number, a: number, b: number, c: number): number {
    const mask = this.#mask;
    let slot = hash & mask;
    for (let entry = this.#index[slot]; entry !== 0; entry = this.#index[slot]) {
      if (((entry ^ hash) & ~NUMBER_MASK) === 0) {
        const key = ((entry & NUMBER_MASK) - 1) * KEY_WORDS;
        const keys = this.#keys;
        if (keys[key] === a && keys[key + 1] === b && keys[key + 2] === c) return slot;
      }
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #grow(seeds: readonly [number, number]): void {
    const keys = new Uint32Array(this.#keys.length * 2);
    keys.set(this.#keys);
    this.#keys = keys;
    this.#index = new Uint32Array(this.#index.length * 2);
    this.#mask = this.#index.length - 1;
    for (let number = 1; number <= this.size; number++) {
      const key = (number - 1) * KEY_WORDS;
      const hash = hashWords(seeds, keys[key], keys[key + 1], keys[key + 2], 0);
      let slot = hash & this.#mask;
      while (this.#index[slot] !== 0) slot = (slot + 1) & this.#mask;
      this.#index[slot] = (hash & ~NUMBER_MASK) | number;
    }
  }
}

/** ROUNDING_NS_MIN times a power of two: at most OVERSTAY_SHARE of the life, where that is more. */
function roundingOf(lifeNs: number): number {
  let rounding = ROUNDING_NS_MIN;
  while (rounding * 2 <= lifeNs * OVERSTAY_SHARE) rounding *= 2;
  return rounding;
}
