// The producer of bench/latency, a process of its own: inserts one row a transaction at times drawn
// beforehand, whatever became of the rows before (open loop), and watches the table for the
// acknowledgement. Latency counts from the time that was drawn, so waiting for a lock counts as well.

import { ringDoorbell } from "../src/client/doorbell.js";
import { nap, writeTransaction } from "../src/shared/store/busy.js";
import type { Connection, Statement } from "../src/shared/store/driver.js";
import { openDatabase } from "../src/shared/store/open.js";
import { optionsOf, tell } from "./child.js";
import { textMessage } from "./payload.js";
import type { ProducerKind } from "./producer.js";
import { oldestWaiting } from "./waiting.js";

export interface LatencyOptions {
  readonly database: string;
  readonly address: string;
  readonly port: number;
  readonly bytes: number;
  readonly kind: ProducerKind;
  /**
   * Rows whose time has come share a transaction, so many at most. With more than one, a row counts as
   * acknowledged once all before it are.
   */
  readonly rowsPerTransactionMax: number;
  readonly perSecond: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  readonly seed: number;
}

/** One entry a measured message, ms. */
export interface Latencies {
  /** From the drawn time to the commit of the insert. */
  readonly insertedMs: readonly number[];
  /** From the drawn time to the look that found the row acknowledged. */
  readonly acknowledgedMs: readonly number[];
  /** Waits between two looks at the table while nothing was to be inserted, ms. */
  readonly looksMs: readonly number[];
}

/** Nap between two looks, ms: what a latency may be too long by. */
const LOOK_MS = 0.2;
const LOCK_DEADLINE_MS = 10_000;
const END_MS_MAX = 15_000;

class LatencyProducer {
  readonly #options: LatencyOptions;
  readonly #db: Connection;
  readonly #insert: Statement;
  readonly #version: Statement;
  readonly #acknowledged: Statement;
  readonly #oldest: ReturnType<typeof oldestWaiting>;
  readonly #waiting = new Map<number, number>();
  #versionSeen: unknown;
  readonly insertedMs: number[] = [];
  readonly acknowledgedMs: number[] = [];
  readonly looksMs: number[] = [];
  #n = 0;

  constructor(options: LatencyOptions) {
    this.#options = options;
    this.#db = openDatabase(options.database, { role: "client", create: false });
    this.#insert = this.#db.prepare(
      "INSERT INTO outbound_messages(message_id, dst_addr, dst_port, payload) VALUES (?, ?, ?, ?)",
    );
    this.#version = this.#db.prepare("PRAGMA data_version").pluck();
    this.#acknowledged = this.#db
      .prepare(
        "SELECT id FROM outbound_messages WHERE id >= ? AND id <= ? AND state = 'acknowledged'",
      )
      .pluck();
    this.#oldest = oldestWaiting(this.#db);
    this.#versionSeen = this.#version.get();
  }

  /** Inserts at each of the times (ms from now, rising), then waits for what is left. */
  run(times: readonly number[]): void {
    const { rowsPerTransactionMax } = this.#options;
    const startedAt = performance.now();
    let lookedAt = startedAt;
    for (let next = 0; next < times.length || this.#waiting.size > 0; ) {
      const due = next < times.length ? startedAt + times[next] : Number.POSITIVE_INFINITY;
      if (performance.now() >= due) {
        const dues = [due];
        for (next += 1; next < times.length && dues.length < rowsPerTransactionMax; next++) {
          const also = startedAt + times[next];
          if (performance.now() < also) break;
          dues.push(also);
        }
        this.#insertAll(dues);
        this.#look();
        lookedAt = performance.now();
        continue;
      }
      nap(Math.max(0.02, Math.min(LOOK_MS, due - performance.now())));
      this.#look();
      const now = performance.now();
      this.looksMs.push(now - lookedAt);
      lookedAt = now;
      if (next === times.length && now - startedAt > times[next - 1] + END_MS_MAX) {
        throw new Error(`${this.#waiting.size} rows were not acknowledged in time`);
      }
    }
  }

  forget(): void {
    this.insertedMs.length = 0;
    this.acknowledgedMs.length = 0;
    this.looksMs.length = 0;
  }

  #insertAll(dues: readonly number[]): void {
    const { kind, bytes, address, port, database } = this.#options;
    const named = kind !== "foreign without id";
    const drafts = dues.map(() => {
      const { hex, text } = textMessage(this.#n++, bytes);
      const anonymous = `{"n":${this.#n},"text":"${"x".repeat(bytes - 30)}"}`;
      return named ? { id: hex, payload: text } : { id: null, payload: anonymous };
    });
    const rows = writeTransaction(
      this.#db,
      () =>
        drafts.map(({ id, payload }) =>
          Number(this.#insert.run(id, address, port, payload).lastInsertRowid),
        ),
      { deadlineMs: LOCK_DEADLINE_MS },
    );
    const now = performance.now();
    for (const [i, row] of rows.entries()) {
      this.insertedMs.push(now - dues[i]);
      this.#waiting.set(row, dues[i]);
    }
    if (kind === "client") ringDoorbell(database);
  }

  /** Another process committed since the last look: asks which of the waiting rows are done. */
  #look(): void {
    if (this.#waiting.size === 0) return;
    const version = this.#version.get();
    if (version === this.#versionSeen) return;
    this.#versionSeen = version;
    if (this.#options.rowsPerTransactionMax > 1) return this.#lookAtOldest();
    const rows = [...this.#waiting.keys()];
    const done = this.#acknowledged.all(rows[0], rows[rows.length - 1]) as number[];
    const now = performance.now();
    for (const row of done) {
      const due = this.#waiting.get(row);
      if (due === undefined) continue;
      this.#waiting.delete(row);
      this.acknowledgedMs.push(now - due);
    }
  }

  /** One look-up, however many wait: rows are acknowledged nearly in their order. */
  #lookAtOldest(): void {
    const oldest = this.#oldest(this.#options) ?? Number.POSITIVE_INFINITY;
    const now = performance.now();
    for (const [row, due] of this.#waiting) {
      if (row >= oldest) return;
      this.#waiting.delete(row);
      this.acknowledgedMs.push(now - due);
    }
  }
}

/** Times of a Poisson process, ms: no beat that could fall in step with a poll of the daemon. */
function drawnTimes(perSecond: number, seconds: number, seed: number): readonly number[] {
  const uniform = generator(seed);
  const times: number[] = [];
  for (let at = 0; ; ) {
    at += (-Math.log(1 - uniform()) * 1_000) / perSecond;
    if (at >= seconds * 1_000) return times;
    times.push(at);
  }
}

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function main(options: LatencyOptions): Promise<void> {
  const { perSecond, seconds, warmUpSeconds, seed } = options;
  const producer = new LatencyProducer(options);
  producer.run(drawnTimes(perSecond, warmUpSeconds, seed + 1));
  producer.forget();
  await tell<Latencies>({ kind: "started" });
  producer.run(drawnTimes(perSecond, seconds, seed));
  const { insertedMs, acknowledgedMs, looksMs } = producer;
  await tell<Latencies>({ kind: "finished", result: { insertedMs, acknowledgedMs, looksMs } });
}

await main(optionsOf<LatencyOptions>());
