// A locked file, a full disk: nothing is acknowledged, nothing is lost, and it goes on afterwards.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { DaemonError } from "../../src/shared/base/errors.js";
import { STORED } from "../../src/shared/runtime/inbound-batch.js";
import { writeTransaction } from "../../src/shared/store/busy.js";
import { storeError, writeFailure } from "../../src/shared/store/sqlite-error.js";
import { idOf, inboundBatch, outcomesOf, payloadOf, StoreUnderTest } from "./fixture.js";

const ROWS = 600;

async function holdLock(t: TestContext, path: string, holdMs = 0): Promise<ChildProcess> {
  const script = fileURLToPath(new URL("./holder.js", import.meta.url));
  const child = spawn(process.execPath, [script, path, String(holdMs)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => void child.kill("SIGKILL"));
  await once(child.stdout as NodeJS.ReadableStream, "data");
  return child;
}

async function letGo(child: ChildProcess): Promise<void> {
  child.stdin?.end();
  await once(child, "exit");
}

test("a batch that meets another process's lock has no outcome, and is stored later", async (t) => {
  const store = new StoreUnderTest(t);
  const child = await holdLock(t, store.path);
  const batch = inboundBatch([{ id: idOf(1) }]);
  const startedAt = performance.now();

  assert.throws(
    () => store.inbox.store(batch, 60),
    (thrown) => thrown instanceof DaemonError && writeFailure(thrown) === "busy",
  );

  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs >= 60 && tookMs < 1_000, `${tookMs} ms`);
  assert.deepEqual(outcomesOf(batch), [STORED.none]);
  await letGo(child);
  assert.deepEqual(store.store([{ id: idOf(1) }]), [STORED.inserted]);
});

test("a settlement that meets a lock changes nothing and can be tried again", async (t) => {
  const store = new StoreUnderTest(t);
  store.enqueue();
  const rows = store.leaseAll();
  const child = await holdLock(t, store.path);

  assert.throws(
    () => store.settle({ acknowledged: rows }),
    (thrown) => writeFailure(thrown) === "busy",
  );
  await letGo(child);

  assert.equal(store.settle({ acknowledged: rows }), 1);
});

test("the lock is taken as soon as it is free", async (t) => {
  const store = new StoreUnderTest(t);
  const child = await holdLock(t, store.path, 100);
  const exited = once(child, "exit");
  const startedAt = performance.now();

  const value = writeTransaction(store.db, () => 7, { deadlineMs: 5_000 });

  const tookMs = performance.now() - startedAt;
  assert.equal(value, 7);
  assert.ok(tookMs > 20 && tookMs < 1_000, `${tookMs} ms`);
  await exited;
});

test("a transaction that throws leaves nothing, and the connection is free", (t) => {
  const store = new StoreUnderTest(t);
  const write = (fail: boolean) =>
    writeTransaction(
      store.db,
      () => {
        store.db.exec("INSERT INTO meta VALUES ('k', 1)");
        if (fail) throw new Error("half way");
      },
      { deadlineMs: 0 },
    );

  assert.throws(() => write(true), /half way/);
  assert.equal(store.read("SELECT count(*) FROM meta WHERE key = 'k'"), 0);
  write(false);
  assert.equal(store.read("SELECT count(*) FROM meta WHERE key = 'k'"), 1);
});

test("a full disk stores nothing of the batch; what fits is stored when there is room", (t) => {
  const store = new StoreUnderTest(t);
  const pages = Number(store.db.pragma("page_count", { simple: true }));
  store.db.pragma(`max_page_count = ${pages + 20}`);
  const text = "x".repeat(4_000);
  const messages = Array.from({ length: 100 }, (_, i) => ({
    id: idOf(i),
    payload: payloadOf(idOf(i), text),
  }));
  const batch = inboundBatch(messages);

  assert.throws(
    () => store.inbox.store(batch, 100),
    (thrown) => writeFailure(thrown) === "full",
  );

  assert.deepEqual(new Set(outcomesOf(batch)), new Set([STORED.none]));
  assert.equal(store.read("SELECT count(*) FROM inbound_messages"), 0);
  assert.deepEqual(store.store(messages.slice(0, 5)), Array(5).fill(STORED.inserted));
  store.db.pragma("max_page_count = 1000000");
  const outcomes = store.store(messages);
  assert.deepEqual(outcomes.slice(0, 6), [...Array(5).fill(STORED.known), STORED.inserted]);
});

test("rows that need an id wait while the disk is full, and are reported; they go afterwards", (t) => {
  const store = new StoreUnderTest(t);
  store.outbox.limit("192.0.2.1", 5_000, ROWS);
  for (let i = 0; i < ROWS; i++) store.enqueue({ dst_addr: "192.0.2.1", payload: "{}" });
  const ready = store.enqueue({
    dst_addr: "192.0.2.2",
    message_id: idOf(9),
    payload: payloadOf(idOf(9)),
  });
  store.db.pragma(`max_page_count = ${Number(store.db.pragma("page_count", { simple: true }))}`);

  const whileFull = store.lease();
  assert.deepEqual(
    whileFull.rows.map((row) => row.id),
    [ready],
  );
  assert.match(store.reports.join(), /no room left/);
  assert.equal(store.read("SELECT count(*) FROM outbound_messages WHERE message_id IS NULL"), ROWS);

  store.db.pragma("max_page_count = 1000000");
  assert.equal(store.leaseAll().length, ROWS);
});

test("errors of SQLite are told apart: wait, make room, or stop", () => {
  const of = (code: string) => Object.assign(new Error("x"), { code });
  for (const code of [
    "SQLITE_BUSY",
    "SQLITE_BUSY_SNAPSHOT",
    "SQLITE_BUSY_RECOVERY",
    "SQLITE_LOCKED",
  ]) {
    assert.equal(writeFailure(of(code)), "busy", code);
  }
  assert.equal(writeFailure(of("SQLITE_FULL")), "full");
  for (const code of [
    "SQLITE_IOERR_FSYNC",
    "SQLITE_IOERR_WRITE",
    "SQLITE_IOERR",
    "SQLITE_CORRUPT",
    "SQLITE_CORRUPT_INDEX",
    "SQLITE_NOTADB",
    "SQLITE_READONLY",
    "ENOENT",
  ]) {
    assert.equal(writeFailure(of(code)), "broken", code);
  }
  assert.equal(storeError("q.db", of("SQLITE_FULL")).code, "ERR_DB_FULL");
  assert.equal(storeError("q.db", of("SQLITE_IOERR_FSYNC")).code, "ERR_DB_IO");
  assert.equal(storeError("q.db", of("SQLITE_CORRUPT")).code, "ERR_DB_DAMAGED");
});
