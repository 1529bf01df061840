// Puts messages into the outbound table, as any program may, with what other writers must do already
// done: ids and payloads are ready before BEGIN IMMEDIATE, many rows share a commit, the doorbell
// rings after it. What the daemon would refuse later is refused here first, for the same reason.

import { DaemonError } from "../../shared/base/errors.js";
import { prepareOutbound } from "../../shared/protocol/classic-body.js";
import { MESSAGE_ID_BYTES } from "../../shared/protocol/constants.js";
import { messageIdFromHex, messageIdToHex } from "../../shared/protocol/message-id.js";
import { writeTransaction } from "../../shared/store/busy.js";
import type { Connection, Statement } from "../../shared/store/driver.js";
import { sqliteCode, storeError } from "../../shared/store/sqlite-error.js";
import { timeText } from "../../shared/store/text-time.js";
import { ringDoorbell } from "./doorbell.js";

/** Rows of one transaction at most. Source: store.md, contention. */
export const ENQUEUE_ROWS_MAX = 512;
/** Rows of one statement. Source: ours; 6.7 us a row alone, 5.2 by eights, not less beyond. */
const STATEMENT_ROWS = 8;
/**
 * With times, since a default that calls a function makes SQLite keep a copy of every page it touches,
 * to undo one row (11 us a row in place of 6.7); OR FAIL, since beside a trigger a plain INSERT does
 * so, too. We roll the whole transaction back instead.
 */
const INSERT = `INSERT OR FAIL INTO outbound_messages(message_id, dst_addr, dst_port, priority,
  not_before, expires_at, created_at, updated_at, payload) VALUES`;
const ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?)";
const ROWS = Array(STATEMENT_ROWS).fill(ROW).join(", ");
/** How long to wait for the write lock, ms. Source: the older tools. */
const LOCK_DEADLINE_MS = 5_000;

/** Classes of the priority column. */
export const PRIORITIES = { bulk: 0, normal: 1, high: 2, urgent: 3 } as const;
export type Priority = keyof typeof PRIORITIES;

/** A message that has passed the checks. */
export interface Draft {
  /** JSON, as the user wrote it, but for a message_id spliced in. */
  readonly payload: string;
  /** 24 hex digits; undefined leaves it to the daemon. */
  readonly messageId: string | undefined;
}

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
}

/** Stands for the id that the daemon will make: only its length matters here. */
const ID_TO_COME = new Uint8Array(MESSAGE_ID_BYTES);

/**
 * Checks a payload by the daemon's own rules. `messageId` is 24 lower-case hex digits and gets into
 * the payload. Throws ERR_PAYLOAD with the sentence that the daemon would put into last_error.
 */
export function draft(payload: Uint8Array, messageId: string | undefined): Draft {
  const id = messageId === undefined ? undefined : messageIdFromHex(messageId);
  if (messageId !== undefined && id === undefined) {
    throw new DaemonError(
      "ERR_MESSAGE_ID",
      "the message id is not 24 hex digits",
      "Give 24 characters 0-9 a-f, or none and one is made.",
    );
  }
  const prepared = prepareOutbound(payload, id, ID_TO_COME);
  if ("refused" in prepared) throw refusal(prepared.refused);
  if (messageId !== undefined) return { payload: text(prepared.payload), messageId };
  if (prepared.changed) return { payload: text(payload), messageId: undefined };
  return { payload: text(payload), messageId: messageIdToHex(prepared.id) };
}

/** Inserts messages for one destination and rings the bell. */
export class Outbox {
  readonly #path: string;
  readonly #db: Connection;
  readonly #insertOne: Statement;
  readonly #insertMany: Statement;
  readonly #queued: Statement;

  /** The connection stays the caller's. */
  constructor(path: string, db: Connection) {
    this.#path = path;
    this.#db = db;
    this.#insertOne = db.prepare(`${INSERT} ${ROW}`);
    this.#insertMany = db.prepare(`${INSERT} ${ROWS}`);
    this.#queued = db.prepare("SELECT 1 FROM outbound_messages WHERE message_id = ?").pluck();
  }

  /** One transaction, all or nothing; returns the row ids once the commit is synced. */
  enqueue(to: Destination, terms: Terms, drafts: readonly Draft[]): readonly number[] {
    let rowIds: readonly number[] = [];
    try {
      writeTransaction(
        this.#db,
        () => {
          rowIds = this.#insert(to, terms, drafts);
        },
        { deadlineMs: LOCK_DEADLINE_MS },
      );
    } catch (thrown) {
      if (sqliteCode(thrown) === "SQLITE_CONSTRAINT_UNIQUE") {
        throw duplicate(this.#firstQueued(drafts), thrown);
      }
      throw storeError(this.#path, thrown);
    }
    ringDoorbell(this.#path);
    return rowIds;
  }

  #insert(to: Destination, terms: Terms, drafts: readonly Draft[]): readonly number[] {
    const { priority, notBefore = null, expiresAt = null } = terms;
    const now = timeText(Date.now());
    const rowIds: number[] = [];
    for (let from = 0; from < drafts.length; ) {
      const rows = drafts.length - from < STATEMENT_ROWS ? 1 : STATEMENT_ROWS;
      const values: unknown[] = [];
      for (const { messageId = null, payload } of drafts.slice(from, from + rows)) {
        values.push(messageId, to.address, to.port, PRIORITIES[priority]);
        values.push(notBefore, expiresAt, now, now, payload);
      }
      const statement = rows === 1 ? this.#insertOne : this.#insertMany;
      const last = Number(statement.run(values).lastInsertRowid);
      // The write lock is ours: ids of an AUTOINCREMENT table follow one another.
      for (let id = last - rows + 1; id <= last; id++) rowIds.push(id);
      from += rows;
    }
    return rowIds;
  }

  /** The first id that the table has, or that stands among the drafts twice. */
  #firstQueued(drafts: readonly Draft[]): string | undefined {
    const seen = new Set<string>();
    for (const { messageId } of drafts) {
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

/** A refusal of the core is one sentence: what is wrong; what to do. */
function refusal(sentence: string): DaemonError {
  const at = sentence.indexOf("; ");
  const next = sentence.slice(at + 2);
  return new DaemonError(
    "ERR_PAYLOAD",
    sentence.slice(0, at),
    next.charAt(0).toUpperCase() + next.slice(1),
  );
}

/** Exact: the scanner accepts valid UTF-8 only. */
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");
