// The simulator's tables against the real ones: whatever owners, peers and the daemon do, both say and
// hold the same. So what the simulator finds out about the model is true of SQLite and the DB worker.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import type { Settlement } from "../../src/shared/protocol/settlement.js";
import { timeText } from "../../src/shared/store/text-time.js";
import {
  idOf,
  inboundBatch,
  type LeasedRow,
  payloadOf,
  readLeased,
  StoreUnderTest,
  temporaryFolder,
} from "../store/fixture.js";
import { Layers } from "./layers.js";
import { NO_STORE_PLANTS } from "./plants.js";
import { Prng } from "./prng.js";
import { StoreJobs } from "./store-jobs.js";
import { Tables } from "./tables.js";

const RUNS = Number(process.env.RUNS ?? 60);
const PORT = 5_000;
const ADDRESSES = ["192.0.2.1", "192.0.2.2"];
const SCOPES = ["", "alice", "bob"];
/** Ids that the test gives end like this; all others were made by the store. */
const isGiven = (id: string): boolean => id.startsWith("00000000");

type Act =
  | { readonly kind: "enqueue"; readonly to: number; readonly id: number; readonly life: number }
  | { readonly kind: "redrive" | "cancel" | "remove" | "delay" | "again"; readonly n: number }
  | { readonly kind: "readdress"; readonly n: number; readonly to: number }
  | { readonly kind: "lease" | "restart" }
  /** Time goes on by both clocks, or somebody sets the one of the wall. */
  | { readonly kind: "pass" | "step"; readonly hours: number }
  | { readonly kind: "settle"; readonly n: number; readonly outcome: number; readonly old: boolean }
  | { readonly kind: "receive"; readonly scope: number; readonly id: number; readonly text: number }
  | { readonly kind: "purge"; readonly n: number };

/** Both stores, and what main holds of their rows. */
class Pair {
  real: StoreUnderTest;
  readonly tables = new Tables();
  readonly #t: TestContext;
  readonly #path: string;
  #jobs: StoreJobs;
  #held: LeasedRow[] = [];
  #old: LeasedRow[] = [];
  /** Owners' statements and triggers have the time of the system. */
  readonly #ownersMs = Date.now();
  #nowMs = this.#ownersMs;
  readonly #random = Prng.of(1, "ids");

  constructor(t: TestContext) {
    this.#t = t;
    this.#path = `${temporaryFolder(t)}/queue.db`;
    this.real = this.#openReal();
    this.#jobs = this.#openModel();
  }

