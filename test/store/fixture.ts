// A database in a folder of its own, and the daemon's classes upon it with a clock that the test moves.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { messageIdFromHex } from "../../src/shared/protocol/message-id.js";
import type { Settlement } from "../../src/shared/protocol/settlement.js";
import {
  InboundBatchReader,
  InboundBatchWriter,
  RECORD_SUSPECT_FLAG,
} from "../../src/shared/runtime/inbound-batch.js";
import { OutboundBatchReader } from "../../src/shared/runtime/outbound-batch.js";
import { type Connection, connect } from "../../src/shared/store/driver.js";
import { openDatabase } from "../../src/shared/store/open.js";
import { randomBytes } from "../../src/workers/aead.js";
import { Inbox } from "../../src/workers/inbox.js";
import { Outbox } from "../../src/workers/outbox.js";
import { payloadDigest } from "../../src/workers/payload-digest.js";
import { PayloadReader } from "../../src/workers/payload-reader.js";
import { recover } from "../../src/workers/recover.js";
import { Retention } from "../../src/workers/retention.js";
import { Settler } from "../../src/workers/settle.js";

export const DAY_MS = 86_400_000;
export const LIFE_SECONDS = 7 * 86_400;

/** A folder that goes away with the test. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "store-test-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function daemonDatabase(path: string, pagesMax = 0): Connection {
  return openDatabase(path, { role: "daemon", create: true, digestOf: payloadDigest, pagesMax });
}

export interface LeasedRow {
  readonly id: number;
  readonly messageId: string;
  readonly payload: string;
  readonly to: string;
  readonly generation: number;
  readonly ticket: number;
  readonly attempts: number;
  readonly released: boolean;
  readonly priority: number;
  readonly expiresAt: number;
}

export interface Incoming {
  readonly scope?: string;
  readonly id: string;
  readonly payload?: string;
  readonly source?: string;
  readonly suspect?: boolean;
}

/** The daemon's side of a database, and another process beside it. */
export class StoreUnderTest {
  readonly path: string;
  readonly db: Connection;
  /** What any other program does: plain SQL on a connection of its own. */
  readonly outside: Connection;
  readonly reports: string[] = [];
  readonly outbox: Outbox;
  readonly inbox: Inbox;
  readonly settler: Settler;
  readonly retention: Retention;
  now: number;
  monotonic = 0;

  constructor(
    t: TestContext,
    options: {
      path?: string;
      quotaBytes?: number;
      tombstonesMax?: number;
      pagesMax?: number;
      /** Wall ms since the epoch at the start. */
      now?: number;
      /** Where rows go in sessions. */
      peerOf?: (address: string, port: number) => string | undefined;
    } = {},
  ) {
    this.path = options.path ?? join(temporaryFolder(t), "queue.db");
    this.now = options.now ?? Date.now();
    this.db = daemonDatabase(this.path, options.pagesMax);
    this.outside = connect(this.path, { timeout: 5_000 });
    t.after(() => this.close());
    recover(this.db, this.now, 1_000);
    const now = (): number => this.now;
    const report = (sentence: string): void => void this.reports.push(sentence);
    const payloads = new PayloadReader(this.db, () => this.now);
    this.outbox = new Outbox(this.db, {
      now,
      monotonic: () => this.monotonic,
      randomBytes,
      report,
      lifeSeconds: LIFE_SECONDS,
      routes: {
        peerOf: options.peerOf ?? (() => undefined),
        payload: (rowId, generation) => payloads.whole(rowId, generation),
      },
    });
    this.inbox = new Inbox(this.db, {
      digestOf: payloadDigest,
      report,
      now,
      quotaBytes: options.quotaBytes ?? Number.MAX_SAFE_INTEGER,
      spooledOf: (scope) => this.spooledOf(scope),
    });
    this.settler = new Settler(this.db, this.outbox.lanes, now);
    this.retention = new Retention(this.db, {
      now,
      monotonic: () => this.monotonic,
      report,
      ...(options.tombstonesMax === undefined ? {} : { tombstonesMax: options.tombstonesMax }),
    });
  }

