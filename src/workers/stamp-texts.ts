// What a sender's clock said, as the table has it: estimates in doubles, to the microsecond. Messages
// of one packet have one, so the text made last is remembered.

import { StampText } from "../shared/store/text-time.js";

const NS_PER_US = 1_000;
/** Stamps beyond the year 2116 do not fit the texts; a peer's clock may say anything. */
const STAMP_MAX = 2 ** 62;

export class StampTexts {
  readonly #text = new StampText();
  #last = Number.NaN;
  #lastText = "";

  /** Text of wall ns since the epoch; what cannot be one is the epoch. */
  of(wallNs: number): string {
    if (wallNs !== this.#last) {
      this.#last = wallNs;
      this.#lastText = this.#text.of(stampOf(wallNs));
    }
    return this.#lastText;
  }
}

/** As a double it is no finer than a microsecond. */
const stampOf = (wallNs: number): bigint =>
  wallNs > 0 && wallNs < STAMP_MAX
    ? BigInt(Math.round(wallNs / NS_PER_US)) * BigInt(NS_PER_US)
    : 0n;
