// Rows of messages that came in sessions, and the one dedupe rule for them: within the peer's scope an
// id is one message, stored or deleted since. A row or tombstone with a boot came in a session, and its
// digest is that of the session protocol; one without came by classic, and canonical forms are compared.

import { isUtf8 } from "node:buffer";
import { messageIdToHex } from "../shared/protocol/message-id.js";
import { BOOT_ID_BYTES, DIGEST_PIECE_BYTES } from "../shared/protocol/session/limits.js";
import { MESSAGE_FLAG } from "../shared/protocol/session/message-digest.js";
import type { DeliveryBatchReader } from "../shared/runtime/delivery-batch.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import type { InboundIds } from "./inbound-ids.js";
import { classicDigest } from "./session-digest.js";
import { StampTexts } from "./stamp-texts.js";

// OR IGNORE, OR FAIL: see inbox.ts.
const INSERT = `INSERT OR IGNORE INTO inbound_messages(
    id, message_id, src_addr, src_port, crypto_timestamp, state, ack_sent, received_at, ack_sent_at,
    updated_at, peer, stream, sequence, boot, number, in_reply_to, digest, payload)
  VALUES (?, ?, ?, ?, ?, 'ack_sent', 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,`;
const INSERT_TEXT = `${INSERT} CAST(? AS TEXT))`;
const INSERT_BYTES = `${INSERT} ?)`;

type Known = "same" | "other" | undefined;
type Row = [
  id: number,
  digest: Buffer | null,
  boot: Buffer | null,
  number: number | null,
  payload: Buffer | null,
];
type Tombstone = [digest: Buffer, boot: Buffer | null, number: number | null];

export class SessionInbox {
  readonly #insertText: Statement;
  readonly #insertBytes: Statement;
  readonly #row: Statement;
  readonly #tombstones: Statement;
  readonly #shared: Statement;
  readonly #renumberRow: Statement;
  readonly #renumberTombstone: Statement;
  readonly #stamps = new StampTexts();
  readonly #ids: InboundIds;