  /** Bytes of large messages on their way, of one scope. */
  spooledOf(_scope: string): number {
    return 0;
  }

  close(): void {
    if (this.outside.open) this.outside.close();
    if (this.db.open) this.db.close();
  }

  /** One value of one row, as another process sees it. */
  read(sql: string, ...parameters: unknown[]): unknown {
    return this.outside
      .prepare(sql)
      .pluck()
      .get(...parameters);
  }

  row(id: number): Readonly<Record<string, unknown>> {
    const row = this.outside.prepare("SELECT * FROM outbound_messages WHERE id = ?").get(id);
    return row as Readonly<Record<string, unknown>>;
  }

  /** Inserts a row as another program does; returns its id. */
  enqueue(columns: Readonly<Record<string, unknown>> = {}): number {
    const row = { dst_addr: "192.0.2.1", dst_port: 5_000, payload: '{"text":"hello"}', ...columns };
    const names = Object.keys(row);
    const holes = names.map(() => "?").join(", ");
    const result = this.outside
      .prepare(`INSERT INTO outbound_messages(${names.join(", ")}) VALUES (${holes})`)
      .run(...Object.values(row));
    return Number(result.lastInsertRowid);
  }

  /** Leases as main does; waits until the walk over the lanes has come round. */
  lease(
    rowsMax = 1_024,
    options: { bytesMax?: number; again?: readonly (readonly [number, number])[] } = {},
  ): { readonly rows: readonly LeasedRow[]; readonly gone: readonly number[] } {
    const leased = this.leaseBatch(rowsMax, options);
    if (leased === undefined) return { rows: [], gone: [] };
    return { rows: readLeased(leased.batch), gone: [...leased.gone] };
  }

  /** The same as main gets it; undefined when nothing came. */
  leaseBatch(
    rowsMax = 1_024,
    options: { bytesMax?: number; again?: readonly (readonly [number, number])[] } = {},
  ) {
    const again = options.again ?? [];
    this.outbox.order({
      kind: "lease",
      rowsMax,
      bytesMax: options.bytesMax ?? 1_048_576,
      again: {
        rowIds: Float64Array.from(again, ([id]) => id),
        tickets: Uint32Array.from(again, ([, ticket]) => ticket),
      },
    });
    for (let looks = 0; looks < 400; looks++) {
      const leased = this.outbox.poll();
      if (leased !== undefined) return leased;
      this.monotonic += 25;
      if (looks > 60 && !this.outbox.busy) break;
    }
    return undefined;
  }

  /** Leases until nothing more comes. */
  leaseAll(): readonly LeasedRow[] {
    const all: LeasedRow[] = [];
    for (;;) {
      const { rows } = this.lease();
      if (rows.length === 0) return all;
      all.push(...rows);
    }
  }

  settle(outcome: {
    acknowledged?: readonly { readonly id: number; readonly generation: number }[];
    waiting?: readonly {
      readonly id: number;
      readonly generation: number;
      readonly attempts: number;
      readonly reason?: string;
    }[];
    failed?: readonly { readonly id: number; readonly generation: number; readonly why: string }[];
  }): number {
    const acknowledged = outcome.acknowledged ?? [];
    const waiting = outcome.waiting ?? [];
    const settlement: Settlement = {
      acknowledged: {
        rowIds: Float64Array.from(acknowledged, (row) => row.id),
        generations: Uint32Array.from(acknowledged, (row) => row.generation),
      },
      waiting: {
        rowIds: Float64Array.from(waiting, (row) => row.id),
        generations: Uint32Array.from(waiting, (row) => row.generation),
        attempts: Uint32Array.from(waiting, (row) => row.attempts),
        sentAt: Float64Array.from(waiting, () => this.now),
        nextAttemptAt: Float64Array.from(waiting, () => this.now + 5_000),
        reasons: waiting.map(({ reason }) => reason ?? ""),
      },
      givenBack: [],
      failed: (outcome.failed ?? []).map(({ id, generation, why }) => ({
        rowId: id,
        generation,
        reason: why,
      })),
    };
    const rows = this.settler.settle(settlement, 500);
    const named = acknowledged.length + waiting.length + settlement.failed.length;
    if (rows < named) this.outbox.wantWalk();
    return rows;
  }

