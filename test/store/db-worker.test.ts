// The real worker thread, through its two ports, with another process's connection beside it.

import assert from "node:assert/strict";
import {
  chmodSync,
  closeSync,
  openSync,
  renameSync,
  statSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { STORED } from "../../src/shared/runtime/inbound-batch.js";
import { connect } from "../../src/shared/store/driver.js";
import { SCHEMA_VERSION } from "../../src/shared/store/schema.js";
import { outcomesOf, readLeased, temporaryFolder } from "./fixture.js";
import { outside, RunningStore } from "./running-store.js";

const PAGE_BYTES = 8_192;

const INSERT = `INSERT INTO outbound_messages(dst_addr, dst_port, payload)
  VALUES ('192.0.2.1', 5000, '{"text":"hello"}')`;

test("rows are leased, settled and acknowledged through the ports", async (t) => {
  const store = new RunningStore(t);
  const opened = await store.opened();
  const db = outside(t, store.path);
  for (let i = 0; i < 10; i++) db.exec(INSERT);

  store.lease();
  const rows = readLeased((await store.next("leased")).batch);
  store.send({
    kind: "settle",
    settlement: {
      acknowledged: {
        rowIds: Float64Array.from(rows, (row) => row.id),
        generations: Uint32Array.from(rows, (row) => row.generation),
      },
      waiting: {
        rowIds: new Float64Array(0),
        generations: new Uint32Array(0),
        attempts: new Uint32Array(0),
        sentAt: new Float64Array(0),
        nextAttemptAt: new Float64Array(0),
      },
      givenBack: [],
      failed: [],
    },
  });
  const settled = await store.next("settled");

  assert.deepEqual(
    [opened.schemaVersion, opened.migrated, opened.recoveredRows, opened.sealed],
    [SCHEMA_VERSION, false, 0, []],
  );
  assert.equal(rows.length, 10);
  assert.equal(settled.rows, 10);
  const states = db.prepare("SELECT DISTINCT state FROM outbound_messages").pluck().all();
  assert.deepEqual(states, ["acknowledged"]);
});

test("an order that waits is answered soon after another process commits, doorbell or not", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  const db = outside(t, store.path);
  const doorbell = `${store.path}-doorbell`;
  const waits: Record<string, number[]> = { bell: [], none: [] };
  for (let i = 0; i < 40; i++) {
    store.lease();
    await delay(30);
    const startedAt = performance.now();
    db.exec(INSERT);
    const kind = i % 2 === 0 ? "bell" : "none";
    if (kind === "bell") utimesSync(doorbell, new Date(), new Date());
    await store.next("leased");
    waits[kind]?.push(performance.now() - startedAt);
  }

  assert.equal(statSync(doorbell).mode & 0o777, 0o600);
  for (const [kind, spans] of Object.entries(waits)) {
    spans.sort((a, b) => a - b);
    assert.ok((spans[10] as number) < 100, `${kind}: ${spans.map((ms) => ms.toFixed(1))}`);
  }
});

test("an order that waits costs next to nothing", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  store.lease();
  await delay(300);
  const before = process.cpuUsage();

  await delay(1_000);

  const { user, system } = process.cpuUsage(before);
  assert.ok((user + system) / 1_000 < 50, `${(user + system) / 1_000} ms of CPU in a second`);
});

test("a stored batch comes back in the same memory, with an outcome in each record", async (t) => {
  const store = new RunningStore(t);
  await store.opened();

  store.store([1, 2, 1]);
  const { batch } = await store.next("stored");

  assert.deepEqual(outcomesOf(batch), [STORED.inserted, STORED.inserted, STORED.known]);
});

test("while another process holds the lock jobs fail as busy, in order, and work afterwards", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  const db = outside(t, store.path);
  db.exec("BEGIN IMMEDIATE");

  store.store([1]);
  store.send({ kind: "reserve", stamp: 5n, spans: [] });
  const { kind: _, ...first } = await store.next("failed");
  const { kind: __, ...second } = await store.next("failed");
  db.exec("COMMIT");
  store.store([1]);
  const { batch } = await store.next("stored");

  assert.deepEqual(
    [first, second],
    [
      { job: "store", code: "busy" },
      { job: "reserve", code: "busy" },
    ],
  );
  assert.deepEqual(outcomesOf(batch), [STORED.inserted]);
});

test("a full disk fails the job and not the store", async (t) => {
  const store = new RunningStore(t);
  await store.opened({ pagesMax: 40 });
  const ids = Array.from({ length: 4_000 }, (_, i) => i);

  store.store(ids);
  assert.equal((await store.next("failed")).code, "full");
  store.store(ids.slice(0, 3));

  assert.deepEqual(outcomesOf((await store.next("stored")).batch), Array(3).fill(STORED.inserted));
});

/** Spans of stamps of this year and of one far ahead: doubles, exact to 256 ns. */
const SEALED = [
  { fromNs: 1_760_000_000_000_000_000, untilNs: 1_760_000_002_000_000_000 },
  { fromNs: 2 ** 61 + 256, untilNs: 2 ** 61 + 512 },
];

