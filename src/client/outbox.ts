// Puts messages into the outbound table, as any program may, with what other writers must do already
// done: ids and payloads are ready before BEGIN IMMEDIATE, many rows share a commit, the doorbell
// rings after it.

import { DaemonError } from "../shared/base/errors.js";
import { writeTransaction } from "../shared/store/busy.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import { sqliteCode, storeError } from "../shared/store/sqlite-error.js";
import { timeText } from "../shared/store/text-time.js";
import { ringDoorbell } from "./doorbell.js";
import type { Draft } from "./drafts.js";

/** Rows of one transaction at most. Source: store.md, contention. */
export const ENQUEUE_ROWS_MAX = 512;
/** Rows of one statement, most first. Source: ours; bench/mailbox. */
const ROWS_OF_STATEMENT = [32, 8, 1] as const;
/** Bound for each row. */
const ROW_VALUES = 2;
/** How long to wait for the write lock, ms. Source: the older tools. */
const LOCK_DEADLINE_MS = 5_000;

/** Classes of the priority column. */
export const PRIORITIES = { bulk: 0, normal: 1, high: 2, urgent: 3 } as const;
export type Priority = keyof typeof PRIORITIES;

export interface Destination {
  /** IP address, host name or name of a peer. */
  readonly address: string;
  readonly port: number;
}

export interface Terms {
  readonly priority: Priority;
  /** Text times of the store. */
  readonly notBefore: string | undefined;
  readonly expiresAt: string | undefined;
  /** For session peers: name of an ordered stream, and the id of the message that is answered. */
  readonly stream?: string | undefined;
  readonly inReplyTo?: string | undefined;
}

/** What rows have in common that go to one place on the same terms. */
export interface Envelope extends Destination, Terms {}

/** A row, ready to be inserted. Rows that share an envelope share statements. */
export interface Row extends Draft {
  readonly envelope: Envelope;
}

/**
 * With times, since a default that calls a function makes SQLite keep a copy of every page it touches,
 * to undo one row (11 us a row in place of 6.7); OR FAIL, since beside a trigger a plain INSERT does
 * so, too. We roll the whole transaction back instead.
 */
const INSERT = `INSERT OR FAIL INTO outbound_messages(message_id, dst_addr, dst_port, priority,
  not_before, expires_at, stream, in_reply_to, created_at, updated_at, payload) VALUES`;
const ROW = `(?, @address, @port, @priority, @notBefore, @expiresAt, @stream, @inReplyTo, @now,
  @now, ?)`;
const rowsSql = (rows: number): string => `${INSERT} ${Array(rows).fill(ROW).join(", ")}`;

/** Inserts messages and rings the bell. */
export class Outbox {
  readonly #path: string;
  readonly #db: Connection;
  readonly #statements: readonly Statement[];
  readonly #queued: Statement;

  /** The connection stays the caller's. */
  constructor(path: string, db: Connection) {
    this.#path = path;
    this.#db = db;
    this.#statements = ROWS_OF_STATEMENT.map((rows) => db.prepare(rowsSql(rows)));
    this.#queued = db.prepare("SELECT 1 FROM outbound_messages WHERE message_id = ?").pluck();
  }

  /** One transaction, all or nothing; returns the row ids once the commit is synced. */
  enqueue(to: Destination, terms: Terms, drafts: readonly Draft[]): readonly number[] {
    const envelope: Envelope = { ...to, ...terms };
    const rows = drafts.map(({ messageId, payload }) => ({ envelope, messageId, payload }));
    return this.insert(rows, LOCK_DEADLINE_MS);
  }

  /** The same for rows of any destinations. ERR_DB_BUSY after `deadlineMs`, in which the thread blocks. */
  insert(rows: readonly Row[], deadlineMs: number): readonly number[] {
    const rowIds: number[] = [];
    try {
      writeTransaction(
        this.#db,
        () => {
          rowIds.length = 0;
          this.#insert(rows, rowIds);
        },
        { deadlineMs },
      );
    } catch (thrown) {
      if (sqliteCode(thrown) === "SQLITE_CONSTRAINT_UNIQUE") {
        throw duplicate(this.#firstQueued(rows), thrown);
      }
      throw storeError(this.#path, thrown);
    }
    ringDoorbell(this.#path);
    return rowIds;
  }

  #insert(rows: readonly Row[], rowIds: number[]): void {
    const now = timeText(Date.now());
    for (let from = 0; from < rows.length; ) {
      const { envelope } = rows[from];
      let to = from + 1;
      while (to < rows.length && rows[to].envelope === envelope) to += 1;
      this.#insertAlike(rows, from, to, now, rowIds);
      from = to;
    }
  }

  /** Rows from `from` to `to` have one envelope. */
  #insertAlike(
    rows: readonly Row[],
    from: number,
    to: number,
    now: string,
    rowIds: number[],
  ): void {
    const { address, port, priority, notBefore, expiresAt, stream, inReplyTo } =
      rows[from].envelope;
    const shared = {
      address,
      port,
      priority: PRIORITIES[priority],
      notBefore: notBefore ?? null,
      expiresAt: expiresAt ?? null,
      stream: stream ?? null,
      inReplyTo: inReplyTo ?? null,
      now,
    };
    let at = from;
    for (const [size, statement] of this.#statements.entries()) {
      const count = ROWS_OF_STATEMENT[size];
      const values: unknown[] = new Array(count * ROW_VALUES);
      for (; at + count <= to; at += count) {
        for (let i = 0; i < count; i++) {
          const { messageId, payload } = rows[at + i];
          values[i * ROW_VALUES] = messageId ?? null;
          values[i * ROW_VALUES + 1] = payload;
        }
        const last = Number(statement.run(values, shared).lastInsertRowid);
        // The write lock is ours: ids of an AUTOINCREMENT table follow one another.
        for (let id = last - count + 1; id <= last; id++) rowIds.push(id);
      }
    }
  }

  /** The first id that the table has, or that stands among the rows twice. */
  #firstQueued(rows: readonly Row[]): string | undefined {
    const seen = new Set<string>();
    for (const { messageId } of rows) {
      if (messageId === undefined) continue;
      if (seen.has(messageId) || this.#queued.get(messageId) !== undefined) return messageId;
      seen.add(messageId);
    }
    return undefined;
  }
}

const duplicate = (messageId: string | undefined, cause: unknown): DaemonError =>
  new DaemonError(
    "ERR_MESSAGE_ID",
    `message ${messageId ?? ""} is already queued under this id`,
    "Look at it with sg-recv -o -i, or choose another id.",
    cause,
  );
