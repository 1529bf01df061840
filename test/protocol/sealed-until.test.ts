// Stamps that are durable as "may have been sealed": nothing is sealed above them, a clean stop brings
// them down to what was sealed, and what that leaves open to reflection is nothing. docs/PROTOCOL.md 9.3.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NS_PER_MS } from "../../src/shared/base/units.js";
import { SEAL_RESERVE_NS } from "../../src/shared/protocol/constants.js";
import { type Datagram, type Host, World } from "../simulator/world.js";
import { A, B, makePair, silence } from "./classic-pair.js";

const HOUR_MS = 3_600_000;
/** An ACK travels in no time here; a first retransmission would take a second. */
const AT_ONCE_MS = 100;

function deliver(world: World, from: Host, to: Host): void {
  const row = from.insert(to.address, '{"text":"hello"}');
  world.run(AT_ONCE_MS);
  assert.equal(row.state, "acknowledged");
}

const from = (world: World, host: Host): readonly Datagram[] =>
  world.sent.filter((datagram) => datagram.from === host.address);

test("after a clean restart an ACK is believed at once", () => {
  const { world, a, b } = makePair();
  deliver(world, a, b);

  a.stop();
  a.restart();
  world.run(1);

  deliver(world, a, b);
  assert.deepEqual(a.drops, {});
});

test("after a crash ACKs wait until the reservation has passed", () => {
  const { world, a, b } = makePair();
  deliver(world, a, b);

  a.restart();
  world.run(1);
  const row = a.insert(B, '{"text":"hello"}');
  world.run(AT_ONCE_MS);
  const early = row.state;
  world.run((2 * SEAL_RESERVE_NS) / NS_PER_MS);

  assert.notEqual(early, "acknowledged");
  assert.ok((a.drops["reflected"] ?? 0) > 0);
  assert.equal(row.state, "acknowledged");
});

test("what was sealed before a clean stop is still known as our own when the clock goes back", () => {
  const { world, a, b } = makePair();
  deliver(world, a, b);
  silence(world);
  const lost = a.insert(B, '{"text":"never arrived"}');
  world.run(AT_ONCE_MS);
  b.insert(A, '{"text":"answered"}');
  world.route = (datagram) => (datagram.from === B ? [datagram] : []);
  world.run(AT_ONCE_MS);
  const own = from(world, a);
  assert.ok(own.length >= 3, "messages and an ACK");

  a.stop();
  a.wallOffsetMs = -HOUR_MS;
  a.restart();
  a.wallOffsetMs = 0;
  for (const { bytes } of own) {
    a.receive({ bytes, from: B, fromPort: 4_000, to: A, toPort: a.port });
  }
  a.pump();

  assert.deepEqual(
    a.stored.map(({ payload }) => payload.includes("answered")),
    [true],
  );
  assert.notEqual(lost.state, "acknowledged");
});

test("nothing is sealed once the last stamp was asked for", () => {
  const { world, a } = makePair();
  a.insert(B, '{"text":"one"}');
  world.run(AT_ONCE_MS);
  const before = from(world, a).length;

  const sealedNs = a.endpoint.endSealing();
  a.insert(B, '{"text":"two"}');
  world.run(5 * AT_ONCE_MS);

  assert.equal(from(world, a).length, before);
  assert.ok(sealedNs <= a.wallNs && sealedNs > a.wallNs - HOUR_MS * NS_PER_MS);
});

test("a run that seals nothing leaves the bound where it was", () => {
  const world = new World();
  const bound = world.wallNs + HOUR_MS * NS_PER_MS;
  const a = world.host({ address: A, sealedUntilNs: bound });
  world.run(AT_ONCE_MS);

  assert.equal(a.endpoint.endSealing(), bound);
});

test("a clock that was set back after the start does not make sealing durable by itself", () => {
  const world = new World();
  const a = world.host({ address: A });
  a.wallOffsetMs = -HOUR_MS;
  const reserved: number[] = [];
  const { endpoint } = a;
  const poll = endpoint.pollReserve.bind(endpoint);
  endpoint.pollReserve = (wallNs) => {
    const untilNs = poll(wallNs);
    if (untilNs !== undefined) reserved.push(untilNs);
    return untilNs;
  };

  a.insert(B, '{"text":"hello"}');
  world.run(AT_ONCE_MS);

  assert.equal(from(world, a).length, 1);
  assert.equal(reserved.length, 1);
  assert.ok((reserved[0] as number) >= a.wallNs);
});
