// When the next transaction of a kind may begin: bursts share a commit, single rows do not wait.

import type { Nanoseconds } from "../shared/base/units.js";

/** A transaction of fewer rows says that there is no burst: the next one goes at once. */
const BURST_ROWS_MIN = 64;
/**
 * One of more rows says that many come: the next one gathers for longer in proportion, since each
 * transaction costs a wait for the lock and a sync, whatever it brings. Source: ours; bench/pipeline.
 */
const LOAD_ROWS_MIN = 256;
const SPANS_MAX = 4;

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
    const spans =
      rows < BURST_ROWS_MIN ? 0 : Math.max(1, Math.min(SPANS_MAX, rows / LOAD_ROWS_MIN));
    this.#nextAt = now + spans * this.#spanNs;
  }

  /** The instant at which waiting rows may go. */
  get nextAt(): number {
    return this.#nextAt;
  }
}
