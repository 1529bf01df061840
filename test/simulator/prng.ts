// Where every choice of a run comes from: xoshiro128** on 32-bit words, seeded through SplitMix. One
// stream for each concern, so that a draw more in one place leaves all other places as they were.

const TWO_32 = 2 ** 32;

/** A probability as a threshold for 32-bit draws. */
export const odds = (share: number): number => Math.round(Math.min(1, Math.max(0, share)) * TWO_32);

export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  private constructor(words: readonly [number, number, number, number]) {
    [this.#a, this.#b, this.#c, this.#d] = words;
  }

  /** The stream of one concern of a run, e.g. `of(seed, "nonces", host)`. */
  static of(seed: number, concern: string, ...parts: readonly number[]): Prng {
    const mix = new SplitMix(seed);
    for (let i = 0; i < concern.length; i++) mix.absorb(concern.charCodeAt(i));
    for (const part of parts) mix.absorb(part);
    return new Prng([mix.next(), mix.next(), mix.next(), mix.next()]);
  }

  u32(): number {
    const scrambled = Math.imul(rotate(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = rotate(this.#d, 11);
    return scrambled;
  }

  /** An integer from 0 to `limit` - 1; `limit` up to 2^21 without bias worth mentioning. */
  below(limit: number): number {
    return Math.floor((this.u32() / TWO_32) * limit);
  }

  /** An integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1));
  }

  /** Uniform in [0, 1), 32 bits of it. */
  readonly uniform = (): number => this.u32() / TWO_32;

  /** True with the probability that {@link odds} made a threshold of. */
  hits(threshold: number): boolean {
    return this.u32() < threshold;
  }

  chance(share: number): boolean {
    return this.u32() < odds(share);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** Exponential with this mean, at most 20 times it. */
  exponential(mean: number): number {
    return Math.min(20, -Math.log(1 - this.uniform())) * mean;
  }

  fill(into: Uint8Array): void {
    for (let i = 0; i < into.length; i += 4) {
      const word = this.u32();
      for (let byte = 0; byte < 4 && i + byte < into.length; byte++) {
        into[i + byte] = word >>> (byte * 8);
      }
    }
  }
}

/** SplitMix with 32-bit words: spreads a seed and a name over the state of a generator. */
class SplitMix {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
    this.absorb(Math.floor(seed / TWO_32));
  }

  absorb(part: number): void {
    this.#state = (this.next() ^ part) >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x9e37_79b9) >>> 0;
    let word = this.#state;
    word = Math.imul(word ^ (word >>> 16), 0x21f0_aaad);
    word = Math.imul(word ^ (word >>> 15), 0x735a_2d97);
    return (word ^ (word >>> 15)) >>> 0;
  }
}

const rotate = (word: number, by: number): number => (word << by) | (word >>> (32 - by));
