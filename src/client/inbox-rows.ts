// What an inbox asks of the table of inbound messages: which are unread, what is in one, and the mark
// that it was processed. That mark is read_count, as sg-recv counts it up: one for all programs.

import type { Connection, Statement } from "../shared/store/driver.js";
import { timeText } from "../shared/store/text-time.js";
import type { Leasable, Taken } from "./leases.js";

/** Rows of a page of the search at most; a page is one short read. */
const PAGE_ROWS_MAX = 512;

/** Order is kept within one stream of one peer; char(10) is in no name of a peer. */
const STREAM_KEY = "peer || char(10) || stream";
const SEARCH = `SELECT id, ${STREAM_KEY} AS stream FROM inbound_messages
  WHERE read_count = 0 AND id > @after
    AND (@stream IS NULL OR stream = @stream)
    AND (@peers IS NULL OR peer IN (SELECT value FROM json_each(@peers)))`;
const NOT_HELD_UP = `(stream IS NULL
  OR ${STREAM_KEY} NOT IN (SELECT value FROM json_each(@heldUp)))`;
const PAGE = "ORDER BY id LIMIT @rows + 0";

/** Columns of an inbound row; the payload as bytes, whatever its type. */
export type InboundRow = readonly [
  messageId: string,
  peer: string,
  address: string,
  port: number,
  stream: string | null,
  sequence: number | null,
  inReplyTo: string | null,
  stamp: string,
  receivedAt: string,
  payloadType: string,
  payload: Buffer,
];

export class InboxRows {
  readonly #filter: { readonly stream: string | null; readonly peer: string | null };
  readonly #keys: Statement;
  readonly #search: Statement;
  readonly #searchBesides: Statement;
  readonly #row: Statement;
  readonly #mark: Statement;

  constructor(
    db: Connection,
    filter: { readonly stream: string | undefined; readonly peer: string | undefined },
  ) {
    this.#filter = { stream: filter.stream ?? null, peer: filter.peer ?? null };
    this.#keys = db.prepare("SELECT public_key FROM peers WHERE name = ?").pluck();
    this.#search = db.prepare(`${SEARCH} ${PAGE}`);
    this.#searchBesides = db.prepare(`${SEARCH} AND ${NOT_HELD_UP} ${PAGE}`);
    this.#row = db
      .prepare(
        `SELECT message_id, peer, src_addr, src_port, stream, sequence, in_reply_to, crypto_timestamp,
           received_at, typeof(payload), CAST(payload AS BLOB)
         FROM inbound_messages WHERE id = ? AND read_count = 0`,
      )
      .raw();
    this.#mark = db.prepare(
      `UPDATE OR FAIL inbound_messages SET read_count = read_count + 1, updated_at = @now
       WHERE id BETWEEN @first AND @last`,
    );
  }

  /**
   * The first `rowsMax` unread rows that fit, are in nobody's hand, neither in ours nor in others', and
   * are held up by nobody; by id.
   */
  choose(taken: Taken, ours: ReadonlySet<number>, rowsMax: number): readonly Leasable[] {
    const chosen: Leasable[] = [];
    const heldUp = JSON.stringify(taken.streams);
    const { stream } = this.#filter;
    const peers = this.#peers();
    const search = taken.streams.length === 0 ? this.#search : this.#searchBesides;
    const rows = Math.min(PAGE_ROWS_MAX, rowsMax + taken.ids.size + ours.size);
    const common = { stream, peers, rows };
    const parameters = taken.streams.length === 0 ? common : { ...common, heldUp };
    let after = -1;
    for (;;) {
      const page = search.all({ ...parameters, after }) as Leasable[];
      for (const row of page) {
        if (taken.ids.has(row.id) || ours.has(row.id)) continue;
        chosen.push(row);
        if (chosen.length === rowsMax) return chosen;
      }
      if (page.length < rows) return chosen;
      after = page[page.length - 1].id;
    }
  }

  /** Undefined when it was deleted, or read by somebody, since it was chosen. */
  load(id: number): InboundRow | undefined {
    return this.#row.get(id) as InboundRow | undefined;
  }

  /** Marks rows, inside a transaction of the caller: one UPDATE for each run of neighbouring ids. */
  mark(ids: readonly number[], wallMs: number): void {
    const sorted = Float64Array.from(ids).sort();
    const now = timeText(wallMs);
    for (let from = 0; from < sorted.length; ) {
      let to = from + 1;
      while (to < sorted.length && sorted[to] === sorted[to - 1] + 1) to += 1;
      this.#mark.run({ now, first: sorted[from], last: sorted[to - 1] });
      from = to;
    }
  }

  /** Scopes of the peer that is asked for, as a JSON array: its name, and its keys as they are now. */
  #peers(): string | null {
    const { peer } = this.#filter;
    if (peer === null) return null;
    const keys = (this.#keys.all(peer) as Buffer[]).map((key) => key.toString("base64"));
    return JSON.stringify([peer, ...keys]);
  }
}
