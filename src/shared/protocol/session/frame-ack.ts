// ACK: which packets of a session arrived. Ranges of counters, newest first, in the arithmetic of
// RFC 9000 section 19.3.
//
//   bytes name          meaning
//   1     type          0x02
//   v     largest       counter
//   v     delay         since it arrived, units of 8 us
//   v     count         ranges behind the first, 0 to 63
//   v     first length  packets of the first range below the largest
//   v, v  gap, length   count times; the range ends gap + 2 below the start of the one before

import type { AckReader } from "../transport/ack-reader.js";
import { ACK_RANGES_MAX } from "../transport/constants.js";
import { FrameCursor } from "./frame-cursor.js";
import { FRAME } from "./frame-type.js";
import { putVarint, varintBytes } from "./varint.js";

const DELAY_UNIT_US = 8;
const MORE_RANGES_MAX = ACK_RANGES_MAX - 1;

/** The ranges that an ACK says: AckRanges is one. */
export interface AckSource {
  /** Largest counter received. */
  readonly largest: number;
  /** Puts the cursor on the newest range; false when there is none. */
  rewind(): boolean;
  /** Moves to the next older range; false when there is none. */
  next(): boolean;
  readonly length: number;
  readonly gap: number;
}

/**
 * Writes an ACK of as many ranges as there is room for before `end`, the newest first; returns the
 * offset behind it, or `at` when there is nothing to say or no room to say it.
 */
export function putAck(
  into: Uint8Array,
  at: number,
  end: number,
  source: AckSource,
  delayUs: number,
): number {
  if (!source.rewind()) return at;
  const delay = Math.floor(delayUs / DELAY_UNIT_US);
  const head = 2 + varintBytes(source.largest) + varintBytes(delay) + varintBytes(source.length);
  if (at + head > end) return at;
  into[at] = FRAME.ack;
  const countAt = putVarint(into, putVarint(into, at + 1, source.largest), delay);
  let to = putVarint(into, countAt + 1, source.length);
  let count = 0;
  while (count < MORE_RANGES_MAX && source.next()) {
    if (to + varintBytes(source.gap) + varintBytes(source.length) > end) break;
    to = putVarint(into, putVarint(into, to, source.gap), source.length);
    count += 1;
  }
  // At most 63: a varint of one byte, whatever it will be.
  into[countAt] = count;
  return to;
}

/** An ACK as it was read: stands on the newest range at first. Every range was checked. */
export class AckFrame implements AckReader {
  /** Largest counter acknowledged. */
  largest = 0;
  delayUs = 0;
  /** Bounds of the range at the cursor, both in it. */
  rangeFirst = 0;
  rangeLast = 0;
  readonly #rest = new FrameCursor();
  #left = 0;

  /** Reads the frame behind its type; false when it has a fault. */
  read(cursor: FrameCursor): boolean {
    const largest = cursor.varint();
    const delay = cursor.varint();
    const count = cursor.varint();
    const length = cursor.varint();
    if (cursor.failed || count > MORE_RANGES_MAX || length > largest) return false;
    this.largest = largest;
    this.delayUs = delay * DELAY_UNIT_US;
    this.rangeLast = largest;
    this.rangeFirst = largest - length;
    this.#rest.follow(cursor);
    this.#left = count;
    let first = this.rangeFirst;
    for (let i = 0; i < count; i++) {
      const last = first - cursor.varint() - 2;
      const below = cursor.varint();
      if (cursor.failed || below > last) return false;
      first = last - below;
    }
    return true;
  }

  /** Moves to the next older range; false when there is none. */
  next(): boolean {
    if (this.#left === 0) return false;
    this.#left -= 1;
    this.rangeLast = this.rangeFirst - this.#rest.varint() - 2;
    this.rangeFirst = this.rangeLast - this.#rest.varint();
    return true;
  }
}
