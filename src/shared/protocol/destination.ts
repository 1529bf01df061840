// One place that rows go to: where it is, whether it answers, how much may be under way to it.
// A destination that stays silent is probed with one message at a time, so that a dead host costs a
// datagram a minute and never delays a live one; the first authenticated sign of life wakes it.

import { type Nanoseconds, nanoseconds } from "../base/units.js";
import {
  DOWN_AFTER_TIMEOUTS,
  RETRY_FIRST_MAX_NS,
  RETRY_FIRST_MIN_NS,
  RETRY_FIRST_NS,
  WINDOW_ROWS_DOWN,
  WINDOW_ROWS_INITIAL,
  WINDOW_ROWS_MAX,
  WINDOW_ROWS_MIN,
} from "./constants.js";
import { NO_RING } from "./slot.js";

export class Destination {
  readonly index: number;
  /** dst_addr and dst_port as rows spell them. */
  readonly name: string;
  readonly port: number;
  /** IP address, once known. */
  address: string | undefined;
  /** Why nothing can be sent there, if so: a sentence for last_error. */
  refusal: string | undefined;
  ring: number = NO_RING;
  affinity = 0;
  /** Its rows go in sessions by now: what is left of them here goes back to the table. */
  elsewhere = false;
  /** Tickets in flight. */
  inFlight = 0;
  /** Set while the destination is down: the probe number, from 1. */
  probes = 0;
  nextProbeAt: Nanoseconds = nanoseconds(0);
  #timeouts = 0;
  #window = WINDOW_ROWS_INITIAL;
  #announced = 0;
  #srttNs = 0;
  #varianceNs = 0;
  #halvedAt = 0;
  #heardAt: Nanoseconds;

  constructor(index: number, name: string, port: number, now: Nanoseconds) {
    this.index = index;
    this.name = name;
    this.port = port;
    this.#heardAt = now;
  }

  get down(): boolean {
    return this.probes > 0;
  }

  /** It owes an answer: a wait for an ACK ran out, and nothing was heard since. */
  get silent(): boolean {
    return this.down || this.#timeouts > 0;
  }

  /** Rows that the store may have out for it. */
  get limit(): number {
    if (this.address === undefined || this.down) return WINDOW_ROWS_DOWN;
    return this.#window;
  }

  /** The limit, when it differs from what was last announced by half or more; else undefined. */
  announce(): number | undefined {
    const limit = this.limit;
    const near = limit < this.#announced * 2 && limit > this.#announced / 2;
    if (limit === this.#announced || (near && limit > WINDOW_ROWS_DOWN)) return undefined;
    this.#announced = limit;
    return limit;
  }

  /** Somebody else said meanwhile how many rows may be out. */
  forgetAnnounced(): void {
    this.#announced = 0;
  }

  /** First wait for an ACK: four deviations beyond the smoothed round trip. Source: RFC 6298. */
  get firstDelay(): Nanoseconds {
    if (this.#srttNs === 0) return nanoseconds(RETRY_FIRST_NS);
    const delay = this.#srttNs + 4 * this.#varianceNs + RETRY_FIRST_MIN_NS;
    return nanoseconds(Math.min(delay, RETRY_FIRST_MAX_NS));
  }

  /** An ACK for a message sent once: the only samples without doubt about which copy it answers. */
  sample(roundTripNs: number): void {
    if (this.#srttNs === 0) {
      this.#srttNs = roundTripNs;
      this.#varianceNs = roundTripNs / 2;
      return;
    }
    const deviation = Math.abs(this.#srttNs - roundTripNs);
    this.#varianceNs += (deviation - this.#varianceNs) / 4;
    this.#srttNs += (roundTripNs - this.#srttNs) / 8;
  }

  acknowledged(): void {
    if (this.#window < WINDOW_ROWS_MAX) this.#window += 1;
  }

  /** Something authentic came from it. True when what waits for it may hope again: it was silent. */
  heard(now: Nanoseconds): boolean {
    const wasSilent = this.silent;
    this.#heardAt = now;
    this.probes = 0;
    this.#timeouts = 0;
    return wasSilent;
  }

  /** A wait for an ACK ran out. The window halves once a round trip. True when it goes down now. */
  timedOut(now: Nanoseconds): boolean {
    if (now - this.#halvedAt > Math.max(this.#srttNs, RETRY_FIRST_MIN_NS)) {
      this.#window = Math.max(WINDOW_ROWS_MIN, this.#window >> 1);
      this.#halvedAt = now;
    }
    this.#timeouts += 1;
    if (this.down || this.#timeouts < DOWN_AFTER_TIMEOUTS) return false;
    if (now - this.#heardAt < RETRY_FIRST_NS) return false;
    this.probes = 1;
    return true;
  }
}
