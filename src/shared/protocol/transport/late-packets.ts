// Packets that were declared lost, for a while: an acknowledgement that comes after all shows that
// the path reorders more than the thresholds expect. When that is true of every packet of a
// congestion event, there was no congestion.

import type { Nanoseconds } from "../../base/units.js";
import type { AckedRanges } from "./ack-reader.js";
import { LATE_PACKETS_MAX } from "./constants.js";

export class LatePackets {
  readonly #counter = new Float64Array(LATE_PACKETS_MAX);
  readonly #lostAt = new Float64Array(LATE_PACKETS_MAX);
  #read = 0;
  #write = 0;
  /** Losses since the last congestion event began, and which of them were only late. */
  #eventFirst = Number.POSITIVE_INFINITY;
  #eventLost = 0;
  #eventLate = 0;
  #late = 0;

  /** Packets ever acknowledged after they were declared lost. */
  get late(): number {
    return this.#late;
  }
  /** True while lost packets are remembered. */
  get watching(): boolean {
    return this.#read !== this.#write;
  }

  /** Remembers a lost packet; counters rise. */
  handleLost(now: Nanoseconds, counter: number): void {
    if (this.#write - this.#read === LATE_PACKETS_MAX) this.#read += 1;
    this.#counter[this.#write % LATE_PACKETS_MAX] = counter;
    this.#lostAt[this.#write % LATE_PACKETS_MAX] = now;
    this.#write += 1;
  }

  /** So many packets from `first` on were lost to congestion; `fresh`: they began a new event. */
  handleCongestion(fresh: boolean, first: number, packets: number): void {
    if (fresh) {
      this.#eventFirst = first;
      this.#eventLost = packets;
      this.#eventLate = 0;
    } else this.#eventLost += packets;
  }

  /** Forgets what was lost before this instant. */
  forgetBefore(at: number): void {
    while (this.watching && this.#lostAt[this.#read % LATE_PACKETS_MAX] < at) this.#read += 1;
  }
  forgetAll(): void {
    this.#read = this.#write;
    this.#eventFirst = Number.POSITIVE_INFINITY;
  }

  /**
   * Looks for lost packets in an ACK. True when with them the last congestion event turned out to
   * be none.
   */
  handleAck({ first, last, count: ranges }: AckedRanges): boolean {
    let range = 0;
    let found = 0;
    for (let at = this.#write - 1; at >= this.#read && range < ranges; at--) {
      const counter = this.#counter[at % LATE_PACKETS_MAX];
      if (counter < 0) continue;
      while (range < ranges && first[range] > counter) range += 1;
      if (range === ranges || last[range] < counter) continue;
      this.#counter[at % LATE_PACKETS_MAX] = -1;
      this.#late += 1;
      if (counter < this.#eventFirst) continue;
      this.#eventLate += 1;
      found += 1;
    }
    return found > 0 && this.#eventLate === this.#eventLost;
  }
}
