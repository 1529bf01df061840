// Silence under hostile datagrams: a million through the core and the cipher in one process, and a
// hundred thousand at the socket of a real daemon. Nothing leaves, nothing throws, nothing grows.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { setTimeout as nap } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { defaultConfig, type Host, World } from "../simulator/world.js";
import { ClassicPeer, messageBody, seal } from "./classic-peer.js";
import { makeId, makeSecret, Place, TestDaemon, until } from "./harness.js";
import { HostileDatagrams } from "./hostile-datagrams.js";
import { randomFrom } from "./kill-rounds.js";

const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));
const DATAGRAMS = 1_000_000;
const DATAGRAMS_OPENED = 100_000;
const DATAGRAMS_ON_WIRE = 100_000;
const WARM_UP_SHARE = 0.1;
const GROWTH_BYTES_MAX = 32 * 1_024 * 1_024;
const LOG_BYTES_MAX = 100_000;
const TRUE_MESSAGES = 64;
const SOURCES = 10_000;
const BURST_DATAGRAMS = 100;

test("a million hostile datagrams draw no datagram, no exception and no memory", (t) => {
  t.diagnostic(`SEED=${seed}`);
  // Half a million a second: the budgets refuse most of them before the cipher.
  const { opened } = flood({ datagrams: DATAGRAMS, perMs: 500, shares: undefined });

  t.diagnostic(`the cipher saw ${opened}`);
  assert.ok(opened > DATAGRAMS / 20);
});

test("a hundred thousand that all reach the cipher draw nothing either", (t) => {
  t.diagnostic(`SEED=${seed}`);

  const { opened } = flood({ datagrams: DATAGRAMS_OPENED, perMs: 50, shares: 64 });

  assert.ok(opened > DATAGRAMS_OPENED / 2, `the cipher saw ${opened}`);
});

/** Floods a host of the simulator that has spoken with another; returns how many it tried to open. */
function flood(options: {
  readonly datagrams: number;
  /** Per ms of virtual time. */
  readonly perMs: number;
  /** Cores that opening may take; undefined for the defaults. */
  readonly shares: number | undefined;
}): { readonly opened: number } {
  const { shares, datagrams, perMs } = options;
  const config =
    shares === undefined
      ? defaultConfig
      : { ...defaultConfig, knownShare: shares, strangerShare: shares, strangersShare: shares };
  const random = randomFrom(seed);
  const world = new World();
  const alice = world.host({ address: "192.0.2.1", config });
  const bob = world.host({ address: "192.0.2.2", config });
  world.run(1_000);
  for (let n = 0; n < TRUE_MESSAGES; n++) alice.insert(bob.address, JSON.stringify({ n }));
  world.run(1_000);
  assert.equal(bob.stored.length, TRUE_MESSAGES);
  const captured = world.sent.map(({ bytes }) => bytes);
  const hostile = new HostileDatagrams(captured, random);
  const before = { sent: world.sent.length, drops: total(bob), stored: bob.stored.length };
  alice.up = false;

  let warmBytes = 0;
  for (let n = 0; n < datagrams; n++) {
    const isFromAlice = random() < 0.05;
    bob.receive({
      bytes: hostile.next(),
      from: isFromAlice ? alice.address : addressOf(Math.floor(random() * SOURCES)),
      fromPort: 61_773,
      to: bob.address,
      toPort: bob.port,
    });
    if (n % 50 === 49) bob.pump();
    if (n % perMs === perMs - 1) world.run(1);
    if (n === datagrams * WARM_UP_SHARE) warmBytes = usedBytes();
  }
  world.run(10);
  const growthBytes = usedBytes() - warmBytes;

  assert.equal(world.sent.length, before.sent, "nothing left");
  assert.equal(bob.stored.length, before.stored, "nothing was stored");
  assert.equal(total(bob) - before.drops, datagrams, "each has its reason");
  assert.ok(growthBytes < GROWTH_BYTES_MAX, `memory grew by ${growthBytes} bytes`);
  alice.up = true;
  const row = alice.insert(bob.address, '{"text":"after the flood"}');
  world.run(10_000);
  assert.equal(row.state, "acknowledged");
  const opened = (bob.drops["not_authentic"] ?? 0) + (bob.drops["reflected"] ?? 0);
  return { opened };
}

