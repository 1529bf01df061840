// Persistent congestion, RFC 9002 §7.6: losses over three probe timeouts with nothing acknowledged
// between them. The path is broken then, not full. Packets are reported in the order of their
// counters.

import { type Nanoseconds, nanoseconds } from "../../base/units.js";
import { PERSISTENT_TIMEOUTS } from "./constants.js";
import type { RoundTrip } from "./round-trip.js";

const NONE = nanoseconds(Number.POSITIVE_INFINITY);

export class LossRun {
  #firstAt = NONE;

  /** A packet was acknowledged, or the path is another: the next loss begins a new run. */
  break(): void {
    this.#firstAt = NONE;
  }

  /** A packet sent at `sentAt` was lost; true when with it the congestion is persistent. */
  extend(sentAt: Nanoseconds, roundTrip: RoundTrip, ackDelayMaxNs: number): boolean {
    // Before the first sample the round trip is a guess, and a long one looks like a broken path.
    if (sentAt <= roundTrip.firstSampleAt) return false;
    if (this.#firstAt === NONE) this.#firstAt = sentAt;
    const spanNs = PERSISTENT_TIMEOUTS * roundTrip.probeWaitNs(ackDelayMaxNs);
    if (sentAt - this.#firstAt <= spanNs) return false;
    this.break();
    return true;
  }
}
