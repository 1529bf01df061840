// Rows of session peers from lease to settlement: one slot each in typed arrays, whoever they go to.
// A slot knows what the table said, where the payload lies, and how far it got; who decides what
// happens to it is the Sender of its peer.

import { assert } from "../../base/assert.js";
import { type Nanoseconds, nanoseconds } from "../../base/units.js";
import { IN_FLIGHT_MESSAGES_MAX, MESSAGE_ID_BYTES } from "../constants.js";
import { DeadlineHeap } from "../deadline-heap.js";
import { signedWordAt } from "./byte-order.js";
import { DIGEST_PIECE_BYTES, MESSAGE_DIGEST_BYTES } from "./limits.js";
import type { OutgoingStream } from "./outgoing-stream.js";
import type { SessionRow } from "./ports.js";
import type { Transfer } from "./transfer.js";

/** Where a row stands. */
export const STANDING = {
  free: 0,
  /** In a queue: its payload is at hand, and bytes of it are to be written. */
  queued: 1,
  /** All its bytes were written; acknowledgement of packets, and a receipt, are to come. */
  flying: 2,
  /** Waits without payload: for a session, or for the end of a delay. */
  parked: 3,
  /** The store is asked for its payload. */
  reading: 4,
} as const;

const CAPACITY_INITIAL = 256;

export class Outgoing {
  rowIds = new Float64Array(CAPACITY_INITIAL);
  generations = new Uint32Array(CAPACITY_INITIAL);
  attempts = new Uint32Array(CAPACITY_INITIAL);
  /** Wall ms since the epoch. */
  expiresAt = new Float64Array(CAPACITY_INITIAL);
  peers = new Uint32Array(CAPACITY_INITIAL);
  /** Number of the message, 0 until it is released. */
  numbers = new Float64Array(CAPACITY_INITIAL);
  sequences = new Float64Array(CAPACITY_INITIAL);
  priorities = new Uint8Array(CAPACITY_INITIAL);
  flags = new Uint8Array(CAPACITY_INITIAL);
  totals = new Uint32Array(CAPACITY_INITIAL);
  standings = new Uint8Array(CAPACITY_INITIAL);
  /** 1 when a packet of it may have left this host, in this run or an earlier one. */
  released = new Uint8Array(CAPACITY_INITIAL);
  /** 1 while its total counts as unfinished at the receiver. */
  counted = new Uint8Array(CAPACITY_INITIAL);
  /** 1 when the table knows that it was sent. */
  shown = new Uint8Array(CAPACITY_INITIAL);
  backoffs = new Uint8Array(CAPACITY_INITIAL);
  /** Monotonic ns of the first packet in this session. */
  sentAt = new Float64Array(CAPACITY_INITIAL);
  /** Monotonic ns at which a parked row has waited long enough. */
  returnAt = new Float64Array(CAPACITY_INITIAL);
  /** Monotonic ns at which {@link wake} is to wake it. */
  wakesAt = new Float64Array(CAPACITY_INITIAL);
  payloadAts = new Uint32Array(CAPACITY_INITIAL);
  digests = new Uint8Array(CAPACITY_INITIAL * MESSAGE_DIGEST_BYTES);
  ids = new Uint8Array(CAPACITY_INITIAL * MESSAGE_ID_BYTES);
  replies = new Uint8Array(CAPACITY_INITIAL * MESSAGE_ID_BYTES);
  /** Memory of the payload while it is at hand. */
  readonly sources: (Uint8Array | undefined)[] = [];
  readonly streams: (OutgoingStream | undefined)[] = [];
  /** What of a message in several pieces went where. */
  readonly transfers: (Transfer | undefined)[] = [];
  /** Refusals for a while, of all rows, ever. */
  postponements = 0;
  #lives = new Uint16Array(CAPACITY_INITIAL);
  #free = new Uint32Array(CAPACITY_INITIAL);
  #freeCount = 0;
  #capacity = 0;
  #size = 0;
  readonly #heap = new DeadlineHeap(IN_FLIGHT_MESSAGES_MAX);

  constructor() {
    this.#extend(CAPACITY_INITIAL);
  }

  get size(): number {
    return this.#size;
  }
  /** Slots in use lie below this. */
  get capacity(): number {
    return this.#capacity;
  }
  get full(): boolean {
    return this.#size >= IN_FLIGHT_MESSAGES_MAX;
  }

