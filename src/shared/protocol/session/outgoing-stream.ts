// One ordered stream towards one peer: gives sequences in the order of release, and knows the lowest
// that is still owed, by what is committed. What was given up leaves a gap; the other end hears of it
// with the next message, so one behind the gap may have to go again.

import { UNFINISHED_MESSAGES_MAX } from "./limits.js";
import { NumberRanges } from "./number-ranges.js";
import type { Flow } from "./send-queue.js";

export class OutgoingStream {
  readonly key: string;
  /** The key as UTF-8. */
  readonly name: Uint8Array;
  /** Where its messages wait for their release. */
  readonly flow: Flow;
  #next: number;
  /** Every sequence below is settled. */
  #base: number;
  readonly #settled = new NumberRanges(UNFINISHED_MESSAGES_MAX);
  /** Those that nobody waits for here: settled, or final and not committed yet. */
  readonly #finished = new NumberRanges(UNFINISHED_MESSAGES_MAX);
  /** Slots of its rows that are out. */
  readonly #slots = new Set<number>();
  #final: number[] = [];
  #committing: number[] = [];
  /** Below it, the other end may wait for what it will never see: it must hear when `base` rises. */
  #retellBelow = 0;
  /** The highest number of its messages since it rested; 0 while none was released. */
  lastNumber = 0;
  /** Rows of it that were refused for a while: what is behind them waits here, not at the other end. */
  postponed = 0;

  constructor(options: {
    readonly key: string;
    readonly name: Uint8Array;
    readonly flow: Flow;
    /** Sequence of its first message. */
    readonly next: number;
  }) {
    this.key = options.key;
    this.name = options.name;
    this.flow = options.flow;
    this.#next = options.next;
    this.#base = options.next;
  }

  /** Sequence of the message that is released next. */
  get next(): number {
    return this.#next;
  }
  /** Lowest sequence that is still owed, as far as is committed. */
  get base(): number {
    return this.#base;
  }
  /** Lowest sequence that is still owed; `next` when none is. */
  get owed(): number {
    return this.#finished.firstMissing(this.#base);
  }
  get rows(): number {
    return this.#slots.size;
  }
  /** Nothing of it is out, or on its way to the store. */
  get idle(): boolean {
    return this.#slots.size === 0 && this.#base === this.#next;
  }

  enter(slot: number): void {
    this.#slots.add(slot);
  }

  release(): number {
    this.#next += 1;
    return this.#next - 1;
  }

  /**
   * A row is final, and that is committed with the next settlement; or it is gone. True when it is the
   * first of its stream for that settlement.
   */
  finish(slot: number, sequence: number, settling: boolean, delivered: boolean): boolean {
    this.#slots.delete(slot);
    if (sequence === 0) return false;
    this.#finished.add(sequence);
    if (!delivered) this.#retellBelow = Math.max(this.#retellBelow, sequence + 1);
    if (!settling) {
      this.#settled.add(sequence);
      return false;
    }
    this.#final.push(sequence);
    return this.#final.length === 1;
  }

  /** The other end may have forgotten what it has of the stream. */
  forgotten(): void {
    this.#retellBelow = this.#next;
  }

  /** What became final until now is in the settlement that the store takes. */
  taken(): void {
    for (const sequence of this.#final) this.#committing.push(sequence);
    this.#final.length = 0;
  }

  /** That settlement is committed. */
  commit(): void {
    for (const sequence of this.#committing) this.#settled.add(sequence);
    this.#committing.length = 0;
  }

  /** Moves `base` behind what is settled. True when the other end must hear of that. */
  advance(): boolean {
    const before = this.#base;
    this.#base = this.#settled.firstMissing(before);
    if (this.#base === before) return false;
    this.#settled.removeBelow(this.#base);
    this.#finished.removeBelow(this.#base);
    return before < this.#retellBelow;
  }

  /** The slot with the lowest sequence that was released, or -1. */
  firstOwed(sequences: Float64Array): number {
    let first = -1;
    let lowest = Number.POSITIVE_INFINITY;
    for (const slot of this.#slots) {
      const sequence = sequences[slot] as number;
      if (sequence === 0 || sequence >= lowest) continue;
      lowest = sequence;
      first = slot;
    }
    return first;
  }
}
