// Inbound walk step 4: one transaction per batch of opened messages. What it says of a record is
// written into the batch after COMMIT returned, and nothing else in the project allows an ACK.
// One dedupe rule: the scope of an id is the ring that opened it ("" is the shared secret, where the
// digest belongs to the key, since nobody there can be told apart). What came in a session has a boot
// and another kind of digest: canonical forms are compared then (session-inbox.ts).

import { MESSAGE_ID_BYTES } from "../shared/protocol/constants.js";
import { messageIdToHex } from "../shared/protocol/message-id.js";
import {
  DIGEST_BYTES,
  type InboundBatch,
  InboundBatchReader,
  STORED,
  type Stored,
} from "../shared/runtime/inbound-batch.js";
import { writeTransaction } from "../shared/store/busy.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import type { DigestOf } from "../shared/store/migrate.js";
import { StampText, timeText } from "../shared/store/text-time.js";
import { InboundIds } from "./inbound-ids.js";
import { classicDigest } from "./session-digest.js";

const SHARED_SCOPE = "";
/** Reports gathered from one batch. */
const REPORTS_MAX = 8;

// OR IGNORE, not ON CONFLICT DO NOTHING: beside a trigger the latter makes SQLite copy every page that
// it touches, since a NOT NULL might abort (measured: 5 us a row).
const INSERT = `INSERT OR IGNORE INTO inbound_messages(id, message_id, src_addr, src_port,
    crypto_timestamp, state, ack_sent, received_at, ack_sent_at, updated_at, peer, digest, payload)
  VALUES (?, ?, ?, ?, ?, 'ack_sent', 1, ?, ?, ?, ?, ?, CAST(? AS TEXT))`;

/** Payloads only of rows whose digest says nothing here. */
const SAME_ID = `SELECT digest, boot,
    CASE WHEN digest IS NULL OR boot IS NOT NULL THEN CAST(payload AS BLOB) END
  FROM inbound_messages WHERE`;
type StoredRow = [digest: Buffer | null, boot: Buffer | null, payload: Buffer | null];

/** What a scope has in the table, as the running transaction sees it. */
interface Usage {
  bytes: number;
  /** Something of it was deleted: ids that are not in the table may be known nevertheless. */
  readonly deleted: boolean;
  rowsAdded: number;
  bytesAdded: number;
}

export interface InboxOptions {
  readonly digestOf: DigestOf;
  readonly report: (sentence: string) => void;
  /** Wall ms since the epoch. */
  readonly now: () => number;
  /** Payload bytes that one scope may have in the table. */
  readonly quotaBytes: number;
  /** Bytes that are on their way to rows of the scope, in files. */
  readonly spooledOf: (scope: string) => number;
}

export class Inbox {
  readonly #db: Connection;
  readonly #options: InboxOptions;
  #quotaBytes: number;
  readonly #ids: InboundIds;
  readonly #insert: Statement;
  readonly #sameId: Statement;
  readonly #sameIdShared: Statement;
  readonly #sameIdDeleted: Statement;
  readonly #otherShared: Statement;
  readonly #ownPayload: Statement;
  readonly #usage: Statement;
  readonly #addUsage: Statement;
  readonly #stampText = new StampText();
  #usageOf = new Map<string, Usage>();
  #outcomes = new Uint8Array(1_024);
  #reports: string[] = [];
  #now = "";

