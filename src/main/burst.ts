// When the next transaction of a kind may begin: bursts share a commit, single rows do not wait.

import type { Nanoseconds } from "../shared/base/units.js";

/** A transaction of fewer rows says that there is no burst: the next one goes at once. */
const BURST_ROWS_MIN = 64;

export class Burst {
  readonly #rowsMax: number;
  readonly #spanNs: number;
  #nextAt = 0;

  constructor({ rowsMax, spanNs }: { readonly rowsMax: number; readonly spanNs: number }) {
    this.#rowsMax = rowsMax;
    this.#spanNs = spanNs;
  }

  /** Whether `rows` that wait may go now. */
  ready(now: Nanoseconds, rows: number): boolean {
    return now >= this.#nextAt || rows >= this.#rowsMax;
  }

  began(now: Nanoseconds, rows: number): void {
    this.#nextAt = rows >= BURST_ROWS_MIN ? now + this.#spanNs : now;
  }

  /** The instant at which waiting rows may go. */
  get nextAt(): number {
    return this.#nextAt;
  }
}
