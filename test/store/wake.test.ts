// Hearing of other processes' commits: by doorbell, by the log, and by polling where files cannot be
// watched (no inotify watches left, a file system without events).

import assert from "node:assert/strict";
import { appendFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { DOORBELL_SUFFIX, Wake } from "../../src/workers/wake.js";
import { preloadFileSystem } from "../preload.js";
import { readLeased, temporaryFolder } from "./fixture.js";
import { outside, RunningStore } from "./running-store.js";

const DEADLINE_MS = 10_000;
const NO_WATCHES = preloadFileSystem('fs.watch = () => { throw failure("ENOSPC"); };');
const INSERT = `INSERT INTO outbound_messages(dst_addr, dst_port, payload)
  VALUES ('192.0.2.1', 5000, '{"text":"hello"}')`;
/** Looks come every 25 ms; of a quiet store whose files are watched they come every 250. */
const POLLED_MS_MAX = 120;
const TRIES = 20;
/** As long as it takes until polls would slow down if the files were watched. */
const QUIET_MS = 1_500;

function arrange(t: TestContext) {
  const path = join(temporaryFolder(t), "queue.db");
  writeFileSync(`${path}-wal`, "");
  const heard = { doorbell: 0, wal: 0 };
  const said: string[] = [];
  const wake = new Wake(path, {
    onDoorbell: () => {
      heard.doorbell += 1;
    },
    onWal: () => {
      heard.wal += 1;
    },
    report: (sentence) => said.push(sentence),
  });
  t.after(() => wake.stop());
  return { path, doorbell: path + DOORBELL_SUFFIX, wake, heard, said };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (!condition()) {
    assert.ok(performance.now() < end, `waited in vain for ${what}`);
    await delay(2);
  }
}

const ring = (doorbell: string): void => utimesSync(doorbell, new Date(), new Date());

test("the doorbell and the log are heard, each by its own event", async (t) => {
  const { path, doorbell, wake, heard, said } = arrange(t);
  wake.start();
  assert.ok(wake.watching);

  ring(doorbell);
  await until(() => heard.doorbell > 0, "the doorbell");
  assert.equal(heard.wal, 0);
  appendFileSync(`${path}-wal`, "x");
  await until(() => heard.wal > 0, "the log");

  assert.equal(statSync(doorbell).mode & 0o777, 0o600);
  assert.deepEqual(said, []);
});

test("a doorbell that is removed is made anew at the next look, and heard again", async (t) => {
  const { doorbell, wake, heard } = arrange(t);
  wake.start();

  rmSync(doorbell);
  await until(() => !wake.watching, "the loss to be noticed");
  wake.start();
  assert.ok(wake.watching);
  const before = heard.doorbell;
  ring(doorbell);

  await until(() => heard.doorbell > before, "the new doorbell");
});

test("a doorbell that is a link is not followed", (t) => {
  const { path, doorbell, wake } = arrange(t);
  const victim = join(path, "..", "victim");
  symlinkSync(victim, doorbell);

  wake.start();

  assert.equal(statSync(victim, { throwIfNoEntry: false }), undefined);
  assert.equal(wake.watching, false);
});

test("a stopped watch is heard of no more", async (t) => {
  const { doorbell, wake, heard } = arrange(t);
  wake.start();

  wake.stop();
  ring(doorbell);
  await delay(50);

  assert.equal(heard.doorbell, 0);
});

test("where no file can be watched, rows are found by polling, and that is said once", async (t) => {
  const store = new RunningStore(t, undefined, NO_WATCHES);
  await store.opened({ fileCheckMs: 0 });
  const db = outside(t, store.path);
  store.lease();
  await delay(QUIET_MS);
  const waits: number[] = [];

  for (let n = 0; n < TRIES; n++) {
    const startedAt = performance.now();
    db.exec(INSERT);
    const leased = await store.next("leased");
    waits.push(performance.now() - startedAt);
    assert.equal(readLeased(leased.batch).length, 1);
    store.lease();
  }

  const most = waits.toSorted((a, b) => a - b)[(TRIES * 3) / 4] as number;
  assert.ok(most < POLLED_MS_MAX, `${waits.map((ms) => ms.toFixed(0))} ms`);
  const reports = store.results.filter(({ kind }) => kind === "reported");
  assert.match(JSON.stringify(reports), /cannot be watched .*ENOSPC.*polling/);
  assert.equal(reports.length, 1);
});
