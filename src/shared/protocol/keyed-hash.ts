// Where a stranger's bytes land in a table of ours. Keyed, because whoever can choose keys and
// knows the function makes every lookup walk one long chain; seeds are random, made at start.

/** Final block of HalfSipHash: length of the input, bytes, in the top byte. */
const LENGTH_BLOCK = 16 << 24;
/** Four words of input, the length block, three rounds to finish. */
const ROUNDS = 8;

/**
 * HalfSipHash-1-3 of four words (16 bytes, little-endian) under a 64-bit seed: a u32. Source: the
 * SipHash reference code, and Linux's hsiphash, which serves the same purpose. Not for signatures.
 */
export function hashWords(
  seeds: readonly [number, number],
  a: number,
  b: number,
  c: number,
  d: number,
): number {
  const seed0 = seeds[0];
  const seed1 = seeds[1];
  let v0 = seed0 | 0;
  let v1 = seed1 | 0;
  let v2 = 0x6c796765 ^ seed0;
  let v3 = 0x74656462 ^ seed1;
  for (let round = 0; round < ROUNDS; round++) {
    const block = blockOf(round, a, b, c, d);
    v3 ^= block;
    if (round === 5) v2 ^= 0xff;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= block;
  }
  return (v1 ^ v3) >>> 0;
}

/** The little-endian u32 at any offset. */
export const wordAt = (bytes: Uint8Array, at: number): number =>
  (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;

function blockOf(round: number, a: number, b: number, c: number, d: number): number {
  switch (round) {
    case 0:
      return a;
    case 1:
      return b;
    case 2:
      return c;
    case 3:
      return d;
    case 4:
      return LENGTH_BLOCK;
    default:
      return 0;
  }
}
