// One row of outbound_messages as the daemon reads it, whatever a producer wrote into it, and what
// has to happen to it: it goes as it stands, it goes once an id is written into it, or it fails.

import { reasonOf } from "../shared/base/errors.js";
import { prepareOutbound } from "../shared/protocol/classic-body.js";
import { messageIdFromHex } from "../shared/protocol/message-id.js";
import { MESSAGE_IN_MEMORY_BYTES_MAX } from "../shared/protocol/session/limits.js";
import { ID_SANE_MAX } from "../shared/store/migrate.js";
import { WORKED } from "../shared/store/schema.js";
import { parseTime } from "../shared/store/text-time.js";
import { SESSION_COLUMNS, type SessionPart, sessionPart } from "./session-row.js";

/**
 * Condition: a change of the row costs what a row costs. SQLite writes a row anew, payload included, when
 * a column of it changes its length: 64 MiB hold up everything else for half a second.
 */
export const WRITTEN_CHEAPLY = `octet_length(payload) <= ${MESSAGE_IN_MEMORY_BYTES_MAX}`;
/** The state; that a large row is `sent` is not written into it, so it may be. */
export const STATE = `CASE WHEN state = 'pending' AND NOT ${WRITTEN_CHEAPLY} THEN 'sent' ELSE state END`;
/** Columns of {@link RawRow}, in order. The payload comes as bytes whatever its type. */
const COLUMNS = `id, message_id, CAST(payload AS BLOB), ${STATE}, retry_count, generation, expires_at,
  redriven_at, created_at, priority`;
export const READY = `${WORKED} AND not_before IS NULL`;

/**
 * Parameters: dst_addr, dst_port, priority, id to start behind, rows. A bare parameter behind LIMIT
 * would be looked at by the planner, and the statement be prepared anew for every call.
 */
export const LANE_ROWS_SQL = `SELECT ${COLUMNS} FROM outbound_messages INDEXED BY outbound_work
  WHERE dst_addr = ? AND dst_port = ? AND priority = ?
    AND id > ? AND id <= ${ID_SANE_MAX} AND ${READY} ORDER BY id LIMIT ? + 0`;
/** The same, without the payload. */
export const LANE_TIMES_SQL = LANE_ROWS_SQL.replace("CAST(payload AS BLOB)", "NULL");
/** Parameters: id, dst_addr, dst_port. */
export const ROW_SQL = `SELECT ${COLUMNS} FROM outbound_messages
  WHERE id = ? AND dst_addr = ? AND dst_port = ? AND ${READY}`;

const PAYLOAD = "CAST(payload AS BLOB)";
/** Large ones stay in the table until their pieces are asked for. */
const SMALL_PAYLOAD = `CASE WHEN octet_length(payload) <= ${MESSAGE_IN_MEMORY_BYTES_MAX}
  THEN ${PAYLOAD} ELSE x'' END`;
const forSessions = (sql: string): string =>
  sql.replace(PAYLOAD, SMALL_PAYLOAD).replace("FROM", `, ${SESSION_COLUMNS} FROM`);

/** The same for rows that go in sessions: a {@link RawRow}, and what {@link sessionPart} reads. */
export const SESSION_LANE_ROWS_SQL = forSessions(LANE_ROWS_SQL);
export const SESSION_ROW_SQL = forSessions(ROW_SQL);
/**
 * Rows of one stream, whatever their priorities. Parameters: dst_addr, dst_port, stream, id to start
 * behind, id to end in front of, rows.
 */
export const STREAM_ROWS_SQL = forSessions(`SELECT ${COLUMNS} FROM outbound_messages
  INDEXED BY outbound_streams WHERE dst_addr = ? AND dst_port = ? AND stream = ?
    AND stream IS NOT NULL AND id > ? AND id < ? AND ${READY} ORDER BY id LIMIT ? + 0`);

export type RawRow = readonly [
  id: number,
  messageId: unknown,
  payload: unknown,
  state: string,
  retryCount: unknown,
  generation: unknown,
  expiresAt: unknown,
  redrivenAt: unknown,
  createdAt: unknown,
  priority: unknown,
];

