// A received ACK frame: how the decoder hands it over, and its ranges once they were found to be in
// order. They are copied, since they come newest first and are worked through oldest first.

import { ACK_RANGES_MAX } from "./constants.js";

/** A cursor over the ranges of an ACK frame, newest first; at first it stands on the newest. */
export interface AckReader {
  /** Delay field after scaling, us. */
  readonly delayUs: number;
  /** Bounds of the range at the cursor, both in it. */
  readonly rangeFirst: number;
  readonly rangeLast: number;
  /** Moves to the next older range; false when there is none. */
  next(): boolean;
}

/** What an ACK frame did wrong; each is a reason to close the session. */
export const ACK_FAULT = {
  none: 0,
  /** It names a counter that no packet of ours had. */
  unsent: 1,
  /** Its ranges do not descend with a gap between each two, or are too many. */
  ranges: 2,
} as const;
export type AckFault = (typeof ACK_FAULT)[keyof typeof ACK_FAULT];

export class AckedRanges {
  /** Bounds of each range, newest first, both in it. */
  readonly first = new Float64Array(ACK_RANGES_MAX);
  readonly last = new Float64Array(ACK_RANGES_MAX);
  #count = 0;

  get count(): number {
    return this.#count;
  }
  get largest(): number {
    return this.last[0];
  }

  /** Reads the frame to its end; false when its ranges are not as they must be. */
  read(ack: AckReader): boolean {
    let count = 0;
    do {
      if (count === ACK_RANGES_MAX) return false;
      const { rangeFirst, rangeLast } = ack;
      if (!(rangeFirst >= 0 && rangeFirst <= rangeLast)) return false;
      // Two ranges that touch are one: there is one way to write a set.
      if (count > 0 && rangeLast >= this.first[count - 1] - 1) return false;
      this.first[count] = rangeFirst;
      this.last[count] = rangeLast;
      count += 1;
    } while (ack.next());
    this.#count = count;
    return true;
  }
}
