// Inbound walk step 4 of sessions: what a batch holds goes to the store in its order, and only what a
// synced commit covers gets an outcome that draws a receipt. One transaction a batch; a large message
// becomes a row in a transaction of its own, and pieces go to their spool files, synced before their
// outcome says so.

import { messageIdToHex } from "../shared/protocol/message-id.js";
import {
  BOOT_ID_BYTES,
  DIGEST_PIECE_BYTES,
  MESSAGE_DIGEST_BYTES,
} from "../shared/protocol/session/limits.js";
import { DELIVERED, type Delivered } from "../shared/protocol/session/ports.js";
import {
  DELIVERY_KIND,
  type DeliveryBatch,
  DeliveryBatchReader,
} from "../shared/runtime/delivery-batch.js";
import { writeTransaction } from "../shared/store/busy.js";
import type { Connection } from "../shared/store/driver.js";
import { type WriteFailure, writeFailure } from "../shared/store/sqlite-error.js";
import { timeText } from "../shared/store/text-time.js";
import { conflictSentence, gapSentence, quotaSentence } from "./delivery-sentences.js";
import { HeldStreams } from "./held-streams.js";
import type { InboundIds } from "./inbound-ids.js";
import { InboundUsage } from "./inbound-usage.js";
import { PlainInbox } from "./plain-inbox.js";
import { RecordDigests } from "./record-digests.js";
import type { SessionInbox } from "./session-inbox.js";
import type { SettledTombstones } from "./settled-tombstones.js";
import type { Spool } from "./spool.js";
import { StreamGaps } from "./stream-gaps.js";

const { message: MESSAGE, piece: PIECE, settled: SETTLED, drop: DROP } = DELIVERY_KIND;
/** Reports gathered from one transaction. */
const REPORTS_MAX = 8;
const SHARED_SCOPE = "";

export type Failure = Exclude<WriteFailure, "broken">;

export interface DeliveryOptions {
  readonly inbox: SessionInbox;
  readonly ids: InboundIds;
  readonly spool: Spool;
  readonly settled: SettledTombstones;
  readonly report: (sentence: string) => void;
  /** What people call the peer with this scope. */
  readonly nameOf: (scope: string) => string;
  /** Wall ms since the epoch. */
  readonly now: () => number;
  /** Payload bytes that one peer may have in inbound_messages, with what it has begun to send. */
  readonly quotaBytes: number;
}

export class Delivery {
  readonly #db: Connection;
  readonly #options: DeliveryOptions;
  readonly #usage: InboundUsage;
  readonly #gaps: StreamGaps;
  readonly #plain: PlainInbox;
  readonly #held = new HeldStreams();
  #quotaBytes: number;
  readonly #digests = new RecordDigests();
  /** Of each message of the batch: a view of it. */
  #payloads: Buffer[] = [];
  /** Outcome of each record of the batch; those of a transaction count once it is committed. */
  #outcomes = new Uint8Array(0);
  /** Where each record begins. */
  #starts: number[] = [];
  /** What became of pieces of large messages in this batch that are not written: of each it is asked once. */
  readonly #refused = new Map<string, Delivered>();
  #reports: string[] = [];
  #now = "";

  constructor(db: Connection, options: DeliveryOptions) {
    this.#db = db;
    this.#options = options;
    this.#quotaBytes = options.quotaBytes;
    this.#usage = new InboundUsage(db);
    this.#gaps = new StreamGaps(db);
    this.#plain = new PlainInbox(db, options.ids);
  }

  configure(quotaBytes: number): void {
    this.#quotaBytes = quotaBytes;
  }