  play(act: Act): void {
    switch (act.kind) {
      case "enqueue":
        return this.#enqueue(act.to, act.id, act.life);
      case "redrive":
        return this.#own(act.n, "state = 'pending'", (row) =>
          this.tables.setState(row, "pending", this.#ownersMs),
        );
      case "cancel":
        return this.#own(act.n, "state = 'send_failed'", (row) =>
          this.tables.setState(row, "send_failed", this.#ownersMs),
        );
      case "remove":
        return this.#remove(act.n);
      case "delay": {
        const notBefore = this.#nowMs + 3_600_000;
        return this.#own(act.n, `not_before = '${timeText(notBefore)}'`, (row) =>
          this.tables.putOutbound({ ...row, notBefore }),
        );
      }
      case "readdress": {
        const address = ADDRESSES[act.to % ADDRESSES.length];
        return this.#own(act.n, `dst_addr = '${address}'`, (row) =>
          this.tables.readdress(row, address, this.#ownersMs),
        );
      }
      case "lease":
        return this.leaseAll();
      case "again":
        return this.#again(act.n);
      case "settle":
        return this.#settle(act.n, act.outcome, act.old);
      case "receive":
        return this.#receive(act.scope, act.id, act.text);
      case "purge":
        return this.#purge(act.n);
      case "pass":
        this.#nowMs += act.hours * 3_600_000;
        this.real.now = this.#nowMs;
        this.real.monotonic += act.hours * 3_600_000;
        return;
      case "step":
        this.#nowMs += act.hours * 3_600_000;
        this.real.now = this.#nowMs;
        return;
      case "restart":
        this.real.close();
        this.real = this.#openReal();
        this.#jobs = this.#openModel();
        this.#old.push(...this.#held);
        this.#held = [];
    }
  }

  /** Tends and leases until nothing more comes, on both; the rows must be the same. */
  leaseAll(): void {
    for (let i = 0; i < 4; i++) this.real.outbox.tend();
    while (this.real.retention.step(100));
    const real = this.real.leaseAll();
    this.#transaction(() => this.#jobs.tend());
    const model: LeasedRow[] = [];
    for (;;) {
      const rows = this.#leaseModel([]).rows;
      if (rows.length === 0) break;
      model.push(...rows);
    }
    assert.deepEqual(sorted(model).map(comparable), sorted(real).map(comparable));
    const fresh = new Set(real.map(({ id }) => id));
    this.#old.push(...this.#held.filter(({ id }) => fresh.has(id)));
    this.#held = [...this.#held.filter(({ id }) => !fresh.has(id)), ...real];
    this.#adoptIds(real);
  }

  /** Every table of both. */
  compare(): void {
    const rows = this.real.outside
      .prepare(
        `SELECT id, message_id, payload, dst_addr, state, retry_count, generation, priority,
           not_before IS NULL AS ready, last_error FROM outbound_messages ORDER BY id`,
      )
      .all() as Record<string, unknown>[];
    const mine = [...this.tables.outbound.values()].sort((a, b) => a.id - b.id);
    assert.deepEqual(
      mine.map((row) => ({
        id: row.id,
        message_id: row.messageId ?? null,
        payload: row.payload,
        dst_addr: row.address,
        state: row.state,
        retry_count: row.retries,
        generation: row.generation,
        priority: row.priority,
        ready: row.notBefore === undefined ? 1 : 0,
        last_error: row.lastError ?? null,
      })),
      rows,
    );
    const inbound = this.real.outside
      .prepare("SELECT peer, message_id, payload, hex(digest) FROM inbound_messages ORDER BY id")
      .raw()
      .all();
    assert.deepEqual(
      [...this.tables.inbound.values()]
        .sort((a, b) => a.id - b.id)
        .map((row) => [row.scope, row.messageId, row.payload, row.digest.toUpperCase()]),
      inbound,
    );
    const stones = this.real.outside
      .prepare("SELECT peer, message_id, hex(digest) FROM tombstones")
      .raw()
      .all() as string[][];
    assert.deepEqual(
      [...this.tables.tombstones.values()]
        .flat()
        .map((stone) => `${stone.scope} ${stone.messageId} ${stone.digest.toUpperCase()}`)
        .sort(),
      stones.map((stone) => stone.join(" ")).sort(),
    );
  }

  #enqueue(to: number, idNumber: number, life: number): void {
    const address = ADDRESSES[to % ADDRESSES.length];
    const id = idNumber === 0 ? undefined : idOf(idNumber);
    if (id !== undefined && this.tables.outboundIds.has(id)) return;
    const payload = id === undefined ? '{"text":"hello"}' : payloadOf(id);
    const expiresAt = life === 0 ? undefined : this.#nowMs + life * 3_600_000;
    const rowId = this.real.enqueue({
      dst_addr: address,
      payload,
      message_id: id ?? null,
      created_at: timeText(this.#ownersMs),
      expires_at: expiresAt === undefined ? null : timeText(expiresAt),
    });
    this.#transaction(() => {
      const mine = this.tables.enqueue({
        messageId: id,
        payload,
        address,
        port: PORT,
        priority: 1,
        createdAt: this.#ownersMs,
        redrivenAt: undefined,
        notBefore: undefined,
        expiresAt,
        stream: "",
      });
      assert.equal(mine, rowId);
    });
  }

  #own(
    n: number,
    sql: string,
    change: (row: NonNullable<ReturnType<Tables["outbound"]["get"]>>) => void,
  ): void {
    const row = [...this.tables.outbound.values()][n % Math.max(1, this.tables.outbound.size)];
    if (row === undefined) return;
    this.real.outside.prepare(`UPDATE outbound_messages SET ${sql} WHERE id = ?`).run(row.id);
    this.#transaction(() => change(row));
  }

  #remove(n: number): void {
    const row = [...this.tables.outbound.values()][n % Math.max(1, this.tables.outbound.size)];
    if (row === undefined) return;
    this.real.outside.prepare("DELETE FROM outbound_messages WHERE id = ?").run(row.id);
    this.#transaction(() => this.tables.deleteOutbound(row));
  }

  #again(n: number): void {
    const row = this.#held[n % Math.max(1, this.#held.length)];
    if (row === undefined) return;
    const real = this.real.lease(0, { again: [[row.id, 77]] });
    const model = this.#leaseModel([[row.id, 77]]);
    assert.deepEqual(model.gone, real.gone);
    assert.deepEqual(model.rows.map(comparable), real.rows.map(comparable));
    if (real.gone.length > 0) this.#drop(row);
  }

  #settle(n: number, outcome: number, old: boolean): void {
    const rows = old ? this.#old : this.#held;
    const row = rows[n % Math.max(1, rows.length)];
    if (row === undefined) return;
    const name = (["acknowledged", "failed", "waiting"] as const)[outcome % 3];
    const real = this.real.settle({ [name]: [{ ...row, attempts: 1, why: "x" }] });
    const settlement = settlementOf(name, row);
    let model = 0;
    this.#transaction(() => {
      model = this.#jobs.settle(settlement);
    });
    this.#jobs.settled(settlement);
    assert.equal(model, real, `settling row ${row.id}`);
    if (name !== "waiting" && !old) this.#drop(row);
  }

  #drop(row: LeasedRow): void {
    this.#held = this.#held.filter((each) => each !== row);
    this.#old.push(row);
  }

  #receive(scope: number, idNumber: number, text: number): void {
    const id = idOf(idNumber);
    const message = {
      scope: SCOPES[scope % SCOPES.length],
      id,
      payload: payloadOf(id, `text ${text}`),
      suspect: text === 2,
    };
    const real = this.real.store([message]);
    let model: readonly number[] = [];
    this.#transaction(() => {
      model = this.#jobs.store(inboundBatch([message], this.#nowMs));
    });
    assert.deepEqual(model, real);
  }

  /** Ids of inbound rows are in one order in both, but not the same: a copy may use one up. */
  #purge(n: number): void {
    const nth = n % Math.max(1, this.tables.inbound.size);
    const row = [...this.tables.inbound.values()].sort((a, b) => a.id - b.id)[nth];
    if (row === undefined) return;
    const ids = "SELECT id FROM inbound_messages ORDER BY id LIMIT 1 OFFSET ?";
    const { changes } = this.real.outside
      .prepare(`DELETE FROM inbound_messages WHERE id = (${ids})`)
      .run(nth);
    assert.equal(changes, 1, "what the model deletes is there");
    this.#transaction(() => this.tables.deleteInbound(row, this.#ownersMs));
  }

  #leaseModel(again: readonly (readonly [number, number])[]) {
    this.#jobs.order({
      kind: "lease",
      rowsMax: again.length === 0 ? 1_024 : 0,
      bytesMax: 1_048_576,
      again: {
        rowIds: Float64Array.from(again, ([id]) => id),
        tickets: Uint32Array.from(again, ([, ticket]) => ticket),
      },
    });
    let answer: ReturnType<StoreJobs["poll"]>;
    this.#transaction(() => {
      answer = this.#jobs.poll();
    });
    return {
      rows: answer === undefined ? [] : readLeased(answer.batch),
      gone: answer === undefined ? [] : [...answer.gone],
    };
  }

  /** Ids that the two stores made are random: from here both have the real one's. */
  #adoptIds(rows: readonly LeasedRow[]): void {
    this.#transaction(() => {
      for (const { id, messageId, payload } of rows) {
        const mine = this.tables.outbound.get(id);
        if (mine !== undefined) this.tables.putOutbound({ ...mine, messageId, payload });
      }
    });
  }

  #transaction(work: () => void): void {
    this.tables.layers.transaction(work);
  }

  #openReal(): StoreUnderTest {
    return new StoreUnderTest(this.#t, { path: this.#path, now: this.#nowMs });
  }

  #openModel(): StoreJobs {
    return new StoreJobs({
      tables: this.tables,
      nowMs: () => this.#nowMs,
      monotonicMs: () => this.real.monotonic,
      freshId: () => {
        const id = new Uint8Array(12);
        this.#random.fill(id);
        return id;
      },
      witness: {
        inserted: () => {},
        leased: () => {},
        acknowledged: () => {},
        failed: () => {},
        forgotten: () => {},
        settled: () => {},
        known: () => {},
      },
      plants: NO_STORE_PLANTS,
      quotaBytes: Number.POSITIVE_INFINITY,
    });
  }
}

