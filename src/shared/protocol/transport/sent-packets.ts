// The packets that a session sent, by counter: a ring of records in typed arrays that doubles as
// the span of what is outstanding grows. Counters rise; where some never left, there are holes.
// Which packet is acknowledged or lost is decided in recovery.ts; here it is only written down.

import { assert } from "../../base/assert.js";
import { type Nanoseconds, nanoseconds } from "../../base/units.js";
import { SENT_PACKETS_INITIAL, SENT_PACKETS_MAX } from "./constants.js";

/** What a packet is to the transport, as bits. */
export const PACKET = {
  /** The peer must acknowledge it. A packet without this bit is not followed up. */
  eliciting: 1,
  /** It counts towards the bytes in flight of its path. */
  inFlight: 2,
  /** It is as large as it is only to probe the path; its loss is no congestion. */
  mtuProbe: 4,
} as const;

/** What became of a counter. */
export const STATE = {
  /** No packet had it. */
  skipped: 0,
  /** Sent, and nobody waits for its acknowledgement. */
  untracked: 1,
  outstanding: 2,
  acked: 3,
  lost: 4,
  /** It was said to be sent, and did not leave after all, or perhaps. */
  withdrawn: 5,
} as const;
export type State = (typeof STATE)[keyof typeof STATE];

/** A packet that carries nothing whose fate anybody asks for. */
export const NO_CONTENT = 0xffff_ffff;
/** Largest counter in the ACK frame of a packet without one: below every counter. */
export const NO_ACKS = -1;

export class SentPackets {
  readonly #capacityMax: number;
  #capacity: number;
  #sentAt: Float64Array;
  /** Largest counter of the ACK frame in the packet, or NO_ACKS. */
  #ackLargest: Float64Array;
  #content: Uint32Array;
  #bytes: Uint16Array;
  #flags: Uint8Array;
  #state: Uint8Array;
  /** Everything below is settled and may be overwritten. */
  #head = 0;
  #next = 0;

  /** `capacityMax`: a power of two; counters between the oldest outstanding packet and the next. */
  constructor(capacityMax: number = SENT_PACKETS_MAX) {
    assert((capacityMax & (capacityMax - 1)) === 0, "records lie in a ring of a power of two");
    this.#capacityMax = capacityMax;
    this.#capacity = Math.min(SENT_PACKETS_INITIAL, capacityMax);
    this.#sentAt = new Float64Array(this.#capacity);
    this.#ackLargest = new Float64Array(this.#capacity);
    this.#content = new Uint32Array(this.#capacity);
    this.#bytes = new Uint16Array(this.#capacity);
    this.#flags = new Uint8Array(this.#capacity);
    this.#state = new Uint8Array(this.#capacity);
  }

  /** The oldest counter that is not settled. */
  get head(): number {
    return this.#head;
  }
  /** Above every counter that was sent. */
  get next(): number {
    return this.#next;
  }
  /** Counters from the head on, settled or not. */
  get span(): number {
    return this.#next - this.#head;
  }
  get capacityMax(): number {
    return this.#capacityMax;
  }

  /** Whether the ring can take this counter, now or after growing, without a new head. */
  fits(counter: number): boolean {
    return counter - this.#head < this.#capacityMax;
  }

  /** Whether the ring must grow to take this counter. */
  crowds(counter: number): boolean {
    return counter - this.#head >= this.#capacity;
  }

  /** Writes down a packet; counters only rise, and the ring has room (`fits`). */
  push(
    counter: number,
    sentAt: Nanoseconds,
    bytes: number,
    flags: number,
    content: number,
    ackLargest: number,
  ): void {
    assert(counter >= this.#next, "counters rise");
    while (this.crowds(counter)) this.#grow();
    for (let c = this.#next; c < counter; c++) this.#state[this.#slot(c)] = STATE.skipped;
    const slot = this.#slot(counter);
    this.#sentAt[slot] = sentAt;
    this.#ackLargest[slot] = ackLargest;
    this.#content[slot] = content;
    this.#bytes[slot] = bytes;
    this.#flags[slot] = flags;
    this.#state[slot] = (flags & PACKET.eliciting) === 0 ? STATE.untracked : STATE.outstanding;
    this.#next = counter + 1;
  }

  /** Gives up the record of the head, which is settled. */
  advance(): void {
    assert(this.#head < this.#next, "the head stays behind the newest packet");
    assert(this.state(this.#head) !== STATE.outstanding, "an outstanding packet keeps its record");
    this.#head += 1;
  }

  /** Skips to a counter when nothing at or above the head is outstanding. */
  restart(counter: number): void {
    assert(
      this.#head === this.#next && counter >= this.#next,
      "only an empty ring starts elsewhere",
    );
    this.#head = counter;
    this.#next = counter;
  }

  /** Whether there is a record of this counter. */
  has(counter: number): boolean {
    return counter >= this.#head && counter < this.#next;
  }
  state(counter: number): State {
    return this.#state[this.#slot(counter)] as State;
  }
  setState(counter: number, state: State): void {
    this.#state[this.#slot(counter)] = state;
  }
  sentAt(counter: number): Nanoseconds {
    return nanoseconds(this.#sentAt[this.#slot(counter)]);
  }
  ackLargest(counter: number): number {
    return this.#ackLargest[this.#slot(counter)];
  }
  content(counter: number): number {
    return this.#content[this.#slot(counter)];
  }
  bytes(counter: number): number {
    return this.#bytes[this.#slot(counter)];
  }
  flags(counter: number): number {
    return this.#flags[this.#slot(counter)];
  }
  clearFlag(counter: number, flag: number): void {
    this.#flags[this.#slot(counter)] &= ~flag;
  }

  #slot(counter: number): number {
    // A bit operation takes the low 32 bits of a double below 2^53, and the mask needs fewer.
    return counter & (this.#capacity - 1);
  }

  #grow(): void {
    const from = this.#capacity;
    assert(from < this.#capacityMax, "the caller asked whether the packet fits");
    const sentAt = new Float64Array(2 * from);
    const ackLargest = new Float64Array(2 * from);
    const content = new Uint32Array(2 * from);
    const bytes = new Uint16Array(2 * from);
    const flags = new Uint8Array(2 * from);
    const state = new Uint8Array(2 * from);
    for (let c = this.#head; c < this.#next; c++) {
      const source = c & (from - 1);
      const target = c & (2 * from - 1);
      sentAt[target] = this.#sentAt[source];
      ackLargest[target] = this.#ackLargest[source];
      content[target] = this.#content[source];
      bytes[target] = this.#bytes[source];
      flags[target] = this.#flags[source];
      state[target] = this.#state[source];
    }
    this.#capacity = 2 * from;
    this.#sentAt = sentAt;
    this.#ackLargest = ackLargest;
    this.#content = content;
    this.#bytes = bytes;
    this.#flags = flags;
    this.#state = state;
  }
}
