// One ordered stream towards one peer: gives sequences in the order of release, and knows the lowest
// that is still owed, by what is committed. What was given up leaves a gap; the other end hears of it
// with the next message, so one behind the gap may have to go again.

import { NUMBER_RANGES_MAX } from "./limits.js";
import { NumberRanges } from "./number-ranges.js";

export class OutgoingStream {
  readonly key: string;
  /** The key as UTF-8. */
  readonly name: Uint8Array;
  #next = 1;
  /** Every sequence below is settled. */
  #base = 1;
  readonly #settled = new NumberRanges(NUMBER_RANGES_MAX);
  /** Slots of its rows that are out. */
  readonly #slots = new Set<number>();
  #final: number[] = [];
  #committing: number[] = [];
  /** Sequences that were given up, and that `base` has not passed. */
  #skipped: number[] = [];
  /** Rows of it that were refused for a while: what is behind them waits here, not at the other end. */
  postponed = 0;

  constructor(key: string, name: Uint8Array) {
    this.key = key;
    this.name = name;
  }

  /** Sequence of the message that is released next. */
  get next(): number {
    return this.#next;
  }
  /** Lowest sequence that is still owed. */
  get base(): number {
    return this.#base;
  }
  get rows(): number {
    return this.#slots.size;
  }

  enter(slot: number): void {
    this.#slots.add(slot);
  }

  release(): number {
    this.#next += 1;
    return this.#next - 1;
  }

  /** A row is final, or gone. `settling`: it is committed with the next settlement. */
  finish(slot: number, sequence: number, settling: boolean, delivered: boolean): void {
    this.#slots.delete(slot);
    if (sequence === 0) return;
    if (!delivered) this.#skipped.push(sequence);
    if (settling) this.#final.push(sequence);
    else this.#committing.push(sequence);
  }

  /** What became final until now is in the settlement that the store takes. */
  taken(): void {
    for (const sequence of this.#final) this.#committing.push(sequence);
    this.#final.length = 0;
  }

  /** That settlement is committed. True when `base` passed what was given up. */
  commit(): boolean {
    const before = this.#base;
    for (const sequence of this.#committing) if (sequence >= before) this.#settled.add(sequence);
    this.#committing.length = 0;
    this.#base = this.#settled.firstMissing(before);
    this.#settled.removeBelow(this.#base);
    const skipped = this.#skipped.length;
    if (skipped > 0) this.#skipped = this.#skipped.filter((sequence) => sequence >= this.#base);
    return this.#skipped.length < skipped;
  }

  /** The slot with the lowest sequence that was released, or -1. */
  firstOwed(sequenceOf: (slot: number) => number): number {
    let first = -1;
    let lowest = Number.POSITIVE_INFINITY;
    for (const slot of this.#slots) {
      const sequence = sequenceOf(slot);
      if (sequence === 0 || sequence >= lowest) continue;
      lowest = sequence;
      first = slot;
    }
    return first;
  }
}
