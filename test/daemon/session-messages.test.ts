// Sessions between two real daemons: messages of every size and kind, both ways, restarts, refusals.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setTimeout as nap } from "node:timers/promises";
import { makeId, makeSecret, Place, type TestDaemon, until } from "./harness.js";
import { requireOnce } from "./mixed-mail.js";
import { type Message, makeIdentity, SessionPair, sendAll, sumOf } from "./session-hosts.js";

const KIB = 1_024;
const SIZES = [0, 1, 500, 1_150, 1_300, 9 * KIB, 64 * KIB, 256 * KIB, 256 * KIB + 1, KIB * KIB];
/** Lines of a log that said nothing about packets: start, a summary or two, the end. */
const QUIET_LOG_LINES = 8;

test("messages both ways are stored byte for byte and acknowledged", async (t) => {
  const place = new Place(t);
  const { alice, bob } = await (await SessionPair.make(place)).start();
  const messages = Array.from({ length: 300 }, (_, n) => ({ payload: `no. ${n}` }));

  sendAll(alice, "bob", messages);
  sendAll(bob, "alice", messages);
  await Promise.all([alice.settled(), bob.settled()]);

  requireOnce(alice, bob);
  requireOnce(bob, alice);
  assert.deepEqual([await alice.stop(), await bob.stop()], [0, 0]);
  assert.deepEqual([troubles(alice), troubles(bob)], [[], []]);
});

test("text and bytes from 0 B to 1 MiB arrive as what they were", async (t) => {
  const { alice, bob } = await (await SessionPair.make(new Place(t))).start();
  const messages = SIZES.flatMap((size): Message[] => [
    { payload: randomBytes(size) },
    { payload: "ä".repeat(size >> 1) + "x".repeat(size % 2) },
  ]);

  sendAll(alice, "bob", messages);
  await alice.settled();

  requireOnce(alice, bob);
  const kinds = (daemon: TestDaemon, box: string) =>
    daemon.db
      .prepare(
        `SELECT message_id || ' ' || typeof(payload) FROM ${box}_messages ORDER BY message_id`,
      )
      .pluck()
      .all();
  assert.deepEqual(kinds(bob, "inbound"), kinds(alice, "outbound"));
  assert.equal(bob.count("inbound"), messages.length);
});

test("a stop and a start of either side lose nothing and repeat nothing", async (t) => {
  const { alice, bob } = await (await SessionPair.make(new Place(t))).start();
  const burst = (rows: number) => {
    for (const [from, to] of [
      [alice, "bob"],
      [bob, "alice"],
    ] as const) {
      const messages = Array.from({ length: rows }, (_, n) => ({ payload: "x".repeat(n % 3_000) }));
      sendAll(from, to, messages);
    }
  };

  for (const restarted of [bob, alice, bob, alice]) {
    burst(200);
    await until(() => bob.count("inbound") > 0 && alice.count("inbound") > 0, "traffic");
    assert.equal(await restarted.stop(), 0);
    burst(50);
    await restarted.start();
  }
  await Promise.all([alice.settled(), bob.settled()]);

  requireOnce(alice, bob);
  requireOnce(bob, alice);
  assert.deepEqual([bob.count("inbound"), alice.count("inbound")], [1_000, 1_000]);
});

test("what is longer than the peer takes fails at once, and what is behind it goes on", async (t) => {
  const peer = "message_bytes_max = 300000";
  const { alice, bob } = await (await SessionPair.make(new Place(t), { peer })).start();

  const [, long = 0, , longer = 0] = sendAll(alice, "bob", [
    { payload: "x".repeat(300_000) },
    { payload: "x".repeat(300_001) },
    { payload: "short" },
    { payload: "x".repeat(3_000_000), stream: "ordered" },
    { payload: "short", stream: "ordered" },
  ]);
  const failed = () => [long, longer].every((id) => alice.state(id) === "send_failed");
  await until(failed, "two refusals", 3_000);
  await until(() => bob.count("inbound") === 3, "the others", 3_000);
  await until(() => alice.count("outbound", "state = 'acknowledged'") === 3, "receipts", 3_000);

  for (const { state, lastError } of alice.outbound()) {
    if (state === "send_failed") assert.match(lastError ?? "", /size/);
  }
});

test("a daemon with another secret or an unknown identity hears nothing", async (t) => {
  const pair = await SessionPair.make(new Place(t));
  const { alice, bob } = pair;
  // Without an address it does not begin by itself: whatever it sent would be an answer.
  pair.configure("bob", { port: 0 });
  await bob.start();
  pair.configure("alice", { secret: makeSecret() });
  await alice.start();
  sendAll(alice, "bob", [{ payload: "under a wrong secret" }]);
  const { alice: known } = pair.identities;
  await nap(1_500);
  assert.equal(await alice.stop(), 0);
  pair.identities.alice = makeIdentity();
  pair.configure("alice");
  await alice.start();
  await nap(1_500);
  assert.equal(await alice.stop(), 0);
  assert.ok(sumOf(alice, "handshakes_sent") >= 4, alice.log.join("\n"));
  assert.deepEqual([sumOf(alice, "datagrams_received"), bob.count("inbound")], [0, 0]);

  pair.identities.alice = known;
  pair.configure("alice");
  await alice.start();
  await alice.settled();
  assert.equal(bob.count("inbound"), 1);
  assert.deepEqual([await alice.stop(), await bob.stop()], [0, 0]);
  assert.ok(bob.log.length <= QUIET_LOG_LINES, bob.log.join("\n"));
  assert.ok(sumOf(bob, "drop_not_authentic") >= 4, bob.log.join("\n"));
});

test("one id with two contents is stored once, and the second is refused with the reason", async (t) => {
  const { alice, bob } = await (await SessionPair.make(new Place(t))).start();
  const messageId = makeId();
  const [first = 0] = sendAll(alice, "bob", [{ payload: "first", messageId }]);
  await alice.settled();

  const forget = alice.db.prepare("DELETE FROM outbound_messages WHERE id = ?");
  alice.write(() => forget.run(first));
  const [same = 0] = sendAll(alice, "bob", [{ payload: "first", messageId }]);
  await until(() => alice.state(same) === "acknowledged", "a receipt for the same again");
  alice.write(() => forget.run(same));
  const [other = 0] = sendAll(alice, "bob", [{ payload: "other", messageId }]);
  await until(() => alice.state(other) === "send_failed", "the refusal");

  assert.match(alice.outbound().at(-1)?.lastError ?? "", /id/);
  assert.deepEqual(
    bob.inbound().map(({ payload }) => String(payload)),
    ["first"],
  );
});

/** What a daemon says only when something is wrong. */
const troubles = (daemon: TestDaemon): readonly string[] =>
  daemon.log.filter((line) => line.includes('"level":"error"') || line.includes("closed by"));
