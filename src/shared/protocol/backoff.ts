// How long to wait before the next try. Pure: the caller brings the random number.

import { assert } from "../base/assert.js";
import { type Nanoseconds, nanoseconds } from "../base/units.js";

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

/**
 * A wait in (bound x (1 - jitterShare), bound], in whole ns, where bound is
 * first x factor^attempt, at most max. Jitter shortens, never lengthens: so `max` holds, and hosts
 * that have all reached it still do not beat in step.
 */
export function nextDelay(step: BackoffStep): Nanoseconds {
  const { attempt, first, max, factor = 2, jitterShare, random } = step;
  assert(attempt >= 0 && first > 0 && factor >= 1, "attempts count from 0 and waits do not shrink");
  assert(jitterShare >= 0 && jitterShare <= 1 && random >= 0 && random < 1, "shares are of one");
  const bound = Math.min(max, first * factor ** attempt);
  return nanoseconds(Math.ceil(bound * (1 - jitterShare * random)));
}
