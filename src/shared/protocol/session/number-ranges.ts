// A set of whole numbers as sorted, disjoint ranges in typed arrays: numbers of messages, sequences
// of a stream, bytes of a transfer. What comes in order costs one comparison and one store.

import { assert } from "../../base/assert.js";

const CAPACITY_INITIAL = 8;

export class NumberRanges {
  readonly #rangesMax: number;
  /** First number of each range, and the first behind it. */
  #starts = new Float64Array(CAPACITY_INITIAL);
  #ends = new Float64Array(CAPACITY_INITIAL);
  #size = 0;

  constructor(rangesMax: number) {
    assert(rangesMax >= 1, "a set that may hold nothing is no set");
    this.#rangesMax = rangesMax;
  }

  /** How many ranges. */
  get size(): number {
    return this.#size;
  }
  /** How many numbers. */
  get count(): number {
    let sum = 0;
    for (let i = 0; i < this.#size; i++) sum += this.endOf(i) - this.startOf(i);
    return sum;
  }
  startOf(index: number): number {
    return this.#starts[index] as number;
  }
  /** First number behind a range. */
  endOf(index: number): number {
    return this.#ends[index] as number;
  }

  has(number: number): boolean {
    const index = this.#lastStartingAtOrBelow(number);
    return index >= 0 && number < this.endOf(index);
  }

  /** Whether all of [start, end) is in the set. */
  covers(start: number, end: number): boolean {
    if (start >= end) return true;
    const index = this.#lastStartingAtOrBelow(start);
    return index >= 0 && end <= this.endOf(index);
  }

  /** The first number from `from` on that is not in the set. */
  firstMissing(from: number): number {
    const index = this.#lastStartingAtOrBelow(from);
    return index >= 0 && from < this.endOf(index) ? this.endOf(index) : from;
  }

  /** The first number from `from` on that is in the set; Infinity without one. */
  firstPresent(from: number): number {
    const index = this.#lastStartingAtOrBelow(from);
    if (index >= 0 && from < this.endOf(index)) return from;
    return index + 1 < this.#size ? this.startOf(index + 1) : Number.POSITIVE_INFINITY;
  }

  add(number: number): boolean {
    return this.addRange(number, number + 1);
  }

  /** Adds [start, end); false, and nothing changes, when that would make too many ranges. */
  addRange(start: number, end: number): boolean {
    if (start >= end) return true;
    const last = this.#size - 1;
    if (last >= 0 && start === this.endOf(last)) {
      this.#ends[last] = end;
      return true;
    }
    let first = this.#lastStartingAtOrBelow(start);
    if (first < 0 || this.endOf(first) < start) first += 1;
    let behind = first;
    while (behind < this.#size && this.startOf(behind) <= end) behind += 1;
    if (first === behind) return this.#insert(first, start, end);
    this.#starts[first] = Math.min(start, this.startOf(first));
    this.#ends[first] = Math.max(end, this.endOf(behind - 1));
    this.#close(first + 1, behind);
    return true;
  }

  remove(number: number): boolean {
    return this.removeRange(number, number + 1);
  }

  /** Takes [start, end) out; false, and nothing changes, when a split would make too many ranges. */
  removeRange(start: number, end: number): boolean {
    if (start >= end) return true;
    let first = this.#lastStartingAtOrBelow(start);
    if (first >= 0 && this.startOf(first) < start && end < this.endOf(first)) {
      const tail = this.endOf(first);
      if (!this.#insert(first + 1, end, tail)) return false;
      this.#ends[first] = start;
      return true;
    }
    if (first < 0 || this.endOf(first) <= start) first += 1;
    else if (this.startOf(first) < start) {
      this.#ends[first] = start;
      first += 1;
    }
    let behind = first;
    while (behind < this.#size && this.endOf(behind) <= end) behind += 1;
    if (behind < this.#size && this.startOf(behind) < end) this.#starts[behind] = end;
    this.#close(first, behind);
    return true;
  }

  removeBelow(number: number): void {
    if (this.#size > 0 && this.startOf(0) < number) {
      this.removeRange(this.startOf(0), number);
    }
  }

  clear(): void {
    this.#size = 0;
  }

  /** Index of the last range whose start is not above `number`, or -1. */
  #lastStartingAtOrBelow(number: number): number {
    let low = 0;
    let high = this.#size;
    if (high > 0 && this.startOf(high - 1) <= number) return high - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.startOf(middle) <= number) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #insert(index: number, start: number, end: number): boolean {
    if (this.#size >= this.#rangesMax) return false;
    if (this.#size === this.#starts.length) this.#grow();
    this.#starts.copyWithin(index + 1, index, this.#size);
    this.#ends.copyWithin(index + 1, index, this.#size);
    this.#starts[index] = start;
    this.#ends[index] = end;
    this.#size += 1;
    return true;
  }

  /** Drops the ranges [from, to). */
  #close(from: number, to: number): void {
    if (from === to) return;
    this.#starts.copyWithin(from, to, this.#size);
    this.#ends.copyWithin(from, to, this.#size);
    this.#size -= to - from;
  }

  #grow(): void {
    const starts = new Float64Array(this.#starts.length * 2);
    const ends = new Float64Array(starts.length);
    starts.set(this.#starts);
    ends.set(this.#ends);
    this.#starts = starts;
    this.#ends = ends;
  }
}