  /**
   * Writes an outcome and a digest into each record. Returns why it had to stop: the records from
   * there on have that as their outcome, and draw no receipt. Throws when the store must not go on;
   * then no outcome counts.
   */
  apply(batch: DeliveryBatch, deadlineMs: number): Failure | undefined {
    const record = new DeliveryBatchReader(batch);
    this.#hash(record);
    const rows = this.#starts.length;
    let from = 0;
    try {
      while (from < rows) {
        const to = this.#segmentEnd(record, from);
        if (to > from) this.#segment(record, from, to, deadlineMs);
        from = to;
        if (from >= rows) break;
        record.seek(this.#starts[from] as number);
        record.outcome = this.#complete(record, deadlineMs);
        from += 1;
      }
      return undefined;
    } catch (thrown) {
      const failure = writeFailure(thrown);
      if (failure === "broken") throw thrown;
      this.#fail(record, from, failure);
      return failure;
    }
  }

  /** Gives every record back: nothing of the batch was done. */
  refuse(batch: DeliveryBatch, failure: Failure): void {
    const record = new DeliveryBatchReader(batch);
    this.#hash(record);
    this.#fail(record, 0, failure);
  }

  #fail(record: DeliveryBatchReader, from: number, failure: Failure): void {
    for (let row = from; row < this.#starts.length; row++) {
      record.seek(this.#starts[row] as number);
      if (
        record.outcome !== DELIVERED.pending ||
        !(record.kind === MESSAGE || record.kind === PIECE)
      ) {
        continue;
      }
      if (record.kind === MESSAGE || record.last) this.#held.answered(record, false);
      record.outcome = failure === "full" ? DELIVERED.full : DELIVERED.busy;
    }
  }

  /** The record that makes a large message whole ends a segment, and is none of it. */
  #segmentEnd(record: DeliveryBatchReader, from: number): number {
    for (let row = from; row < this.#starts.length; row++) {
      record.seek(this.#starts[row] as number);
      if (record.kind === PIECE && record.last) return row;
    }
    return this.#starts.length;
  }

  #segment(record: DeliveryBatchReader, from: number, to: number, deadlineMs: number): void {
    let writes = false;
    for (let row = from; row < to; row++) {
      record.seek(this.#starts[row] as number);
      writes ||= record.kind === MESSAGE || record.kind === SETTLED;
    }
    if (writes) this.#write(() => this.#rows(record, from, to), deadlineMs);
    for (let row = from; row < to; row++) {
      record.seek(this.#starts[row] as number);
      if (record.kind === MESSAGE) record.outcome = this.#outcomes[row] as Delivered;
      else if (record.kind === SETTLED) {
        const { scope } = record;
        this.#options.settled.remember(scope, bootOf(record), record.number);
      }
    }
    this.#pieces(record, from, to, deadlineMs);
  }

  #rows(record: DeliveryBatchReader, from: number, to: number): void {
    this.#plain.clear();
    let settles = false;
    for (let row = from; row < to; row++) {
      record.seek(this.#starts[row] as number);
      if (record.kind === MESSAGE) this.#row(record, row);
      settles ||= record.kind === SETTLED;
    }
    this.#storePlain(record);
    // Behind all messages of the segment: it may come later than it was handed over, and parts no insert.
    if (!settles) return;
    for (let row = from; row < to; row++) {
      record.seek(this.#starts[row] as number);
      if (record.kind !== SETTLED) continue;
      this.#options.settled.remove(record.scope, bootOf(record), record.number);
    }
  }

  /** Gathers the message, or stores it behind those that were. */
  #row(record: DeliveryBatchReader, row: number): void {
    const digest = this.#digests.of(row);
    const payload = this.#payloads[row] as Buffer;
    const plain = this.#plain;
    if (plain.takes(record, payload)) {
      if (plain.add(row, record, digest, payload, this.#now)) return;
      this.#storePlain(record);
      record.seek(this.#starts[row] as number);
      plain.add(row, record, digest, payload, this.#now);
      return;
    }
    this.#storePlain(record);
    record.seek(this.#starts[row] as number);
    this.#outcomes[row] = this.#storeAlone(record, row);
  }

  #storeAlone(record: DeliveryBatchReader, row: number): Delivered {
    return this.#store(record, this.#digests.of(row), this.#payloads[row] as Buffer, 0);
  }

  /** Stores the messages that were gathered, and moves the cursor: together when all can be new. */
  #storePlain(record: DeliveryBatchReader): void {
    const plain = this.#plain;
    const [first] = plain.rows;
    if (first === undefined) return;
    record.seek(this.#starts[first] as number);
    const { scope } = record;
    const held = this.#usage.bytesOf(scope) + this.#options.spool.bytesOf(scope);
    const fits = held + plain.bytes <= this.#quotaBytes;
    if (fits && !this.#usage.deletedFrom(scope) && !this.#usesShared) {
      const inserted = plain.insert();
      for (const row of plain.rows) {
        record.seek(this.#starts[row] as number);
        // Of two with one id the first became the row.
        if (inserted?.delete(messageIdToHex(record.bytes, record.messageIdAt)) === false) {
          this.#outcomes[row] = this.#storeAlone(record, row);
          continue;
        }
        this.#usage.added(scope, record.payloadLength);
        if (record.gapLast !== 0) this.#noteGap(record);
        this.#outcomes[row] = DELIVERED.inserted;
      }
    } else {
      for (const row of plain.rows) {
        record.seek(this.#starts[row] as number);
        this.#outcomes[row] = this.#storeAlone(record, row);
      }
    }
    plain.clear();
  }

  /** One transaction; what it reports is said once it is committed. */
  #write<T>(work: () => T, deadlineMs: number): T {
    this.#usage.begin();
    this.#reports = [];
    this.#now = timeText(this.#options.now());
    const result = writeTransaction(
      this.#db,
      () => {
        this.#options.ids.begin();
        const done = work();
        this.#usage.write();
        return done;
      },
      { deadlineMs },
    );
    for (const sentence of this.#reports) this.#options.report(sentence);
    return result;
  }

  // --- Messages -----------------------------------------------------------------------------------

  /** Inside a transaction. `spooledBytes`: what the spool holds for this very message. */
  #store(
    record: DeliveryBatchReader,
    digest: Buffer,
    payload: Buffer,
    spooledBytes: number,
  ): Delivered {
    if (this.#held.holds(record)) {
      // What was stored before draws its receipt wherever the stream stands.
      const known = this.#options.inbox.known(record, digest, payload);
      return known === "same" ? DELIVERED.known : DELIVERED.held;
    }
    const outcome = this.#storeFree(record, digest, payload, spooledBytes);
    this.#held.answered(record, outcome === DELIVERED.inserted || outcome === DELIVERED.known);
    return outcome;
  }

  #storeFree(
    record: DeliveryBatchReader,
    digest: Buffer,
    payload: Buffer,
    spooledBytes: number,
  ): Delivered {
    const { inbox, spool } = this.#options;
    const { scope } = record;
    const id = messageIdToHex(record.bytes, record.messageIdAt);
    const held = this.#usage.bytesOf(scope) + spool.bytesOf(scope) - spooledBytes;
    const fits = held + payload.length <= this.#quotaBytes;
    if (this.#usesShared && inbox.cameShared(record, payload)) return DELIVERED.known;
    const fresh = fits && !(this.#usage.deletedFrom(scope) && inbox.wasDeleted(scope, id));
    if (fresh && inbox.insert(record, digest, payload, this.#now)) {
      this.#usage.added(scope, payload.length);
      this.#noteGap(record);
      return DELIVERED.inserted;
    }
    switch (inbox.known(record, digest, payload)) {
      case "same":
        this.#noteGap(record);
        return DELIVERED.known;
      case "other":
        return this.#conflict(record, id);
      default:
        return this.#overQuota(scope);
    }
  }

  /** Something came by classic under the shared secret, and is stored or was deleted. */
  get #usesShared(): boolean {
    return this.#usage.bytesOf(SHARED_SCOPE) > 0 || this.#usage.deletedFrom(SHARED_SCOPE);
  }

  #noteGap(record: DeliveryBatchReader): void {
    if (record.gapLast === 0) return;
    this.#gaps.note(record, this.#now);
    this.#report(gapSentence(this.#options.nameOf(record.scope), record));
  }

  #conflict(record: DeliveryBatchReader, id: string): Delivered {
    this.#report(conflictSentence(this.#options.nameOf(record.scope), id, record.source));
    return DELIVERED.conflict;
  }

  #overQuota(scope: string): Delivered {
    this.#report(quotaSentence(this.#options.nameOf(scope), this.#quotaBytes));
    return DELIVERED.quota;
  }

  #report(sentence: string): void {
    if (this.#reports.length < REPORTS_MAX) this.#reports.push(sentence);
  }

  // --- Large messages -----------------------------------------------------------------------------

  #pieces(record: DeliveryBatchReader, from: number, to: number, deadlineMs: number): void {
    const { spool } = this.#options;
    for (let row = from; row < to; row++) {
      record.seek(this.#starts[row] as number);
      if (record.kind === DROP) spool.drop(record.scope, messageIdOf(record));
      else if (record.kind === PIECE) this.#outcomes[row] = this.#piece(record, deadlineMs);
    }
    spool.sync();
    for (let row = from; row < to; row++) {
      record.seek(this.#starts[row] as number);
      if (record.kind === PIECE) record.outcome = this.#synced(record, this.#outcomes[row]);
    }
  }

  /** A piece whose file the disk had no room for at the sync is not on disk. */
  #synced(record: DeliveryBatchReader, outcome: number): Delivered {
    const lost = outcome === DELIVERED.spooled && !this.#options.spool.continues(record);
    return lost ? DELIVERED.full : (outcome as Delivered);
  }

  /** Writes a piece, unless its message is known or too much. On disk behind the next sync. */
  #piece(record: DeliveryBatchReader, deadlineMs: number): Delivered {
    const { inbox, spool } = this.#options;
    if (!spool.continues(record)) {
      const { scope } = record;
      const id = messageIdToHex(record.bytes, record.messageIdAt);
      const subject = `${scope} ${id} ${record.total} ${digest16Of(record).toString("hex")}`;
      const before = this.#refused.get(subject);
      if (before !== undefined) return before;
      const refused = this.#write((): Delivered | undefined => {
        const known = inbox.knownByPiece(record);
        if (known === "same") return DELIVERED.known;
        if (known === "other") return this.#conflict(record, id);
        const held = this.#usage.bytesOf(scope) + spool.bytesOf(scope);
        return held + record.total > this.#quotaBytes ? this.#overQuota(scope) : undefined;
      }, deadlineMs);
      if (refused !== undefined) {
        this.#refused.set(subject, refused);
        return refused;
      }
      // The file that it finishes is gone: it comes again.
      if (record.last) return DELIVERED.busy;
    }
    return spool.write(record);
  }

  /** The last piece: the message becomes a row, or nothing of it is left. */
  #complete(record: DeliveryBatchReader, deadlineMs: number): Delivered {
    const { spool } = this.#options;
    const { scope } = record;
    const messageId = messageIdOf(record);
    const outcome = this.#piece(record, deadlineMs);
    if (outcome !== DELIVERED.spooled) return this.#notStored(record, outcome);
    spool.sync();
    const file = spool.find(scope, messageId);
    if (file === undefined) return this.#notStored(record, DELIVERED.full);
    // What lies in front of it did not get to the disk: it comes again.
    if (!file.whole) return this.#notStored(record, DELIVERED.busy);
    // All of it would be read for each byte that comes, as often as its sender wants.
    if (this.#held.holds(record)) return DELIVERED.held;
    const payload = file.read();
    file.close();
    const digest = Buffer.alloc(MESSAGE_DIGEST_BYTES);
    this.#digests.compute(digest, record, payload);
    if (!file.subject.digest16.equals(digest.subarray(0, DIGEST_PIECE_BYTES))) {
      spool.drop(scope, messageId);
      return this.#notStored(record, DELIVERED.corrupt);
    }
    const stored = this.#write(
      () => this.#store(record, digest, payload, payload.length),
      deadlineMs,
    );
    if (stored !== DELIVERED.quota && stored !== DELIVERED.held) spool.drop(scope, messageId);
    return stored;
  }

  /** The outcome of a large message that no transaction was begun for. */
  #notStored(record: DeliveryBatchReader, outcome: Delivered): Delivered {
    this.#held.answered(record, outcome === DELIVERED.known);
    return outcome;
  }

