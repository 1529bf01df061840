// The packets that arrived in a session, as ranges of counters, and when the peer is to hear of
// them. Receiver's half of RFC 9000 §13.2. Duplicates were refused by the replay window before. No
// allocation: ranges lie ascending in two arrays, the newest at the end, which is where nearly all
// changes are.

import { assert } from "../../base/assert.js";
import { type Nanoseconds, NS_PER_US, nanoseconds } from "../../base/units.js";
import { ACK_DELAY_NS, ACK_RANGES_MAX, ACK_THRESHOLD_PACKETS } from "./constants.js";

export class AckRanges {
  readonly #first = new Float64Array(ACK_RANGES_MAX);
  readonly #last = new Float64Array(ACK_RANGES_MAX);
  #count = 0;
  #largestAt = nanoseconds(0);

  readonly #delayNs: number;
  #every = ACK_THRESHOLD_PACKETS;
  /** Ack-eliciting packets since the last ACK; the first of them came at #waitingSince. */
  #unacked = 0;
  #waitingSince = nanoseconds(0);
  #atOnce = false;

  /** Range that the cursor stands on, as an index; -1 behind the oldest. */
  #at = -1;

  /** `delayNs`: the longest wait that the handshake promised the peer. */
  constructor(delayNs: number = ACK_DELAY_NS) {
    this.#delayNs = delayNs;
  }

  /** Ack-eliciting packets that draw an ACK, 1 and up: more of them where packets come fast. */
  set every(packets: number) {
    assert(packets >= 1, "some number of packets draws an ACK");
    this.#every = packets;
  }

  /**
   * Takes note of a packet that was opened; `eliciting`: it holds more than ACK, PADDING, CLOSE.
   */
  handlePacket(now: Nanoseconds, counter: number, eliciting: boolean): void {
    const largest = this.#count === 0 ? -1 : this.#last[this.#count - 1];
    // Overtaken packets and fresh gaps are what the sender's loss detection waits for.
    const inOrder = counter === largest + 1;
    if (counter > largest) this.#largestAt = now;
    this.#add(counter);
    if (!eliciting) return;
    if (this.#unacked === 0) this.#waitingSince = now;
    this.#unacked += 1;
    if (!inOrder) this.#atOnce = true;
  }

  /**
   * Forgets what the peer knows that we received: it acknowledged a packet whose ACK frame had this
   * largest counter. The range of the largest packet stays.
   */
  handleAckOfAck(largest: number): void {
    let gone = 0;
    while (gone < this.#count - 1 && this.#last[gone] <= largest) gone += 1;
    if (gone > 0) this.#removeFrom(0, gone);
  }

  /** An ACK frame with all that the cursor gave was written into a packet. */
  handleAckSent(): void {
    this.#unacked = 0;
    this.#atOnce = false;
  }

  /** True when an ACK is to leave now, alone if need be. */
  ackDue(now: Nanoseconds): boolean {
    return this.pollDeadline() <= now;
  }

  /** True when a packet that leaves anyway should carry an ACK: there is news that wants one. */
  get ackWanted(): boolean {
    return this.#unacked > 0;
  }

  /** When an ACK is due; in the past when at once, Infinity when nothing waits. */
  pollDeadline(): Nanoseconds {
    if (this.#unacked === 0) return nanoseconds(Number.POSITIVE_INFINITY);
    if (this.#atOnce || this.#unacked >= this.#every) return this.#waitingSince;
    return nanoseconds(this.#waitingSince + this.#delayNs);
  }

  /** Ranges there are, 0 to 64. An ACK frame needs one at least. */
  get count(): number {
    return this.#count;
  }
  /** Largest counter received, or -1. */
  get largest(): number {
    return this.#count === 0 ? -1 : this.#last[this.#count - 1];
  }
  /** How long ago the largest counter came, us: the delay field before scaling. */
  delayUs(now: Nanoseconds): number {
    return Math.floor((now - this.#largestAt) / NS_PER_US);
  }

  /** Puts the cursor on the newest range; false when there is none. */
  rewind(): boolean {
    this.#at = this.#count - 1;
    return this.#at >= 0;
  }
  /** Moves to the next older range; false when there is none. `gap` is the one in front of it. */
  next(): boolean {
    if (this.#at >= 0) this.#at -= 1;
    return this.#at >= 0;
  }
  /** ACK Range Length (first: First ACK Range) at the cursor: packets before its last one. */
  get length(): number {
    return this.#last[this.#at] - this.#first[this.#at];
  }
  /**
   * Gap field at the cursor: missing packets in front of it, less one. Source: RFC 9000 §19.3.1.
   */
  get gap(): number {
    return this.#first[this.#at + 1] - this.#last[this.#at] - 2;
  }
  /** Bounds of the range at the cursor, both in it. */
  get rangeFirst(): number {
    return this.#first[this.#at];
  }
  get rangeLast(): number {
    return this.#last[this.#at];
  }

  #add(counter: number): void {
    // The last range that begins at or below the counter, or -1.
    let at = this.#count - 1;
    while (at >= 0 && this.#first[at] > counter) at -= 1;
    if (at >= 0 && counter <= this.#last[at]) return;

    const below = at >= 0 && this.#last[at] + 1 === counter;
    const above = at + 1 < this.#count && this.#first[at + 1] - 1 === counter;
    if (below && above) {
      this.#last[at] = this.#last[at + 1];
      this.#removeFrom(at + 1, 1);
    } else if (below) this.#last[at] = counter;
    else if (above) this.#first[at + 1] = counter;
    else this.#insert(at + 1, counter);
  }

  #insert(index: number, counter: number): void {
    let at = index;
    if (this.#count === ACK_RANGES_MAX) {
      // Older than all that is kept: the sender will take it for lost, and send its content again.
      if (at === 0) return;
      this.#removeFrom(0, 1);
      at -= 1;
    }
    this.#first.copyWithin(at + 1, at, this.#count);
    this.#last.copyWithin(at + 1, at, this.#count);
    this.#first[at] = counter;
    this.#last[at] = counter;
    this.#count += 1;
  }

  #removeFrom(index: number, ranges: number): void {
    this.#first.copyWithin(index, index + ranges, this.#count);
    this.#last.copyWithin(index, index + ranges, this.#count);
    this.#count -= ranges;
  }
}