function settlementOf(name: "acknowledged" | "failed" | "waiting", row: LeasedRow): Settlement {
  const ids = (wanted: boolean) => ({
    rowIds: Float64Array.from(wanted ? [row.id] : []),
    generations: Uint32Array.from(wanted ? [row.generation] : []),
  });
  const waits = name === "waiting";
  return {
    acknowledged: ids(name === "acknowledged"),
    waiting: {
      ...ids(waits),
      attempts: Uint32Array.from(waits ? [1] : []),
      sentAt: Float64Array.from(waits ? [0] : []),
      nextAttemptAt: Float64Array.from(waits ? [0] : []),
    },
    givenBack: [],
    failed: name === "failed" ? [{ rowId: row.id, generation: row.generation, reason: "x" }] : [],
  };
}

const sorted = (rows: readonly LeasedRow[]): readonly LeasedRow[] =>
  rows.toSorted((a, b) => a.id - b.id);

/** Without what the two stores draw, or read from different clocks. */
function comparable({ expiresAt: _, messageId, payload, ...row }: LeasedRow) {
  const given = isGiven(messageId);
  return {
    ...row,
    messageId: given ? messageId : "made",
    payload: given ? payload : payload.replace(messageId, "made"),
  };
}

const small = fc.nat({ max: 5 });
const acts: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("enqueue" as const),
      to: small,
      id: fc.nat({ max: 8 }),
      life: fc.nat({ max: 3 }),
    }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      kind: fc.constantFrom("redrive", "cancel", "remove", "delay", "again"),
      n: small,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("readdress" as const), n: small, to: small }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("lease" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("pass" as const),
      hours: fc.constantFrom(1, 2, 24, 24 * 9),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("step" as const),
      hours: fc.constantFrom(-24 * 300, -24, -1, 1, 24, 24 * 9, 24 * 300),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("settle" as const),
      n: small,
      outcome: fc.nat({ max: 2 }),
      old: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("receive" as const),
      scope: small,
      id: fc.integer({ min: 1, max: 5 }),
      text: fc.nat({ max: 2 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("purge" as const), n: small }) },
);

