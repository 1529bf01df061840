// A disk that is full, and a disk whose sync fails, under a real daemon: no ACK without a row, one clear
// line, and then service again, or an end that leaves nothing acknowledged behind.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as nap } from "node:timers/promises";
import { ClassicPeer, messageBody, seal } from "./classic-peer.js";
import { makeId, makeSecret, Place, TestDaemon, until } from "./harness.js";
import { requireIntegrity } from "./ledger.js";
import { straceTrouble, straceWrapper, traceOf } from "./strace.js";

/** A little more than an empty database has. */
const PAGES_MAX = 60;
const TEXT = "x".repeat(4_000);
const RECOVERY_MS_MAX = 5_000;
/** First to warm the daemon up, then to see it stay as it is. */
const PRESS_MS = 2_000;
const GROWTH_BYTES_MAX = 16 * 1_024 * 1_024;
/**
 * Syncs of the store's thread that fail, one a run. 1 to 11 make the database, 12 keeps the name of its
 * log, 13 is the commit that every start makes, 15 on are commits as well. 2, 6 and 14 are SQLite's own of the folder, whose result it does
 * not look at.
 */
const SYNCS_THAT_FAIL = [1, 4, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 18, 20, 23];
const END_SECONDS_MAX = 1;
/** The test's own patience with the end of a process. */
const END_MS_MAX = 5_000;
const MESSAGES = 12;

test("a full disk draws no ACK without a row, says so once, and service returns with the room", async (t) => {
  const place = new Place(t);
  const secret = makeSecret();
  const bob = await TestDaemon.make(place, { name: "bob", secret, host: { pagesMax: PAGES_MAX } });
  await bob.start();
  const peer = await ClassicPeer.make(place, secret, bob.port);
  let isFull = false;
  for (let n = 0; !isFull; n++) {
    assert.ok(n < PAGES_MAX * 2, "the disk fills");
    isFull = !(await peer.deliver(makeId(), TEXT, () => said(bob, "the disk is full") > 0));
  }

  const logLines = bob.log.length;
  await press(peer);
  const residentBytes = bob.residentBytes;
  await press(peer);
  const stored = new Set(bob.inbound().map(({ messageId }) => messageId));
  const groundless = [...peer.acknowledged.keys()].filter((id) => !stored.has(id));
  assert.deepEqual(groundless, [], "an ACK has a row");
  const growthBytes = bob.residentBytes - residentBytes;
  assert.ok(growthBytes < GROWTH_BYTES_MAX, `memory stays flat: ${growthBytes}`);
  assert.ok(bob.log.length - logLines <= 1, bob.log.slice(logLines).join("\n"));
  assert.equal(said(bob, "the disk is full"), 1);

  const clean = bob.db.prepare("DELETE FROM inbound_messages");
  bob.write(() => clean.run());
  const freedAt = Date.now();
  const late = () => Date.now() - freedAt > RECOVERY_MS_MAX;
  const id = makeId();
  assert.ok(await peer.deliver(id, "there is room", late), "service returns");
  assert.equal(bob.count("inbound", `message_id = '${id}'`), 1);
  assert.equal(said(bob, "takes writes again"), 1);
  requireIntegrity(bob);
  assert.equal(await bob.stop(), 0);
});

test("a row waits at its sender while the receiver's disk is full, and arrives when it is not", async (t) => {
  const place = new Place(t);
  const secret = makeSecret();
  const small = { pagesMax: PAGES_MAX };
  const alice = await TestDaemon.make(place, { name: "alice", secret, host: {} });
  const bob = await TestDaemon.make(place, { name: "bob", secret, host: small });
  await Promise.all([alice.start(), bob.start()]);

  for (let n = 0; n < PAGES_MAX; n++) alice.insert(bob.port, JSON.stringify({ n, TEXT }));
  await until(() => said(bob, "the disk is full") > 0, "a full disk");
  const left = alice.count("outbound", "state <> 'acknowledged'");
  assert.ok(left > 0 && alice.count("outbound", "state = 'send_failed'") === 0);
  await bob.stop();
  bob.host = {};
  await bob.start();
  await alice.settled();

  assert.equal(bob.count("inbound"), PAGES_MAX);
});

