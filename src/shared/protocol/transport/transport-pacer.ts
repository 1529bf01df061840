// Spreads the packets of a path over the round trip, so that a window does not leave as one burst.
// A bucket of bytes that fills at 1.25 windows a round trip; packets of ACKs alone do not pass
// through. Its burst lets the full rate pass where timers are coarser than the round trip (RFC 9002
// §7.7).

import { type Nanoseconds, nanoseconds } from "../../base/units.js";
import { PACING_BURST_DATAGRAMS, PACING_BURST_NS, PACING_SHARE } from "./constants.js";

export class TransportPacer {
  #datagramBytes: number;
  /** Bytes a nanosecond. */
  #rate = 0;
  #burst: number;
  /** May be negative: probes leave in any case. */
  #tokens: number;
  #filledAt: Nanoseconds;

  /** Begins with a full bucket. */
  constructor(now: Nanoseconds, datagramBytes: number) {
    this.#datagramBytes = datagramBytes;
    this.#burst = PACING_BURST_DATAGRAMS * datagramBytes;
    this.#tokens = this.#burst;
    this.#filledAt = now;
  }

  /** Follows the path: window and size of datagrams in bytes, round trip in ns. */
  handlePath(now: Nanoseconds, window: number, roundTripNs: number, datagramBytes: number): void {
    this.#fill(now);
    this.#datagramBytes = datagramBytes;
    this.#rate = (PACING_SHARE * window) / Math.max(roundTripNs, 1);
    this.#burst = Math.max(PACING_BURST_DATAGRAMS * datagramBytes, this.#rate * PACING_BURST_NS);
    this.#tokens = Math.min(this.#tokens, this.#burst);
  }

  /** A packet in flight left. */
  handleSent(now: Nanoseconds, bytes: number): void {
    this.#fill(now);
    this.#tokens = Math.max(this.#tokens - bytes, -this.#burst);
  }

  /** The first instant, not before `now`, at which a packet of at most one datagram may leave. */
  availableAt(now: Nanoseconds): Nanoseconds {
    this.#fill(now);
    const missing = this.#datagramBytes - this.#tokens;
    if (missing <= 0) return now;
    return nanoseconds(now + Math.ceil(missing / this.#rate));
  }

  /** Bytes a second at which packets leave, bursts apart. */
  get bytesPerSecond(): number {
    return this.#rate * 1e9;
  }
  /** Bytes that may leave at once after a pause. */
  get burstBytes(): number {
    return this.#burst;
  }

  #fill(now: Nanoseconds): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#filledAt) * this.#rate);
    this.#filledAt = now;
  }
}
