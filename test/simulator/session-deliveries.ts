// What the DB worker does with a batch of sessions, on the tables in memory: the meaning of delivery.ts,
// session-inbox.ts, settled-tombstones.ts and spool.ts in src/workers, without SQL and files. It stops
// at each commit and sync, since that is where a crash counts.

import { messageIdToHex } from "../../src/shared/protocol/message-id.js";
import { LARGE_TRANSFERS_MAX } from "../../src/shared/protocol/session/large-in.js";
import { MESSAGE_FLAG } from "../../src/shared/protocol/session/message-digest.js";
import { DELIVERED, type Delivered } from "../../src/shared/protocol/session/ports.js";
import {
  DELIVERY_KIND,
  type DeliveryBatch,
  DeliveryBatchReader,
} from "../../src/shared/runtime/delivery-batch.js";
import { HeldStreams } from "../../src/workers/held-streams.js";
import { sessionDigest } from "../../src/workers/session-digest.js";
import type { StorePlants } from "./plants.js";
import { digest16Hex, isWhole } from "./spool-model.js";
import type { StoreWitness } from "./store-jobs.js";
import {
  type Came,
  gapKey,
  type InboundRow,
  idKey,
  type Tables,
  type Tombstone,
} from "./tables.js";

/** What has to be done before a delivery goes on: work in a transaction, synced; or a sync of files. */
export type Step =
  | { readonly kind: "transaction"; readonly work: () => void }
  | { readonly kind: "files" };

/** Thrown into a delivery in place of a step: the store halts. */
export class StoreHalted extends Error {
  readonly failure: "busy" | "full";
  constructor(failure: "busy" | "full") {
    super(failure);
    this.failure = failure;
  }
}

export interface DeliveriesOptions {
  readonly tables: Tables;
  readonly witness: StoreWitness;
  readonly plants: StorePlants;
  readonly quotaBytes: () => number;
}

/** A message or piece at the cursor, as text and numbers. */
interface Head {
  readonly scope: string;
  readonly messageId: string;
  readonly came: Came;
}

export class SessionDeliveries {
  readonly #tables: Tables;
  readonly #options: DeliveriesOptions;
  readonly #held = new HeldStreams();
  readonly #settled = new Map<string, { readonly boot: string; readonly below: number }>();
  #starts: number[] = [];
  #digests: Uint8Array[] = [];
  #outcomes: number[] = [];
  /** What is told of rows once their transaction is committed. */
  #told: (() => void)[] = [];

  constructor(options: DeliveriesOptions) {
    this.#options = options;
    this.#tables = options.tables;
  }

