// Many plain rows of a lane in one go: small texts with an id and nothing special about them. SQLite
// joins their columns into a few byte strings, so that no value and no object is made per row (lease
// 3.7 to 1.0 us a row in the store bench). Every other row is for row-reader.ts.

import { isUtf8 } from "node:buffer";
import { assert } from "../shared/base/assert.js";
import { MESSAGE_ID_BYTES } from "../shared/protocol/constants.js";
import { MESSAGE_DIGEST_BYTES } from "../shared/protocol/session/limits.js";
import {
  DIGEST_HEAD_BYTES_MAX,
  writeDigestHead,
} from "../shared/protocol/session/message-digest.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import { ID_SANE_MAX } from "../shared/store/migrate.js";
import { parseTime } from "../shared/store/text-time.js";
import { blake2b } from "./aead.js";
import type { Lane } from "./lanes.js";
import { READY } from "./outbound-row.js";

/** Larger payloads cost so much that the price of an object beside them is lost. */
const PAYLOAD_BYTES_MAX = 4_096;
/** Rows of one block. With {@link PAYLOAD_BYTES_MAX}, 2 MiB at most. */
export const BLOCK_ROWS_MAX = 512;
/** Reads without a block after one in which fewer than one in so many rows were plain. */
const PASSES = 32;
const WORTH_SHARE = 4;
const ID_TEXT_BYTES = 2 * MESSAGE_ID_BYTES;
const TIME_BYTES = 23;
const COMMA = 0x2c;
const DIGIT_0 = 0x30;
const NO_STREAM = new Uint8Array(0);
const NOT_HEX = 0xff;
/** First bits of a byte within a character of UTF-8. */
const CONTINUATION = 0x80;

/** Value of each lower-case hex digit. */
const HEX = new Uint8Array(256).fill(NOT_HEX);
for (let digit = 0; digit < 16; digit++) HEX[digit.toString(16).charCodeAt(0)] = digit;

/**
 * 1 where nothing but id, text and time of birth is to be read. Text sorts below every blob, so the
 * comparisons with an empty one ask for text at a fifth of the price of typeof().
 */
const PLAIN = `((payload < x'' AND octet_length(payload) <= ${PAYLOAD_BYTES_MAX}
  AND message_id < x'' AND octet_length(message_id) = ${ID_TEXT_BYTES}
  AND created_at < x'' AND octet_length(created_at) = ${TIME_BYTES} AND state = 'pending'
  AND retry_count = 0 AND generation = 0 AND stream IS NULL AND in_reply_to IS NULL
  AND expires_at IS NULL AND redriven_at IS NULL AND id > 0) IS TRUE)`;

/** Parameters: dst_addr, dst_port, priority, id to start behind, rows; see LANE_ROWS_SQL for `+ 0`. */
const BLOCK_SQL = `SELECT group_concat(plain, ''), CAST(group_concat(id) AS BLOB),
    CAST(group_concat(octet_length(body)) AS BLOB), CAST(group_concat(message_id, '') AS BLOB),
    CAST(group_concat(created_at, '') AS BLOB), CAST(group_concat(body, '') AS BLOB)
  FROM (SELECT id, ${PLAIN} AS plain, message_id, created_at,
      CASE WHEN octet_length(payload) <= ${PAYLOAD_BYTES_MAX} THEN payload END AS body
    FROM outbound_messages INDEXED BY outbound_work
    WHERE dst_addr = ? AND dst_port = ? AND priority = ?
      AND id > ? AND id <= ${ID_SANE_MAX} AND ${READY} ORDER BY id LIMIT ? + 0)`;

type Columns = readonly [
  plain: string,
  ids: Buffer,
  lengths: Buffer,
  messageIds: Buffer,
  times: Buffer,
  payloads: Buffer,
];

/** Rows of a block that are plain from its begin on. */
function plainRows([plain]: Columns): number {
  const other = plain.indexOf("0");
  return other < 0 ? plain.length : other;
}

/** A cursor over the plain rows with which what a lane has ahead begins. */
export class LaneBlock {
  readonly #read: Statement;
  #columns: Columns | undefined;
  #rows = 0;
  #index = -1;
  #idAt = 0;
  #lengthAt = 0;
  #nextPayloadAt = 0;
  #numberEnd = 0;
  /** Reads to come without a block. */
  #passes = 0;
  readonly #lastTime = Buffer.alloc(TIME_BYTES);
  readonly #input = new Uint8Array(DIGEST_HEAD_BYTES_MAX + PAYLOAD_BYTES_MAX);
  #inputView = this.#input.subarray(0, 0);
  /** What the lane has behind the rows of this block, if anything, is not known. */
  isCut = false;

  // --- Of the row at the cursor -------------------------------------------------------------------

