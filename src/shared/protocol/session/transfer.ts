// What of one message in several pieces was written, acknowledged, lost, or is on the other side's
// disk; and, for a message too large for a batch, the pieces of its payload that are at hand.

import { assert } from "../../base/assert.js";
import { MESSAGE_IN_MEMORY_BYTES_MAX, TRANSFER_AHEAD_BYTES } from "./limits.js";
import { NumberRanges } from "./number-ranges.js";

/** Pieces that the store is asked for, bytes. */
export const READ_PIECE_BYTES = 256 * 1_024;
/** Ranges that loss may leave at most; beyond, gaps are closed by sending more than was lost. */
const RANGES_MAX = 4_096;
/** Pieces that are asked for from the next byte on, once its message was begun. */
const PIECES_AHEAD = 3;

export class Transfer {
  readonly total: number;
  /** Bytes from here on were never written in this session. */
  nextOffset = 0;
  /** Whether it stands in the queue of those that want to read. */
  wants = false;
  /** What its owner has counted of the two sums below. */
  countedHeldBytes = 0;
  countedClaimedBytes = 0;
  /** Bytes that need no more sending: their packets were acknowledged, or HAVE listed them. */
  readonly #done = new NumberRanges(RANGES_MAX);
  readonly #lost = new NumberRanges(RANGES_MAX);
  /** How much HAVE said is on disk, contiguous or not. */
  #onDiskBytes = 0;
  readonly #pieces = new Map<number, Uint8Array>();
  readonly #asked = new Set<number>();
  #heldBytes = 0;

  constructor(total: number) {
    this.total = total;
  }

  /** Whether its payload is read in pieces. */
  get large(): boolean {
    return this.total > MESSAGE_IN_MEMORY_BYTES_MAX;
  }

  /** Offset of the next byte to write, lost ones first; -1 when there is none. */
  get next(): number {
    if (this.#lost.size > 0) return this.#lost.startOf(0);
    this.nextOffset = this.#done.firstMissing(this.nextOffset);
    return this.nextOffset < this.total ? this.nextOffset : -1;
  }

  /** How many bytes may be written from `next` in one run, by what is missing there. */
  get run(): number {
    if (this.#lost.size > 0) return this.#lost.endOf(0) - this.#lost.startOf(0);
    const end = Math.min(this.total, this.#done.firstPresent(this.nextOffset));
    return this.large ? Math.min(end - this.nextOffset, this.#ahead()) : end - this.nextOffset;
  }

  get repairing(): boolean {
    return this.#lost.size > 0;
  }

  /** All bytes are where they should be; the receipt is what is missing. */
  get complete(): boolean {
    return this.#done.covers(0, this.total);
  }

  written(offset: number, length: number): void {
    if (this.#lost.size > 0) {
      this.#lost.removeRange(offset, offset + length);
      return;
    }
    assert(offset === this.nextOffset, "new bytes are written in order");
    this.nextOffset = offset + length;
  }

  acked(offset: number, length: number): void {
    // Too many ranges: then these bytes are sent again, which the receiver takes for a copy.
    this.#done.addRange(offset, offset + length);
    this.#lost.removeRange(offset, offset + length);
    this.#dropPieces();
  }

  /** True when there is something to repair now. */
  lost(offset: number, length: number): boolean {
    let from = offset;
    const end = offset + length;
    while (from < end) {
      from = this.#done.firstMissing(from);
      const to = Math.min(end, this.#done.firstPresent(from));
      if (from < to && !this.#lost.addRange(from, to))
        this.nextOffset = Math.min(this.nextOffset, from);
      from = Math.max(to, from + 1);
    }
    return this.next >= 0;
  }

  /** What the other end has on disk, as HAVE says. When that is all, it is asked for the receipt. */
  have(ranges: NumberRanges): void {
    let bytes = 0;
    for (let i = 0; i < ranges.size; i++) {
      const end = Math.min(this.total, ranges.endOf(i));
      this.#done.addRange(ranges.startOf(i), end);
      this.#lost.removeRange(ranges.startOf(i), end);
      bytes += end - ranges.startOf(i);
    }
    // An older one may come behind a newer one.
    this.#onDiskBytes = Math.max(this.#onDiskBytes, bytes);
    if (this.complete) this.again();
    this.#dropPieces();
  }

  /** The last byte goes once more: it asks for the receipt, and tells of the base of a stream. */
  again(): void {
    if (this.total === 0) return;
    this.#done.removeRange(this.total - 1, this.total);
    this.#lost.addRange(this.total - 1, this.total);
  }

  /** A new session, or the other end dropped what it had: everything may have to be sent again. */
  restart(): void {
    this.#done.clear();
    this.#lost.clear();
    this.nextOffset = 0;
    this.#onDiskBytes = 0;
    this.dropPayload();
  }

  // --- Payload in pieces ------------------------------------------------------------------------

  /** The piece with this byte, when it is at hand. */
  pieceAt(offset: number): Uint8Array | undefined {
    return this.#pieces.get(Math.floor(offset / READ_PIECE_BYTES));
  }

  /**
   * Offset of a piece that the store should be asked for, or -1; it is asked for with that. `ahead`:
   * also of one that is not needed at once.
   */
  wanted(ahead: boolean): number {
    const next = this.next;
    if (!this.large || next < 0) return -1;
    const first = Math.floor(next / READ_PIECE_BYTES);
    const behind = Math.ceil(this.total / READ_PIECE_BYTES);
    const end = Math.min(behind, first + (ahead ? PIECES_AHEAD : 1));
    for (let piece = first; piece < end; piece++) {
      if (this.#pieces.has(piece) || this.#asked.has(piece) || this.#isDone(piece)) continue;
      this.#asked.add(piece);
      return piece * READ_PIECE_BYTES;
    }
    return -1;
  }

  /** A piece came from the store; one that nobody waits for any more is let go. */
  provide(offset: number, bytes: Uint8Array): void {
    const piece = Math.floor(offset / READ_PIECE_BYTES);
    if (!this.#asked.delete(piece)) return;
    this.#pieces.set(piece, bytes);
    this.#heldBytes += bytes.length;
  }

  dropPayload(): void {
    this.#pieces.clear();
    this.#asked.clear();
    this.#heldBytes = 0;
    this.wants = false;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }
  /** Bytes at hand, and those that will be. */
  get claimedBytes(): number {
    return this.#heldBytes + this.#asked.size * READ_PIECE_BYTES;
  }

  #ahead(): number {
    return Math.max(0, this.#onDiskBytes + TRANSFER_AHEAD_BYTES - this.nextOffset);
  }

  #isDone(piece: number): boolean {
    const from = piece * READ_PIECE_BYTES;
    return this.#done.covers(from, Math.min(this.total, from + READ_PIECE_BYTES));
  }

  #dropPieces(): void {
    for (const [piece, bytes] of this.#pieces) {
      if (!this.#isDone(piece)) continue;
      this.#pieces.delete(piece);
      this.#heldBytes -= bytes.length;
    }
  }
}
