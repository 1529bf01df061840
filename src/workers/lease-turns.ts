// The turns of a lease: whoever has work and room hands out rows of its most urgent lane, round robin
// over the destinations. Rows of one stream go in the order of their ids, whatever their priorities: the
// core numbers them as they come, so those that lie in other lanes are handed out first.

import type { Connection } from "../shared/store/driver.js";
import type { Discovery } from "./discovery.js";
import type { Lane, Lanes } from "./lanes.js";
import { type Answer, recordBytes as recordBytesOf } from "./lease-answer.js";
import { type Circumstances, judge, type RawRow, ROW_COLUMNS } from "./outbound-row.js";
import { PlainRows } from "./plain-rows.js";
import type { RowReader } from "./row-reader.js";
import type { RowWriter, Sendable } from "./row-writer.js";
import { type SessionRoutes, streamOf } from "./session-row.js";

/** Rows of one destination a turn. */
const TURN_ROWS_MAX = 64;

/** What an attempt changed, so that it can be undone when its transaction fails. */
export interface Attempt {
  readonly answer: Answer;
  readonly circumstances: Circumstances;
  readonly writing: boolean;
  readonly staged: { readonly lane: Lane; readonly rowId: number; readonly row: Sendable }[];
  readonly before: Map<Lane, { readonly cursor: number; readonly missed: readonly number[] }>;
  rowsLeft: number;
  bytesLeft: number;
}

/** What handling a row came to: handled, or not to be handled in this attempt, or in this turn. */
type Handled = "done" | "needs a write" | "no room" | "no room there";

export class LeaseTurns {
  readonly #lanes: Lanes;
  readonly #discovery: Discovery;
  readonly #rows: RowReader;
  readonly #writer: RowWriter;
  readonly #plain: PlainRows;
  #recordBytes = 1;

  constructor(
    db: Connection,
    options: {
      readonly lanes: Lanes;
      readonly discovery: Discovery;
      readonly rows: RowReader;
      readonly writer: RowWriter;
      readonly routes: SessionRoutes | undefined;
    },
  ) {
    this.#lanes = options.lanes;
    this.#discovery = options.discovery;
    this.#rows = options.rows;
    this.#writer = options.writer;
    const { lanes, discovery, routes } = options;
    this.#plain = new PlainRows(db, { lanes, discovery, routes });
  }

  /**
   * Takes turns until there is no room, or no work. `firstFits`: the first row, however large.
   * `recordBytes`: size of a record of late, to read about as many rows as there is room for.
   */
  take(attempt: Attempt, firstFits: boolean, recordBytes: number): void {
    this.#recordBytes = recordBytes;
    while (attempt.rowsLeft > 0) {
      const destination = this.#lanes.nextReady;
      if (destination === undefined) return;
      this.#discovery.lookAbove(destination);
      const lane = destination.next;
      const room = destination.limit - destination.out;
      const full =
        lane !== undefined && room > 0 && this.#turn(attempt, lane, room, firstFits) === "no room";
      this.#lanes.turn(destination);
      if (full) return;
    }
  }

  #turn(attempt: Attempt, lane: Lane, room: number, firstFits: boolean): Handled {
    if (!attempt.before.has(lane)) {
      attempt.before.set(lane, { cursor: lane.cursor, missed: [...lane.missed] });
    }
    const fitting = Math.ceil(attempt.bytesLeft / this.#recordBytes) + 1;
    const rows = Math.min(TURN_ROWS_MAX, room, attempt.rowsLeft, fitting);
    if (lane.missed.size > 0) return this.#missedRows(attempt, lane, rows, firstFits);
    const plainMax = Math.min(room, attempt.rowsLeft, fitting);
    const plain = attempt.writing ? undefined : this.#plain.take(attempt, lane, plainMax);
    if (plain !== undefined) return plain;
    const found = this.#rows.lane(lane, rows);
    for (const row of found) {
      const handled = this.#handle(attempt, lane, row, firstFits);
      if (handled === "needs a write") this.#lanes.hold(lane);
      if (handled !== "done") return handled;
      lane.cursor = row[0];
      this.#discovery.passed(row[0]);
    }
    if (found.length < rows) lane.dry = true;
    if (found.length > 0) this.#lanes.used(lane);
    return "done";
  }

  #missedRows(attempt: Attempt, lane: Lane, rows: number, firstFits: boolean): Handled {
    const { address, port } = lane.destination;
    let left = rows;
    for (const id of lane.missed) {
      if (left === 0) break;
      left -= 1;
      const row = this.#rows.row(id, address, port);
      const handled = row === undefined ? "done" : this.#handle(attempt, lane, row, firstFits);
      if (handled === "needs a write") this.#lanes.hold(lane);
      if (handled !== "done") return handled;
      lane.missed.delete(id);
    }
    return "done";
  }

  #handle(attempt: Attempt, lane: Lane, row: RawRow, firstFits: boolean): Handled {
    const rowId = row[0];
    const out = this.#lanes.outRows.get(rowId);
    if (out !== undefined && out.generation === row[5]) return "done";
    const stream = row.length > ROW_COLUMNS ? streamOf(row) : "";
    if (stream === "") return this.#handOut(attempt, lane, row, firstFits);
    const handled = this.#older(attempt, lane, row, stream, firstFits);
    if (handled !== "done") return handled;
    const last = this.#handOut(attempt, lane, row, firstFits);
    if (last === "done") lane.destination.passed(stream, rowId);
    return last;
  }

  /**
   * Rows of a stream go in the order of their ids: those in front of `row`, in lanes of other
   * priorities, are handed out first.
   */
  #older(attempt: Attempt, lane: Lane, row: RawRow, stream: string, firstFits: boolean): Handled {
    const { destination } = lane;
    const before = row[0];
    while (destination.passedOf(stream) + 1 < before) {
      const after = destination.passedOf(stream);
      const found = this.#rows.stream(destination, stream, after, before, TURN_ROWS_MAX);
      for (const older of found) {
        const isOut = this.#lanes.outRows.get(older[0])?.generation === older[5];
        const handled = isOut ? "done" : this.#handOut(attempt, lane, older, firstFits);
        if (handled !== "done") return handled;
        destination.passed(stream, older[0]);
      }
      if (found.length < TURN_ROWS_MAX) break;
    }
    return "done";
  }

  #handOut(attempt: Attempt, lane: Lane, row: RawRow, firstFits: boolean): Handled {
    const rowId = row[0];
    // A turn has room for its rows; older ones of their streams may have taken it.
    if (attempt.rowsLeft <= 0) return "no room";
    if (lane.destination.out >= lane.destination.limit) return "no room there";
    let judged = judge(row, attempt.circumstances);
    if (!("refused" in judged)) {
      const bytes = recordBytesOf(judged.payload);
      const first = firstFits && attempt.staged.length === 0;
      if (bytes > attempt.bytesLeft && !first) return "no room";
      if (judged.writes !== "nothing") {
        if (!attempt.writing) return "needs a write";
        judged = this.#writer.write(row, judged, attempt.circumstances);
      }
    }
    if ("refused" in judged) {
      if (!attempt.writing) return "needs a write";
      this.#writer.fail(rowId, judged.refused);
      return "done";
    }
    attempt.bytesLeft -= recordBytesOf(judged.payload);
    attempt.rowsLeft -= 1;
    attempt.staged.push({ lane, rowId, row: judged });
    this.#lanes.lend(rowId, { destination: lane.destination, generation: judged.generation });
    return "done";
  }
}
