// What the daemon relies on, of whichever socket: each test runs on all that this machine has.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { type TestContext, test } from "node:test";
import { setTimeout as nap, setImmediate as nextTurn } from "node:timers/promises";
import type { DatagramSocket } from "../../src/main/socket/datagram-socket.js";
import { DaemonError } from "../../src/shared/base/errors.js";
import { until } from "../daemon/harness.js";
import { assertPattern, End, LOOPBACK, makers, pattern, shared } from "./socket-ends.js";

type Maker = () => DatagramSocket;

/** Declares a test for each kind of socket. */
function onEach(name: string, work: (t: TestContext, make: Maker) => Promise<void>): void {
  for (const [kind, make] of makers()) test(`${kind}: ${name}`, (t) => work(t, make));
}

const DATAGRAM_BYTES_MAX = 65_507;
/** A descriptor of each socket and the eventfd beside it. */
const descriptors = (): number => readdirSync("/proc/self/fd").length;

onEach("datagrams arrive in order, byte for byte, with their source", async (t, make) => {
  const [alice, bob] = [await End.open(t, make()), (await End.open(t, make())).listen()];
  const sizes = Array.from({ length: 600 }, (_, i) => (i % 7 === 0 ? 1_200 : (i * 37) % 1_452));
  const memory = shared(sizes.reduce((sum, size) => sum + size, 0));

  let at = 0;
  for (const [i, length] of sizes.entries()) {
    pattern(memory, at, length, i);
    alice.send(memory, bob, { at, length });
    at += length;
    if (i % 60 === 59) await bob.arrived(i + 1);
  }

  await alice.told(sizes.length);
  assert.deepEqual(bob.lengths, sizes);
  for (const [i, { bytes, address, port }] of bob.arrivals.entries()) {
    assertPattern(bytes, i);
    assert.deepEqual([address, port], [LOOPBACK, alice.socket.port]);
  }
  assert.ok(alice.codes.every((code) => code === undefined));
});

onEach("one outcome is told for each datagram, with where it was sent from", async (t, make) => {
  const [alice, bob] = [await End.open(t, make()), (await End.open(t, make())).listen()];
  const memory = shared(4_000);

  for (let at = 0; at < 4_000; at += 100) alice.send(memory, bob, { at, length: 100 });

  await alice.told(40);
  await bob.arrived(40);
  assert.deepEqual(
    alice.outcomes.map(({ at }) => at).sort((a, b) => a - b),
    Array.from({ length: 40 }, (_, i) => i * 100),
  );
});

onEach("an empty datagram and the longest one arrive, a longer one is refused", async (t, make) => {
  const [alice, bob] = [await End.open(t, make()), (await End.open(t, make())).listen()];
  const memory = shared(DATAGRAM_BYTES_MAX + 1);
  pattern(memory, 0, DATAGRAM_BYTES_MAX, 3);

  alice.send(memory, bob, { length: 0 });
  alice.send(memory, bob, { length: DATAGRAM_BYTES_MAX + 1 });
  alice.send(memory, bob, { length: DATAGRAM_BYTES_MAX });

  await bob.arrived(2);
  await alice.told(3);
  assert.deepEqual(bob.lengths, [0, DATAGRAM_BYTES_MAX]);
  assertPattern(bob.arrivals[1].bytes, 3);
  assert.deepEqual(
    alice.codes.filter((code) => code !== undefined),
    ["EMSGSIZE"],
  );
});

onEach("IPv6 arrives with its source", async (t, make) => {
  const alice = await End.open(t, make(), "::1");
  const bob = (await End.open(t, make(), "::1")).listen();

  alice.send(Uint8Array.of(1, 2, 3), bob, { address: "::1" });

  await bob.arrived(1);
  const [{ bytes, address, port }] = bob.arrivals;
  assert.deepEqual([[...bytes], address, port], [[1, 2, 3], "::1", alice.socket.port]);
});

onEach("a socket of both families talks to IPv4 hosts by their IPv4 address", async (t, make) => {
  const both = (await End.open(t, make(), "::")).listen();
  const old = (await End.open(t, make(), LOOPBACK)).listen();

  old.send(Uint8Array.of(1), both);
  await both.arrived(1);
  both.send(Uint8Array.of(2), old);
  await old.arrived(1);

  assert.deepEqual(both.arrivals[0].address, LOOPBACK);
  assert.deepEqual([...old.arrivals[0].bytes, old.arrivals[0].port], [2, both.socket.port]);
});