  /** Stores a batch; the outcome of each record. */
  store(messages: readonly Incoming[], deadlineMs = 500): readonly number[] {
    const batch = inboundBatch(messages, this.now);
    this.inbox.store(batch, deadlineMs);
    return outcomesOf(batch);
  }
}

export function inboundBatch(messages: readonly Incoming[], now = Date.now()) {
  const writer = new InboundBatchWriter(8 * 1_024 * 1_024);
  for (const message of messages) {
    const payload = Buffer.from(message.payload ?? payloadOf(message.id));
    const bytes = Buffer.concat([
      messageIdFromHex(message.id) ?? Buffer.alloc(12),
      payloadDigest(payload),
      payload,
    ]);
    const stampNs = BigInt(now) * 1_000_000n + 123_456n;
    writer.append(
      message.scope ?? "alice",
      message.source ?? "192.0.2.9",
      5_001,
      Number(stampNs & 0xffff_ffffn),
      Number(stampNs >> 32n),
      message.suspect === true ? RECORD_SUSPECT_FLAG : 0,
      0,
      bytes,
      0,
      12,
      44,
      payload.length,
    );
  }
  return writer.take();
}

export function outcomesOf(batch: ReturnType<typeof inboundBatch>): readonly number[] {
  const outcomes: number[] = [];
  const reader = new InboundBatchReader(batch);
  while (reader.next()) outcomes.push(reader.outcome);
  return outcomes;
}

export const idOf = (n: number): string => n.toString(16).padStart(24, "0");
export const payloadOf = (id: string, text = "hello"): string =>
  JSON.stringify({ message_id: id, text });

export function readLeased(
  batch: ConstructorParameters<typeof OutboundBatchReader>[0],
): readonly LeasedRow[] {
  const reader = new OutboundBatchReader(batch);
  const bytes = Buffer.from(batch.bytes);
  const rows: LeasedRow[] = [];
  while (reader.next()) {
    const { payloadAt, messageIdAt } = reader;
    rows.push({
      id: reader.rowId,
      messageId: bytes.toString("hex", messageIdAt, messageIdAt + 12),
      payload: bytes.toString("utf8", payloadAt, payloadAt + reader.payloadLength),
      to: `${reader.destination.address}:${reader.destination.port}`,
      generation: reader.generation,
      ticket: reader.ticket,
      attempts: reader.attempts,
      released: reader.released,
      priority: reader.priority,
      expiresAt: reader.expiresAt,
    });
  }
  return rows;
}

const NOW = "strftime('%Y-%m-%dT%H:%M:%f','now')";

/** The schema of an older daemon; the oldest ones had no read_count. */
export const oldSchema = (readCount: boolean): string => `
CREATE TABLE outbound_messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT, dst_addr TEXT NOT NULL,
  dst_port INTEGER NOT NULL, payload TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'pending',
  retry_count INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL DEFAULT (${NOW}),
  sent_at TEXT, ack_received_at TEXT, last_error TEXT, updated_at TEXT NOT NULL DEFAULT (${NOW}));
CREATE UNIQUE INDEX idx_outbound_message_id ON outbound_messages(message_id);
CREATE INDEX idx_outbound_state ON outbound_messages(state);
CREATE TABLE inbound_messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT NOT NULL, src_addr TEXT NOT NULL,
  src_port INTEGER NOT NULL, payload TEXT NOT NULL, crypto_timestamp TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'received', ack_sent INTEGER NOT NULL DEFAULT 0,
  ${readCount ? "read_count INTEGER NOT NULL DEFAULT 0," : ""}
  received_at TEXT NOT NULL DEFAULT (${NOW}), ack_sent_at TEXT,
  updated_at TEXT NOT NULL DEFAULT (${NOW}));
CREATE UNIQUE INDEX idx_inbound_message_id ON inbound_messages(message_id);
CREATE INDEX idx_inbound_state ON inbound_messages(state);
`;
