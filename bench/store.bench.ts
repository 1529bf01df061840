// The DB worker's own classes on a real file, on this thread: what a row costs to insert at the
// receiver, and at the sender to lease and to settle. Empty, and after half a million rows.

import { join } from "node:path";
import { type InboundBatch, InboundBatchWriter } from "../src/shared/runtime/inbound-batch.js";
import { type OutboundBatch, OutboundBatchReader } from "../src/shared/runtime/outbound-batch.js";
import { writeTransaction } from "../src/shared/store/busy.js";
import type { Connection, Statement } from "../src/shared/store/driver.js";
import { openDatabase } from "../src/shared/store/open.js";
import { blake2b, randomBytes } from "../src/workers/aead.js";
import { Inbox } from "../src/workers/inbox.js";
import { Outbox } from "../src/workers/outbox.js";
import { payloadDigest } from "../src/workers/payload-digest.js";
import { Settler } from "../src/workers/settle.js";
import { inFolder } from "./children.js";
import { fileSystemOf } from "./machine.js";
import { message } from "./payload.js";
import { median, spread } from "./statistics.js";
import type { BenchContext, Report, Suite } from "./suite.js";

const BATCHES_ROWS = [64, 512, 2_048];
const BYTES = 200;
const ROUNDS = 5;
/** Rows of each step, batch size and round. */
const ROUND_ROWS = 8_192;
const GROWN_ROWS = 500_000;
const ADDRESS = "192.0.2.7";
const PORT = 7_777;
const DEADLINE_MS = 10_000;
const LIFE_SECONDS = 604_800;
const LEASE_BYTES = 1_024 * 1_024;
const STEPS = ["insert (producer)", "lease", "settle", "insert (receiver)"] as const;
type Step = (typeof STEPS)[number];

/** Of one step in one round: us a row. */
interface Cost {
  readonly wallUs: number;
  readonly cpuUs: number;
}

export const suite: Suite = {
  title: "store: SQLite through the DB worker's classes, FULL, this thread",
  run: (context) =>
    inFolder(async (folder) => {
      const store = new Stores(folder);
      try {
        return measureAll(store, context, fileSystemOf(folder));
      } finally {
        store.close();
      }
    }),
};

function measureAll(store: Stores, { say, seconds }: BenchContext, fileSystem: string): Report {
  const rounds = seconds === undefined ? ROUNDS : Math.max(1, Math.round(seconds));
  store.grow(ROUND_ROWS);
  say("empty files");
  const empty = measureRounds(store, rounds);
  say(`${GROWN_ROWS} rows more in each table`);
  store.grow(GROWN_ROWS);
  const grown = measureRounds(store, rounds);
  const rows = [...rowsOf("few", empty), ...rowsOf("500,000", grown)];
  return {
    settings: {
      payload: `${BYTES} B`,
      synchronous: "FULL",
      rounds: `${rounds} x ${ROUND_ROWS} rows a step, interleaved`,
      "file system": fileSystem,
    },
    tables: [
      {
        title: "us a row, commit included",
        columns: [
          { key: "step", label: "step" },
          { key: "batch", label: "rows a transaction", digits: 0 },
          { key: "before", label: "rows before" },
          { key: "wallUs", label: "us/row", digits: 2 },
          { key: "rounds", label: "rounds" },
          { key: "cpuUs", label: "CPU us/row", digits: 2 },
        ],
        rows,
      },
    ],
    chart: {
      title: "Store: cost of a row by step and transaction size",
      axis: "microseconds a row, wall time with its commit",
      scale: "linear",
      series: ["few rows before", "500,000 rows before"],
      groups: STEPS.flatMap((step) =>
        BATCHES_ROWS.map((batch) => ({
          label: `${step}, ${batch}`,
          values: ["few", "500,000"].map(
            (before) =>
              rows.find((r) => r.step === step && r.batch === batch && r.before === before)?.wallUs,
          ),
        })),
      ),
    },
    targets: [],
    notes: [
      "time-ordered ids, canonical payloads that name their id; two files, as of a sender and a receiver",
      "checkpoints fall to the daemon's connections (lease reads only; settle and receiver insert pay for them)",
      "CPU is that of the process, V8's helper threads included; what it lacks to the wall time is waiting for " +
        "the disk, or for a core that others had",
      "a lease is of up to 1 MiB; it reads, judges and copies rows, and writes nothing as they have an id",
    ],
  };
}

type Costs = ReadonlyMap<string, readonly Cost[]>;
const keyOf = (step: Step, batch: number): string => `${step}/${batch}`;

function measureRounds(store: Stores, rounds: number): Costs {
  const costs = new Map<string, Cost[]>();
  for (let round = 0; round < rounds; round++) {
    for (const batch of BATCHES_ROWS) {
      for (const [step, cost] of store.round(batch)) {
        const key = keyOf(step, batch);
        costs.set(key, [...(costs.get(key) ?? []), cost]);
      }
    }
  }
  return costs;
}

const rowsOf = (before: string, costs: Costs) =>
  STEPS.flatMap((step) =>
    BATCHES_ROWS.map((batch) => {
      const all = costs.get(keyOf(step, batch)) ?? [];
      const wallUs = all.map((cost) => cost.wallUs);
      return {
        step,
        batch,
        before,
        wallUs: median(wallUs),
        rounds: spread(wallUs, 1),
        cpuUs: median(all.map((cost) => cost.cpuUs)),
      };
    }),
  );

/** A sender's and a receiver's file, with the classes that work on them. */
class Stores {
  readonly #connections: Connection[] = [];
  readonly #client: Connection;
  readonly #clientInsert: Statement;
  readonly #outbox: Outbox;
  readonly #settler: Settler;
  readonly #inbox: Inbox;
  #n = 0;

