// What forgeries may cost one session: opens that failed, a second. Whoever can send a packet that
// gets as far as the cipher has seen one of ours, so only such a listener is bounded by this.

import type { Nanoseconds } from "../../base/units.js";
import { Pacer } from "../pacer.js";

/**
 * Failed opens of a session, a second, and as many at once: 2 % of a core. Not fewer: who saw packets
 * that were lost can send their headers and tags with other bytes, and must not use up a small budget.
 */
export const FAILED_OPENS_PER_SECOND = 10_000;
/** A longer datagram counts for each so many bytes of it: that is what opening costs. */
const OPEN_BYTES = 1_500;

/** Counts failures only: what is authentic costs nothing, however much of it is under way. */
export class ForgeryBudget {
  readonly #pacer: Pacer;

  constructor(now: Nanoseconds, failuresPerSecond: number = FAILED_OPENS_PER_SECOND) {
    this.#pacer = new Pacer({ ratePerSecond: failuresPerSecond, burst: failuresPerSecond, now });
  }

  /** Whether another packet may be opened. `now` never falls. */
  admits(now: Nanoseconds): boolean {
    return this.#pacer.availableAt(now) <= now;
  }

  /** An open failed. Those that were under way when the budget ran out are free. */
  failed(now: Nanoseconds, bytes = OPEN_BYTES): void {
    for (let left = bytes; left > 0; left -= OPEN_BYTES) this.#pacer.take(now);
  }
}