  constructor(db: Connection, options: InboxOptions) {
    this.#db = db;
    this.#options = options;
    this.#quotaBytes = options.quotaBytes;
    this.#ids = new InboundIds(db);
    this.#insert = db.prepare(INSERT);
    // SQLite does not look into parameters: without the literal it scans the table for want of an index.
    this.#sameId = db.prepare(`${SAME_ID} peer = ? AND message_id = ? AND peer <> ''`).raw();
    this.#sameIdShared = db.prepare(`${SAME_ID} peer = '' AND message_id = ?`).raw();
    this.#sameIdDeleted = db
      .prepare("SELECT digest, boot FROM tombstones WHERE peer = ? AND message_id = ?")
      .raw();
    this.#otherShared = db
      .prepare(
        `SELECT 1 FROM inbound_messages
         WHERE peer = '' AND message_id = ? AND digest <> ? LIMIT 1`,
      )
      .pluck();
    this.#ownPayload = db
      .prepare("SELECT CAST(payload AS BLOB) FROM outbound_messages WHERE message_id = ?")
      .pluck();
    this.#usage = db.prepare("SELECT bytes, tombstones FROM inbound_usage WHERE peer = ?").raw();
    this.#addUsage = db.prepare(
      `INSERT INTO inbound_usage(peer, rows, bytes) VALUES (?, ?, ?)
       ON CONFLICT(peer) DO UPDATE SET rows = rows + excluded.rows, bytes = bytes + excluded.bytes`,
    );
  }

  configure(quotaBytes: number): void {
    this.#quotaBytes = quotaBytes;
  }

  /**
   * Stores a batch and writes an outcome into each record once the commit is synced. When it
   * throws, no record has an outcome and nothing was stored.
   */
  store(batch: InboundBatch, deadlineMs: number): void {
    const records = new InboundBatchReader(batch);
    if (this.#outcomes.length < batch.rows) this.#outcomes = new Uint8Array(batch.rows * 2);
    const outcomes = this.#outcomes;
    this.#now = timeText(this.#options.now());
    this.#usageOf = new Map();
    this.#reports = [];
    writeTransaction(
      this.#db,
      () => {
        this.#ids.begin();
        for (let row = 0; records.next(); row++) outcomes[row] = this.#store(records);
        for (const [scope, usage] of this.#usageOf) {
          if (usage.rowsAdded > 0) this.#addUsage.run(scope, usage.rowsAdded, usage.bytesAdded);
        }
      },
      { deadlineMs },
    );
    records.rewind();
    for (let row = 0; records.next(); row++) records.outcome = outcomes[row] as Stored;
    for (const sentence of this.#reports) this.#options.report(sentence);
  }

  #store(record: InboundBatchReader): Stored {
    const { scope, bytes } = record;
    const id = messageIdToHex(bytes, record.messageIdAt);
    const digest = slice(bytes, record.digestAt, DIGEST_BYTES);
    if (record.suspect && this.#isOurOwn(id, digest)) return STORED.reflected;
    const usage = this.#usageIn(scope);
    const held = usage.bytes + this.#options.spooledOf(scope);
    if (held + record.payloadLength > this.#quotaBytes) {
      return this.#present(record, id, digest) ?? this.#overQuota(scope);
    }
    const shared = scope === SHARED_SCOPE;
    const fresh = !usage.deleted || !this.#wasDeleted(scope, id, shared ? digest : undefined);
    if (fresh && this.#inserted(record, id, digest)) {
      usage.rowsAdded += 1;
      usage.bytes += record.payloadLength;
      usage.bytesAdded += record.payloadLength;
      if (shared && this.#otherShared.get(id, digest) !== undefined) {
        this.#report(
          `two messages with id ${id} came under the shared secret (the second from ` +
            `${record.source}): both are kept`,
        );
      }
      return STORED.inserted;
    }
    return this.#present(record, id, digest) ?? this.#conflict(record, id);
  }

  #inserted(record: InboundBatchReader, id: string, digest: Buffer): boolean {
    const now = this.#now;
    const { changes } = this.#insert.run(
      this.#ids.take(1),
      id,
      record.source,
      record.port,
      this.#stampText.of(record.stamp),
      now,
      now,
      now,
      record.scope,
      digest,
      slice(record.bytes, record.payloadAt, record.payloadLength),
    );
    return changes === 1;
  }

  /** Whether the id is that of a deleted message; under the shared secret, id and digest. */
  #wasDeleted(scope: string, id: string, digest: Buffer | undefined): boolean {
    const deleted = this.#sameIdDeleted.all(scope, id) as [Buffer, Buffer | null][];
    if (digest === undefined) return deleted.length > 0;
    // Of what came in a session nothing is left to compare: one id is one message of an honest peer.
    return deleted.some(([other, boot]) => boot !== null || digest.equals(other));
  }

  /** `known` when the very message was stored before, be it deleted since. */
  #present({ scope, bytes, messageIdAt }: InboundBatchReader, id: string, digest: Buffer) {
    const found = scope === SHARED_SCOPE ? this.#sameIdShared.all(id) : this.#sameId.all(scope, id);
    for (const [stored, boot, payload] of found as StoredRow[]) {
      const other =
        boot !== null && payload !== null
          ? classicDigest(payload, slice(bytes, messageIdAt, MESSAGE_ID_BYTES))
          : (stored ?? this.#options.digestOf(payload ?? EMPTY));
      if (digest.equals(other)) return STORED.known;
    }
    return this.#wasDeleted(scope, id, digest) ? STORED.known : undefined;
  }

  #conflict(record: InboundBatchReader, id: string): Stored {
    this.#report(
      `${record.scope} sent another message under id ${id}, which it used before ` +
        `(from ${record.source}): refused`,
    );
    return STORED.conflict;
  }

  #overQuota(scope: string): Stored {
    const who = scope === SHARED_SCOPE ? "the users of the shared secret have" : `${scope} has`;
    this.#report(
      `${who} used up the quota of ${this.#quotaBytes} bytes in inbound_messages: ` +
        "new messages wait at the sender; delete read ones or raise the quota",
    );
    return STORED.quota;
  }

  /** By id and digest, not by id alone: a peer may forward or echo under the same id. */
  #isOurOwn(id: string, digest: Buffer): boolean {
    const payload = this.#ownPayload.get(id);
    return payload instanceof Uint8Array && digest.equals(this.#options.digestOf(payload));
  }

  #usageIn(scope: string): Usage {
    let usage = this.#usageOf.get(scope);
    if (usage === undefined) {
      const stored = this.#usage.get(scope) as [number, number] | undefined;
      const [bytes, deleted] = stored ?? [0, 0];
      usage = { bytes, deleted: deleted > 0, rowsAdded: 0, bytesAdded: 0 };
      this.#usageOf.set(scope, usage);
    }
    return usage;
  }

  #report(sentence: string): void {
    if (this.#reports.length < REPORTS_MAX) this.#reports.push(sentence);
  }
}

const EMPTY = new Uint8Array(0);

/** A view, not a copy. */
const slice = (bytes: Uint8Array, at: number, length: number): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset + at, length);
