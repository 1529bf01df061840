// The canonical form of a message, over which the classic digest is made: an older daemon sends the
// text that it generated anew and retransmits the text of the row, and both must be one message.
// It is: tokens without white space, keys in the order given, strings with no escape that JSON does
// not demand, numbers in one spelling (json-number.ts). Idempotent; the value never changes.

import { BODY_BYTES_MAX } from "./constants.js";
import { writeNumber } from "./json-number.js";
import { BACKSLASH, escapeBytes, escapeCode, QUOTE, writeCanonical } from "./json-string.js";

/**
 * The canonical form is at most this many times as long as the text. Only a number with a fraction
 * or an exponent grows: three characters (1e9) to 10 at most, four (1e20) to 21, longer ones to 25,
 * the longest text of a double. An escape never grows: six characters become one to six bytes.
 */
export const CANONICAL_GROWTH_MAX = 6;
/** Room for the canonical form of any body, bytes. */
export const CANONICAL_BYTES_MAX = CANONICAL_GROWTH_MAX * BODY_BYTES_MAX;

/**
 * Writes the canonical form of what a {@link JsonScanner} accepted from `from` to `to` to the start
 * of `out` and returns its length. `out` must not share memory with `bytes`, and has room for
 * {@link CANONICAL_GROWTH_MAX} times the text.
 */
export function canonicalInto(
  bytes: Uint8Array,
  from: number,
  to: number,
  out: Uint8Array,
): number {
  let n = 0;
  let i = from;
  while (i < to) {
    const character = bytes[i];
    if (character === QUOTE) {
      const end = stringEnd(bytes, i, to);
      n = writeString(bytes, i, end, out, n);
      i = end;
    } else if (startsNumber(character)) {
      const end = numberEnd(bytes, i, to);
      n = writeNumber(bytes, i, end, out, n);
      i = end;
    } else {
      if (character > 0x20) out[n++] = character;
      i += 1;
    }
  }
  return n;
}

function stringEnd(bytes: Uint8Array, at: number, to: number): number {
  let i = at + 1;
  while (i < to && bytes[i] !== QUOTE) i += bytes[i] === BACKSLASH ? 2 : 1;
  return i + 1;
}

function writeString(
  bytes: Uint8Array,
  from: number,
  to: number,
  out: Uint8Array,
  at: number,
): number {
  let n = at;
  let i = from;
  while (i < to) {
    if (bytes[i] !== BACKSLASH) {
      out[n++] = bytes[i++];
      continue;
    }
    const code = escapeCode(bytes, i, to);
    n = writeCanonical(out, n, code);
    i += escapeBytes(bytes, i, code);
  }
  return n;
}

const startsNumber = (character: number): boolean =>
  character === 0x2d || (character >= 0x30 && character <= 0x39);

function numberEnd(bytes: Uint8Array, at: number, to: number): number {
  let i = at + 1;
  while (i < to && isNumberPart(bytes[i])) i += 1;
  return i;
}

/** Digits, sign, point, exponent: a number ends at white space, a comma or a closing bracket. */
const isNumberPart = (character: number): boolean =>
  startsNumber(character) ||
  character === 0x2b ||
  character === 0x2e ||
  (character | 0x20) === 0x65;
