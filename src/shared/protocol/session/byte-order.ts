// Words and short runs of bytes in place, in the order that the wire wants. No views: one would be an
// object for every packet.

/** Writes a u32 big-endian. */
export function putWordBig(into: Uint8Array, at: number, word: number): void {
  into[at] = word >>> 24;
  into[at + 1] = word >>> 16;
  into[at + 2] = word >>> 8;
  into[at + 3] = word;
}

/** Writes a u32 little-endian. */
export function putWordLittle(into: Uint8Array, at: number, word: number): void {
  into[at] = word;
  into[at + 1] = word >>> 8;
  into[at + 2] = word >>> 16;
  into[at + 3] = word >>> 24;
}

/** The big-endian u32 at any offset. */
export const wordBigAt = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;

/**
 * The little-endian word at any offset, signed: a number above 2^31 is an object to V8 wherever it is
 * handed on. For words that are only compared or copied.
 */
export const signedWordAt = (bytes: Uint8Array, at: number): number =>
  bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);

/** Copies `count` bytes; returns the offset behind them. For ids and digests: no view, no call out. */
export function putBytes(
  into: Uint8Array,
  at: number,
  from: Uint8Array,
  fromAt: number,
  count: number,
): number {
  for (let i = 0; i < count; i++) into[at + i] = from[fromAt + i];
  return at + count;
}
