// Reads the two message tables page by page, for people and programs. No read transaction outlives a
// call, so a slow reader never keeps the write-ahead log from being reset. Reading is a write, too:
// what was handed over is marked, a few thousand rows to a transaction.

import { writeTransaction } from "../shared/store/busy.js";
import type { Connection, Statement } from "../shared/store/driver.js";

const LOCK_DEADLINE_MS = 5_000;
/** Rows that one marking transaction changes at most: it holds the daemon's write lock. */
const MARK_ROWS_MAX = 1_000;
/** Rows that a page holds at most; at 64 KiB a payload this bounds the memory to 8 MiB. */
export const PAGE_ROWS_MAX = 128;

export type Direction = "inbound" | "outbound";
type Value = string | number | null | Uint8Array;
/** A row: columns in the order of the older daemon's table; the payload as bytes. */
export type Row = Readonly<Record<string, Value>> & { readonly id: number };

export interface Filter {
  readonly direction: Direction;
  readonly messageId: string | undefined;
  readonly state: string | undefined;
  /** Source of inbound, destination of outbound messages, as the table spells it. */
  readonly address: string | undefined;
  readonly unreadOnly: boolean;
}

const COLUMNS: Readonly<Record<Direction, readonly string[]>> = {
  inbound: [
    ...["id", "message_id", "src_addr", "src_port", "payload", "crypto_timestamp", "state"],
    ...["ack_sent", "read_count", "received_at", "ack_sent_at", "updated_at"],
    ...["peer", "in_reply_to"],
  ],
  outbound: [
    ...["id", "message_id", "dst_addr", "dst_port", "payload", "state", "retry_count"],
    ...["created_at", "sent_at", "ack_received_at", "last_error", "updated_at"],
    ...["priority", "not_before", "expires_at", "next_attempt_at", "in_reply_to"],
  ],
};
/** Columns that older readers do not know are shown only where they say something. */
export const COLUMNS_NEW: ReadonlySet<string> = new Set([
  ...["peer", "in_reply_to", "priority", "not_before", "expires_at", "next_attempt_at"],
]);

export class MessagePages {
  readonly #db: Connection;
  readonly #filter: Filter;
  readonly #newestFirst: Statement;
  readonly #oldestFirst: Statement;
  readonly #mark: Statement;

  constructor(db: Connection, filter: Filter) {
    this.#db = db;
    this.#filter = filter;
    const table = `${filter.direction}_messages`;
    const select = `SELECT ${columnList(filter.direction)} FROM ${table} WHERE ${condition(filter)}`;
    const range = "id > @above AND id < @below";
    this.#newestFirst = db.prepare(`${select} AND ${range} ORDER BY id DESC LIMIT @rows`);
    this.#oldestFirst = db.prepare(`${select} AND ${range} ORDER BY id LIMIT @rows`);
    this.#mark = db.prepare(
      `UPDATE inbound_messages
       SET read_count = read_count + 1, updated_at = strftime('%Y-%m-%dT%H:%M:%f','now')
       WHERE id = ?`,
    );
  }

  /** Rows with `above` < id < `below`; both may be infinite. */
  page(order: "newest" | "oldest", above: number, below: number, rows: number): readonly Row[] {
    const statement = order === "newest" ? this.#newestFirst : this.#oldestFirst;
    const { messageId = null, state = null, address = null } = this.#filter;
    return statement.all({ messageId, state, address, above, below, rows }) as Row[];
  }

  /** Greatest id in the table, 0 when it is empty. */
  newestId(): number {
    const table = `${this.#filter.direction}_messages`;
    return (this.#db.prepare(`SELECT max(id) FROM ${table}`).pluck().get() as number | null) ?? 0;
  }

  /** Counts a reading for each of these rows, and returns when that is on disk. */
  markRead(rowIds: readonly number[]): void {
    for (let from = 0; from < rowIds.length; from += MARK_ROWS_MAX) {
      const some = rowIds.slice(from, from + MARK_ROWS_MAX);
      const mark = (): void => {
        for (const id of some) this.#mark.run(id);
      };
      writeTransaction(this.#db, mark, { deadlineMs: LOCK_DEADLINE_MS });
    }
  }
}

/** As bytes, a payload keeps what is no well-formed text, and NUL does not end it. */
const columnList = (direction: Direction): string =>
  COLUMNS[direction]
    .map((name) => (name === "payload" ? "CAST(payload AS BLOB) AS payload" : name))
    .join(", ");

function condition(filter: Filter): string {
  const parts = ["TRUE"];
  if (filter.messageId !== undefined) parts.push("message_id = @messageId");
  if (filter.state !== undefined) parts.push("state = @state");
  if (filter.address !== undefined) {
    parts.push(filter.direction === "inbound" ? "src_addr = @address" : "dst_addr = @address");
  }
  if (filter.unreadOnly) parts.push("read_count = 0");
  return parts.join(" AND ");
}
