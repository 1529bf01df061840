// Statistics that tell datagrams from random bytes, or do not: over all bits and bytes, for each position
// in a datagram, from one byte to a later one, and from one datagram to the next. Each gives a normal
// deviate: how many standard deviations the datagrams are from what random bytes would show.

/** Positions that are looked at one by one, from the front and from the end. */
const POSITIONS = 96;
const BYTE_VALUES = 256;
const BYTE_BITS = 8;
/** A chi-square needs so many draws for each of 256 values. */
const DRAWS_MIN = 5 * BYTE_VALUES;
/** One bit needs fewer: a few hundred handshakes are enough to see one that stays. */
const BIT_DRAWS_MIN = 100;
/** How often a byte is that of the datagram before is a rare event: this many draws make it normal. */
const REPEAT_DRAWS_MIN = 40 * BYTE_VALUES;
/** Distances in bytes at which one may follow from another: neighbours, and the widths of ciphers. */
const LAGS = [1, 2, 4, 8, 16, 64] as const;
const BYTE_MEAN = (BYTE_VALUES - 1) / 2;
const BYTE_VARIANCE = (BYTE_VALUES ** 2 - 1) / 12;

export interface Randomness {
  readonly datagrams: number;
  readonly bytes: number;
  readonly monobit: number;
  readonly runs: number;
  readonly byteChi: number;
  /** Correlation of bytes some way apart: of the distances, the one that is furthest off. */
  readonly serial: number;
  /** The position that is furthest off in the values of its byte, and the sum over all of them. */
  readonly worstPosition: number;
  readonly positions: number;
  /** The bit of a position that is most one-sided. */
  readonly worstBit: number;
  /** The position whose byte is most often, or most seldom, that of the datagram before. */
  readonly worstRepeat: number;
  /** The bit of a position that changes most often, or most seldom, from one datagram to the next. */
  readonly worstChange: number;
  /** Where those four are. */
  readonly at: Readonly<Record<"position" | "bit" | "repeat" | "change", string>>;
}

interface Place {
  readonly name: string;
  readonly values: Float64Array;
  readonly ones: Float64Array;
  /** Changes of each bit against the datagram before. */
  readonly changes: Float64Array;
  repeats: number;
  pairs: number;
}

interface Deviate {
  readonly at: string;
  readonly deviate: number;
}

/**
 * Looks at datagrams from `from` on: the first bytes of some may be known to repeat. The datagram before
 * is the one before with the same first bytes, since that is what an observer would compare.
 */
export function randomnessOf(datagrams: readonly Buffer[], from: number): Randomness {
  const counts = new Float64Array(BYTE_VALUES);
  const front = placesOf((at) => `byte ${at}`);
  const back = placesOf((at) => `byte ${at + 1} from the end`);
  let [bytes, ones, runs, last] = [0, 0, 0, -1];
  const newest = new Map<string, Buffer>();
  for (const datagram of datagrams) {
    const head = datagram.toString("latin1", 0, from);
    const before = newest.get(head);
    newest.set(head, datagram);
    for (let at = from; at < datagram.length; at++) {
      const byte = datagram[at] as number;
      add(counts, byte);
      if (at < POSITIONS) enter(front[at] as Place, byte, before?.[at]);
      const fromEnd = datagram.length - at - 1;
      if (fromEnd < POSITIONS) {
        const theirs = (before?.length ?? 0) - fromEnd - 1;
        enter(back[fromEnd] as Place, byte, theirs < from ? undefined : before?.[theirs]);
      }
      ones += bitsOf(byte);
      // Runs within the byte, and whether one begins between it and the byte before.
      runs += bitsOf((byte ^ (byte >> 1)) & 0x7f);
      if (last !== byte >> 7) runs += 1;
      last = byte & 1;
    }
    bytes += Math.max(0, datagram.length - from);
  }
  const bits = bytes * BYTE_BITS;
  const share = ones / bits;
  const places = [...front, ...back];
  const chis = deviatesOver(places, chiOf);
  const [position, bit, repeat, change] = [
    worstOf(chis),
    worstOf(places.flatMap(({ name, ones: set, values }) => bitDeviates(name, set, sumOf(values)))),
    worstOf(deviatesOver(places, repeatDeviate)),
    worstOf(places.flatMap(({ name, changes, pairs }) => bitDeviates(name, changes, pairs))),
  ];
  return {
    datagrams: datagrams.length,
    bytes,
    monobit: (2 * ones - bits) / Math.sqrt(bits),
    runs: (runs - 2 * bits * share * (1 - share)) / (2 * Math.sqrt(bits) * share * (1 - share)),
    byteChi: chiDeviate(counts),
    serial: worstOf(LAGS.map((lag) => ({ at: "", deviate: correlation(datagrams, from, lag) })))
      .deviate,
    worstPosition: position.deviate,
    positions: chis.reduce((sum, { deviate }) => sum + deviate, 0) / Math.sqrt(chis.length || 1),
    worstBit: bit.deviate,
    worstRepeat: repeat.deviate,
    worstChange: change.deviate,
    at: { position: position.at, bit: bit.at, repeat: repeat.at, change: change.at },
  };
}