test("a daemon answers none of a hundred thousand hostile datagrams and serves on", async (t) => {
  t.diagnostic(`SEED=${seed}`);
  const place = new Place(t);
  const secret = makeSecret();
  const bob = await TestDaemon.make(place, { name: "bob", secret });
  await bob.start();
  const peer = await ClassicPeer.make(place, secret, bob.port);
  const flooder = await ClassicPeer.make(place, secret, bob.port);
  const captured: Uint8Array[] = [];
  for (let n = 0; n < TRUE_MESSAGES; n++) {
    const id = makeId();
    const datagram = seal(secret, messageBody(id, "true"));
    captured.push(datagram, seal(makeSecret(), messageBody(makeId(), "of another secret")));
    await peer.send(datagram);
    await until(() => peer.acknowledged.has(id), "an ACK");
  }
  captured.push(...peer.received);
  const hostile = new HostileDatagrams(captured, randomFrom(seed));
  const heard = peer.received.length;

  let warmBytes = 0;
  for (let n = 0; n < DATAGRAMS_ON_WIRE; n += BURST_DATAGRAMS) {
    const burst = Array.from({ length: BURST_DATAGRAMS }, () => flooder.send(hostile.next()));
    await Promise.all(burst);
    if (n === DATAGRAMS_ON_WIRE * WARM_UP_SHARE) warmBytes = bob.residentBytes;
  }
  const growthBytes = bob.residentBytes - warmBytes;
  assert.ok(bob.running);
  const id = makeId();
  assert.ok(await peer.deliver(id, "after the flood"));

  assert.deepEqual([flooder.received.length, bob.count("inbound")], [0, TRUE_MESSAGES + 1]);
  assert.equal(peer.received.length, heard + 1, "the true message alone was answered");
  assert.ok(growthBytes < GROWTH_BYTES_MAX, `memory grew by ${growthBytes} bytes`);
  assert.equal(await bob.stop(), 0);
  assert.ok(bob.logBytes < LOG_BYTES_MAX, `${bob.logBytes} bytes of log`);
  const seen = sum(bob, "datagrams_received");
  t.diagnostic(`${flooder.sent} sent, ${seen} seen, memory ${growthBytes} bytes`);
  assert.ok(seen > DATAGRAMS_ON_WIRE / 5, `the daemon saw ${seen}`);
  assert.ok(sum(bob, "drop_not_authentic") > 100);
  assert.ok(sum(bob, "drop_replayed") > 100);
});

test("copies of true datagrams draw nothing while a daemon stops, starts and serves again", async (t) => {
  const place = new Place(t);
  const secret = makeSecret();
  const bob = await TestDaemon.make(place, { name: "bob", secret });
  await bob.start();
  const peer = await ClassicPeer.make(place, secret, bob.port);
  const replayer = await ClassicPeer.make(place, secret, bob.port);
  const captured: Buffer[] = [];
  for (let n = 0; n < TRUE_MESSAGES; n++) {
    const id = makeId();
    const datagram = seal(secret, messageBody(id, "true"));
    captured.push(datagram);
    await peer.send(datagram);
    await until(() => peer.acknowledged.has(id), "an ACK");
  }
  captured.push(...peer.received);
  const replay = setInterval(() => {
    for (const datagram of captured) void replayer.send(datagram);
  }, 10);
  place.after(() => clearInterval(replay));

  assert.equal(await bob.stop(), 0);
  await bob.start();
  await nap(500);
  assert.equal(await bob.stop(), 0);
  await bob.start();
  clearInterval(replay);

  assert.deepEqual([replayer.received.length, bob.count("inbound")], [0, TRUE_MESSAGES]);
  assert.ok(await peer.deliver(makeId(), "fresh"));
  assert.ok(replayer.sent > 50 * TRUE_MESSAGES);
});

const total = (host: Host): number => Object.values(host.drops).reduce((a, b) => a + b, 0);

const addressOf = (n: number): string => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`;

/** Memory that is in use once garbage is gone. */
function usedBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** A counter over all summary lines of a daemon's log. */
function sum(daemon: TestDaemon, counter: string): number {
  return daemon.log
    .map((line) => (JSON.parse(line) as Readonly<Record<string, unknown>>)[counter])
    .reduce((all: number, value) => all + (typeof value === "number" ? value : 0), 0);
}
