// Which stamps are believed: inside the window around our clock, after our start, and never from a
// time whose nonces were forgotten because our clock went forward and came back.

import type { DropReason } from "../base/errors.js";
import { CLOCK_STEP_NS, STAMP_HIGH_WORD_LIMIT } from "./constants.js";

const TWO_32 = 2 ** 32;

/** Stamps as doubles: ns since the epoch, exact to 256 ns until 2116. */
export const stampNanoseconds = (high: number, low: number): number => high * TWO_32 + low;

export class StampGate {
  #windowNs: number;
  /** Stamps up to here are dropped: what they seal may be in nobody's memory. */
  #floorNs: number;
  #latestWallNs: number;

  constructor(options: { readonly wallNs: number; readonly windowNs: number }) {
    this.#windowNs = options.windowNs;
    this.#floorNs = options.wallNs;
    this.#latestWallNs = options.wallNs;
  }

  get windowNs(): number {
    return this.#windowNs;
  }

  set windowNs(value: number) {
    this.#windowNs = value;
  }

  /** Tells the gate the time. A clock set back is treated as a start: the past is closed. True then. */
  observe(wallNs: number): boolean {
    if (wallNs < this.#latestWallNs - CLOCK_STEP_NS) {
      this.#floorNs = wallNs;
      this.#latestWallNs = wallNs;
      return true;
    }
    if (wallNs > this.#latestWallNs) this.#latestWallNs = wallNs;
    return false;
  }

  /** Undefined when the stamp may be believed. */
  check(high: number, low: number, wallNs: number): DropReason | undefined {
    if (high >= STAMP_HIGH_WORD_LIMIT) return "stamp_range";
    const stampNs = stampNanoseconds(high, low);
    if (stampNs < wallNs - this.#windowNs || stampNs > wallNs + this.#windowNs) {
      return "stamp_outside_window";
    }
    if (stampNs <= this.#floorNs) return "stamp_before_start";
    return undefined;
  }

  /** Wall ns until which a nonce with this stamp must be remembered: window, and room for slewing. */
  rememberUntil(stampNs: number): number {
    return stampNs + this.#windowNs + CLOCK_STEP_NS;
  }
}
