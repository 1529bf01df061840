// The real clock. The only place of the daemon that reads one for the core.

import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../shared/base/units.js";

export interface Clock {
  /** Monotonic, ns since the process started. */
  now(): Nanoseconds;
  /** Wall clock, ns since the epoch, exact to a millisecond; may jump. */
  wallNs(): number;
}

export const systemClock: Clock = {
  now: () => nanoseconds(performance.now() * NS_PER_MS),
  wallNs: () => Date.now() * NS_PER_MS,
};
