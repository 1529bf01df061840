// Receipts on their way to a peer, in the order of the commits that made them. Each is kept until the
// packet that carried it is acknowledged; a lost one goes to the end of the queue again. Only the
// answer of the store appends here.

import { RECEIPTS_QUEUED_MAX } from "./limits.js";

const CAPACITY_INITIAL = 64;
const STATE = { waiting: 0, sent: 1, done: 2 } as const;

export class ReceiptQueue {
  #numbers = new Float64Array(CAPACITY_INITIAL);
  #digestsLow = new Int32Array(CAPACITY_INITIAL);
  #digestsHigh = new Int32Array(CAPACITY_INITIAL);
  #states = new Uint8Array(CAPACITY_INITIAL);
  #mask = CAPACITY_INITIAL - 1;
  /** Oldest that is not acknowledged, next to be written, next free: they count up, modulo 2^32. */
  #head = 0;
  #next = 0;
  #tail = 0;
  /** Those that are not acknowledged; what was sent again left its old place behind. */
  #live = 0;

  /** Receipts that wait to be written. */
  get waiting(): number {
    return (this.#tail - this.#next) >>> 0;
  }
  /** Position of the first that waits. */
  get next(): number {
    return this.#next;
  }
  /** Receipts that are not acknowledged. */
  get size(): number {
    return this.#live;
  }

  /** False when the queue is full: only a peer that repeats itself without end gets there. */
  append(number: number, digestLow: number, digestHigh: number): boolean {
    if (this.#live >= RECEIPTS_QUEUED_MAX) return false;
    this.#put(number, digestLow, digestHigh);
    return true;
  }

  #put(number: number, digestLow: number, digestHigh: number): void {
    if (this.#span > this.#mask) this.#grow();
    const at = this.#tail & this.#mask;
    this.#numbers[at] = number;
    this.#digestsLow[at] = digestLow;
    this.#digestsHigh[at] = digestHigh;
    this.#states[at] = STATE.waiting;
    this.#tail = (this.#tail + 1) >>> 0;
    this.#live += 1;
  }

  numberAt(position: number): number {
    return this.#numbers[position & this.#mask] as number;
  }
  digestLowAt(position: number): number {
    return this.#digestsLow[position & this.#mask] as number;
  }
  digestHighAt(position: number): number {
    return this.#digestsHigh[position & this.#mask] as number;
  }

  /** The first `count` that wait were written into a packet. */
  sent(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#states[this.#next & this.#mask] = STATE.sent;
      this.#next = (this.#next + 1) >>> 0;
    }
  }

  acknowledged(position: number, count: number): void {
    for (let i = 0; i < count; i++) this.#done(position + i);
    this.#advance();
  }

  lost(position: number, count: number): void {
    for (let i = 0; i < count; i++) {
      if (!this.#done(position + i)) continue;
      const from = (position + i) & this.#mask;
      this.#put(
        this.#numbers[from] as number,
        this.#digestsLow[from] as number,
        this.#digestsHigh[from] as number,
      );
    }
    this.#advance();
  }

  /** Sends again what was not acknowledged, in a session that knows nothing of the packets before. */
  restart(): void {
    const first = this.#head;
    this.lost(first, (this.#next - first) >>> 0);
  }

  /** Another boot of the peer: nothing of the one before is asked for any more. */
  clear(): void {
    this.#head = this.#tail;
    this.#next = this.#tail;
    this.#live = 0;
  }

  /** Places between the oldest and the next free one. */
  get #span(): number {
    return (this.#tail - this.#head) >>> 0;
  }

  /** False when that place is not one that was sent: it belongs to a boot that is over. */
  #done(position: number): boolean {
    const isSent = (position - this.#head) >>> 0 < (this.#next - this.#head) >>> 0;
    const at = position & this.#mask;
    if (!isSent || this.#states[at] !== STATE.sent) return false;
    this.#states[at] = STATE.done;
    this.#live -= 1;
    return true;
  }

  #advance(): void {
    while (this.#head !== this.#next && this.#states[this.#head & this.#mask] === STATE.done) {
      this.#head = (this.#head + 1) >>> 0;
    }
  }

  #grow(): void {
    const oldMask = this.#mask;
    const [numbers, low, high, states] = [
      this.#numbers,
      this.#digestsLow,
      this.#digestsHigh,
      this.#states,
    ];
    const capacity = (oldMask + 1) * 2;
    this.#mask = capacity - 1;
    this.#numbers = new Float64Array(capacity);
    this.#digestsLow = new Int32Array(capacity);
    this.#digestsHigh = new Int32Array(capacity);
    this.#states = new Uint8Array(capacity);
    for (let at = this.#head; at !== this.#tail; at = (at + 1) >>> 0) {
      const [from, to] = [at & oldMask, at & this.#mask];
      this.#numbers[to] = numbers[from] as number;
      this.#digestsLow[to] = low[from] as number;
      this.#digestsHigh[to] = high[from] as number;
      this.#states[to] = states[from] as number;
    }
  }
}
