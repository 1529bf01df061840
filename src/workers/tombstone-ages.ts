// Which tombstones are as old as their dates say. The wall clock dates them, and may be wrong: a board
// without a battery begins in 1970, and what is deleted then looks decades old once its clock is set, by
// whoever sets it, also while no daemon runs. So old is what grew old under our eyes: dates between where
// the last visit ended and how far time went on since. Any other date that looks old proves nothing.

/** Age at which no copy can arrive any more, ms. Source: store.md. */
export const TOMBSTONE_LIFE_MS = 8 * 86_400_000;
/**
 * Time that may pass unseen, ms: a daemon that is off, a step of the clock. Half of the day that
 * {@link TOMBSTONE_LIFE_MS} has beyond the life of a message.
 */
export const UNSEEN_MS = 86_400_000 / 2;
/** The end of a visit is written down when it went on by so much, ms. */
const KEEP_STEP_MS = 3_600_000;

/** Dates, wall ms since the epoch: old are those in front of `before`, and believed from `from` to `to`. */
export interface AgedSpan {
  readonly before: number;
  readonly from: number;
  readonly to: number;
}

export class TombstoneAges {
  /** Everything dated earlier was visited: wall ms. */
  #cut: number | undefined;
  /** When that was so, monotonic ms. */
  #cutAt: number;
  #kept: number;
  /** Since when the clock has been behind the cut, monotonic ms. */
  #behindSince: number | undefined;

  /** `kept`: what {@link end} said last, in any process; undefined when it never did. */
  constructor(kept: number | undefined, monotonicMs: number) {
    this.#cut = kept;
    this.#cutAt = monotonicMs;
    this.#kept = kept ?? Number.NEGATIVE_INFINITY;
  }

  /** A visit begins. */
  begin(wallMs: number, monotonicMs: number): AgedSpan {
    const before = wallMs - TOMBSTONE_LIFE_MS;
    if (this.#cut === undefined) return { before, from: before, to: before };
    const reached = this.#cut + (monotonicMs - this.#cutAt) + UNSEEN_MS;
    return { before, from: this.#cut, to: Math.min(before, reached) };
  }

  /** It came to its end: a value to keep, or undefined while the one before will do. */
  end({ before }: AgedSpan, monotonicMs: number): number | undefined {
    if (this.#cut !== undefined && before < this.#cut) {
      this.#behindSince ??= monotonicMs;
      // A clock that was far ahead once would have everything kept until it gets there again.
      if (monotonicMs - this.#behindSince < TOMBSTONE_LIFE_MS) return undefined;
    }
    this.#behindSince = undefined;
    this.#cut = before;
    this.#cutAt = monotonicMs;
    if (Math.abs(before - this.#kept) < KEEP_STEP_MS) return undefined;
    this.#kept = before;
    return before;
  }
}
