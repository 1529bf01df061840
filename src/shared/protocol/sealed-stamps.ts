// Which stamps this host may have sealed, as spans of its wall clock. Nothing is sealed outside of a
// span that is on disk. A new span begins where the clock went back, or on by much, so that a clock that
// was wrong once leaves a short span where it was, and not all time up to there. The spans of earlier
// runs, and those from before the clock was set back, are suspect: their nonces may be forgotten.

import { CLOCK_STEP_NS, SEAL_RESERVE_NS, SEALED_GAP_NS, SEALED_SPANS_MAX } from "./constants.js";

/** Stamps from the first to the last, both in it, ns since the epoch. */
export interface StampSpan {
  readonly fromNs: number;
  readonly untilNs: number;
}

/** The same stamps and more in `spansMax` spans at most, in order: what lies closest is joined. */
export function joinSpans(spans: readonly StampSpan[], spansMax: number): StampSpan[] {
  const joined: StampSpan[] = [];
  for (const span of spans.toSorted((a, b) => a.fromNs - b.fromNs)) {
    const last = joined.at(-1);
    if (last === undefined || span.fromNs > last.untilNs) joined.push(span);
    else joined[joined.length - 1] = enclosing(last, span);
  }
  while (joined.length > spansMax) {
    let closest = 1;
    for (let i = 2; i < joined.length; i++) {
      if (gapBefore(joined, i) < gapBefore(joined, closest)) closest = i;
    }
    const both = enclosing(joined[closest - 1] as StampSpan, joined[closest] as StampSpan);
    joined.splice(closest - 1, 2, both);
  }
  return joined;
}

const enclosing = (a: StampSpan, b: StampSpan): StampSpan => ({
  fromNs: a.fromNs,
  untilNs: Math.max(a.untilNs, b.untilNs),
});
const gapBefore = (spans: readonly StampSpan[], at: number): number =>
  (spans[at] as StampSpan).fromNs - (spans[at - 1] as StampSpan).untilNs;

/** Last stamp of the span that a stamp lies in; undefined when it lies in none. */
export function suspectUntil(spans: readonly StampSpan[], stampNs: number): number | undefined {
  return spans.find((span) => span.fromNs <= stampNs && stampNs <= span.untilNs)?.untilNs;
}

export class SealedStamps {
  /** Suspect. */
  #earlier: StampSpan[];
  /** Sealed in this run, by a clock that was not set back since: their nonces are in memory. */
  #remembered: StampSpan[] = [];
  /** The span that grows: nothing is sealed outside of `from` to `reserved`. */
  #fromNs = Number.POSITIVE_INFINITY;
  #reservedNs = Number.NEGATIVE_INFINITY;
  /** The last stamp of it that was sealed. */
  #sealedNs = Number.NEGATIVE_INFINITY;

  /** `earlier`: what the runs before left on disk. */
  constructor(earlier: readonly StampSpan[]) {
    this.#earlier = joinSpans(earlier, SEALED_SPANS_MAX);
  }

  /** True when we may have sealed this stamp, and not remember. */
  isSuspect(stampNs: number): boolean {
    for (const { fromNs, untilNs } of this.#earlier) {
      if (fromNs <= stampNs && stampNs <= untilNs) return true;
    }
    return false;
  }

  /** True when sealing at this time is durable. */
  admits(wallNs: number): boolean {
    return this.#fromNs <= wallNs && wallNs <= this.#reservedNs;
  }

  /** True when {@link reserve} should be asked now, for the sake of what comes next. */
  isShort(wallNs: number): boolean {
    return wallNs < this.#fromNs || wallNs > this.#reservedNs - SEAL_RESERVE_NS / 2;
  }

  /** A stamp was given to something that is sealed. */
  sealed(wallNs: number): void {
    if (wallNs > this.#sealedNs) this.#sealedNs = wallNs;
  }

  /** What is to be on disk before {@link reserved}. Its greatest stamp for a while is `untilNs`. */
  reserve(wallNs: number): { readonly untilNs: number; readonly spans: readonly StampSpan[] } {
    const untilNs = Math.ceil(wallNs + SEAL_RESERVE_NS);
    if (wallNs < this.#fromNs || wallNs > this.#reservedNs + SEALED_GAP_NS) {
      this.#close();
      // A clock that is slewed may fall by so much and goes on in the span.
      this.#fromNs = Math.floor(wallNs - CLOCK_STEP_NS);
    }
    const growing = { fromNs: this.#fromNs, untilNs: Math.max(untilNs, this.#reservedNs) };
    return { untilNs, spans: this.#with(growing) };
  }

  /** It is on disk. */
  reserved(untilNs: number): void {
    if (untilNs > this.#reservedNs) this.#reservedNs = untilNs;
  }

  /** The clock was set back: what was sealed before may come at a time when it is forgotten. */
  setBack(): void {
    this.#close();
    this.#earlier = joinSpans([...this.#earlier, ...this.#remembered], SEALED_SPANS_MAX);
    this.#remembered = [];
  }

  /** What was sealed in truth, by this run and those before, once nothing is sealed any more. */
  ended(): readonly StampSpan[] {
    this.#close();
    return this.#with();
  }

  #close(): void {
    if (this.#sealedNs >= this.#fromNs) {
      const span = { fromNs: this.#fromNs, untilNs: Math.ceil(this.#sealedNs) };
      this.#remembered = joinSpans([...this.#remembered, span], SEALED_SPANS_MAX);
    }
    this.#fromNs = Number.POSITIVE_INFINITY;
    this.#reservedNs = Number.NEGATIVE_INFINITY;
    this.#sealedNs = Number.NEGATIVE_INFINITY;
  }

  #with(...growing: readonly StampSpan[]): readonly StampSpan[] {
    return joinSpans([...this.#earlier, ...this.#remembered, ...growing], SEALED_SPANS_MAX);
  }
}
