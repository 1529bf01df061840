// What a SIGKILL of either end leaves of sessions: a large transfer goes on where it stood, streams keep
// their order, and the session is back as soon as the path lets it.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setTimeout as nap } from "node:timers/promises";
import { Place, type TestDaemon, until } from "./harness.js";
import { requireIntegrity } from "./ledger.js";
import { SessionPair, sendAll, streamOf } from "./session-hosts.js";

const MIB = 1 << 20;
const TOTAL_BYTES = 20 * MIB;
const KILLED_AT_BYTES = 12 * MIB;
/** What may be beyond the last sync of the spool file (4 MiB), its overhead, and a lost packet or two. */
const AGAIN_BYTES_MAX = 5 * MIB;
const OVERHEAD_SHARE = 1.1;
const ONE_WAY_MS = 50;
/** Two commits of stamps, one of the message, and a machine with other work. */
const COMMITS_MS = 250;

for (const [victim, name] of [
  ["bob", "the receiver"],
  ["alice", "the sender"],
] as const) {
  test(`20 MiB go on where they stood when ${name} is killed`, async (t) => {
    const pair = await SessionPair.make(new Place(t), { relayed: true });
    const { alice, bob, relay } = pair;
    await pair.start();
    const payload = randomBytes(TOTAL_BYTES);

    sendAll(alice, "bob", [{ payload }]);
    await until(() => relay.bytes.toBob > KILLED_AT_BYTES, "the first part");
    await pair[victim].kill();
    const before = relay.bytes.toBob;
    await pair[victim].start();
    await alice.settled();
    const afterBytes = relay.bytes.toBob - before;

    const [stored] = bob.inbound();
    assert.ok(stored?.payload.equals(payload), "byte for byte");
    assert.equal(bob.count("inbound"), 1);
    const restBytes = (TOTAL_BYTES - KILLED_AT_BYTES) * OVERHEAD_SHARE;
    t.diagnostic(`${afterBytes} bytes behind the kill, ${before} in front of it`);
    assert.ok(afterBytes < restBytes + AGAIN_BYTES_MAX, `${afterBytes} bytes behind the kill`);
    for (const daemon of [alice, bob]) requireIntegrity(daemon);
  });

  test(`streams keep their order when ${name} is killed, and lose nothing`, async (t) => {
    const pair = await (await SessionPair.make(new Place(t))).start();
    const { alice, bob } = pair;
    const streams = ["orders", "readings", "Grüße"];
    let sent = 0;
    const traffic = setInterval(() => {
      for (let i = 0; i < 5; i++, sent += 1) {
        const text = `${sent} ${"x".repeat((sent * 37) % 2_000)}`;
        const payloads = streams.map((stream) => ({ payload: text, stream }));
        sendAll(alice, "bob", [...payloads, { payload: text }]);
      }
    }, 10);
    t.after(() => clearInterval(traffic));

    for (let round = 0; round < 3; round++) {
      await nap(150 + 100 * round);
      await pair[victim].kill();
      await pair[victim].start();
    }
    const stored = bob.count("inbound");
    await until(() => bob.count("inbound") > stored, "traffic");
    clearInterval(traffic);
    await alice.settled();

    const numbers = Array.from({ length: sent }, (_, n) => n);
    for (const stream of streams) {
      const found = streamOf(bob, stream).map((text) => Number(text.split(" ", 1)[0]));
      assert.deepEqual(found, numbers, stream);
    }
    assert.equal(bob.count("inbound"), sent * (streams.length + 1));
    assert.equal(bob.db.prepare("SELECT count(*) FROM stream_gaps").pluck().get(), 0);
  });

  // Who starts sends message 1. The sender of messages has its session a round trip later, and they
  // follow at once; the receiver's answerer waits for a first packet before it believes, and sends then.
  const trips = victim === "alice" ? 3 : 4;
  test(`messages flow ${trips / 2} round trips after ${name} is up again`, async (t) => {
    const pair = await SessionPair.make(new Place(t), { relayed: true });
    const { alice, bob, relay } = pair;
    relay.delayMs = () => ONE_WAY_MS;
    await pair.start();
    sendAll(alice, "bob", [{ payload: "first" }]);
    await alice.settled();
    await pair[victim].kill();
    sendAll(alice, "bob", [{ payload: "second" }]);
    await nap(200);

    const backMs: number[] = [];
    for (let round = 0; round < 3; round++) {
      backMs.push(await timeBack(pair[victim], bob));
      await alice.settled();
      await pair[victim].kill();
      sendAll(alice, "bob", [{ payload: `round ${round}` }]);
      // Long enough for the other to find out, and to wait longer between its own tries.
      await nap(200);
    }

    t.diagnostic(`ready to stored, ms: ${backMs.map(Math.round).join(", ")}`);
    const best = Math.min(...backMs);
    assert.ok(best < trips * ONE_WAY_MS + COMMITS_MS, `${backMs} ms`);
  });
}

/** From the word that a daemon is ready to the next row in bob's inbound table, ms. */
async function timeBack(victim: TestDaemon, bob: TestDaemon): Promise<number> {
  const before = bob.inboundId;
  victim.spawn();
  await until(() => victim.ready, "a start");
  const readyAt = performance.now();
  await until(() => bob.inboundId > before, "a message");
  return performance.now() - readyAt;
}