test("the tables of the simulator and the real store do and hold the same", (t) => {
  const sequences = fc.array(acts, { minLength: 5, maxLength: 50 });

  fc.assert(
    fc.property(sequences, (sequence) => {
      const pair = new Pair(t);
      try {
        for (const act of sequence) pair.play(act);
        pair.leaseAll();
        pair.compare();
      } finally {
        pair.real.close();
      }
    }),
    {
      numRuns: RUNS,
      includeErrorInReport: true,
      ...(process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) }),
    },
  );
});

test("a power failure leaves the tables as they were after some synced or later commit", () => {
  const draws = Prng.of(7, "layers");
  for (let round = 0; round < 300; round++) {
    const layers = new Layers();
    const table = new Map<number, number>();
    const states: string[] = [dump(table)];
    let synced = 0;
    for (let step = 0; step < 20; step++) {
      if (draws.chance(0.2)) {
        layers.sync();
        synced = states.length - 1;
        continue;
      }
      const changed = layers.transaction(() => {
        for (let i = draws.below(4); i > 0; i--) {
          layers.put(table, draws.below(6), draws.chance(0.3) ? undefined : draws.u32());
        }
      });
      if (changed > 0) states.push(dump(table));
    }
    const kept = draws.u32();

    layers.losePower(kept);

    const left = synced + Math.floor(((states.length - 1 - synced) * kept) / 2 ** 32);
    assert.equal(dump(table), states[left]);
  }
});

const dump = (table: ReadonlyMap<number, number>): string =>
  JSON.stringify([...table].sort(([a], [b]) => a - b));
