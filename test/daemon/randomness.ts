// Statistics that tell datagrams from random bytes, or do not: monobit, runs, byte chi-square, and a
// chi-square for each position in a datagram. Each gives a normal deviate: how many standard deviations
// the datagrams are from what random bytes would show.

/** Positions that are looked at one by one, from the front and from the end. */
const POSITIONS = 96;
const BYTE_VALUES = 256;
/** A chi-square needs so many draws for each of 256 values. */
const DRAWS_MIN = 5 * BYTE_VALUES;

export interface Randomness {
  readonly datagrams: number;
  readonly bytes: number;
  readonly monobit: number;
  readonly runs: number;
  readonly byteChi: number;
  /** The position that is furthest off, and the sum over all of them. */
  readonly worstPosition: number;
  readonly worstAt: string;
  readonly positions: number;
}

/** Looks at datagrams from `from` on: the first bytes of some may be known to repeat. */
export function randomnessOf(datagrams: readonly Uint8Array[], from: number): Randomness {
  const counts = new Float64Array(BYTE_VALUES);
  const front = Array.from({ length: POSITIONS }, () => new Float64Array(BYTE_VALUES));
  const back = Array.from({ length: POSITIONS }, () => new Float64Array(BYTE_VALUES));
  let [bytes, ones, runs] = [0, 0, 0];
  let last = -1;
  for (const datagram of datagrams) {
    for (let at = from; at < datagram.length; at++) {
      const byte = datagram[at] as number;
      add(counts, byte);
      if (at < POSITIONS) add(front[at] as Float64Array, byte);
      if (datagram.length - at <= POSITIONS) {
        add(back[datagram.length - at - 1] as Float64Array, byte);
      }
      ones += bitsOf(byte);
      // Runs within the byte, and whether one begins between it and the byte before.
      runs += bitsOf((byte ^ (byte >> 1)) & 0x7f);
      if (last !== byte >> 7) runs += 1;
      last = byte & 1;
    }
    bytes += Math.max(0, datagram.length - from);
  }
  const bits = bytes * 8;
  const share = ones / bits;
  const places = [
    ...front.map((each, at) => ({ at: `byte ${at}`, deviate: chiDeviate(each) })),
    ...back.map((each, at) => ({ at: `byte ${at + 1} from the end`, deviate: chiDeviate(each) })),
  ].filter(({ deviate }) => !Number.isNaN(deviate));
  const worst = places.reduce((a, b) => (Math.abs(b.deviate) > Math.abs(a.deviate) ? b : a));
  const total = places.reduce((sum, { deviate }) => sum + deviate, 0);
  return {
    datagrams: datagrams.length,
    bytes,
    monobit: (2 * ones - bits) / Math.sqrt(bits),
    runs: (runs - 2 * bits * share * (1 - share)) / (2 * Math.sqrt(bits) * share * (1 - share)),
    byteChi: chiDeviate(counts),
    worstPosition: worst.deviate,
    worstAt: worst.at,
    positions: total / Math.sqrt(places.length),
  };
}

/** Chi-square of 256 equally likely values as a normal deviate (Wilson and Hilferty). */
function chiDeviate(counts: Float64Array): number {
  const draws = counts.reduce((a, b) => a + b, 0);
  if (draws < DRAWS_MIN) return Number.NaN;
  const expected = draws / BYTE_VALUES;
  const chi = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  const freedom = BYTE_VALUES - 1;
  const spread = 2 / (9 * freedom);
  return (Math.cbrt(chi / freedom) - (1 - spread)) / Math.sqrt(spread);
}

function add(counts: Float64Array, byte: number): void {
  counts[byte] = (counts[byte] as number) + 1;
}

function bitsOf(byte: number): number {
  let bits = 0;
  for (let rest = byte; rest > 0; rest &= rest - 1) bits += 1;
  return bits;
}

/** All deviates of one look. */
export const deviatesOf = (seen: Randomness): readonly (readonly [string, number])[] =>
  (["monobit", "runs", "byteChi", "worstPosition", "positions"] as const).map((name) => [
    name,
    seen[name],
  ]);

/**
 * Deviates beyond which random bytes go once in about 10^8 looks. The worst of 190 positions has
 * farther to go by itself.
 */
export const DEVIATES_MAX = 5.7;
export const WORST_DEVIATES_MAX = 6.5;

/** What is not as random bytes would be; empty when nothing is. */
export const suspicions = (seen: Randomness): readonly string[] =>
  deviatesOf(seen)
    .filter(
      ([name, deviate]) =>
        Math.abs(deviate) > (name === "worstPosition" ? WORST_DEVIATES_MAX : DEVIATES_MAX),
    )
    .map(([name, deviate]) => {
      const where = name === "worstPosition" ? ` at ${seen.worstAt}` : "";
      return `${name} ${deviate.toFixed(2)}${where}`;
    });
