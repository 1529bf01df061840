// Whole numbers of 1, 2, 4 or 8 bytes, the two top bits of the first say which. Source: RFC 9000
// section 16, but to 2^53 - 1 only, which a double holds exactly. Written in the shortest form; any
// form is read. Both sides work in place: an offset in, an offset or a number out.

import { assert } from "../../base/assert.js";

/** Longest varint, bytes. */
export const VARINT_BYTES_MAX = 8;

const TWO_BYTES_FROM = 2 ** 6;
const FOUR_BYTES_FROM = 2 ** 14;
const EIGHT_BYTES_FROM = 2 ** 30;
const WORD = 2 ** 32;
/** High word of a number that no double holds exactly. */
const HIGH_WORD_LIMIT = 2 ** 21;

/** Bytes of the shortest form of a whole number, 0 to 2^53 - 1. */
export function varintBytes(value: number): number {
  if (value < TWO_BYTES_FROM) return 1;
  if (value < FOUR_BYTES_FROM) return 2;
  return value < EIGHT_BYTES_FROM ? 4 : 8;
}

/** Writes a whole number, 0 to 2^53 - 1, in its shortest form; returns the offset behind it. */
export function putVarint(into: Uint8Array, at: number, value: number): number {
  assert(value >= 0 && value <= Number.MAX_SAFE_INTEGER, "a varint is a whole number");
  if (value < TWO_BYTES_FROM) {
    into[at] = value;
    return at + 1;
  }
  if (value < FOUR_BYTES_FROM) {
    into[at] = 0x40 | (value >>> 8);
    into[at + 1] = value;
    return at + 2;
  }
  if (value < EIGHT_BYTES_FROM) {
    into[at] = 0x80 | (value >>> 24);
    into[at + 1] = value >>> 16;
    into[at + 2] = value >>> 8;
    into[at + 3] = value;
    return at + 4;
  }
  const high = Math.floor(value / WORD);
  const low = value >>> 0;
  into[at] = 0xc0 | (high >>> 24);
  into[at + 1] = high >>> 16;
  into[at + 2] = high >>> 8;
  into[at + 3] = high;
  into[at + 4] = low >>> 24;
  into[at + 5] = low >>> 16;
  into[at + 6] = low >>> 8;
  into[at + 7] = low;
  return at + 8;
}

/** Bytes of the varint that begins with `first`. */
export const varintBytesFrom = (first: number): number => 1 << (first >>> 6);

/** The number at `bytes[at ..)`; -1 when it is cut off at `end`, or above 2^53 - 1. */
export function varintAt(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return -1;
  const first = bytes[at];
  if (first < 0x40) return first;
  if (at + (1 << (first >>> 6)) > end) return -1;
  if (first < 0x80) return ((first & 0x3f) << 8) | bytes[at + 1];
  const high =
    ((first & 0x3f) << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
  if (first < 0xc0) return high;
  if (high >= HIGH_WORD_LIMIT) return -1;
  const low = (bytes[at + 4] << 24) | (bytes[at + 5] << 16) | (bytes[at + 6] << 8) | bytes[at + 7];
  return high * WORD + (low >>> 0);
}