test("a file system without room for a while is told from a broken one, and waited for", async (t) => {
  const trouble = straceTrouble();
  if (trouble !== undefined) return t.diagnostic(`NOT RUN: ${trouble}`);
  const place = new Place(t);
  const secret = makeSecret();
  const bob = await TestDaemon.make(place, { name: "bob", secret });
  await bob.start();
  assert.equal(await bob.stop(), 0);
  bob.wrapper = straceWrapper(
    join(place.path, "trace"),
    ["pwrite64"],
    ["pwrite64:error=ENOSPC:when=40..46"],
  );
  await bob.start();
  const peer = await ClassicPeer.make(place, secret, bob.port);
  const ids = Array.from({ length: MESSAGES }, makeId);

  for (const id of ids) assert.ok(await peer.deliver(id, TEXT));

  assert.equal(said(bob, "the disk is full"), 1);
  assert.equal(said(bob, "takes writes again"), 1);
  assert.deepEqual(
    bob
      .inbound()
      .map(({ messageId }) => messageId)
      .toSorted(),
    ids.toSorted(),
  );
  requireIntegrity(bob);
  assert.equal(await bob.stop(), 0);
});

test("a daemon whose sync fails ends at once, without an ACK for what it could not sync", async (t) => {
  const trouble = straceTrouble();
  if (trouble !== undefined) return t.diagnostic(`NOT RUN: ${trouble}`);
  const place = new Place(t);
  const queue = [...SYNCS_THAT_FAIL];
  const counts = { atStart: 0, inService: 0 };
  const work = async () => {
    for (let which = queue.shift(); which !== undefined; which = queue.shift()) {
      counts[await failSync(place, which)] += 1;
    }
  };

  const ends = await Promise.allSettled([work(), work()]);

  for (const end of ends) if (end.status === "rejected") throw end.reason;
  assert.ok(counts.atStart >= 2 && counts.inService >= 3, JSON.stringify(counts));
});

/** One run in which the sync of that number fails. */
async function failSync(place: Place, which: number): Promise<"atStart" | "inService"> {
  const secret = makeSecret();
  const output = join(place.path, `sync-${which}.trace`);
  const inject = ["fdatasync", "fsync"].map((call) => `${call}:error=EIO:when=${which}`);
  const calls = ["fdatasync", "fsync", "sendto", "sendmsg", "sendmmsg"];
  const wrapper = straceWrapper(output, calls, inject);
  const bob = await TestDaemon.make(place, { name: `bob-${which}`, secret, wrapper });
  bob.spawn();
  const { pid } = bob;
  await until(() => bob.ready || !bob.running, "a start or a refusal");
  const peer = await ClassicPeer.make(place, secret, bob.port);
  const isReady = bob.running;
  const sentAt: number[] = [];
  for (let n = 0; n < MESSAGES && bob.running; n++) {
    const id = makeId();
    sentAt.push(Date.now() / 1_000);
    await peer.send(seal(secret, messageBody(id, TEXT)));
    await until(() => peer.acknowledged.has(id) || !bob.running, "an ACK or the end");
  }
  const code = await bob.ended(END_MS_MAX);
  const { calls: made, endedAt } = await traceOf(output, pid);
  const failedAt = made.find(({ injected }) => injected)?.at ?? Number.NaN;

  const name = `sync ${which}`;
  assert.ok(code !== null && code > 0, `${name}: exit code ${code}`);
  assert.ok(endedAt - failedAt < END_SECONDS_MAX, `${name}: ${endedAt - failedAt} s`);
  const words = bob.said + bob.log.join();
  assert.ok(/SQLITE_IOERR|EIO/.test(words), `${name}: ${words}`);
  // An ACK may leave behind the failure only for a commit before it: the one of the last message,
  // when the sync that failed was another's.
  const begun = sentAt.at(-1) ?? 0;
  const isOfOther = made.some(
    (call) => /sync/.test(call.name) && call.result === 0 && call.at > begun && call.at < failedAt,
  );
  const sends = made.filter((call) => /^send/.test(call.name) && call.at > failedAt);
  assert.ok(
    sends.length <= (isOfOther ? 1 : 0),
    `${name}: ${sends.length} ACKs behind the failure`,
  );

  bob.wrapper = [];
  await bob.start();
  const stored = new Set(bob.inbound().map(({ messageId }) => messageId));
  for (const id of peer.acknowledged.keys()) assert.ok(stored.has(id), `${name}: ${id}`);
  requireIntegrity(bob);
  const id = makeId();
  assert.ok(await peer.deliver(id, TEXT), `${name}: it serves after a restart`);
  await bob.stop();
  return isReady ? "inService" : "atStart";
}

/** Sends without a pause for a while, whatever comes of it. */
async function press(peer: ClassicPeer): Promise<void> {
  const end = Date.now() + PRESS_MS;
  while (Date.now() < end) {
    for (let n = 0; n < 20; n++) await peer.sendMessage(makeId(), TEXT);
    await nap(10);
  }
}

const said = (daemon: TestDaemon, sentence: string): number =>
  daemon.log.filter((line) => line.includes(sentence)).length;
