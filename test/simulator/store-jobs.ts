// What the DB worker does with its jobs, on the tables in memory: the meaning of inbox.ts, outbox.ts,
// settle.ts and recover.ts in src/workers, without SQL. store-model.test.ts holds the two together.

import { prepareOutbound } from "../../src/shared/protocol/classic-body.js";
import { messageIdFromHex, messageIdToHex } from "../../src/shared/protocol/message-id.js";
import type { StampSpan } from "../../src/shared/protocol/sealed-stamps.js";
import { MESSAGE_IN_MEMORY_BYTES_MAX } from "../../src/shared/protocol/session/limits.js";
import {
  NO_PEER_ID,
  type PeerEntry,
  PeerTable,
} from "../../src/shared/protocol/session/peer-table.js";
import type { PayloadOrder } from "../../src/shared/protocol/session/ports.js";
import type { Settlement } from "../../src/shared/protocol/settlement.js";
import {
  DIGEST_BYTES,
  type InboundBatch,
  InboundBatchReader,
  STORED,
  type Stored,
} from "../../src/shared/runtime/inbound-batch.js";
import type { StoreJob, StoreResult } from "../../src/shared/runtime/messages.js";
import { OutboundBatchWriter, TICKET_NONE } from "../../src/shared/runtime/outbound-batch.js";
import { payloadDigest } from "../../src/workers/payload-digest.js";
import { sessionFields } from "../../src/workers/session-row.js";
import { TombstoneAges } from "../../src/workers/tombstone-ages.js";
import type { StorePlants } from "./plants.js";
import {
  type Came,
  type InboundRow,
  idKey,
  isWorked,
  type OutboundRow,
  type Tables,
  type Tombstone,
} from "./tables.js";

export const LIFE_MS = 7 * 86_400_000;
/** Rows of a destination out at a time while nobody said otherwise; as lanes.ts has it. */
const LIMIT_ROWS_DEFAULT = 256;

type LeaseJob = Extract<StoreJob, { kind: "lease" }>;
type Leased = Extract<StoreResult, { kind: "leased" }>;

/** What the outside learns of rows that came and went. */
export interface StoreWitness {
  inserted(row: InboundRow): void;
  /** A message of a session was there already, under whatever number. */
  known(scope: string, came: Came): void;
  leased(row: OutboundRow): void;
  acknowledged(row: OutboundRow): void;
  failed(row: OutboundRow): void;
  /** It looked at the clocks. */
  /** By the clock of the host, a deleted message was deleted long ago: it may be stored again. */
  forgotten(stone: Tombstone): void;
  /** Its sender settled the number of a deleted message: no copy of it is under way any more. */
  settled(stone: Tombstone): void;
}

export interface StoreJobsOptions {
  readonly tables: Tables;
  /** Wall ms since the epoch. */
  readonly nowMs: () => number;
  /** Ms that no setting of the clock moves. */
  readonly monotonicMs: () => number;
  readonly freshId: () => Uint8Array;
  readonly witness: StoreWitness;
  readonly plants: StorePlants;
  readonly quotaBytes: number;
}

/** In `meta`. */
const VISITED = "tombstones visited";
const NO_BYTES = new Uint8Array(0);

interface Out {
  readonly generation: number;
  readonly destination: string;
}

