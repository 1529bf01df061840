// Silence and steadiness of sessions: copies of everything that two hosts ever said to each other, and
// hostile packets with and without valid keys. The long run: `npm run session-figures -- hostile`.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { ClassicPeer } from "./classic-peer.js";
import { makeSecret, Place } from "./harness.js";
import { randomFrom } from "./kill-rounds.js";
import { flood } from "./session-flood.js";
import { SessionPair, sendAll, sumOf } from "./session-hosts.js";

const KEYLESS = 60_000;
const KEYED = 4_000;
const GROWTH_BYTES_MAX = 32 * 1_024 * 1_024;

test("a copy of everything that was ever sent draws no answer, from anywhere, at any time", async (t) => {
  const place = new Place(t);
  const pair = await SessionPair.make(place, { relayed: true });
  const { alice, bob, relay } = pair;
  // Without an address bob begins nothing: whatever leaves him is an answer.
  pair.configure("bob", { port: 0 });
  relay.kept = [];
  await pair.start();
  const messages = Array.from({ length: 200 }, (_, n) => ({ payload: "x".repeat(n * 20) }));
  sendAll(alice, "bob", messages);
  await alice.settled();
  await alice.kill();
  await alice.start();
  sendAll(alice, "bob", messages);
  await alice.settled();
  await relay.quiet(300);
  const { kept } = relay;
  relay.kept = undefined;
  const stranger = await ClassicPeer.make(place, makeSecret(), bob.port);
  const replay = async (): Promise<void> => {
    for (const { bytes } of kept) {
      await stranger.send(bytes);
      await relay.inject(bytes, "toBob");
    }
    await relay.quiet(300);
  };

  const before = relay.datagrams.toAlice;
  await replay();
  assert.deepEqual([relay.datagrams.toAlice, stranger.received.length], [before, 0], "in session");
  await alice.kill();
  await bob.kill();
  await bob.start();
  await replay();
  assert.deepEqual([relay.datagrams.toAlice, stranger.received.length], [before, 0], "restarted");

  assert.equal(bob.count("inbound"), 2 * messages.length);
  await alice.start();
  sendAll(alice, "bob", [{ payload: "after all" }]);
  await alice.settled();
  assert.deepEqual([await alice.stop(), await bob.stop()], [0, 0]);
  assert.ok(sumOf(bob, "drop_stamp_not_newer") >= 2, bob.log.join("\n"));
});

test("hostile packets, with and without keys, end in nothing that another peer would notice", async (t) => {
  const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));
  t.diagnostic(`SEED=${seed}`);

  const report = await flood(new Place(t), {
    keyless: KEYLESS,
    keyed: KEYED,
    random: randomFrom(seed),
  });

  t.diagnostic(JSON.stringify({ ...report, honestMs: report.honestMs.map(Math.round) }));
  assert.ok(report.growthBytes < GROWTH_BYTES_MAX, `memory grew by ${report.growthBytes} bytes`);
  assert.ok(report.logLines < 20 + report.seconds, `${report.logLines} lines of log`);
  assert.ok(report.seen > KEYLESS / 5, `the daemon saw ${report.seen}`);
  assert.ok(report.handshakes > KEYED / 400, `${report.handshakes} sessions of the rogue`);
  assert.ok(Math.max(...report.honestMs) < 2_000, `${report.honestMs}`);
});

test("packets that are lost, flipped or spliced on the way do not keep two hosts apart", async (t) => {
  const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));
  t.diagnostic(`SEED=${seed}`);
  const random = randomFrom(seed);
  const pair = await SessionPair.make(new Place(t), { relayed: true });
  const { alice, bob, relay } = pair;
  relay.passes = (datagram) => {
    const draw = random();
    if (draw < 0.1) {
      const at = Math.floor(random() * datagram.length);
      datagram[at] = (datagram[at] ?? 0) ^ (1 << Math.floor(random() * 8));
    }
    return draw < 0.9;
  };
  await pair.start();

  const messages = Array.from({ length: 200 }, (_, n) => ({ payload: `${n}`.repeat(n * 5) }));
  sendAll(alice, "bob", messages);
  sendAll(bob, "alice", messages);
  await pair.settled();

  assert.deepEqual([bob.count("inbound"), alice.count("inbound")], [200, 200]);
  assert.deepEqual([await alice.stop(), await bob.stop()], [0, 0]);
});