  constructor(db: Connection, ids: InboundIds) {
    this.#ids = ids;
    this.#insertText = db.prepare(INSERT_TEXT);
    this.#insertBytes = db.prepare(INSERT_BYTES);
    // peer <> '' lets SQLite use the partial index: it does not look into parameters.
    this.#row = db
      .prepare(
        `SELECT id, digest, boot, number,
           CASE WHEN boot IS NULL AND digest IS NULL THEN CAST(payload AS BLOB) END
         FROM inbound_messages WHERE peer = ? AND message_id = ? AND peer <> ''`,
      )
      .raw();
    this.#tombstones = db
      .prepare("SELECT digest, boot, number FROM tombstones WHERE peer = ? AND message_id = ?")
      .raw();
    this.#shared = db
      .prepare(
        `SELECT digest FROM inbound_messages WHERE peer = '' AND message_id = ?
         UNION ALL SELECT digest FROM tombstones WHERE peer = '' AND message_id = ?`,
      )
      .pluck();
    this.#renumberRow = db.prepare(
      "UPDATE OR FAIL inbound_messages SET boot = ?, number = ?, digest = ? WHERE id = ?",
    );
    this.#renumberTombstone = db.prepare(
      `UPDATE OR REPLACE tombstones SET boot = ?, number = ?, digest = ?
       WHERE peer = ? AND message_id = ? AND digest = ?`,
    );
  }

  /** Inserts the message at the cursor; false when its id is taken. `now`: text. */
  insert(record: DeliveryBatchReader, digest: Buffer, payload: Buffer, now: string): boolean {
    const { bytes, flags } = record;
    const ordered = (flags & MESSAGE_FLAG.ordered) !== 0;
    const isText = (flags & MESSAGE_FLAG.bytes) === 0 && isUtf8(payload);
    const result = (isText ? this.#insertText : this.#insertBytes).run(
      this.#ids.take(1),
      messageIdToHex(bytes, record.messageIdAt),
      record.source,
      record.port,
      this.#stamps.of(record.sentWallNs),
      now,
      now,
      now,
      record.scope,
      ordered ? record.stream : null,
      ordered ? record.sequence : null,
      bootOf(record),
      record.number,
      (flags & MESSAGE_FLAG.reply) === 0 ? null : messageIdToHex(bytes, record.inReplyToAt),
      digest,
      payload,
    );
    return result.changes === 1;
  }

  /** Whether anything under this id was deleted. */
  wasDeleted(scope: string, id: string): boolean {
    return this.#tombstones.get(scope, id) !== undefined;
  }

  /**
   * Whether the id is stored or was deleted, with this content or another. What is the same gets the
   * newest boot and number, so that SETTLED covers it.
   */
  known(record: DeliveryBatchReader, digest: Buffer, payload: Uint8Array): Known {
    let classic: Buffer | undefined;
    const messageId = slice(record.bytes, record.messageIdAt, 12);
    const sameAsClassic = (stored: Buffer): boolean => {
      classic ??= asBuffer(classicDigest(payload, messageId));
      return classic.equals(stored);
    };
    return this.#find(record, digest, (stored, boot, bytes) => {
      if (boot !== null) return stored !== null && digest.equals(stored);
      if (stored !== null && sameAsClassic(stored)) return true;
      return bytes !== null && sameAsClassic(asBuffer(classicDigest(bytes, messageId)));
    });
  }

  /**
   * Whether the very message came by classic under the shared secret, where nobody can be told apart:
   * a peer that moves to sessions sends once more what it had no acknowledgement for.
   */
  cameShared(record: DeliveryBatchReader, payload: Uint8Array): boolean {
    const id = messageIdToHex(record.bytes, record.messageIdAt);
    const digests = this.#shared.all(id, id) as (Buffer | null)[];
    if (digests.length === 0) return false;
    const digest = classicDigest(payload, slice(record.bytes, record.messageIdAt, 12));
    return digests.some((stored) => stored?.equals(digest) === true);
  }

  /** The same for a large message of which only the first half of the digest is known. */
  knownByPiece(record: DeliveryBatchReader): Known {
    const half = slice(record.bytes, record.digest16At, DIGEST_PIECE_BYTES);
    return this.#find(record, undefined, (stored, boot) => boot !== null && begins(stored, half));
  }

  /** The same without a message at hand: a spool file whose message may have become a row. */
  isStored(scope: string, id: string): boolean {
    return this.#row.get(scope, id) !== undefined || this.wasDeleted(scope, id);
  }

  #find(
    record: DeliveryBatchReader,
    digest: Buffer | undefined,
    same: (stored: Buffer | null, boot: Buffer | null, payload: Buffer | null) => boolean,
  ): Known {
    const { scope } = record;
    const id = messageIdToHex(record.bytes, record.messageIdAt);
    const row = this.#row.get(scope, id) as Row | undefined;
    if (row !== undefined) {
      const [rowId, stored, boot, number, payload] = row;
      if (!same(stored, boot, payload)) return "other";
      if (isNewer(record, boot, number)) {
        this.#renumberRow.run(bootOf(record), record.number, digest ?? stored, rowId);
      }
      return "same";
    }
    let found: Known;
    for (const [stored, boot, number] of this.#tombstones.all(scope, id) as Tombstone[]) {
      if (!same(stored, boot, null)) {
        found ??= "other";
        continue;
      }
      found = "same";
      if (!isNewer(record, boot, number)) continue;
      const boots = bootOf(record);
      this.#renumberTombstone.run(boots, record.number, digest ?? stored, scope, id, stored);
    }
    return found;
  }
}

/** The core hands over messages of the newest boot only, so another boot is an older one. */
function isNewer(record: DeliveryBatchReader, boot: Buffer | null, number: number | null): boolean {
  return boot === null || !boot.equals(bootOf(record)) || (number ?? 0) < record.number;
}

const begins = (digest: Buffer | null, half: Buffer): boolean =>
  digest !== null && half.equals(digest.subarray(0, half.length));

const bootOf = (record: DeliveryBatchReader): Buffer =>
  slice(record.bytes, record.bootAt, BOOT_ID_BYTES);

/** A view, not a copy. */
const slice = (bytes: Uint8Array, at: number, length: number): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset + at, length);
const asBuffer = (bytes: Uint8Array): Buffer => slice(bytes, 0, bytes.length);
