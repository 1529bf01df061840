// The two clocks of a simulated host. True time is the simulator's; the monotonic clock starts with the
// process and drifts; the wall clock is true time and an offset, which jumps, or stands still.

import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../../src/shared/base/units.js";

/** Wall time at true time 0, ns since the epoch: October 2025. */
export const WALL_START_NS = 1_760_000_000_000 * NS_PER_MS;
const PPM = 1e-6;

export class HostClock {
  readonly #rate: number;
  #startedAt = 0;
  /** Spans that the monotonic clock did not count: it stands still while the host is suspended. */
  #missedNs = 0;
  #offsetNs = 0;
  #frozenNs: number | undefined;
  #highestWallNs = 0;

  constructor(driftPpm: number) {
    this.#rate = 1 + driftPpm * PPM;
  }

  /** A process starts: its monotonic clock begins at 0. */
  start(trueNs: number): void {
    this.#startedAt = trueNs;
    this.#missedNs = 0;
  }

  now(trueNs: number): Nanoseconds {
    return nanoseconds(
      Math.max(0, Math.floor((trueNs - this.#startedAt - this.#missedNs) * this.#rate)),
    );
  }

  /** True time at which the monotonic clock shows `now`, or a moment later. */
  trueAt(now: number): number {
    if (now === Number.POSITIVE_INFINITY) return now;
    return Math.ceil(now / this.#rate) + 1 + this.#missedNs + this.#startedAt;
  }

  wallNs(trueNs: number): number {
    const wall = this.#frozenNs ?? Math.max(0, WALL_START_NS + trueNs + this.#offsetNs);
    if (wall > this.#highestWallNs) this.#highestWallNs = wall;
    return wall;
  }

  /** The latest time that this host ever believed in, ns since the epoch. */
  get highestWallNs(): number {
    return this.#highestWallNs;
  }

  get isRight(): boolean {
    return this.#offsetNs === 0 && this.#frozenNs === undefined;
  }

  /** Sets the wall clock to true time and this offset; it runs again if it stood. */
  setOffset(offsetNs: number): void {
    this.#offsetNs = offsetNs;
    this.#frozenNs = undefined;
  }

  /** Sets the wall clock to an instant, ns since the epoch; `stands`: it stays there. */
  setWall(trueNs: number, wallNs: number, stands: boolean): void {
    this.#offsetNs = wallNs - WALL_START_NS - trueNs;
    this.#frozenNs = stands ? wallNs : undefined;
  }

  /** The host slept, and its monotonic clock with it. */
  skip(spanNs: number): void {
    this.#missedNs += spanNs;
  }
}
