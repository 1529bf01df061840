// The file under a running store: replaced, deleted, or with a log that a reader keeps from being reset.
// Reliability: messages must not go where nobody looks, and a disk must not fill in silence.

import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { STORED } from "../../src/shared/runtime/inbound-batch.js";
import { writeTransaction } from "../../src/shared/store/busy.js";
import { connect } from "../../src/shared/store/driver.js";
import { openDatabase } from "../../src/shared/store/open.js";
import { idOf, outcomesOf } from "./fixture.js";
import { outside, RunningStore } from "./running-store.js";

/** The store looks once a second at most, when it tends what is due. */
const SOON = { fileCheckMs: 100 };
const TEND_MS = 1_000;
const MIB = 1_024 * 1_024;
const WAL_BYTES_ALARM = MIB;
/** What a log is cut back to, and the pages of one batch more. */
const WAL_BYTES_KEPT = 64 * MIB;
const ROWS_EACH = 2_000;

const spoilers: Readonly<Record<string, (path: string) => void>> = {
  deleted: (path) => rmSync(path),
  "moved away": (path) => renameSync(path, `${path}.old`),
  "replaced by a copy of itself": (path) => {
    copyFileSync(path, `${path}.copy`);
    renameSync(`${path}.copy`, path);
  },
  "replaced by a folder": (path) => {
    rmSync(path);
    mkdirSync(path);
  },
};

for (const [what, spoil] of Object.entries(spoilers)) {
  test(`a database that is ${what} stops the store, loudly and for good, and its content is saved`, async (t) => {
    const store = new RunningStore(t);
    await store.opened(SOON);
    store.store([1, 2]);
    await store.next("stored");

    spoil(store.path);
    const { error } = await store.next("broken");
    store.store([3]);
    await delay(50);

    assert.equal(error.code, "ERR_DB_IO");
    assert.match(error.message, /queue\.db was deleted or replaced while it was in use/);
    assert.deepEqual(store.results, []);
    const saved = savedIn(error.message);
    assert.ok(error.next.includes(saved));
    assert.equal(statSync(saved).mode & 0o777, 0o600);
    assert.deepEqual(idsIn(saved), [idOf(1), idOf(2)]);
  });

  test(`a log that is ${what} stops the store, and the database has what the log had`, async (t) => {
    const store = new RunningStore(t);
    await store.opened(SOON);
    store.store([1, 2]);
    await store.next("stored");

    spoil(`${store.path}-wal`);
    const { error } = await store.next("broken");

    assert.equal(error.code, "ERR_DB_IO");
    assert.match(error.message, /queue\.db-wal was deleted or replaced while it was in use/);
    rmSync(`${store.path}-wal`, { recursive: true, force: true });
    assert.deepEqual(idsIn(store.path), [idOf(1), idOf(2)]);
  });
}

test("a backup that is put in place with its log keeps both when the store ends", async (t) => {
  const store = new RunningStore(t);
  await store.opened(SOON);
  const backup = new RunningStore(t);
  await backup.opened();
  backup.store([7]);
  await backup.next("stored");

  for (const suffix of ["-wal", ""]) {
    copyFileSync(backup.path + suffix, `${store.path}.new${suffix}`);
    renameSync(`${store.path}.new${suffix}`, store.path + suffix);
  }
  await store.next("broken");

  assert.deepEqual(idsIn(store.path), [idOf(7)]);
});

test("a log without its database goes, and a file that was only moved is complete without it", async (t) => {
  const store = new RunningStore(t);
  await store.opened(SOON);
  store.store([1]);
  await store.next("stored");

  renameSync(store.path, `${store.path}.old`);
  await store.next("broken");

  assert.equal(statSync(`${store.path}-wal`, { throwIfNoEntry: false }), undefined);
  assert.deepEqual(idsIn(`${store.path}.old`), [idOf(1)]);
});

test("a stop says so when the database was lost shortly before", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  store.store([1]);
  await store.next("stored");

  rmSync(store.path);
  const closed = await store.control.call("close", []);

  assert.ok(closed !== undefined);
  assert.equal(closed.error.code, "ERR_DB_IO");
  assert.deepEqual(idsIn(savedIn(closed.error.message)), [idOf(1)]);
});