/** A row that may leave as it stands, or why it may not. */
type Judged =
  | { readonly id: Uint8Array; readonly payload: Uint8Array; readonly changed: boolean }
  | { readonly refused: string };

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class StoreJobs {
  readonly #tables: Tables;
  readonly #options: StoreJobsOptions;
  #order: LeaseJob | undefined;
  #again: { readonly rowId: number; readonly ticket: number }[] = [];
  readonly #out = new Map<number, Out>();
  readonly #outOf = new Map<string, number>();
  readonly #limits = new Map<string, number>();
  #peers = new PeerTable([]);
  readonly #ages: TombstoneAges;

  constructor(options: StoreJobsOptions) {
    this.#options = options;
    this.#tables = options.tables;
    this.#ages = new TombstoneAges(options.tables.meta.get(VISITED), options.monotonicMs());
  }

  /** Which rows go in sessions. */
  configure(peers: readonly PeerEntry[]): void {
    this.#peers = new PeerTable(peers);
  }

  #peerOf({ address, port }: OutboundRow): string | undefined {
    const peer = this.#peers.ofDestination(address, port);
    return peer === NO_PEER_ID ? undefined : this.#peers.entries[peer]?.publicKey;
  }

  /** A piece of a payload while its row is what was leased. */
  read({ rowId, generation, offset, length }: PayloadOrder): Uint8Array<ArrayBuffer> | undefined {
    const row = this.#tables.outbound.get(rowId);
    if (row === undefined || row.generation !== generation || !isWorked(row)) return undefined;
    if (offset > row.payload.length) return undefined;
    return Uint8Array.from(Buffer.from(row.payload.slice(offset, offset + length), "latin1"));
  }

  get waiting(): boolean {
    return this.#order !== undefined;
  }

  order(job: LeaseJob): void {
    const { rowIds, tickets } = job.again;
    for (let i = 0; i < rowIds.length; i++) {
      this.#again.push({ rowId: rowIds[i], ticket: tickets[i] });
    }
    this.#order = job;
  }

  limit(address: string, port: number, rowsMax: number): void {
    this.#limits.set(`${port} ${address}`, rowsMax);
  }

  // --- Lease --------------------------------------------------------------------------------------

  /** Answers the order that waits, if there is anything to say; in a transaction of the caller. */
  poll(): Leased | undefined {
    const order = this.#order;
    if (order === undefined) return undefined;
    let writer: OutboundBatchWriter | undefined;
    let gone: readonly number[] = [];
    // In front of what becomes due: a row that its owner delayed is not what was leased.
    if (this.#again.length > 0) {
      writer = new OutboundBatchWriter(order.bytesMax);
      gone = this.#readAgain(writer);
    }
    this.#promoteDue();
    const ready = order.rowsMax > 0 ? this.#ready() : [];
    if (writer === undefined && ready.length === 0) return undefined;
    writer ??= new OutboundBatchWriter(order.bytesMax);
    this.#fill(writer, ready, order.rowsMax);
    if (writer.rows === 0 && gone.length === 0) return undefined;
    this.#order = undefined;
    return { kind: "leased", batch: writer.take(), gone: Uint32Array.from(gone) };
  }

  #readAgain(writer: OutboundBatchWriter): number[] {
    const gone: number[] = [];
    let done = 0;
    for (const { rowId, ticket } of this.#again) {
      const row = this.#inFlight(rowId);
      if (row === undefined) {
        this.#free(rowId, undefined);
        gone.push(ticket);
      } else if (!this.#append(writer, row.row, row.judged, ticket)) {
        break;
      }
      done += 1;
    }
    this.#again.splice(0, done);
    return gone;
  }

  /** The row, while it is what was leased. */
  #inFlight(rowId: number) {
    const row = this.#tables.outbound.get(rowId);
    const out = this.#out.get(rowId);
    if (row === undefined || out?.generation !== row.generation) return undefined;
    if (!isWorked(row) || row.notBefore !== undefined) return undefined;
    const judged = this.#judge(row);
    if ("refused" in judged || judged.changed || row.messageId === undefined) return undefined;
    return { row, judged };
  }

  #promoteDue(): void {
    const now = this.#options.nowMs();
    for (const row of this.#tables.outbound.values()) {
      if (row.notBefore === undefined || row.notBefore > now || !isWorked(row)) continue;
      this.#tables.putOutbound({ ...row, notBefore: undefined, redrivenAt: now });
    }
  }

  #fill(writer: OutboundBatchWriter, ready: readonly OutboundRow[], rowsMax: number): void {
    let room = rowsMax;
    for (const row of ready) {
      const destination = `${row.port} ${row.address}`;
      const limit = this.#limits.get(destination) ?? LIMIT_ROWS_DEFAULT;
      if (room === 0 || (this.#outOf.get(destination) ?? 0) >= limit) continue;
      const now = this.#options.nowMs();
      if (expiryOf(row) <= now) {
        this.#fail(row, expiredReason(row));
        continue;
      }
      const judged = this.#judge(row);
      if ("refused" in judged) {
        this.#fail(row, judged.refused);
        continue;
      }
      let written = row;
      if (judged.changed || row.messageId === undefined) {
        const payload = decoder.decode(judged.payload);
        written = this.#tables.setPayload(row, messageIdToHex(judged.id, 0), payload, now);
      }
      if (!this.#append(writer, written, judged, TICKET_NONE)) return;
      this.#lend(written.id, { generation: written.generation, destination });
      this.#options.witness.leased(written);
      room -= 1;
    }
  }

  /** Rows that are work and not out, the urgent ones first. */
  #ready(): readonly OutboundRow[] {
    const rows = [...this.#tables.outbound.values()].filter(
      (row) =>
        isWorked(row) &&
        row.notBefore === undefined &&
        this.#out.get(row.id)?.generation !== row.generation,
    );
    return rows.sort((a, b) => b.priority - a.priority || a.id - b.id);
  }

  #judge(row: OutboundRow): Judged {
    if (this.#peerOf(row) !== undefined) {
      const id = row.messageId === undefined ? undefined : messageIdFromHex(row.messageId);
      const payload = Buffer.from(row.payload, "latin1");
      return { id: id ?? this.#options.freshId(), payload, changed: id === undefined };
    }
    const rowId = row.messageId === undefined ? undefined : messageIdFromHex(row.messageId);
    const payload = encoder.encode(row.payload);
    return prepareOutbound(payload, rowId, rowId ?? this.#options.freshId());
  }

  #append(
    writer: OutboundBatchWriter,
    row: OutboundRow,
    judged: Exclude<Judged, { readonly refused: string }>,
    ticket: number,
  ): boolean {
    const peer = this.#peerOf(row);
    const { payload, id } = judged;
    const part = { stream: row.stream, inReplyTo: undefined, isBytes: false };
    const session =
      peer === undefined
        ? undefined
        : sessionFields({ ...part, total: payload.length }, id, Uint8Array.from(payload));
    const stays = session !== undefined && payload.length > MESSAGE_IN_MEMORY_BYTES_MAX;
    return writer.append(
      {
        rowId: row.id,
        expiresAt: expiryOf(row),
        destination: writer.destination(row.address, row.port, peer),
        generation: row.generation,
        attempts: row.retries,
        ticket,
        released: row.state === "sent",
        priority: row.priority,
      },
      id,
      stays ? NO_BYTES : payload,
      session,
    );
  }

  #fail(row: OutboundRow, reason: string): void {
    const failed: OutboundRow = { ...row, state: "send_failed", lastError: reason };
    this.#tables.putOutbound(failed);
    this.#options.witness.failed(failed);
  }

  /** Now and then: what expired where it waits, what nobody settles, what need not be known. */
  tend(): void {
    const now = this.#options.nowMs();
    for (const rowId of [...this.#out.keys()]) {
      if (this.#inFlight(rowId) === undefined) this.#free(rowId, undefined);
    }
    for (const row of this.#tables.outbound.values()) {
      // A row that is to wait is found by an expiry of its own alone.
      const isFound = row.notBefore === undefined || row.expiresAt !== undefined;
      const waits = isWorked(row) && !this.#out.has(row.id) && isFound;
      if (waits && expiryOf(row) <= now) this.#fail(row, expiredReason(row));
    }
    this.#forgetTombstones(now);
  }

  /** As retention.ts does, all at once. */
  #forgetTombstones(now: number): void {
    const { meta, layers } = this.#tables;
    const monotonic = this.#options.monotonicMs();
    const span = this.#ages.begin(now, monotonic);
    for (const stone of this.#tables.forgetTombstones(span, now)) {
      this.#options.witness.forgotten(stone);
    }
    const keep = this.#ages.end(span, monotonic);
    if (keep !== undefined) layers.put(meta, VISITED, keep);
  }

  #lend(rowId: number, out: Out): void {
    this.#free(rowId, undefined);
    this.#out.set(rowId, out);
    this.#outOf.set(out.destination, (this.#outOf.get(out.destination) ?? 0) + 1);
  }

  #free(rowId: number, generation: number | undefined): void {
    const out = this.#out.get(rowId);
    if (out === undefined || (generation !== undefined && out.generation !== generation)) return;
    this.#out.delete(rowId);
    this.#outOf.set(out.destination, (this.#outOf.get(out.destination) ?? 1) - 1);
  }

  // --- Store --------------------------------------------------------------------------------------

  /** Stores a batch; returns the outcome of each record, to be written into it after the commit. */
  store(batch: InboundBatch): readonly Stored[] {
    const outcomes: Stored[] = [];
    const records = new InboundBatchReader(batch);
    while (records.next()) outcomes.push(this.#store(records));
    return outcomes;
  }

  #store(record: InboundBatchReader): Stored {
    const { scope, bytes } = record;
    const messageId = messageIdToHex(bytes, record.messageIdAt);
    const digest = Buffer.from(bytes.buffer, record.digestAt, DIGEST_BYTES).toString("hex");
    if (record.suspect && this.#isOurOwn(messageId, digest)) return STORED.reflected;
    const { plants } = this.#options;
    const rows = this.#knownRows(scope, messageId);
    const stones = plants.forgetsTombstones
      ? []
      : (this.#tables.tombstones.get(idKey(scope, messageId)) ?? []);
    const known = [...rows, ...stones];
    if (!plants.storesCopies) {
      if (known.some((each) => each.digest === digest || plants.dedupesById)) return STORED.known;
      if (this.#bytesOf(scope) + record.payloadLength > this.#options.quotaBytes)
        return STORED.quota;
      if (known.length > 0 && scope !== "") return STORED.conflict;
    }
    const at = record.payloadAt;
    const payload = decoder.decode(bytes.subarray(at, at + record.payloadLength));
    this.#options.witness.inserted(
      this.#tables.insertInbound({ scope, messageId, digest, payload, came: undefined }),
    );
    return STORED.inserted;
  }

  #knownRows(scope: string, messageId: string): readonly InboundRow[] {
    if (!this.#options.plants.dedupesById) return this.#tables.inboundOf(scope, messageId);
    return [...this.#tables.inbound.values()].filter((row) => row.messageId === messageId);
  }

  #isOurOwn(messageId: string, digest: string): boolean {
    const row = this.#tables.outbound.get(this.#tables.outboundIds.get(messageId) ?? -1);
    if (row === undefined) return false;
    return Buffer.from(payloadDigest(encoder.encode(row.payload))).toString("hex") === digest;
  }

  #bytesOf(scope: string): number {
    if (this.#options.quotaBytes === Number.POSITIVE_INFINITY) return 0;
    let bytes = 0;
    for (const row of this.#tables.inbound.values()) {
      if (row.scope === scope) bytes += encoder.encode(row.payload).length;
    }
    return bytes;
  }

  // --- Settle -------------------------------------------------------------------------------------

  /** Writes what became of rows; returns the rows changed. */
  settle({ acknowledged, waiting, failed }: Settlement): number {
    let changed = 0;
    acknowledged.rowIds.forEach((rowId, i) => {
      const row = this.#settleable(rowId, acknowledged.generations[i]);
      if (row === undefined) return;
      changed += 1;
      const final: OutboundRow = { ...row, state: "acknowledged" };
      this.#tables.putOutbound(final);
      this.#options.witness.acknowledged(final);
    });
    waiting.rowIds.forEach((rowId, i) => {
      const row = this.#settleable(rowId, waiting.generations[i]);
      if (row === undefined) return;
      changed += 1;
      this.#tables.putOutbound({ ...row, state: "sent", retries: waiting.attempts[i] });
    });
    for (const { rowId, generation, reason } of failed) {
      const row = this.#settleable(rowId, generation);
      if (row === undefined) continue;
      changed += 1;
      this.#fail(row, reason);
    }
    return changed;
  }

  /** Frees what was settled; after the commit. */
  settled({ acknowledged, failed }: Settlement): void {
    acknowledged.rowIds.forEach((rowId, i) => {
      this.#free(rowId, acknowledged.generations[i]);
    });
    for (const { rowId, generation } of failed) this.#free(rowId, generation);
  }

  #settleable(rowId: number, generation: number): OutboundRow | undefined {
    const row = this.#tables.outbound.get(rowId);
    if (row === undefined || !isWorked(row)) return undefined;
    return row.generation === generation || this.#options.plants.ignoresGenerations
      ? row
      : undefined;
  }

  // --- Stamps -------------------------------------------------------------------------------------

  reserve(spans: readonly StampSpan[]): void {
    writeSealed(this.#tables, spans);
  }
}

// In `meta`, by the number of the span.
const fromKey = (span: number): string => `sealed from ${span}`;
const untilKey = (span: number): string => `sealed until ${span}`;

/** Which stamps the processes of a host may have sealed. */
export function readSealed({ meta }: Tables): readonly StampSpan[] {
  const spans: StampSpan[] = [];
  for (;;) {
    const fromNs = meta.get(fromKey(spans.length));
    const untilNs = meta.get(untilKey(spans.length));
    if (fromNs === undefined || untilNs === undefined) return spans;
    spans.push({ fromNs, untilNs });
  }
}

/** In a transaction: says it anew. */
export function writeSealed(tables: Tables, spans: readonly StampSpan[]): void {
  const { meta, layers } = tables;
  for (let i = readSealed(tables).length - 1; i >= spans.length; i--) {
    layers.put(meta, fromKey(i), undefined);
    layers.put(meta, untilKey(i), undefined);
  }
  spans.forEach(({ fromNs, untilNs }, i) => {
    layers.put(meta, fromKey(i), fromNs);
    layers.put(meta, untilKey(i), untilNs);
  });
}

/** When a row expires, wall ms. */
export const expiryOf = (row: OutboundRow): number =>
  row.expiresAt ?? (row.redrivenAt ?? row.createdAt) + LIFE_MS;

const expiredReason = ({ state }: OutboundRow): string =>
  state === "sent" ? "expired, may have been delivered" : "expired, not sent";