  rowId = 0;
  /** Wall ms since the epoch. */
  createdAt = 0;
  payloadAt = 0;
  payloadLength = 0;
  readonly messageId = new Uint8Array(MESSAGE_ID_BYTES);
  readonly digest = new Uint8Array(MESSAGE_DIGEST_BYTES);

  constructor(db: Connection) {
    this.#read = db.prepare(BLOCK_SQL).raw();
  }

  /** Where payloads lie. */
  get bytes(): Uint8Array {
    assert(this.#columns !== undefined, "a block was opened");
    return this.#columns[5];
  }

  /** Reads what the lane has ahead; false when no row of this class is next. */
  open({ destination, priority, cursor }: Lane, rows: number): boolean {
    if (this.#passes > 0) {
      this.#passes -= 1;
      return false;
    }
    const { address, port } = destination;
    const read = (count: number): Columns | undefined => {
      const columns = this.#read.get(address, port, priority, cursor, count) as Columns | [null];
      return columns[0] === null ? undefined : columns;
    };
    const columns = read(rows);
    if (columns === undefined) return false;
    const plain = plainRows(columns);
    if (plain === columns[0].length) return this.#begin(columns, plain < rows);
    if (plain * WORTH_SHARE < rows) this.#passes = PASSES;
    // Where another row is among them columns may be missing: only a block without can be taken apart.
    const again = plain === 0 ? undefined : read(plain);
    if (again === undefined || plainRows(again) < again[0].length) return false;
    return this.#begin(again, false);
  }

  /** Moves to the next row; false at the end, or in front of a row that cannot go as it is. */
  next(): boolean {
    assert(this.#columns !== undefined, "a block was opened");
    const [, ids, lengths, messageIds, times, payloads] = this.#columns;
    const index = this.#index + 1;
    if (index >= this.#rows) return false;
    const begins = payloads[this.#nextPayloadAt] ?? 0;
    const isWhole =
      this.#readId(messageIds, index * ID_TEXT_BYTES) &&
      this.#readTime(times, index * TIME_BYTES) &&
      (begins & 0xc0) !== CONTINUATION;
    if (!isWhole) {
      this.isCut = true;
      return false;
    }
    this.#index = index;
    this.payloadAt = this.#nextPayloadAt;
    this.rowId = this.#number(ids, this.#idAt);
    this.#idAt = this.#numberEnd;
    this.payloadLength = this.#number(lengths, this.#lengthAt);
    this.#lengthAt = this.#numberEnd;
    this.#nextPayloadAt += this.payloadLength;
    return true;
  }

  /** Writes the digest of the message, which has no flags, to {@link digest}. */
  hash(): void {
    const input = this.#input;
    const { payloadAt, payloadLength } = this;
    const head = writeDigestHead(input, 0, NO_STREAM, this.messageId, 0, 0, payloadLength);
    const length = head + payloadLength;
    this.#columns?.[5].copy(input, head, payloadAt, payloadAt + payloadLength);
    // Most messages are as long as the one before: making a view is dearer than comparing.
    if (this.#inputView.length !== length) this.#inputView = input.subarray(0, length);
    blake2b(this.digest, this.#inputView);
  }

  #begin(columns: Columns, isLast: boolean): boolean {
    // A whole that is well formed, and no row that begins within a character: each row is.
    if (!isUtf8(columns[5])) return false;
    this.#columns = columns;
    this.#rows = columns[0].length;
    this.isCut = !isLast;
    this.#index = -1;
    this.#idAt = 0;
    this.#lengthAt = 0;
    this.#nextPayloadAt = 0;
    return true;
  }

  /** The decimal number at `at`; behind its comma the next one begins. */
  #number(text: Buffer, at: number): number {
    let value = 0;
    let i = at;
    for (; i < text.length && text[i] !== COMMA; i++) value = value * 10 + text[i] - DIGIT_0;
    this.#numberEnd = i + 1;
    return value;
  }

  #readId(text: Buffer, at: number): boolean {
    let wrong = 0;
    for (let i = 0; i < MESSAGE_ID_BYTES; i++) {
      const high = HEX[text[at + 2 * i]] as number;
      const low = HEX[text[at + 2 * i + 1]] as number;
      wrong |= high | low;
      this.messageId[i] = (high << 4) | low;
    }
    return (wrong & 0xf0) === 0;
  }

  #readTime(text: Buffer, at: number): boolean {
    const last = this.#lastTime;
    let i = 0;
    while (i < TIME_BYTES && last[i] === text[at + i]) i += 1;
    if (i === TIME_BYTES) return true;
    const read = parseTime(text.toString("latin1", at, at + TIME_BYTES));
    if (read === undefined) return false;
    text.copy(last, 0, at, at + TIME_BYTES);
    this.createdAt = read;
    return true;
  }
}
