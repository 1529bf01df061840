// Outbound walk step 5: what became of rows, in one transaction. Every write names the generation that
// was sent and a state that is still worked on, so a row that its owner deleted, redrove, cancelled
// or re-addressed meanwhile is left alone; that is no error. That a large row waits for its answer is
// not written, unless there is a reason to tell.

import type { Settlement } from "../shared/protocol/settlement.js";
import { writeTransaction } from "../shared/store/busy.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import { RESERVE_BYTES, WORKED } from "../shared/store/schema.js";
import { timeText } from "../shared/store/text-time.js";
import type { Lanes } from "./lanes.js";
import { WRITTEN_CHEAPLY } from "./outbound-row.js";

/** What `sent` adds to a row: two times, less the letters that it is shorter than `pending`. */
const SENT_BYTES = 23 + 23 - 3;
/** Reserves of every length, by length. */
const RESERVES = Array.from({ length: RESERVE_BYTES + 1 }, (_, length) => Buffer.alloc(length));

const ID_RANGE = `id BETWEEN ? AND ? AND generation = ? AND ${WORKED}`;

export class Settler {
  readonly #db: Connection;
  readonly #lanes: Lanes;
  readonly #now: () => number;
  readonly #acknowledged: Statement;
  readonly #waiting: Statement;
  readonly #failed: Statement;

  /** `now`: wall ms since the epoch. */
  constructor(db: Connection, lanes: Lanes, now: () => number) {
    this.#db = db;
    this.#lanes = lanes;
    this.#now = now;
    this.#acknowledged = db.prepare(
      `UPDATE OR FAIL outbound_messages SET state = 'acknowledged', ack_received_at = ?,
         sent_at = coalesce(sent_at, ?), next_attempt_at = NULL, last_error = NULL, updated_at = ?,
         reserve = CASE WHEN retry_count < 2 THEN x'0000' WHEN retry_count < 128 THEN x'00' ELSE x'' END
       WHERE ${ID_RANGE}`,
    );
    this.#waiting = db.prepare(
      `UPDATE OR FAIL outbound_messages SET state = 'sent', retry_count = ?, sent_at = ?,
         next_attempt_at = ?, last_error = coalesce(?, last_error), updated_at = ?, reserve = ?
       WHERE ${ID_RANGE} AND (${WRITTEN_CHEAPLY} OR ?)`,
    );
    this.#failed = db.prepare(
      `UPDATE OR FAIL outbound_messages SET state = 'send_failed', last_error = ?, next_attempt_at = NULL,
         updated_at = ?
       WHERE ${ID_RANGE}`,
    );
  }

  /**
   * Writes a settlement; returns the rows changed. When it throws, nothing was, and the same
   * settlement may be tried again.
   */
  settle(settlement: Settlement, deadlineMs: number): number {
    const rows = rowsOf(settlement);
    if (rows === 0) return 0;
    const write = (): number =>
      this.#acknowledge(settlement) + this.#wait(settlement) + this.#fail(settlement);
    const changed = writeTransaction(this.#db, write, { deadlineMs });
    const { acknowledged, failed } = settlement;
    for (let i = 0; i < acknowledged.rowIds.length; i++) {
      this.#lanes.free(acknowledged.rowIds[i], acknowledged.generations[i]);
    }
    for (const { rowId, generation } of failed) this.#lanes.free(rowId, generation);
    return changed;
  }

  /** One UPDATE for each run of neighbouring ids: ACKs mostly come in the order of the rows. */
  #acknowledge({ acknowledged }: Settlement): number {
    const { rowIds, generations } = inOrder(acknowledged);
    const now = timeText(this.#now());
    let changed = 0;
    for (let from = 0; from < rowIds.length; ) {
      let to = from + 1;
      while (
        to < rowIds.length &&
        rowIds[to] === rowIds[to - 1] + 1 &&
        generations[to] === generations[from]
      ) {
        to += 1;
      }
      const generation = generations[from];
      changed += this.#acknowledged.run(
        now,
        now,
        now,
        rowIds[from],
        rowIds[to - 1],
        generation,
      ).changes;
      from = to;
    }
    return changed;
  }

  #wait({ waiting }: Settlement): number {
    const { rowIds, generations, attempts, sentAt, nextAttemptAt, reasons } = waiting;
    const now = timeText(this.#now());
    let changed = 0;
    for (let i = 0; i < rowIds.length; i++) {
      const reason = reasons?.[i] || null;
      changed += this.#waiting.run(
        attempts[i],
        timeText(sentAt[i]),
        timeText(nextAttemptAt[i]),
        reason,
        now,
        reserveBeside(attempts[i], reason),
        rowIds[i],
        rowIds[i],
        generations[i],
        reason === null ? 0 : 1,
      ).changes;
    }
    return changed;
  }

  #fail({ failed }: Settlement): number {
    const now = timeText(this.#now());
    let changed = 0;
    for (const { rowId, generation, reason } of failed) {
      changed += this.#failed.run(reason, now, rowId, rowId, generation).changes;
    }
    return changed;
  }
}

/** What is left of the reserve of a row that is `sent`, so that the row stays as long as it was. */
function reserveBeside(attempts: number, reason: string | null): Buffer {
  const countBytes = attempts < 2 ? 0 : attempts < 128 ? 1 : 2;
  const left = RESERVE_BYTES - SENT_BYTES - countBytes - (reason?.length ?? 0);
  return RESERVES[Math.max(0, left)] as Buffer;
}

/** Rows that a settlement names. */
export const rowsOf = ({ acknowledged, waiting, failed }: Settlement): number =>
  acknowledged.rowIds.length + waiting.rowIds.length + failed.length;

/** Acknowledged rows by id; a copy where they were not in order. */
function inOrder(rows: Settlement["acknowledged"]): Settlement["acknowledged"] {
  const { rowIds, generations } = rows;
  let sorted = true;
  for (let i = 1; i < rowIds.length && sorted; i++) sorted = rowIds[i - 1] <= rowIds[i];
  if (sorted) return rows;
  const order = Uint32Array.from(rowIds, (_, i) => i).sort((a, b) => rowIds[a] - rowIds[b]);
  return {
    rowIds: Float64Array.from(order, (i) => rowIds[i]),
    generations: Uint32Array.from(order, (i) => generations[i]),
  };
}
