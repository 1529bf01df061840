// Which counters of a session were seen: a ring of bits behind the newest one (RFC 6479). Before the
// cipher a packet is only looked at (`peek`); it is marked behind it (`commit`), so a forgery marks
// nothing. The window has no upper bound: that is the counter gate's (packet.ts), which comes first.

import { assert } from "../../base/assert.js";
import { WINDOW_COUNTERS } from "./packet.js";

const WORD_BITS = 32;

export class ReplayWindow {
  readonly #counters: number;
  readonly #words: Uint32Array;
  readonly #wordMask: number;
  #newest = -1;

  /** `counters`: how many are told apart, the newest one included. */
  constructor(counters: number = WINDOW_COUNTERS) {
    assert(counters >= 1, "a window holds the newest counter at least");
    // A word is cleared when the newest counter enters it, so up to 31 counters that lie a whole ring
    // behind are forgotten early: one word of slack keeps those outside of the window.
    let words = 2;
    while (words * WORD_BITS < counters + WORD_BITS) words *= 2;
    this.#counters = counters;
    this.#words = new Uint32Array(words);
    this.#wordMask = words - 1;
  }

  /** Largest counter that was committed, -1 before the first. */
  get newest(): number {
    return this.#newest;
  }

  /** Whether a counter, 0 to 2^53 - 1, lies above the window or in it unseen. Changes nothing. */
  peek(counter: number): boolean {
    if (counter > this.#newest) return true;
    if (this.#newest - counter >= this.#counters) return false;
    return (this.#words[this.#wordOf(counter)] & (1 << (counter & 31))) === 0;
  }

  /** Marks a counter, 0 to 2^53 - 1, as seen; false, and nothing changes, where `peek` says so. */
  commit(counter: number): boolean {
    if (!this.peek(counter)) return false;
    if (counter > this.#newest) this.#advance(counter);
    this.#words[this.#wordOf(counter)] |= 1 << (counter & 31);
    return true;
  }

  #advance(counter: number): void {
    const from = Math.floor(this.#newest / WORD_BITS);
    const passed = Math.floor(counter / WORD_BITS) - from;
    if (passed >= this.#words.length) this.#words.fill(0);
    else for (let i = 1; i <= passed; i++) this.#words[(from + i) & this.#wordMask] = 0;
    this.#newest = counter;
  }

  #wordOf(counter: number): number {
    return Math.floor(counter / WORD_BITS) & this.#wordMask;
  }
}