test("a database that stays where it is stops nothing, whatever happens around it", async (t) => {
  const store = new RunningStore(t);
  await store.opened(SOON);
  store.store([1]);
  await store.next("stored");

  copyFileSync(store.path, join(store.path, "..", "copy.db"));
  outside(t, store.path).exec("VACUUM");
  outside(t, store.path).pragma("wal_checkpoint(TRUNCATE)");
  await delay(2.5 * TEND_MS);
  store.store([2]);

  assert.deepEqual(outcomesOf((await store.next("stored")).batch), [STORED.inserted]);
  assert.deepEqual(store.results, []);
});

test("a log that a reader keeps from being reset is reported once, and shrinks when it lets go", async (t) => {
  const store = new RunningStore(t);
  await store.opened({ ...SOON, walBytesAlarm: WAL_BYTES_ALARM });
  const walBytes = (): number => statSync(`${store.path}-wal`).size;
  const reader = outside(t, store.path);
  let next = 0;
  const load = async (): Promise<void> => {
    store.store(Array.from({ length: ROWS_EACH }, () => next++));
    const { batch } = await store.next("stored");
    assert.ok(outcomesOf(batch).every((outcome) => outcome === STORED.inserted));
  };

  reader.exec("BEGIN");
  reader.prepare("SELECT count(*) FROM inbound_messages").get();
  while (walBytes() < 8 * WAL_BYTES_ALARM) await load();
  const { sentence } = await store.next("reported");
  await delay(2.5 * TEND_MS);
  assert.match(sentence, /write-ahead log has \d+ MiB: a program keeps a read transaction open/);
  assert.deepEqual(store.results, [], "said once");

  const heldBytes = walBytes();
  reader.exec("COMMIT");
  for (let n = 0; n < 10; n++) await load();

  assert.ok(walBytes() <= Math.max(heldBytes, WAL_BYTES_KEPT), `${walBytes()} bytes`);
  assert.equal(store.results.length, 0);
});

test("without such a reader the log stays small under load", async (t) => {
  const store = new RunningStore(t);
  await store.opened({ ...SOON, walBytesAlarm: 16 * WAL_BYTES_ALARM });

  for (let n = 0; n < 20; n++) {
    store.store(Array.from({ length: ROWS_EACH }, (_, i) => n * ROWS_EACH + i));
    await store.next("stored");
  }

  const { size } = statSync(`${store.path}-wal`);
  assert.ok(size < 16 * WAL_BYTES_ALARM, `${size} bytes`);
});

test("a log that another program fills beside an idle store is begun anew, and cut", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  const walBytes = (): number => statSync(`${store.path}-wal`).size;
  // As our clients do: they leave checkpoints to the daemon.
  const client = openDatabase(store.path, { role: "client", create: false });
  t.after(() => client.close());
  const insert = client.prepare(
    `INSERT INTO outbound_messages(dst_addr, dst_port, payload) VALUES ('192.0.2.1', 1, ?)`,
  );
  const write = (payload: Buffer): void => {
    writeTransaction(client, () => insert.run(payload), { deadlineMs: 10 * TEND_MS });
  };
  const payload = Buffer.alloc(8 * MIB, 0x20);

  while (walBytes() <= WAL_BYTES_KEPT) write(payload);
  const end = performance.now() + 10 * TEND_MS;
  while (walBytes() > WAL_BYTES_KEPT) {
    assert.ok(performance.now() < end, `${walBytes()} bytes`);
    await delay(50);
    // Whoever writes first in a new log cuts it.
    write(Buffer.from("{}"));
  }

  assert.deepEqual(store.results, []);
});

/** The path that a refusal names. */
function savedIn(message: string): string {
  const path = /its content is in (\S+)$/.exec(message)?.[1];
  assert.ok(path !== undefined, message);
  return path;
}

function idsIn(path: string): readonly unknown[] {
  const db = connect(path, { fileMustExist: true });
  try {
    return db.prepare("SELECT message_id FROM inbound_messages ORDER BY id").pluck().all();
  } finally {
    db.close();
  }
}
