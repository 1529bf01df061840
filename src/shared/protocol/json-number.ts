// JSON numbers: their grammar (RFC 8259 section 6), and their one canonical spelling. Integers keep
// their digits, so none is ever rounded; what has a fraction or an exponent is a double to every
// reader we know of, and is written as the shortest text of that double.

const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const ZERO = 0x30;
const LETTER_E_SMALL = 0x65;

/** Every decimal of so many digits has a double of its own, so it is its own shortest form. */
const DIGITS_EXACT_MAX = 15;
/** Zeros behind the point before the shortest form turns to an exponent: 0.000001, but 1e-7. */
const LEADING_ZEROS_MAX = 5;
const isDigit = (character: number): boolean => character >= ZERO && character <= 0x39;
const isExponent = (character: number): boolean => (character | 0x20) === LETTER_E_SMALL;

function digitsEnd(bytes: Uint8Array, at: number, to: number): number {
  let i = at;
  while (i < to && isDigit(bytes[i])) i += 1;
  return i;
}

/**
 * Offset behind the number at `at`: positive if it is plainly canonical, negated if it may not be;
 * 0 if there is no number.
 */
export function scanNumber(bytes: Uint8Array, at: number, to: number): number {
  const negative = bytes[at] === MINUS;
  const integerAt = negative ? at + 1 : at;
  const integerEnd = digitsEnd(bytes, integerAt, to);
  if (integerEnd === integerAt) return 0;
  const zero = bytes[integerAt] === ZERO;
  if (zero && integerEnd > integerAt + 1) return 0;
  if (integerEnd >= to) return negative && zero ? -integerEnd : integerEnd;

  let end = integerEnd;
  let canonical = true;
  if (bytes[end] === POINT) {
    end = digitsEnd(bytes, integerEnd + 1, to);
    if (end === integerEnd + 1) return 0;
    canonical = fractionIsCanonical(bytes, integerAt, integerEnd, end);
  } else if (negative && zero) {
    canonical = false;
  }
  if (end < to && isExponent(bytes[end])) {
    canonical = false;
    let digitsAt = end + 1;
    if (digitsAt < to && (bytes[digitsAt] === PLUS || bytes[digitsAt] === MINUS)) digitsAt += 1;
    end = digitsEnd(bytes, digitsAt, to);
    if (end === digitsAt) return 0;
  }
  return canonical ? end : -end;
}

/** Errs to the side of false. */
function fractionIsCanonical(
  bytes: Uint8Array,
  integerAt: number,
  pointAt: number,
  end: number,
): boolean {
  if (bytes[end - 1] === ZERO || end - 1 - integerAt > DIGITS_EXACT_MAX) return false;
  if (bytes[integerAt] !== ZERO) return true;
  let zeros = 0;
  while (bytes[pointAt + 1 + zeros] === ZERO) zeros += 1;
  return zeros <= LEADING_ZEROS_MAX;
}

/**
 * Writes the canonical spelling of the number from `from` to `to`, which must be one; returns the
 * offset behind it. Every zero becomes 0. A fraction or an exponent beyond the doubles keeps its
 * text, with a small e.
 */
export function writeNumber(
  bytes: Uint8Array,
  from: number,
  to: number,
  out: Uint8Array,
  at: number,
): number {
  const isInteger = digitsEnd(bytes, bytes[from] === MINUS ? from + 1 : from, to) === to;
  if (isInteger) {
    const start = bytes[from] === MINUS && bytes[from + 1] === ZERO ? from + 1 : from;
    return copy(bytes, start, to, out, at);
  }
  const value = Number(textOf(bytes, from, to));
  if (!Number.isFinite(value)) return copy(bytes, from, to, out, at);
  const text = String(value);
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i);
  return at + text.length;
}

function copy(bytes: Uint8Array, from: number, to: number, out: Uint8Array, at: number): number {
  let n = at;
  for (let i = from; i < to; i++) out[n++] = isExponent(bytes[i]) ? LETTER_E_SMALL : bytes[i];
  return n;
}

function textOf(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let i = from; i < to; i++) text += String.fromCharCode(bytes[i]);
  return text;
}
