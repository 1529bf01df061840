// How much may come, and what of a large message is there: CREDIT and HAVE.
//
//   HAVE    type 0x07 | flags 1 | message id 12 | digest16 16 | total v | count v (0 to 32) |
//           count times: gap v, length v
//   CREDIT  type 0x08 | messages v | bytes v
//
// Flags: bit 0: what is not listed was dropped, and must come again; the others are zero. Ranges of
// HAVE ascend: each begins `gap` behind the end of the one before, the first behind 0; none is empty.

import { MESSAGE_ID_BYTES } from "../constants.js";
import { putBytes } from "./byte-order.js";
import { FrameCursor } from "./frame-cursor.js";
import { FRAME } from "./frame-type.js";
import { DIGEST_PIECE_BYTES } from "./limits.js";
import type { NumberRanges } from "./number-ranges.js";
import { putVarint, varintBytes } from "./varint.js";

/** Ranges of a HAVE frame. */
export const HAVE_RANGES_MAX = 32;
/** Longest HAVE, of a message of at most 2^30 bytes. */
export const HAVE_BYTES_MAX = 3 + MESSAGE_ID_BYTES + DIGEST_PIECE_BYTES + 4 + HAVE_RANGES_MAX * 8;
/** Flag: what is not listed was dropped, and must come again. */
const HAVE_DROPPED = 1;

/**
 * Writes a HAVE of as many ranges as there is room for before `end`, the lowest first; returns the
 * offset behind it, or `at` when there is no room for any. `ids`: message id 12, digest16 16. `dropped`:
 * what is not listed is not here any more.
 */
export function putHave(
  into: Uint8Array,
  at: number,
  end: number,
  ids: Uint8Array,
  dropped: boolean,
  total: number,
  ranges: NumberRanges,
): number {
  const head = 3 + MESSAGE_ID_BYTES + DIGEST_PIECE_BYTES + varintBytes(total);
  if (at + head > end) return at;
  into[at] = FRAME.have;
  into[at + 1] = dropped ? HAVE_DROPPED : 0;
  const totalAt = putBytes(into, at + 2, ids, 0, MESSAGE_ID_BYTES + DIGEST_PIECE_BYTES);
  const countAt = putVarint(into, totalAt, total);
  let to = countAt + 1;
  let count = 0;
  let from = 0;
  while (count < Math.min(ranges.size, HAVE_RANGES_MAX)) {
    const gap = ranges.startOf(count) - from;
    from = ranges.endOf(count);
    const length = from - ranges.startOf(count);
    if (to + varintBytes(gap) + varintBytes(length) > end) break;
    to = putVarint(into, putVarint(into, to, gap), length);
    count += 1;
  }
  // No range means that nothing is there: never said for want of room.
  if (count === 0 && ranges.size > 0) return at;
  into[countAt] = count;
  return to;
}

/** A HAVE as it was read: stands before the first range. Every range was checked. */
export class HaveFrame {
  bytes: Uint8Array = new Uint8Array(0);
  dropped = false;
  messageIdAt = 0;
  digest16At = 0;
  total = 0;
  count = 0;
  /** Of the range at the cursor: its first byte, and the first behind it. */
  rangeStart = 0;
  rangeEnd = 0;
  readonly #rest = new FrameCursor();
  #left = 0;

  /** Reads the frame behind its type; false when it has a fault. */
  read(cursor: FrameCursor): boolean {
    this.bytes = cursor.bytes;
    const flags = cursor.byte();
    if (flags !== 0 && flags !== HAVE_DROPPED) return false;
    this.dropped = flags === HAVE_DROPPED;
    this.messageIdAt = cursor.take(MESSAGE_ID_BYTES);
    this.digest16At = cursor.take(DIGEST_PIECE_BYTES);
    this.total = cursor.varint();
    this.count = cursor.varint();
    if (cursor.failed || this.count > HAVE_RANGES_MAX) return false;
    this.#rest.follow(cursor);
    this.#left = this.count;
    this.rangeStart = 0;
    this.rangeEnd = 0;
    let room = this.total;
    for (let i = 0; i < this.count; i++) {
      const gap = cursor.varint();
      const length = cursor.varint();
      if (cursor.failed || length < 1 || gap > room || length > room - gap) return false;
      room -= gap + length;
    }
    return true;
  }

  /** Moves to the next range; false when there is none. */
  next(): boolean {
    if (this.#left === 0) return false;
    this.#left -= 1;
    this.rangeStart = this.rangeEnd + this.#rest.varint();
    this.rangeEnd = this.rangeStart + this.#rest.varint();
    return true;
  }
}

/** Bytes of a CREDIT frame. */
export const creditBytes = (messages: number, bytes: number): number =>
  1 + varintBytes(messages) + varintBytes(bytes);

/** Writes a CREDIT frame; returns the offset behind it. */
export function putCredit(into: Uint8Array, at: number, messages: number, bytes: number): number {
  into[at] = FRAME.credit;
  return putVarint(into, putVarint(into, at + 1, messages), bytes);
}

/** A CREDIT as it was read: messages, and bytes of them, that may be unfinished at once. */
export class CreditFrame {
  creditMessages = 0;
  creditBytes = 0;

  read(cursor: FrameCursor): boolean {
    this.creditMessages = cursor.varint();
    this.creditBytes = cursor.varint();
    return !cursor.failed;
  }
}
