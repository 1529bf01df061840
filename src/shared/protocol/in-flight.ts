// Outbound messages that the core answers for, from lease to settlement: one slot (ticket) each in
// typed arrays, found by message id, woken by deadline. No payload: a retry reads the row again.

import { assert } from "../base/assert.js";
import { type Nanoseconds, nanoseconds } from "../base/units.js";
import { IN_FLIGHT_MESSAGES_MAX, MESSAGE_ID_BYTES } from "./constants.js";
import { DeadlineHeap } from "./deadline-heap.js";
import { IdTable } from "./id-table.js";

/** Where a message stands. */
export const STANDING = {
  free: 0,
  /** Waits for its deadline, for a name, or for a destination that is down. */
  parked: 1,
  /** The store is asked for its payload once more. */
  reading: 2,
  /** In a slab, on its way through a crypto worker. */
  sealing: 3,
  /** Handed to the socket; an ACK may come. */
  sent: 4,
} as const;

assert(IN_FLIGHT_MESSAGES_MAX <= 2 ** 16, "a slot fits the low half of a ticket");

const SCOPE = 0;
const CAPACITY_INITIAL = 1_024;

export class InFlight {
  rowIds = new Float64Array(CAPACITY_INITIAL);
  generations = new Uint32Array(CAPACITY_INITIAL);
  /** Times it was sent again: outbound_messages.retry_count. */
  retries = new Uint32Array(CAPACITY_INITIAL);
  /** Unanswered sends while its destination answered others: the step of its own backoff. */
  backoffs = new Uint8Array(CAPACITY_INITIAL);
  destinations = new Uint32Array(CAPACITY_INITIAL);
  rings = new Uint32Array(CAPACITY_INITIAL);
  standings = new Uint8Array(CAPACITY_INITIAL);
  /** 1 once a packet of it may have left this host, in this run or an earlier one. */
  released = new Uint8Array(CAPACITY_INITIAL);
  /** Monotonic ns of the last send. */
  sentAt = new Float64Array(CAPACITY_INITIAL);
  /** Wall ms since the epoch. */
  expiresAt = new Float64Array(CAPACITY_INITIAL);
  #lives = new Uint16Array(CAPACITY_INITIAL);
  #ids = new Uint8Array(CAPACITY_INITIAL * MESSAGE_ID_BYTES);
  #free: Uint32Array = new Uint32Array(CAPACITY_INITIAL);
  #freeCount = 0;
  #capacity = 0;
  readonly #table: IdTable;
  readonly #heap: DeadlineHeap;

  constructor(seeds: readonly [number, number]) {
    this.#table = new IdTable({ seeds, entriesMax: IN_FLIGHT_MESSAGES_MAX });
    this.#heap = new DeadlineHeap(IN_FLIGHT_MESSAGES_MAX);
    this.#extend(CAPACITY_INITIAL);
  }

  get size(): number {
    return this.#table.size;
  }
  get full(): boolean {
    return this.#table.size >= IN_FLIGHT_MESSAGES_MAX;
  }
  /** Slots in use lie below this. */
  get capacity(): number {
    return this.#capacity;
  }

  /** A slot for a message; -1 when the id is in flight already, or the table is full. */
  add(bytes: Uint8Array, idAt: number): number {
    if (this.full || this.#table.find(bytes, idAt, SCOPE) >= 0) return -1;
    if (this.#freeCount === 0) this.#extend(Math.min(this.#capacity * 2, IN_FLIGHT_MESSAGES_MAX));
    this.#freeCount -= 1;
    const slot = this.#free[this.#freeCount] as number;
    const added = this.#table.insert(bytes, idAt, SCOPE, slot);
    assert(added, "the id table holds as many ids as there are slots");
    const at = slot * MESSAGE_ID_BYTES;
    for (let i = 0; i < MESSAGE_ID_BYTES; i++) this.#ids[at + i] = bytes[idAt + i] as number;
    return slot;
  }

  /** Names a slot while it holds this message: a freed slot's tickets are dead. */
  ticketOf(slot: number): number {
    return (((this.#lives[slot] as number) << 16) | slot) >>> 0;
  }

  /** The slot that a ticket names, or -1 when its message is settled. */
  slotOf(ticket: number): number {
    const slot = ticket & 0xffff;
    if (slot >= this.#capacity || this.standings[slot] === STANDING.free) return -1;
    return this.ticketOf(slot) === ticket ? slot : -1;
  }

  /** The slot of a message id, or -1. */
  find(bytes: Uint8Array, idAt: number): number {
    return this.#table.find(bytes, idAt, SCOPE);
  }

  remove(slot: number): void {
    assert(this.standings[slot] !== STANDING.free, "a slot is freed once");
    this.#table.delete(this.#ids, slot * MESSAGE_ID_BYTES, SCOPE);
    if (this.#heap.has(slot)) this.#heap.remove(slot);
    this.standings[slot] = STANDING.free;
    this.#lives[slot] = ((this.#lives[slot] as number) + 1) & 0x7fff;
    this.#free[this.#freeCount] = slot;
    this.#freeCount += 1;
  }

  /** Wakes the slot at `at`; replaces an earlier deadline. */
  wakeAt(slot: number, at: number): void {
    this.#heap.set(slot, at);
  }

  sleep(slot: number): void {
    if (this.#heap.has(slot)) this.#heap.remove(slot);
  }

  /** The next slot whose deadline has come, or -1; its deadline is cleared. */
  due(now: Nanoseconds): number {
    if (this.#heap.size === 0 || this.#heap.peekAt() > now) return -1;
    const slot = this.#heap.peekSlot();
    this.#heap.remove(slot);
    return slot;
  }

  /** Earliest deadline, or Infinity. */
  get nextDeadline(): Nanoseconds {
    return nanoseconds(this.#heap.peekAt());
  }

  #extend(capacity: number): void {
    const grow = <T extends Float64Array | Uint32Array | Uint16Array | Uint8Array>(
      from: T,
      to: T,
    ): T => {
      to.set(from.subarray(0, Math.min(from.length, to.length)));
      return to;
    };
    this.rowIds = grow(this.rowIds, new Float64Array(capacity));
    this.generations = grow(this.generations, new Uint32Array(capacity));
    this.retries = grow(this.retries, new Uint32Array(capacity));
    this.backoffs = grow(this.backoffs, new Uint8Array(capacity));
    this.destinations = grow(this.destinations, new Uint32Array(capacity));
    this.rings = grow(this.rings, new Uint32Array(capacity));
    this.standings = grow(this.standings, new Uint8Array(capacity));
    this.released = grow(this.released, new Uint8Array(capacity));
    this.sentAt = grow(this.sentAt, new Float64Array(capacity));
    this.expiresAt = grow(this.expiresAt, new Float64Array(capacity));
    this.#lives = grow(this.#lives, new Uint16Array(capacity));
    this.#ids = grow(this.#ids, new Uint8Array(capacity * MESSAGE_ID_BYTES));
    this.#free = grow(this.#free, new Uint32Array(capacity));
    for (let slot = capacity - 1; slot >= this.#capacity; slot--) {
      this.#free[this.#freeCount] = slot;
      this.#freeCount += 1;
    }
    this.#capacity = capacity;
  }
}