  /** A slot for a row, with what the row says. */
  add(peer: number, row: SessionRow): number {
    assert(!this.full, "no more rows are ordered than slots are free");
    if (this.#freeCount === 0) this.#extend(Math.min(this.#capacity * 2, IN_FLIGHT_MESSAGES_MAX));
    this.#freeCount -= 1;
    this.#size += 1;
    const slot = this.#free[this.#freeCount] as number;
    this.peers[slot] = peer;
    this.rowIds[slot] = row.rowId;
    this.generations[slot] = row.generation;
    this.attempts[slot] = row.attempts;
    this.expiresAt[slot] = row.expiresAt;
    this.numbers[slot] = 0;
    this.sequences[slot] = 0;
    this.priorities[slot] = row.priority;
    this.flags[slot] = row.flags;
    this.totals[slot] = row.total;
    this.released[slot] = row.released ? 1 : 0;
    this.counted[slot] = 0;
    this.shown[slot] = row.released ? 1 : 0;
    this.backoffs[slot] = 0;
    this.payloadAts[slot] = row.payloadAt;
    this.sources[slot] = row.inBatch ? row.bytes : undefined;
    copy(row.bytes, row.digestAt, this.digests, slot * MESSAGE_DIGEST_BYTES, MESSAGE_DIGEST_BYTES);
    copy(row.bytes, row.messageIdAt, this.ids, slot * MESSAGE_ID_BYTES, MESSAGE_ID_BYTES);
    copy(row.bytes, row.inReplyToAt, this.replies, slot * MESSAGE_ID_BYTES, MESSAGE_ID_BYTES);
    return slot;
  }

  remove(slot: number): void {
    assert(this.standings[slot] !== STANDING.free, "a slot is freed once");
    if (this.#heap.has(slot)) this.#heap.remove(slot);
    this.standings[slot] = STANDING.free;
    this.sources[slot] = undefined;
    this.streams[slot] = undefined;
    this.transfers[slot] = undefined;
    this.renew(slot);
    this.#free[this.#freeCount] = slot;
    this.#freeCount += 1;
    this.#size -= 1;
  }

  hasId(slot: number, bytes: Uint8Array, at: number): boolean {
    return equal(this.ids, slot * MESSAGE_ID_BYTES, bytes, at, MESSAGE_ID_BYTES);
  }
  /** Compares what pieces say of the digest. */
  hasDigest(slot: number, bytes: Uint8Array, at: number): boolean {
    return equal(this.digests, slot * MESSAGE_DIGEST_BYTES, bytes, at, DIGEST_PIECE_BYTES);
  }
  /** Compares what receipts and refusals say of it. */
  hasDigestWords(slot: number, low: number, high: number): boolean {
    const at = slot * MESSAGE_DIGEST_BYTES;
    return signedWordAt(this.digests, at) === low && signedWordAt(this.digests, at + 4) === high;
  }

  /** Names a slot while it holds this row: a freed slot's tickets are dead. */
  ticketOf(slot: number): number {
    return (((this.#lives[slot] as number) << 16) | slot) >>> 0;
  }

  /** The slot that a ticket names, or -1 when its row is settled. */
  slotOf(ticket: number): number {
    const slot = ticket & 0xffff;
    if (slot >= this.#capacity || this.standings[slot] === STANDING.free) return -1;
    return this.ticketOf(slot) === ticket ? slot : -1;
  }

  /** The slot goes on under another ticket: what was under way, asked for or queued is void. */
  renew(slot: number): void {
    this.#lives[slot] = ((this.#lives[slot] as number) + 1) & 0x7fff;
  }

  /** Wakes the slot at its `wakesAt`; replaces an earlier deadline. */
  wake(slot: number): void {
    this.#heap.setFrom(this.wakesAt, slot);
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

  get nextDeadline(): Nanoseconds {
    return nanoseconds(this.#heap.peekAt());
  }

  #extend(capacity: number): void {
    this.rowIds = grown(this.rowIds, new Float64Array(capacity));
    this.generations = grown(this.generations, new Uint32Array(capacity));
    this.attempts = grown(this.attempts, new Uint32Array(capacity));
    this.expiresAt = grown(this.expiresAt, new Float64Array(capacity));
    this.peers = grown(this.peers, new Uint32Array(capacity));
    this.numbers = grown(this.numbers, new Float64Array(capacity));
    this.sequences = grown(this.sequences, new Float64Array(capacity));
    this.priorities = grown(this.priorities, new Uint8Array(capacity));
    this.flags = grown(this.flags, new Uint8Array(capacity));
    this.totals = grown(this.totals, new Uint32Array(capacity));
    this.standings = grown(this.standings, new Uint8Array(capacity));
    this.released = grown(this.released, new Uint8Array(capacity));
    this.counted = grown(this.counted, new Uint8Array(capacity));
    this.shown = grown(this.shown, new Uint8Array(capacity));
    this.backoffs = grown(this.backoffs, new Uint8Array(capacity));
    this.sentAt = grown(this.sentAt, new Float64Array(capacity));
    this.returnAt = grown(this.returnAt, new Float64Array(capacity));
    this.wakesAt = grown(this.wakesAt, new Float64Array(capacity));
    this.payloadAts = grown(this.payloadAts, new Uint32Array(capacity));
    this.digests = grown(this.digests, new Uint8Array(capacity * MESSAGE_DIGEST_BYTES));
    this.ids = grown(this.ids, new Uint8Array(capacity * MESSAGE_ID_BYTES));
    this.replies = grown(this.replies, new Uint8Array(capacity * MESSAGE_ID_BYTES));
    this.#lives = grown(this.#lives, new Uint16Array(capacity));
    this.#free = grown(this.#free, new Uint32Array(capacity));
    for (let slot = capacity - 1; slot >= this.#capacity; slot--) {
      this.#free[this.#freeCount] = slot;
      this.#freeCount += 1;
    }
    this.#capacity = capacity;
  }
}

function grown<T extends Float64Array | Uint32Array | Uint16Array | Uint8Array>(from: T, to: T): T {
  to.set(from.subarray(0, Math.min(from.length, to.length)));
  return to;
}

/** By hand: for so few bytes a subarray costs more than the copy. */
function copy(
  from: Uint8Array,
  fromAt: number,
  to: Uint8Array,
  toAt: number,
  length: number,
): void {
  for (let i = 0; i < length; i++) to[toAt + i] = from[fromAt + i] as number;
}

function equal(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}
