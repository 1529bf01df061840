// What a receiver remembers of the numbers of one boot of its peer: what is settled, what is stored,
// what is under way. Bounded by ranges, not by numbers.

import { NUMBER_RANGES_MAX, NUMBER_SPAN_NUMBERS, UNFINISHED_MESSAGES_MAX } from "./limits.js";
import { NumberRanges } from "./number-ranges.js";

export class IncomingNumbers {
  #below = 1;
  /** One that finds no room here is stored all the same: a copy of it draws its receipt again. */
  readonly #stored = new NumberRanges(NUMBER_RANGES_MAX);
  /** More ranges than may begin: ends split them, and must never fail. */
  readonly #pending = new NumberRanges(4 * UNFINISHED_MESSAGES_MAX);
  #pendingCount = 0;

  /** Every number below it is settled: copies of those are ignored. */
  get below(): number {
    return this.#below;
  }
  /** Messages that are neither stored nor refused. */
  get pending(): number {
    return this.#pendingCount;
  }

  /** False for a number that no honest peer gives. */
  inRange(number: number): boolean {
    return number >= 1 && number < this.#below + NUMBER_SPAN_NUMBERS;
  }
  isPending(number: number): boolean {
    return this.#pending.has(number);
  }
  isStored(number: number): boolean {
    return this.#stored.has(number);
  }

  /** A message begins; false when its number would make too many ranges. */
  begin(number: number): boolean {
    const pending = this.#pending;
    const isApart = !pending.has(number - 1) && !pending.has(number + 1);
    if (isApart && pending.size >= NUMBER_RANGES_MAX) return false;
    if (!pending.add(number)) return false;
    this.#pendingCount += 1;
    return true;
  }

  /** It ended: stored, or refused. */
  end(number: number, stored: boolean): void {
    if (!this.#pending.has(number)) return;
    this.#pending.remove(number);
    this.#pendingCount -= 1;
    if (stored) this.#stored.add(number);
  }

  /** The first from `from` on that is under way; Infinity without one. */
  nextPending(from: number): number {
    return this.#pending.firstPresent(from);
  }

  /** SETTLED: the caller ended what was under way below, which is nobody's any more. */
  settle(below: number): void {
    this.#below = below;
    this.#stored.removeBelow(below);
  }

  /** A new boot of the peer counts from 1 again. */
  restart(): void {
    this.#below = 1;
    this.#stored.clear();
    this.#pending.clear();
    this.#pendingCount = 0;
  }
}