  // --- Digests ------------------------------------------------------------------------------------

  /** Before the write lock is taken: where the records are, and what messages hash to. */
  #hash(record: DeliveryBatchReader): void {
    this.#starts = [];
    this.#payloads = [];
    this.#refused.clear();
    const { bytes, rows } = record.batch;
    this.#digests.begin(rows);
    if (this.#outcomes.length < rows) this.#outcomes = new Uint8Array(2 * rows);
    for (let row = 0; record.next(); row++) {
      this.#starts.push(record.at);
      if (record.kind !== MESSAGE) continue;
      const digest = this.#digests.of(row);
      const payload = Buffer.from(bytes, record.payloadAt, record.payloadLength);
      this.#digests.compute(digest, record, payload);
      record.setDigest(digest);
      this.#payloads[row] = payload;
    }
  }
}

/** Views, no copies. */
const bootOf = ({ bytes, bootAt }: DeliveryBatchReader): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset + bootAt, BOOT_ID_BYTES);
const digest16Of = ({ bytes, digest16At }: DeliveryBatchReader): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset + digest16At, DIGEST_PIECE_BYTES);
const messageIdOf = (record: DeliveryBatchReader): Uint8Array =>
  record.bytes.subarray(record.messageIdAt, record.messageIdAt + 12);