  /** Writes an outcome and a digest into each record; returns why the store halted, if it did. */
  *deliver(batch: DeliveryBatch): Generator<Step, "busy" | "full" | undefined, void> {
    const record = new DeliveryBatchReader(batch);
    this.hash(record);
    const rows = this.#starts.length;
    let from = 0;
    try {
      while (from < rows) {
        const to = this.#segmentEnd(record, from);
        if (to > from) yield* this.#segment(record, from, to);
        from = to;
        if (from >= rows) break;
        record.seek(this.#starts[from] as number);
        const outcome: Delivered = yield* this.#complete(record, from);
        record.seek(this.#starts[from] as number);
        record.outcome = outcome;
        from += 1;
      }
      return undefined;
    } catch (thrown) {
      if (!(thrown instanceof StoreHalted)) throw thrown;
      this.#fail(record, from, thrown.failure);
      return thrown.failure;
    }
  }

  /** Where the records are, and what messages hash to. */
  hash(record: DeliveryBatchReader): void {
    this.#starts = [];
    this.#digests = [];
    this.#outcomes = [];
    while (record.next()) {
      const digest = new Uint8Array(32);
      if (record.kind === DELIVERY_KIND.message) {
        digestInto(digest, record, payloadOf(record));
        record.setDigest(digest);
      }
      this.#digests.push(digest);
      this.#starts.push(record.at);
    }
  }

  /** Inside a transaction: tombstones that are settled since, of rows deleted later. */
  tend(): void {
    for (const [scope, { boot, below }] of this.#settled) this.#removeStones(scope, boot, below);
  }

  // --- Segments -------------------------------------------------------------------------------------

  #segmentEnd(record: DeliveryBatchReader, from: number): number {
    for (let row = from; row < this.#starts.length; row++) {
      record.seek(this.#starts[row] as number);
      if (record.kind === DELIVERY_KIND.piece && record.last) return row;
    }
    return this.#starts.length;
  }

  *#segment(record: DeliveryBatchReader, from: number, to: number): Generator<Step, void, void> {
    let writes = false;
    let pieces = false;
    for (let row = from; row < to; row++) {
      record.seek(this.#starts[row] as number);
      const { kind } = record;
      writes ||= kind === DELIVERY_KIND.message || kind === DELIVERY_KIND.settled;
      pieces ||= kind === DELIVERY_KIND.piece || kind === DELIVERY_KIND.drop;
    }
    if (writes) yield this.#transaction(() => this.#rows(record, from, to));
    for (let row = from; row < to; row++) {
      record.seek(this.#starts[row] as number);
      if (record.kind === DELIVERY_KIND.message) record.outcome = this.#outcomes[row] as Delivered;
      else if (record.kind === DELIVERY_KIND.settled) this.#remember(record);
    }
    if (!pieces) return;
    for (let row = from; row < to; row++) {
      record.seek(this.#starts[row] as number);
      if (record.kind === DELIVERY_KIND.drop) {
        this.#tables.spool.drop(record.scope, idOf(record));
      } else if (record.kind === DELIVERY_KIND.piece) this.#outcomes[row] = this.#piece(record);
    }
    yield { kind: "files" };
    for (let row = from; row < to; row++) {
      record.seek(this.#starts[row] as number);
      if (record.kind === DELIVERY_KIND.piece) record.outcome = this.#outcomes[row] as Delivered;
    }
  }

  /** What a transaction tells is told at its end: undone, it never was. */
  #transaction(work: () => void): Step {
    return {
      kind: "transaction",
      work: () => {
        this.#told = [];
        work();
        for (const tell of this.#told) tell();
      },
    };
  }

  #rows(record: DeliveryBatchReader, from: number, to: number): void {
    for (let row = from; row < to; row++) {
      record.seek(this.#starts[row] as number);
      if (record.kind === DELIVERY_KIND.message) {
        const digest = hexOf(this.#digests[row] as Uint8Array);
        this.#outcomes[row] = this.#store(record, digest, payloadOf(record), 0);
      }
    }
    for (let row = from; row < to; row++) {
      record.seek(this.#starts[row] as number);
      if (record.kind !== DELIVERY_KIND.settled) continue;
      this.#removeStones(record.scope, bootOf(record), record.number);
    }
  }

  #fail(record: DeliveryBatchReader, from: number, failure: "busy" | "full"): void {
    for (let row = from; row < this.#starts.length; row++) {
      record.seek(this.#starts[row] as number);
      const { kind, last } = record;
      const answers = kind === DELIVERY_KIND.message || kind === DELIVERY_KIND.piece;
      if (!answers || record.outcome !== DELIVERED.pending) continue;
      if (kind === DELIVERY_KIND.message || last) this.#held.answered(record, false);
      record.outcome = failure === "full" ? DELIVERED.full : DELIVERED.busy;
    }
  }

  // --- Settled numbers ------------------------------------------------------------------------------

  #remember(record: DeliveryBatchReader): void {
    const { scope, number: below } = record;
    const boot = bootOf(record);
    const before = this.#settled.get(scope);
    if (before?.boot === boot && before.below >= below) return;
    this.#settled.set(scope, { boot, below });
  }

  #removeStones(scope: string, boot: string, below: number): void {
    const gone = this.#tables.forgetStones(
      (stone) => stone.scope === scope && stone.came?.boot === boot && stone.came.number < below,
    );
    for (const stone of gone) this.#options.witness.settled(stone);
  }

  // --- Messages -------------------------------------------------------------------------------------

  #store(
    record: DeliveryBatchReader,
    digest: string,
    payload: Uint8Array,
    spooledBytes: number,
  ): Delivered {
    if (this.#held.holds(record)) {
      if (this.#known(record, digest) !== "same") return DELIVERED.held;
      this.#tellKnown(record);
      return DELIVERED.known;
    }
    const outcome = this.#storeFree(record, digest, payload, spooledBytes);
    this.#held.answered(record, outcome === DELIVERED.inserted || outcome === DELIVERED.known);
    return outcome;
  }

  #storeFree(
    record: DeliveryBatchReader,
    digest: string,
    payload: Uint8Array,
    spooledBytes: number,
  ): Delivered {
    const { plants, quotaBytes } = this.#options;
    const known = plants.storesCopies ? undefined : this.#known(record, digest);
    if (known === "same") {
      this.#tellKnown(record);
      this.#noteGap(record);
      return DELIVERED.known;
    }
    const { scope } = record;
    const { spool } = this.#tables;
    const held = this.#bytesOf(scope) + spool.bytesOf(scope) - spooledBytes;
    if (known === "other") return DELIVERED.conflict;
    if (held + payload.length > quotaBytes()) return DELIVERED.quota;
    const row = this.#tables.insertInbound({
      scope,
      messageId: idOf(record),
      digest,
      payload: textOf(payload),
      came: headOf(record).came,
    });
    this.#told.push(() => this.#options.witness.inserted(row));
    this.#noteGap(record);
    return DELIVERED.inserted;
  }

  #tellKnown(record: DeliveryBatchReader): void {
    const { scope, came } = headOf(record);
    this.#told.push(() => this.#options.witness.known(scope, came));
  }

  /** Whether the id is stored or was deleted, and renews its number if it is the same message. */
  #known(record: DeliveryBatchReader, digest: string): "same" | "other" | undefined {
    return this.#find(record, (stored) => stored === digest);
  }
  #knownByPiece(record: DeliveryBatchReader): "same" | "other" | undefined {
    const half = digest16Hex(record.bytes, record.digest16At);
    return this.#find(record, (stored) => stored.startsWith(half));
  }

  #find(
    record: DeliveryBatchReader,
    same: (digest: string) => boolean,
  ): "same" | "other" | undefined {
    const { plants } = this.#options;
    const { scope, messageId, came } = headOf(record);
    const isSame = plants.dedupesById ? () => true : same;
    const isNewer = (before: Came | undefined): boolean =>
      before === undefined || before.boot !== came.boot || before.number < came.number;
    for (const row of this.#rowsOf(scope, messageId)) {
      if (!isSame(row.digest)) return "other";
      if (isNewer(row.came)) this.#tables.renumber(row, came);
      return "same";
    }
    if (plants.forgetsTombstones) return undefined;
    let found: "same" | "other" | undefined;
    for (const stone of this.#stonesOf(scope, messageId)) {
      if (!isSame(stone.digest)) {
        found ??= "other";
        continue;
      }
      found = "same";
      if (isNewer(stone.came)) this.#tables.renumberStone(stone, came);
    }
    return found;
  }

  #rowsOf(scope: string, messageId: string): readonly InboundRow[] {
    if (!this.#options.plants.dedupesById) return this.#tables.inboundOf(scope, messageId);
    return [...this.#tables.inbound.values()].filter((row) => row.messageId === messageId);
  }
  #stonesOf(scope: string, messageId: string): readonly Tombstone[] {
    return this.#tables.tombstones.get(idKey(scope, messageId)) ?? [];
  }

  #bytesOf(scope: string): number {
    if (this.#options.quotaBytes() === Number.POSITIVE_INFINITY) return 0;
    let bytes = 0;
    for (const row of this.#tables.inbound.values()) {
      if (row.scope === scope) bytes += row.payload.length;
    }
    return bytes;
  }

  #noteGap(record: DeliveryBatchReader): void {
    const { gapFirst, gapLast, scope, stream } = record;
    if (gapLast === 0) return;
    const key = gapKey(scope, stream, bootOf(record), gapFirst);
    const last = Math.max(this.#tables.gaps.get(key) ?? 0, gapLast);
    this.#tables.layers.put(this.#tables.gaps, key, last);
  }

  // --- Large messages -------------------------------------------------------------------------------

  #continues(record: DeliveryBatchReader): boolean {
    const file = this.#tables.spool.find(record.scope, idOf(record));
    return (
      file?.total === record.total && file.digest16 === digest16Hex(record.bytes, record.digest16At)
    );
  }

  /** Writes a piece, unless its message is known or too much. On disk behind the next sync. */
  #piece(record: DeliveryBatchReader): Delivered {
    const { spool, layers } = this.#tables;
    const { scope, total, last } = record;
    const messageId = idOf(record);
    if (!this.#continues(record)) {
      let known: "same" | "other" | undefined;
      layers.transaction(() => {
        known = this.#knownByPiece(record);
      });
      if (known === "same") return DELIVERED.known;
      if (known === "other") return DELIVERED.conflict;
      const held = this.#bytesOf(scope) + spool.bytesOf(scope);
      if (held + total > this.#options.quotaBytes()) return DELIVERED.quota;
      if (last) return DELIVERED.busy;
      spool.drop(scope, messageId);
      if (spool.filesOf(scope) >= LARGE_TRANSFERS_MAX) return DELIVERED.busy;
      const boot = Uint8Array.from(record.bytes.subarray(record.bootAt, record.bootAt + 8));
      const digest16 = digest16Hex(record.bytes, record.digest16At);
      spool.create({ scope, messageId, digest16, total, boot });
    }
    const file = spool.find(scope, messageId);
    if (file === undefined) return DELIVERED.busy;
    const written = spool.write(file, record.offset, payloadOf(record));
    return written ? DELIVERED.spooled : DELIVERED.busy;
  }

  /** The last piece: the message becomes a row, or nothing of it is left. */
  *#complete(record: DeliveryBatchReader, row: number): Generator<Step, Delivered, void> {
    const { spool } = this.#tables;
    const { scope } = record;
    const messageId = idOf(record);
    const outcome = this.#piece(record);
    if (outcome !== DELIVERED.spooled) return this.#notStored(record, outcome);
    yield { kind: "files" };
    record.seek(this.#starts[row] as number);
    const file = spool.find(scope, messageId);
    if (file === undefined) return this.#notStored(record, DELIVERED.full);
    if (!isWhole(file)) return this.#notStored(record, DELIVERED.busy);
    const digest = new Uint8Array(32);
    digestInto(digest, record, file.data);
    if (!hexOf(digest).startsWith(file.digest16)) {
      spool.drop(scope, messageId);
      return this.#notStored(record, DELIVERED.corrupt);
    }
    let stored: Delivered = DELIVERED.busy;
    yield this.#transaction(() => {
      record.seek(this.#starts[row] as number);
      stored = this.#store(record, hexOf(digest), file.data, file.total);
    });
    const result = stored as Delivered;
    if (result !== DELIVERED.quota && result !== DELIVERED.held) spool.drop(scope, messageId);
    return result;
  }

  #notStored(record: DeliveryBatchReader, outcome: Delivered): Delivered {
    this.#held.answered(record, outcome === DELIVERED.known);
    return outcome;
  }
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const idOf = (record: DeliveryBatchReader): string =>
  messageIdToHex(record.bytes, record.messageIdAt);
const bootOf = ({ bytes, bootAt }: DeliveryBatchReader): string =>
  hexOf(bytes.subarray(bootAt, bootAt + 8));
const payloadOf = ({ bytes, payloadAt, payloadLength }: DeliveryBatchReader): Uint8Array =>
  bytes.subarray(payloadAt, payloadAt + payloadLength);
/** Every byte one character: rows of the model hold text. */
const textOf = (payload: Uint8Array): string => Buffer.from(payload).toString("latin1");

function headOf(record: DeliveryBatchReader): Head {
  const { number, stream, sequence, scope } = record;
  return {
    scope,
    messageId: idOf(record),
    came: { boot: bootOf(record), number, stream, sequence },
  };
}

function digestInto(into: Uint8Array, record: DeliveryBatchReader, payload: Uint8Array): void {
  const { bytes, flags, messageIdAt, inReplyToAt } = record;
  const isOrdered = (flags & MESSAGE_FLAG.ordered) !== 0;
  const stream = isOrdered ? Buffer.from(record.stream) : new Uint8Array(0);
  sessionDigest(into, { flags, stream, bytes, messageIdAt, inReplyToAt }, Uint8Array.from(payload));
}