onEach("a link-local source keeps its zone, and is answered", async (t, make) => {
  const found = Object.entries(networkInterfaces())
    .flatMap(([name, list]) => (list ?? []).map((each) => ({ name, ...each })))
    .find(({ address }) => address.startsWith("fe80:"));
  if (found === undefined) return t.diagnostic("no interface has a link-local address");
  const address = `${found.address}%${found.name}`;
  const bob = (await End.open(t, make(), address)).listen();
  const alice = (await End.open(t, make(), address)).listen();

  alice.send(Uint8Array.of(9), bob, { address });
  await bob.arrived(1);
  bob.send(Uint8Array.of(8), alice, { address: bob.arrivals[0].address });
  await alice.arrived(1);

  assert.equal(bob.arrivals[0].address, address);
});

onEach("what cannot be an address is refused alone", async (t, make) => {
  const [alice, bob] = [await End.open(t, make()), (await End.open(t, make())).listen()];
  const byte = Uint8Array.of(5);

  alice.send(byte, bob);
  alice.send(byte, bob, { address: "::1" });
  alice.send(byte, bob);

  await bob.arrived(2);
  await alice.told(3);
  assert.equal(alice.codes.filter((code) => code !== undefined).length, 1);
});

onEach("a port that nobody has disturbs neither sends nor receives", async (t, make) => {
  const alice = (await End.open(t, make())).listen();
  const bob = (await End.open(t, make())).listen();
  const gone = await End.open(t, make());
  const { port } = gone.socket;
  await gone.socket.stop();

  for (let i = 0; i < 20; i++) {
    alice.send(Uint8Array.of(i), port);
    alice.send(Uint8Array.of(i), bob);
    bob.send(Uint8Array.of(i), alice);
    await nextTurn();
  }

  await bob.arrived(20);
  await alice.arrived(20);
  await alice.told(40);
  assert.ok(alice.codes.every((code) => code === undefined));
  assert.deepEqual([alice.errors, bob.errors], [[], []]);
});

onEach("nothing is answered by the socket itself", async (t, make) => {
  const alice = (await End.open(t, make())).listen();
  const bob = (await End.open(t, make())).listen();
  for (let i = 0; i < 50; i++) alice.send(Uint8Array.of(i), bob);
  await bob.arrived(50);
  await nap(50);

  assert.equal(alice.arrivals.length, 0);
});

onEach("a taken port and a foreign address are refused with what to do", async (t, make) => {
  const alice = await End.open(t, make());
  const { port } = alice.socket;

  const codeOf = (address: string, at: number) =>
    make()
      .start(address, at)
      .then(
        () => "started",
        (error: unknown) => (error instanceof DaemonError ? error.code : "other"),
      );

  assert.equal(await codeOf(LOOPBACK, port), "ERR_PORT_IN_USE");
  assert.equal(await codeOf("192.0.2.7", 0), "ERR_CONFIG");
});

onEach("a socket stops at any time, gives its descriptors back and is silent", async (t, make) => {
  // The first one may open what the process keeps: the event loop's own descriptors, threads.
  const first = (await End.open(t, make())).listen();
  await nap(20);
  await first.socket.stop();
  const before = descriptors();
  const never = make();
  await never.stop();

  for (const moment of ["at once", "while it waits", "in a handler", "under load"]) {
    const alice = await End.open(t, make());
    const socket = make();
    await socket.start(LOOPBACK, 0);
    let stopped: Promise<void> | undefined;
    let late = 0;
    socket.receive(() => {
      if (stopped !== undefined) late += 1;
      if (moment === "in a handler") stopped ??= socket.stop();
    });
    if (moment !== "at once") await nap(5);
    const block = shared(1_000);
    if (moment !== "at once") {
      for (let i = 0; i < 200; i++) {
        alice.socket.send(block, 0, 1_000, LOOPBACK, socket.port, () => {});
      }
    }
    if (moment === "in a handler") await until(() => stopped !== undefined, "the handler");
    stopped ??= socket.stop();
    await stopped;
    await socket.stop();
    await alice.socket.stop();
    assert.equal(late, 0, `nothing is handed over after a stop ${moment}`);
  }

  await until(() => descriptors() <= before, "all descriptors to be closed", 2_000);
});

onEach("a flood leaves every turn of the event loop room for others", async (t, make) => {
  const [alice, bob] = [await End.open(t, make()), await End.open(t, make())];
  const block = shared(200);
  for (let i = 0; i < 2_000; i++) alice.send(block, bob);
  await alice.told(2_000);

  let handed = 0;
  let turn = 0;
  let most = 0;
  bob.socket.receive(() => {
    handed += 1;
    turn += 1;
  });
  const end = performance.now() + 5_000;
  while (handed < 1_500 && performance.now() < end) {
    turn = 0;
    await nextTurn();
    most = Math.max(most, turn);
  }

  assert.ok(handed >= 1_500, `${handed} of 2,000 arrived`);
  // libuv reads up to 32 datagrams a turn, the Linux socket 256, and poll may fall between.
  assert.ok(most <= 512, `${most} in one turn`);
});
