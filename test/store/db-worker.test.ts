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
      failed: [],
    },
  });
  const settled = await store.next("settled");

  assert.deepEqual(
    [opened.schemaVersion, opened.migrated, opened.recoveredRows, opened.sealedUntil],
    [SCHEMA_VERSION, false, 0, 0n],
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
  store.send({ kind: "reserve", stamp: 5n });
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

test("reserved stamps only rise and survive a restart", async (t) => {
  const first = new RunningStore(t);
  await first.opened();
  for (const stamp of [2n ** 61n + 1n, 5n]) {
    first.send({ kind: "reserve", stamp });
    assert.equal((await first.next("reserved")).stamp, stamp);
  }
  await first.control.call("close", []);

  const second = new RunningStore(t, first.path);
  assert.equal((await second.opened()).sealedUntil, 2n ** 61n + 1n);
});

test("a clean stop leaves the last stamp sealed in place of the reservation, and never a later one", async (t) => {
  const path = join(temporaryFolder(t), "queue.db");
  const ends = [
    { reserved: 900n, sealed: 700n, left: 700n },
    { reserved: 800n, sealed: 2_000n, left: 800n },
    { reserved: 900n, sealed: undefined, left: 900n },
  ];
  let before = 0n;
  for (const { reserved, sealed, left } of ends) {
    const store = new RunningStore(t, path);
    assert.equal((await store.opened()).sealedUntil, before);
    store.send({ kind: "reserve", stamp: reserved });
    await store.next("reserved");
    await store.control.call("close", [sealed]);
    before = left;
  }

  assert.equal((await new RunningStore(t, path).opened()).sealedUntil, 900n);
});

test("a stop that finds the file locked leaves the reservation", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  store.send({ kind: "reserve", stamp: 900n });
  await store.next("reserved");
  const db = outside(t, store.path);
  db.exec("BEGIN IMMEDIATE");

  await store.control.call("close", [700n]);
  db.exec("COMMIT");

  assert.equal((await new RunningStore(t, store.path).opened()).sealedUntil, 900n);
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
