// Reads outbound rows as they are wanted where they go: for classic with their payloads, for sessions
// with their streams, and without large payloads.

import type { Connection, Statement } from "../shared/store/driver.js";
import type { Destination, Lane } from "./lanes.js";
import type { ToPeer } from "./lease-answer.js";
import {
  LANE_ROWS_SQL,
  type RawRow,
  ROW_SQL,
  SESSION_LANE_ROWS_SQL,
  SESSION_ROW_SQL,
  STREAM_ROWS_SQL,
} from "./outbound-row.js";
import type { Sendable } from "./row-writer.js";
import { type SessionRoutes, sessionFields } from "./session-row.js";

export class RowReader {
  readonly #routes: SessionRoutes | undefined;
  readonly #laneRows: Statement;
  readonly #oneRow: Statement;
  readonly #sessionLaneRows: Statement;
  readonly #sessionRow: Statement;
  readonly #streamRows: Statement;

  /** `routes` undefined: all rows go by classic. */
  constructor(db: Connection, routes: SessionRoutes | undefined) {
    this.#routes = routes;
    this.#laneRows = db.prepare(LANE_ROWS_SQL).raw();
    this.#oneRow = db.prepare(ROW_SQL).raw();
    this.#sessionLaneRows = db.prepare(SESSION_LANE_ROWS_SQL).raw();
    this.#sessionRow = db.prepare(SESSION_ROW_SQL).raw();
    this.#streamRows = db.prepare(STREAM_ROWS_SQL).raw();
  }

  /** Rows behind the lane's cursor. */
  lane({ destination, priority, cursor }: Lane, rows: number): readonly RawRow[] {
    const { address, port } = destination;
    const isSession = this.#routes?.peerOf(address, port) !== undefined;
    const statement = isSession ? this.#sessionLaneRows : this.#laneRows;
    return statement.all(address, port, priority, cursor, rows) as RawRow[];
  }

  /** Rows of a stream between two ids, of all lanes. */
  stream(
    { address, port }: Destination,
    stream: string,
    after: number,
    before: number,
    rows: number,
  ): readonly RawRow[] {
    return this.#streamRows.all(address, port, stream, after, before, rows) as RawRow[];
  }

  /** The row, if it is ready and goes there. */
  row(id: number, address: string, port: number): RawRow | undefined {
    const isSession = this.#routes?.peerOf(address, port) !== undefined;
    const statement = isSession ? this.#sessionRow : this.#oneRow;
    return statement.get(id, address, port) as RawRow | undefined;
  }

  /**
   * What a batch says of a row beside what it says of every row; undefined for classic, and "gone" when
   * a large payload was another one's a moment later.
   */
  toPeer(
    { address, port }: Destination,
    rowId: number,
    row: Sendable,
  ): ToPeer | "gone" | undefined {
    const routes = this.#routes;
    const peer = routes?.peerOf(address, port);
    if (row.session === undefined || routes === undefined || peer === undefined) return undefined;
    const isLarge = row.payload.length < row.session.total;
    const payload = isLarge ? routes.payload(rowId, row.generation) : row.payload;
    if (payload?.length !== row.session.total) return "gone";
    return { peer, fields: sessionFields(row.session, row.id, payload) };
  }
}