  constructor(folder: string) {
    const [sender, receiver] = ["sender.db", "receiver.db"].map((name) => join(folder, name));
    const senderDb = this.#open(sender, "daemon");
    const now = (): number => Date.now();
    const report = (sentence: string): void => {
      throw new Error(sentence);
    };
    this.#outbox = new Outbox(senderDb, {
      now,
      monotonic: () => performance.now(),
      randomBytes,
      report,
      lifeSeconds: LIFE_SECONDS,
    });
    this.#outbox.limit(ADDRESS, PORT, GROWN_ROWS);
    this.#settler = new Settler(senderDb, this.#outbox.lanes, now);
    this.#inbox = new Inbox(this.#open(receiver, "daemon"), {
      digestOf: payloadDigest,
      report,
      now,
      quotaBytes: Number.MAX_SAFE_INTEGER,
      spooledOf: () => 0,
    });
    this.#client = this.#open(sender, "client");
    this.#clientInsert = this.#client.prepare(
      "INSERT INTO outbound_messages(message_id, dst_addr, dst_port, payload) VALUES (?, ?, ?, ?)",
    );
  }

  #open(path: string, role: "daemon" | "client"): Connection {
    const db = openDatabase(path, { role, create: role === "daemon", digestOf: payloadDigest });
    this.#connections.push(db);
    return db;
  }

  close(): void {
    for (const db of this.#connections) db.close();
  }

  /** Every step for ROUND_ROWS rows, `batch` to a transaction. */
  round(batch: number): readonly (readonly [Step, Cost])[] {
    const gauges = STEPS.map((step) => ({ step, gauge: new Gauge() }));
    const [insert, lease, settle, receive] = gauges.map(({ gauge }) => gauge);
    for (let rows = 0; rows < ROUND_ROWS; rows += batch) {
      const messages = Array.from({ length: batch }, () => message(this.#n++, BYTES));
      const inbound = inboundBatch(messages);
      insert.time(() => this.#insertAll(messages));
      const leased = lease.time(() => this.#leaseAll(batch));
      const acknowledged = acknowledgementOf(leased);
      const settled = settle.time(() => this.#settler.settle(acknowledged, DEADLINE_MS));
      if (settled !== batch) throw new Error(`${batch} rows to settle, ${settled} settled`);
      receive.time(() => this.#inbox.store(inbound, DEADLINE_MS));
    }
    return gauges.map(({ step, gauge }) => [step, gauge.costOf(ROUND_ROWS)]);
  }

  /** Rows that are through all steps. */
  grow(rows: number): void {
    const batch = BATCHES_ROWS[BATCHES_ROWS.length - 1];
    for (let grown = 0; grown < rows; grown += ROUND_ROWS) this.round(batch);
  }

  #insertAll(messages: ReturnType<typeof message>[]): void {
    writeTransaction(
      this.#client,
      () => {
        for (const { hex, text } of messages) this.#clientInsert.run(hex, ADDRESS, PORT, text);
      },
      { deadlineMs: DEADLINE_MS },
    );
  }

  #leaseAll(rows: number): readonly OutboundBatch[] {
    const again = { rowIds: new Float64Array(0), tickets: new Uint32Array(0) };
    const batches: OutboundBatch[] = [];
    for (let left = rows; left > 0; ) {
      this.#outbox.order({ kind: "lease", rowsMax: left, bytesMax: LEASE_BYTES, again });
      const leased = this.#outbox.poll();
      if (leased === undefined || leased.batch.rows === 0) throw new Error("no row was leased");
      batches.push(leased.batch);
      left -= leased.batch.rows;
    }
    return batches;
  }
}

function acknowledgementOf(batches: readonly OutboundBatch[]) {
  const rowIds: number[] = [];
  const generations: number[] = [];
  for (const batch of batches) {
    const rows = new OutboundBatchReader(batch);
    while (rows.next()) {
      rowIds.push(rows.rowId);
      generations.push(rows.generation);
    }
  }
  const none = new Float64Array(0);
  const noCounts = new Uint32Array(0);
  return {
    acknowledged: {
      rowIds: Float64Array.from(rowIds),
      generations: Uint32Array.from(generations),
    },
    waiting: {
      rowIds: none,
      generations: noCounts,
      attempts: noCounts,
      sentAt: none,
      nextAttemptAt: none,
    },
    givenBack: [],
    failed: [],
  };
}

function inboundBatch(messages: readonly ReturnType<typeof message>[]): InboundBatch {
  const writer = new InboundBatchWriter(16 * 1_024 * 1_024);
  const packet = new Uint8Array(12 + 32 + BYTES);
  const stamp = BigInt(Date.now()) * 1_000_000n;
  const low = Number(stamp & 0xffff_ffffn);
  const high = Number(stamp >> 32n);
  for (const { id, payload } of messages) {
    packet.set(id);
    packet.set(payload, 44);
    blake2b(packet.subarray(12, 44), payload);
    writer.append("", ADDRESS, PORT, low, high, 0, 0, packet, 0, 12, 44, payload.length);
  }
  return writer.take();
}

/** Adds up what a step takes. */
class Gauge {
  #wallMs = 0;
  #cpuUs = 0;

  time<T>(work: () => T): T {
    const cpuBefore = process.cpuUsage();
    const before = performance.now();
    const result = work();
    this.#wallMs += performance.now() - before;
    const { user, system } = process.cpuUsage(cpuBefore);
    this.#cpuUs += user + system;
    return result;
  }

  costOf(rows: number): Cost {
    return { wallUs: (this.#wallMs * 1_000) / rows, cpuUs: this.#cpuUs / rows };
  }
}
