// How long to wait before the next try. Pure: the caller brings the random number.

import { assert } from "../base/assert.js";
import { nanoseconds, type Nanoseconds } from "../base/units.js";

export interface BackoffStep {
  /** Tries that went unanswered before this wait, from 0. */
  readonly attempt: number;
  /** Longest wait of attempt 0. */
  readonly first: Nanoseconds;
  /** Longest wait of all. */
  readonly max: Nanoseconds;
  /** How much each attempt multiplies the wait; 1 or more, 2 unless told. */
  readonly factor?: number;
  /** Share of the wait that is drawn at random, 0 to 1. */
  readonly jitterShare: number;
  /** Uniform in [0, 1). */
  readonly random: number;
}

/** The wait before jitter: first x factor^attempt, at most max. */
export function delayBound({ attempt, first, max, factor = 2 }: Omit<BackoffStep, "jitterShare" | "random">): Nanoseconds {
  assert(attempt >= 0 && factor >= 1, "attempts count from 0 and waits do not shrink");
  return nanoseconds(Math.min(max, first * factor ** attempt));
}

/**
 * A wait in (bound x (1 - jitterShare), bound], bound as in {@link delayBound}, in whole ns. Jitter
 * shortens, never lengthens: so `max` holds, and hosts that all reached it still do not beat in step.
 */
export function nextDelay(step: BackoffStep): Nanoseconds {
  const { jitterShare, random } = step;
  assert(jitterShare >= 0 && jitterShare <= 1 && random >= 0 && random < 1, "shares are of one");
  return nanoseconds(Math.ceil(delayBound(step) * (1 - jitterShare * random)));
}