const placesOf = (name: (at: number) => string): readonly Place[] =>
  Array.from({ length: POSITIONS }, (_, at) => ({
    name: name(at),
    values: new Float64Array(BYTE_VALUES),
    ones: new Float64Array(BYTE_BITS),
    changes: new Float64Array(BYTE_BITS),
    repeats: 0,
    pairs: 0,
  }));

/** `before`: the byte there in the datagram before, if there is one. */
function enter(place: Place, byte: number, before: number | undefined): void {
  add(place.values, byte);
  for (let bit = 0; bit < BYTE_BITS; bit++) if ((byte >> bit) & 1) add(place.ones, bit);
  if (before === undefined) return;
  const changed = byte ^ before;
  for (let bit = 0; bit < BYTE_BITS; bit++) if ((changed >> bit) & 1) add(place.changes, bit);
  place.pairs += 1;
  if (changed === 0) place.repeats += 1;
}

/** Those of the places that have draws enough. */
const deviatesOver = (places: readonly Place[], of: (place: Place) => number): readonly Deviate[] =>
  places
    .map((place) => ({ at: place.name, deviate: of(place) }))
    .filter(({ deviate }) => !Number.isNaN(deviate));

const worstOf = (deviates: readonly Deviate[]): Deviate =>
  deviates.reduce((a, b) => (Math.abs(b.deviate) > Math.abs(a.deviate) ? b : a), {
    at: "nowhere",
    deviate: 0,
  });

const chiOf = ({ values }: Place): number => chiDeviate(values);

/** How one-sided each bit is that was set so often in so many draws. */
function bitDeviates(name: string, set: Float64Array, draws: number): readonly Deviate[] {
  if (draws < BIT_DRAWS_MIN) return [];
  return Array.from(set, (count, bit) => ({
    at: `bit ${bit} of ${name}`,
    deviate: (2 * count - draws) / Math.sqrt(draws),
  }));
}

function repeatDeviate({ repeats, pairs }: Place): number {
  if (pairs < REPEAT_DRAWS_MIN) return Number.NaN;
  const share = 1 / BYTE_VALUES;
  return (repeats - pairs * share) / Math.sqrt(pairs * share * (1 - share));
}

/** Correlation of bytes that lie `lag` apart in one datagram. */
function correlation(datagrams: readonly Uint8Array[], from: number, lag: number): number {
  let [sum, pairs] = [0, 0];
  for (const datagram of datagrams) {
    for (let at = from + lag; at < datagram.length; at++) {
      const [one, other] = [datagram[at - lag] as number, datagram[at] as number];
      sum += (one - BYTE_MEAN) * (other - BYTE_MEAN);
      pairs += 1;
    }
  }
  return pairs === 0 ? 0 : sum / (BYTE_VARIANCE * Math.sqrt(pairs));
}

/** Chi-square of 256 equally likely values as a normal deviate (Wilson and Hilferty). */
function chiDeviate(counts: Float64Array): number {
  const draws = sumOf(counts);
  if (draws < DRAWS_MIN) return Number.NaN;
  const expected = draws / BYTE_VALUES;
  const chi = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  const freedom = BYTE_VALUES - 1;
  const spread = 2 / (9 * freedom);
  return (Math.cbrt(chi / freedom) - (1 - spread)) / Math.sqrt(spread);
}

const sumOf = (counts: Float64Array): number => counts.reduce((a, b) => a + b, 0);

function add(counts: Float64Array, at: number): void {
  counts[at] = (counts[at] as number) + 1;
}

function bitsOf(byte: number): number {
  let bits = 0;
  for (let rest = byte; rest > 0; rest &= rest - 1) bits += 1;
  return bits;
}

/**
 * Deviates beyond which random bytes go once in about 10^8 looks; the worst of many has farther to go by
 * itself: there are 6 distances, 192 positions and 1,536 bits.
 */
const DEVIATES_MAX: Readonly<Partial<Record<keyof Randomness, number>>> = {
  monobit: 5.7,
  runs: 5.7,
  byteChi: 5.7,
  serial: 6.2,
  positions: 7.5,
  worstPosition: 6.6,
  worstBit: 6.9,
  worstRepeat: 7.5,
  worstChange: 6.9,
};

/** What is not as random bytes would be; empty when nothing is. */
export const suspicions = (seen: Randomness): readonly string[] =>
  Object.entries(DEVIATES_MAX).flatMap(([name, most]) => {
    const deviate = Number(seen[name as keyof Randomness]);
    if (Math.abs(deviate) <= most) return [];
    const { position, bit, repeat, change } = seen.at;
    const where = {
      worstPosition: position,
      worstBit: bit,
      worstRepeat: repeat,
      worstChange: change,
    }[name];
    return [`${name} ${deviate.toFixed(2)}${where === undefined ? "" : ` at ${where}`}`];
  });

/** The deviates in one line. */
export const shownRandomness = (seen: Randomness): string =>
  Object.keys(DEVIATES_MAX)
    .map((name) => `${name} ${Number(seen[name as keyof Randomness]).toFixed(2)}`)
    .join(", ");