/** A row that was read for a session has more. */
export const ROW_COLUMNS = 10;
const PRIORITY_MAX = 3;
const COUNT_MAX = 0xffff_ffff;
const count = (value: unknown): number =>
  typeof value === "number" && value > 0 ? Math.min(COUNT_MAX, Math.trunc(value)) : 0;

/** When the message expires, wall ms; a text that is no time counts as absent. */
export function expiryOf(row: RawRow, now: number, lifeMs: number): number {
  const [, , , , , , expiresAt, redrivenAt, createdAt] = row;
  return parseTime(expiresAt) ?? (parseTime(redrivenAt) ?? parseTime(createdAt) ?? now) + lifeMs;
}

export const expiredReason = (state: string): string =>
  state === "sent" ? "expired, may have been delivered" : "expired, not sent";

/** What becomes of a row. `writes`: id or payload must be written before the row may leave. */
export type Judged =
  | {
      readonly payload: Uint8Array;
      readonly id: Uint8Array;
      readonly writes: "nothing" | "id" | "payload" | "id and payload" | "fresh id";
      readonly retries: number;
      readonly generation: number;
      readonly expiresAt: number;
      readonly released: boolean;
      readonly priority: number;
      /** Of a row that goes in sessions. */
      readonly session: SessionPart | undefined;
    }
  | { readonly refused: string };

const NO_ID = "message_id is not 24 lower-case hex digits; correct it, or set it to NULL";

/** What judging a row depends on. */
export interface Circumstances {
  /** Wall ms since the epoch. */
  readonly now: number;
  /** Life of a message whose row says nothing, ms. */
  readonly lifeMs: number;
  /** Main decides whether a row in flight expired: it knows whether it was sent. */
  readonly inFlight: boolean;
  /** Makes the 12 bytes of an id for a row that has none. */
  readonly freshId: () => Uint8Array;
}

/** Judges a row, for a session when a statement for sessions read it; never throws. */
export function judge(row: RawRow, circumstances: Circumstances): Judged {
  const [, messageId, payload, state, retryCount, generation, , , , priority] = row;
  const { now, lifeMs, inFlight, freshId } = circumstances;
  const expiresAt = expiryOf(row, now, lifeMs);
  if (expiresAt <= now && !inFlight) return { refused: expiredReason(state) };
  if (!isGeneration(generation)) return { refused: "generation is no number from 0; set it to 0" };
  if (!(payload instanceof Uint8Array)) return { refused: "payload is NULL" };
  const absent = messageId === null || messageId === "";
  const rowId = typeof messageId === "string" ? messageIdFromHex(messageId) : undefined;
  if (!absent && rowId === undefined) return { refused: NO_ID };
  const retries = count(retryCount);
  const released = state === "sent";
  const rank = Math.min(PRIORITY_MAX, count(priority));
  if (row.length > ROW_COLUMNS) {
    const session = sessionPart(row);
    if ("refused" in session) return session;
    return {
      payload,
      id: rowId ?? freshId(),
      writes: rowId === undefined ? "fresh id" : "nothing",
      retries,
      generation,
      expiresAt,
      released,
      priority: rank,
      session,
    };
  }
  try {
    const prepared = prepareOutbound(payload, rowId, rowId ?? freshId());
    if ("refused" in prepared) return prepared;
    const writes = prepared.changed
      ? absent
        ? "id and payload"
        : "payload"
      : absent
        ? "id"
        : "nothing";
    // Member by member: a spread makes V8 build the shape anew for every row, 3 us.
    return {
      payload: prepared.payload,
      id: prepared.id,
      writes,
      retries,
      generation,
      expiresAt,
      released,
      priority: rank,
      session: undefined,
    };
  } catch (thrown) {
    return { refused: `payload cannot be read: ${reasonOf(thrown)}` };
  }
}

const isGeneration = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= COUNT_MAX;
