// How much may be in flight while large transfers send: what they queue in front of a narrow place of the
// path is what every urgent message behind them waits for, and NewReno fills that queue until it
// overflows. Rises while the round trip is as short as it was without them, falls when a queue stands.
// Only pieces of large messages ask. Source: the idea is LEDBAT's (RFC 6817); thresholds are our own.

import { type Nanoseconds, NS_PER_MS, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import { WINDOW_MAX_BYTES } from "./constants.js";

/** Never less, bytes: whoever fills the queue, a large transfer moves on. */
export const BULK_BYTES_MIN = 256 * 1_024;
const BULK_BYTES_INITIAL = 2 * BULK_BYTES_MIN;
/** Queue that is left alone, ns: scheduling alone adds as much on a short path. */
const QUEUE_NS_MIN = 2 * NS_PER_MS;
/** The same as a share of the round trip. */
const QUEUE_SHARE = 1 / 8;
/** A queue this many times as long is a standing one. */
const STANDING = 2;
const STEP_SHARE = 1 / 8;
const ROUND_NS_MIN = NS_PER_MS;
/** The shortest round trip counts for one to two such spans: paths become longer. */
const BASE_SPAN_NS = 30 * NS_PER_SECOND;

export class BulkAllowance {
  #bytes = BULK_BYTES_INITIAL;
  /** Transfers were held back in this round: without it a wider allowance is not what they need. */
  #wanted = false;
  #shortestNs = Number.POSITIVE_INFINITY;
  #roundEnd: Nanoseconds = nanoseconds(Number.NEGATIVE_INFINITY);
  /** Shortest round trips of this span and the one before, ns. */
  #baseNs = Number.POSITIVE_INFINITY;
  #baseBeforeNs = Number.POSITIVE_INFINITY;
  #baseEnd: Nanoseconds = nanoseconds(Number.NEGATIVE_INFINITY);

  /** Bytes that may be in flight. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether a piece of a large message may go while so many bytes are in flight. */
  allows(bytesInFlight: number): boolean {
    return bytesInFlight < this.#bytes;
  }

  /** A piece stayed behind on that account. */
  handleHeldBack(): void {
    this.#wanted = true;
  }

  /** Takes a measured round trip, without what the peer says it waited; `smoothedNs`: as it is on average. */
  handleSample(now: Nanoseconds, sampleNs: number, smoothedNs: number): void {
    if (now >= this.#baseEnd) {
      this.#baseBeforeNs = this.#baseNs;
      this.#baseNs = sampleNs;
      this.#baseEnd = nanoseconds(now + BASE_SPAN_NS);
    }
    if (sampleNs < this.#baseNs) this.#baseNs = sampleNs;
    if (now >= this.#roundEnd) {
      this.#round();
      this.#shortestNs = sampleNs;
      this.#roundEnd = nanoseconds(now + Math.max(smoothedNs, ROUND_NS_MIN));
    } else if (sampleNs < this.#shortestNs) this.#shortestNs = sampleNs;
  }

  /** The shortest of a round's samples tells the queue: what is late once may be late for any reason. */
  #round(): void {
    if (this.#shortestNs === Number.POSITIVE_INFINITY) return;
    const baseNs = Math.min(this.#baseNs, this.#baseBeforeNs);
    const queueNs = this.#shortestNs - baseNs;
    const leftAloneNs = Math.max(QUEUE_SHARE * baseNs, QUEUE_NS_MIN);
    const step = Math.ceil(this.#bytes * STEP_SHARE);
    if (queueNs > STANDING * leftAloneNs) {
      this.#bytes = Math.max(this.#bytes - step, BULK_BYTES_MIN);
    } else if (queueNs <= leftAloneNs && this.#wanted) {
      this.#bytes = Math.min(this.#bytes + step, WINDOW_MAX_BYTES);
    }
    this.#wanted = false;
  }
}