test("reserved stamps are on disk once it is said, and survive a restart", async (t) => {
  const first = new RunningStore(t);
  await first.opened();
  first.send({ kind: "reserve", stamp: 7n, spans: SEALED });
  assert.equal((await first.next("reserved")).stamp, 7n);
  await first.control.call("close", []);

  const second = new RunningStore(t, first.path);
  assert.deepEqual((await second.opened()).sealed, SEALED);
});

test("a clean stop leaves what was sealed in place of the reservation", async (t) => {
  const path = join(temporaryFolder(t), "queue.db");
  const [early, late] = [SEALED.slice(0, 1), SEALED.slice(1)];
  const ends = [
    { reserved: SEALED, sealed: early, left: early },
    { reserved: SEALED, sealed: undefined, left: SEALED },
    { reserved: late, sealed: [], left: [] },
  ];
  let before: typeof SEALED = [];
  for (const { reserved, sealed, left } of ends) {
    const store = new RunningStore(t, path);
    assert.deepEqual((await store.opened()).sealed, before);
    store.send({ kind: "reserve", stamp: 7n, spans: reserved });
    await store.next("reserved");
    await store.control.call("close", [sealed]);
    before = left;
  }

  assert.deepEqual((await new RunningStore(t, path).opened()).sealed, []);
});

test("a stop that finds the file locked leaves the reservation", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  store.send({ kind: "reserve", stamp: 7n, spans: SEALED });
  await store.next("reserved");
  const db = outside(t, store.path);
  db.exec("BEGIN IMMEDIATE");

  await store.control.call("close", [[]]);
  db.exec("COMMIT");

  assert.deepEqual((await new RunningStore(t, store.path).opened()).sealed, SEALED);
});

test("the one bound of an earlier version counts for everything below it, and is read once", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  await store.control.call("close", []);
  const db = outside(t, store.path);
  const until = 1_760_000_000_000_000_000;
  db.exec(`INSERT INTO meta VALUES ('sealed_until', ${until})`);

  const second = new RunningStore(t, store.path);
  const { sealed } = await second.opened();
  await second.control.call("close", []);

  assert.deepEqual(sealed, [{ fromNs: 0, untilNs: until }]);
  const keys = db.prepare("SELECT key FROM meta WHERE key LIKE 'sealed%'").pluck().all();
  assert.deepEqual(keys, ["sealed_stamps"]);
  assert.deepEqual((await new RunningStore(t, store.path).opened()).sealed, sealed);
});

test("sealed stamps that nobody can read count as all time up to now", async (t) => {
  for (const text of ["{", "[[2,1]]", '[["1",2]]', "7"]) {
    const store = new RunningStore(t);
    await store.opened();
    await store.control.call("close", []);
    const db = outside(t, store.path);
    db.prepare("INSERT INTO meta VALUES ('sealed_stamps', ?)").run(text);

    const { sealed } = await new RunningStore(t, store.path).opened();

    assert.equal(sealed.length, 1, text);
    assert.equal(sealed[0]?.fromNs, 0);
    assert.ok(Math.abs((sealed[0]?.untilNs ?? 0) / 1e6 - Date.now()) < 60_000, text);
  }
});

test("every start writes, so that what a killed run left unsynced is synced before it is relied upon", async (t) => {
  const first = new RunningStore(t);
  await first.opened();
  const db = outside(t, first.path);
  await first.control.call("close", []);
  const version = (): unknown => db.pragma("data_version", { simple: true });
  const before = version();

  await new RunningStore(t, first.path).opened();

  assert.notEqual(version(), before);
});

test("what keeps the database from opening comes back as data", async (t) => {
  const first = new RunningStore(t);
  await first.opened();
  await first.control.call("close", []);
  chmodSync(first.path, 0o644);

  const second = new RunningStore(t, first.path);
  const opened = await second.open();

  assert.ok("error" in opened);
  assert.equal(opened.error.code, "ERR_FILE_MODE");
  assert.match(opened.error.next, /chmod 0600/);
  chmodSync(first.path, 0o600);
  await second.opened();
});

test("a damaged file found at work stops the store for good", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  const file = openSync(store.path, "r+");
  for (let page = 2; page < statSync(store.path).size / PAGE_BYTES; page++) {
    writeSync(file, Buffer.alloc(PAGE_BYTES, 0xff), 0, PAGE_BYTES, page * PAGE_BYTES);
  }
  closeSync(file);

  store.store([1]);
  const broken = await store.next("broken");
  store.store([2]);
  await delay(50);

  assert.equal(broken.error.code, "ERR_DB_DAMAGED");
  assert.deepEqual(store.results, []);
});

test("close checkpoints, so that the file alone holds everything", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  store.store([1, 2, 3]);
  await store.next("stored");

  await store.control.call("close", []);

  const copy = join(store.path.replace(/queue\.db$/, ""), "copy.db");
  renameSync(store.path, copy);
  const db = connect(copy, {});
  assert.equal(db.prepare("SELECT count(*) FROM inbound_messages").pluck().get(), 3);
  db.close();
});

test("a control call is rejected when the worker ends, or answers too late", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  const db = outside(t, store.path);
  db.exec("BEGIN IMMEDIATE");
  store.store([1]);
  const call = store.control.call("counters", []);

  await store.worker.terminate();

  await assert.rejects(call, { code: "ERR_WORKER" });
  await assert.rejects(store.control.call("counters", []), { code: "ERR_WORKER" });
});
