// Which numbers of ours are settled: final in the committed state of the table. The other end may
// forget every number below `below`, so a number gets here only behind the commit that made it final.

import { type Nanoseconds, nanoseconds } from "../../base/units.js";
import { SETTLED_DELAY_NS, SETTLED_STEP_NUMBERS, UNFINISHED_MESSAGES_MAX } from "./limits.js";
import { NumberList } from "./number-list.js";
import { NumberRanges } from "./number-ranges.js";

export class SettledNumbers {
  readonly #above = new NumberRanges(UNFINISHED_MESSAGES_MAX);
  #below = 1;
  #final = new NumberList();
  #committing = new NumberList();
  /** What was last written into a packet, and when `below` rose above it. */
  #told = 1;
  #roseAt = Number.POSITIVE_INFINITY;

  /** Every number below it is settled. */
  get below(): number {
    return this.#below;
  }

  /** The row of a number got its final state, which is on its way to the store. */
  final(number: number): void {
    this.#final.push(number);
  }

  /** The row of a number is gone, or another message by now: nothing is left to commit. */
  gone(number: number, now: Nanoseconds): void {
    this.#settle(number, now);
  }

  /** What became final until now is in the settlement that the store takes. False: nothing did. */
  taken(): boolean {
    const list = this.#committing;
    this.#committing = this.#final;
    this.#final = list;
    return this.#committing.size > 0;
  }

  /** The settlement taken is committed and synced. */
  committed(now: Nanoseconds): void {
    for (let i = 0; i < this.#committing.size; i++) this.#settle(this.#committing.at(i), now);
    this.#committing.clear();
  }

  /** Whether the other end should hear of it now. */
  due(now: Nanoseconds): boolean {
    const untold = this.#below - this.#told;
    return untold >= SETTLED_STEP_NUMBERS || (untold > 0 && now >= this.deadline);
  }

  get deadline(): Nanoseconds {
    return nanoseconds(this.#roseAt + SETTLED_DELAY_NS);
  }

  /** `below` was written into a packet. */
  told(): void {
    this.#told = this.#below;
    this.#roseAt = Number.POSITIVE_INFINITY;
  }

  /** That packet was lost, or the other end may have forgotten it. */
  untold(): void {
    if (this.#below === 1) return;
    this.#told = Math.min(this.#told, this.#below - 1);
    this.#roseAt = Number.NEGATIVE_INFINITY;
  }

  #settle(number: number, now: Nanoseconds): void {
    if (number < this.#below) return;
    this.#above.add(number);
    const below = this.#above.firstMissing(this.#below);
    if (below === this.#below) return;
    this.#below = below;
    this.#above.removeBelow(below);
    this.#roseAt = Math.min(this.#roseAt, now);
  }
}
