// JSON strings as bytes: the escapes of RFC 8259 section 7, and their one canonical spelling.
// Used by the scanner and the canonical form. Everything here reads the inside of a string that the
// scanner accepted (or is about to): offsets exclude the quotes.

import { hexCharacter, hexDigit } from "./message-id.js";

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
const LETTER_U = 0x75;

/** Control characters with a short escape, by code: \b \t \n \f \r. 0: none. */
const SHORT_ESCAPE = new Uint8Array(0x20);
SHORT_ESCAPE[0x08] = 0x62;
SHORT_ESCAPE[0x09] = 0x74;
SHORT_ESCAPE[0x0a] = 0x6e;
SHORT_ESCAPE[0x0c] = 0x66;
SHORT_ESCAPE[0x0d] = 0x72;

/** What the character after a backslash stands for, by code; 0 where it is no short escape. */
const ESCAPED = new Uint8Array(0x80);
ESCAPED[QUOTE] = QUOTE;
ESCAPED[BACKSLASH] = BACKSLASH;
ESCAPED[0x2f] = 0x2f;
for (let code = 0; code < 0x20; code++) {
  if (SHORT_ESCAPE[code] !== 0) ESCAPED[SHORT_ESCAPE[code]] = code;
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;
export const isSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdfff;

/** Code unit of the `\uXXXX` whose backslash is at `at`, -1 if there is none before `to`. */
function unitAt(bytes: Uint8Array, at: number, to: number): number {
  if (at + 6 > to || bytes[at] !== BACKSLASH || bytes[at + 1] !== LETTER_U) return -1;
  let unit = 0;
  for (let i = at + 2; i < at + 6; i++) {
    // Folding the case bit moves no other character into the range of the letters.
    const digit = hexDigit(bytes[i] >= 0x41 ? bytes[i] | 0x20 : bytes[i]);
    if (digit < 0) return -1;
    unit = (unit << 4) | digit;
  }
  return unit;
}

/**
 * Code point of the escape whose backslash is at `at`; a pair of surrogate escapes is one code
 * point, a lone one its own value. -1: no escape of JSON.
 */
export function escapeCode(bytes: Uint8Array, at: number, to: number): number {
  if (at + 2 > to) return -1;
  const character = bytes[at + 1];
  if (character !== LETTER_U) {
    const code = character < 0x80 ? ESCAPED[character] : 0;
    return code === 0 ? -1 : code;
  }
  const unit = unitAt(bytes, at, to);
  if (!isHigh(unit)) return unit;
  const low = unitAt(bytes, at + 6, to);
  return isLow(low) ? 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00) : unit;
}

/** Bytes that an escape with this code takes at `at`, backslash included: 2, 6 or 12. */
export function escapeBytes(bytes: Uint8Array, at: number, code: number): number {
  if (bytes[at + 1] !== LETTER_U) return 2;
  return code >= 0x1_0000 ? 12 : 6;
}

/** Whether the escape at `at` with this code is spelled as {@link writeCanonical} spells it. */
export function escapeIsCanonical(bytes: Uint8Array, at: number, code: number): boolean {
  if (bytes[at + 1] !== LETTER_U) return code !== 0x2f;
  if (!isSurrogate(code) && (code >= 0x20 || SHORT_ESCAPE[code] !== 0)) return false;
  for (let i = at + 2; i < at + 6; i++) if (hexDigit(bytes[i]) < 0) return false;
  return true;
}

/**
 * Writes a code point as UTF-8, a lone surrogate as three bytes of the same pattern; returns the
 * offset behind it.
 */
export function writeCodePoint(out: Uint8Array, at: number, code: number): number {
  let n = at;
  if (code < 0x80) {
    out[n++] = code;
  } else if (code < 0x800) {
    out[n++] = 0xc0 | (code >> 6);
    out[n++] = 0x80 | (code & 63);
  } else {
    if (code < 0x1_0000) {
      out[n++] = 0xe0 | (code >> 12);
    } else {
      out[n++] = 0xf0 | (code >> 18);
      out[n++] = 0x80 | ((code >> 12) & 63);
    }
    out[n++] = 0x80 | ((code >> 6) & 63);
    out[n++] = 0x80 | (code & 63);
  }
  return n;
}

/** Writes a code point as it stands in a canonical string: raw where JSON allows it. */
export function writeCanonical(out: Uint8Array, at: number, code: number): number {
  if (code === QUOTE || code === BACKSLASH) {
    out[at] = BACKSLASH;
    out[at + 1] = code;
    return at + 2;
  }
  if (code >= 0x20 && !isSurrogate(code)) return writeCodePoint(out, at, code);
  out[at] = BACKSLASH;
  if (code < 0x20 && SHORT_ESCAPE[code] !== 0) {
    out[at + 1] = SHORT_ESCAPE[code];
    return at + 2;
  }
  out[at + 1] = LETTER_U;
  for (let i = 0; i < 4; i++) out[at + 2 + i] = hexCharacter((code >> (12 - 4 * i)) & 15);
  return at + 6;
}

/**
 * Decodes the inside of a string into `out`, at most `out.length` bytes; returns the length. A lone
 * surrogate becomes three bytes that no valid UTF-8 has, so different strings stay different.
 */
export function decodeInto(bytes: Uint8Array, from: number, to: number, out: Uint8Array): number {
  let n = 0;
  let i = from;
  while (i < to && n < out.length) {
    if (bytes[i] !== BACKSLASH) {
      out[n++] = bytes[i++];
      continue;
    }
    const code = escapeCode(bytes, i, to);
    i += escapeBytes(bytes, i, code);
    n = writeCodePoint(out, n, code);
  }
  return n;
}

/**
 * Offset behind the UTF-8 sequence of two to four bytes at `at`, -1 if it is none: overlong forms,
 * surrogates and code points above U+10FFFF are refused. Source: RFC 3629 section 4.
 */
export function utf8SequenceEnd(bytes: Uint8Array, at: number, to: number): number {
  const lead = bytes[at];
  if (lead < 0xc2 || lead > 0xf4) return -1;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (at + length > to) return -1;
  const second = bytes[at + 1];
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < least || second > most) return -1;
  for (let i = at + 2; i < at + length; i++) if ((bytes[i] & 0xc0) !== 0x80) return -1;
  return at + length;
}
