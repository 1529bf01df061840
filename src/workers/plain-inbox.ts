// Unordered texts of one peer, many a statement: what they share is bound once, and what the call of a
// statement costs is paid once for 32 rows (a row alone 7.9 us, 32 together 3.9, the same bench). What
// turns out to be known already is for session-inbox.ts.

import { isUtf8 } from "node:buffer";
import { MESSAGE_ID_BYTES } from "../shared/protocol/constants.js";
import { MESSAGE_FLAG } from "../shared/protocol/session/message-digest.js";
import type { DeliveryBatch, DeliveryBatchReader } from "../shared/runtime/delivery-batch.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import type { InboundIds } from "./inbound-ids.js";
import { StampTexts } from "./stamp-texts.js";

/** Rows of a statement, most first. */
const ROWS_OF = [32, 8, 1] as const;
/** Bound for each row: message_id, crypto_timestamp, number, digest, payload. */
const COLUMNS = 5;
/** Larger payloads are not worth gathering, bytes. */
const PAYLOAD_BYTES_MAX = 4_096;
const SPECIAL = MESSAGE_FLAG.ordered | MESSAGE_FLAG.bytes | MESSAGE_FLAG.reply;

// OR IGNORE: see inbox.ts.
const INSERT = `INSERT OR IGNORE INTO inbound_messages(
    id, message_id, src_addr, src_port, crypto_timestamp, state, ack_sent, received_at, ack_sent_at,
    updated_at, peer, boot, number, digest, payload)
  VALUES `;
const ROW = `, ?, @source, @port, ?, 'ack_sent', 1, @now, @now, @now, @scope, @boot, ?, ?,
  CAST(? AS TEXT))`;
const insertOf = (rows: number): string =>
  INSERT + Array.from({ length: rows }, (_, i) => `(@first + ${i}${ROW}`).join(",");

/** What all rows of a statement have. */
interface Shared {
  readonly source: string;
  readonly port: number;
  readonly scope: string;
  readonly boot: Buffer;
  readonly now: string;
}

export class PlainInbox {
  readonly #statements: readonly Statement[];
  readonly #ids: InboundIds;
  readonly #idsFrom: Statement;
  readonly #stamps = new StampTexts();
  #shared: Shared | undefined;
  #values: unknown[] = [];
  /** The batch of the message that came last, and a view of it. */
  #batch: DeliveryBatch | undefined;
  #bytes = Buffer.alloc(0);
  /** Of each gathered row: its place in the batch. */
  readonly rows: number[] = [];
  /** Payload bytes gathered. */
  bytes = 0;

  constructor(db: Connection, ids: InboundIds) {
    this.#ids = ids;
    this.#statements = ROWS_OF.map((rows) => db.prepare(insertOf(rows)));
    this.#idsFrom = db
      .prepare("SELECT message_id FROM inbound_messages WHERE id BETWEEN ? AND ?")
      .pluck();
  }

  /** Whether the message at the cursor is one for here. */
  takes({ flags }: DeliveryBatchReader, payload: Buffer): boolean {
    return (flags & SPECIAL) === 0 && payload.length <= PAYLOAD_BYTES_MAX && isUtf8(payload);
  }

  /** Gathers the message at the cursor; false when it differs from the others in what they share. */
  add(
    row: number,
    record: DeliveryBatchReader,
    digest: Buffer,
    payload: Buffer,
    now: string,
  ): boolean {
    const shared = this.#shared;
    if (shared === undefined || this.rows.length === 0) this.#shared = sharedOf(record, now);
    else if (!isAlike(shared, record)) return false;
    const { batch, messageIdAt } = record;
    if (this.#batch !== batch) {
      this.#batch = batch;
      this.#bytes = Buffer.from(batch.bytes);
    }
    const id = this.#bytes.toString("hex", messageIdAt, messageIdAt + MESSAGE_ID_BYTES);
    this.#values.push(id, this.#stamps.of(record.sentWallNs), record.number, digest, payload);
    this.rows.push(row);
    this.bytes += payload.length;
    return true;
  }

  /**
   * Inserts what was gathered, inside a transaction of the caller; the ids of what became rows when some
   * did not, undefined when all did. `clear` comes next.
   */
  insert(): Set<string> | undefined {
    const first = this.#ids.take(this.rows.length);
    let inserted = 0;
    let from = 0;
    for (const [size, statement] of this.#statements.entries()) {
      const rows = ROWS_OF[size] as number;
      for (; from + rows <= this.rows.length; from += rows) {
        const values = this.#values.slice(from * COLUMNS, (from + rows) * COLUMNS);
        const named = { ...this.#shared, first: first + from };
        inserted += statement.run(...values, named).changes;
      }
    }
    if (inserted === this.rows.length) return undefined;
    return new Set(this.#idsFrom.all(first, first + this.rows.length - 1) as string[]);
  }

  clear(): void {
    this.#values = [];
    this.rows.length = 0;
    this.bytes = 0;
  }
}

function sharedOf(record: DeliveryBatchReader, now: string): Shared {
  const { source, port, scope } = record;
  return { source, port, scope, boot: Buffer.from(record.bytes.buffer, record.bootAt, 8), now };
}

function isAlike(shared: Shared, record: DeliveryBatchReader): boolean {
  if (shared.scope !== record.scope || shared.source !== record.source) return false;
  if (shared.port !== record.port) return false;
  const { bytes, bootAt } = record;
  for (let i = 0; i < shared.boot.length; i++)
    if (shared.boot[i] !== bytes[bootAt + i]) return false;
  return true;
}
