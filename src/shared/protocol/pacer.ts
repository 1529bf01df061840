// How fast messages leave: a token bucket that counts instead of adding fractions. What was taken
// since an epoch is compared with what the epoch allows, so rounding never adds up over a long run.

import { assert } from "../base/assert.js";
import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../base/units.js";

/** The rate of a pacer. */
export interface Pace {
  /** Tokens a second; 0: every take succeeds. */
  readonly ratePerSecond: number;
  /** Tokens that may be taken at once after idling, at least 1. */
  readonly burst: number;
  readonly now: Nanoseconds;
}

export class Pacer {
  #ratePerSecond = 0;
  #burst = 1;
  /** The bucket was full at this instant, less what #taken says. */
  #epoch: Nanoseconds;
  #taken = 0;

  /** Begins with a full bucket. */
  constructor(pace: Pace) {
    this.#epoch = pace.now;
    this.configure(pace);
  }

  /** Takes a token, if there is one. `now` never falls. */
  take(now: Nanoseconds): boolean {
    if (this.#ratePerSecond === 0) return true;
    if (this.#nextAt() > now) return false;
    // Full for a whole nanosecond: what came in beyond is lost. Less is how far a waiting caller
    // was rounded up, and stays: else a burst of 1 would lose a part of a nanosecond each time.
    if (this.#earned(now - 1) >= this.#taken) {
      this.#epoch = now;
      this.#taken = 0;
    }
    this.#taken += 1;
    this.#advanceEpoch(now);
    return true;
  }

  /** The first instant, not before `now`, at which a take succeeds. */
  availableAt(now: Nanoseconds): Nanoseconds {
    if (this.#ratePerSecond === 0) return now;
    return nanoseconds(Math.max(now, this.#nextAt()));
  }

  /** Changes the pace. Tokens in hand stay, up to the new burst. */
  configure({ ratePerSecond, burst, now }: Pace): void {
    assert(ratePerSecond >= 0 && ratePerSecond < Number.POSITIVE_INFINITY, "a rate is 0 or more");
    assert(burst >= 1, "a bucket holds a token at least");
    const owed = this.#ratePerSecond === 0 ? 0 : Math.max(0, this.#taken - this.#earned(now));
    const tokens = this.#burst - owed;
    this.#taken = this.#ratePerSecond === 0 ? 0 : Math.max(0, burst - tokens);
    this.#epoch = now;
    this.#ratePerSecond = ratePerSecond;
    this.#burst = burst;
  }

  /** The instant of the next token; may lie in the past. */
  #nextAt(): number {
    const owed = this.#taken + 1 - this.#burst;
    return this.#epoch + Math.ceil((owed * NS_PER_SECOND) / this.#ratePerSecond);
  }

  /** Tokens that came in since the epoch, as if the bucket had no bottom. */
  #earned(now: number): number {
    return ((now - this.#epoch) * this.#ratePerSecond) / NS_PER_SECOND;
  }

  /** Moves the epoch on by whole seconds, so that the counts stay small and exact. */
  #advanceEpoch(now: Nanoseconds): void {
    const whole = Math.floor((now - this.#epoch) / NS_PER_SECOND);
    if (whole < 1) return;
    this.#epoch = nanoseconds(this.#epoch + whole * NS_PER_SECOND);
    this.#taken -= whole * this.#ratePerSecond;
  }
}
