// What a SIGKILL of either end leaves of sessions: a large transfer goes on where it stood, streams keep
// their order, and the session is back as soon as the path lets it.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setTimeout as nap } from "node:timers/promises";
import { Place, until } from "./harness.js";
import { requireIntegrity } from "./ledger.js";
import type { Passed } from "./relay.js";
import { SessionPair, sendAll, streamOf } from "./session-hosts.js";

const MIB = 1 << 20;
const TOTAL_BYTES = 20 * MIB;
const KILLED_AT_BYTES = 12 * MIB;
/** What may be beyond the last sync of the spool file (4 MiB), its overhead, and a lost packet or two. */
const AGAIN_BYTES_MAX = 5 * MIB;
const OVERHEAD_SHARE = 1.1;
const ONE_WAY_MS = 50;
/** Longer than any handshake. */
const MAIL = "mail".repeat(225);
const ROUNDS_MAX = 5;

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
    const { alice, relay } = pair;
    relay.delayMs = () => ONE_WAY_MS;
    await pair.start();
    sendAll(alice, "bob", [{ payload: MAIL }]);
    await alice.settled();

    const took: Back[] = [];
    // On a busy machine an answer may be so late that message 1 goes again.
    for (let round = 0; round < ROUNDS_MAX && took.at(-1)?.trips !== trips; round++) {
      relay.kept = [];
      await pair[victim].kill();
      sendAll(alice, "bob", [{ payload: MAIL }]);
      // Long enough for the other to find out, and to wait longer between its own tries.
      await nap(200);
      took.push(await timeBack(pair, victim));
      await alice.settled();
    }

    t.diagnostic(took.map(({ trips, ms }) => `${trips} trips, ${Math.round(ms)} ms`).join("; "));
    assert.equal(took.at(-1)?.trips, trips);
  });
}

interface Back {
  /** Ways over the path, one after the other, from message 1 to the packet with the mail. */
  readonly trips: number;
  /** From the word that the daemon is ready to the row in bob's inbound table. */
  readonly ms: number;
}

async function timeBack({ alice, bob, relay }: SessionPair, name: "alice" | "bob"): Promise<Back> {
  const victim = name === "alice" ? alice : bob;
  const before = bob.inboundId;
  // In the old session the other end may say it all again and again: to nobody.
  const dead = new Set(relay.kept?.map(idOf));
  const kept: Passed[] = [];
  relay.kept = kept;
  victim.spawn();
  await until(() => victim.ready, "a start");
  const readyAt = performance.now();
  await until(() => bob.inboundId > before, "a message");
  const ms = performance.now() - readyAt;
  const living = kept.filter((each) => !dead.has(idOf(each)));
  const first = living.findIndex(
    ({ direction }) => direction === (name === "bob" ? "toAlice" : "toBob"),
  );
  const mail = living.findIndex(
    ({ direction, bytes }) => direction === "toBob" && bytes.length > MAIL.length,
  );
  const ways = living.slice(first, mail + 1).map(({ direction }) => direction);
  return { trips: ways.filter((way, n) => way !== ways[n - 1]).length, ms };
}

/** Of a packet, the session id. */
const idOf = ({ bytes }: Passed): number => bytes.readUInt32BE(0);
