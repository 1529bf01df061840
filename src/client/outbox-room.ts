// How much fits into the outbox: rows that no daemon is through with, of all producers, against bounds.
// Counting them costs time, so what is free is counted once and then used up; and while the outbox is
// full it is counted so seldom that this takes a 20th of a core at most.

import type { Connection, Statement } from "../shared/store/driver.js";
import { WORKED } from "../shared/store/schema.js";

/** Least time between two countings, ms, and the share of the time that they may take. */
const COUNT_INTERVAL_MS = 5;
const COUNT_SHARE = 20;
/** No table has more. */
const COUNT_ROWS_MAX = 1e12;

/** Rows whose payloads are measured; the rest is taken to be as large. */
const MEASURED_ROWS_MAX = 4_096;

const WAITING = `FROM outbound_messages INDEXED BY outbound_work WHERE ${WORKED}
  AND not_before IS NULL LIMIT ?`;

export interface RoomBounds {
  readonly rowsMax: number;
  readonly bytesMax: number;
}

/** Whether it may be counted: not before the rows that took room are in the table. */
export type Counting = "no" | "when it is time" | "at once";

export class OutboxRoom {
  readonly #bounds: RoomBounds;
  readonly #rows: Statement;
  readonly #bytes: Statement;
  #rowsLeft = 0;
  #bytesLeft = 0;
  #countAt = 0;

  constructor(db: Connection, { rowsMax, bytesMax }: RoomBounds) {
    // SQLite limits rows by a whole number only.
    this.#bounds = { rowsMax: Math.min(Math.floor(rowsMax), COUNT_ROWS_MAX), bytesMax };
    this.#rows = db.prepare(`SELECT count(*) FROM (SELECT 1 ${WAITING})`).pluck();
    this.#bytes = db
      .prepare(`SELECT total(bytes) FROM (SELECT octet_length(payload) AS bytes ${WAITING})`)
      .pluck();
  }

  /** Ms until it may be counted again; 0: at once. `now`: monotonic ms. */
  waitMs(now: number): number {
    return Math.max(0, this.#countAt - now);
  }

  /** Takes room for so much; false when there is none, as far as is known without counting more. */
  take(rows: number, bytes: number, counting: Counting): boolean {
    const fits = (): boolean => rows <= this.#rowsLeft && bytes <= this.#bytesLeft;
    if (!fits()) {
      if (counting === "no") return false;
      if (counting === "when it is time" && performance.now() < this.#countAt) return false;
      const waitMs = this.#count() * COUNT_SHARE;
      this.#countAt = performance.now() + (fits() ? waitMs : Math.max(COUNT_INTERVAL_MS, waitMs));
      if (!fits()) return false;
    }
    this.#rowsLeft -= rows;
    this.#bytesLeft -= bytes;
    return true;
  }

  /** Returns the ms that it took. */
  #count(): number {
    const startedAt = performance.now();
    const { rowsMax, bytesMax } = this.#bounds;
    const rows = this.#rows.get(rowsMax + 1) as number;
    const measured = this.#bytes.get(MEASURED_ROWS_MAX) as number;
    const bytes = measured * Math.max(1, rows / MEASURED_ROWS_MAX);
    this.#rowsLeft = Math.max(0, rowsMax - rows);
    this.#bytesLeft = Math.max(0, bytesMax - bytes);
    return performance.now() - startedAt;
  }
}
