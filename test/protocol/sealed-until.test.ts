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

  const [sealed] = a.endpoint.endSealing();
  a.insert(B, '{"text":"two"}');
  world.run(5 * AT_ONCE_MS);

  assert.equal(from(world, a).length, before);
  assert.ok(sealed !== undefined && sealed.fromNs < sealed.untilNs);
  assert.ok(sealed.untilNs <= a.wallNs && sealed.fromNs > a.wallNs - HOUR_MS * NS_PER_MS);
});

test("a run that seals nothing leaves the spans as they were", () => {
  const world = new World();
  const sealed = [{ fromNs: world.wallNs, untilNs: world.wallNs + HOUR_MS * NS_PER_MS }];
  const a = world.host({ address: A, sealed });
  world.run(AT_ONCE_MS);

  assert.deepEqual(a.endpoint.endSealing(), sealed);
});

test("a clock that was set back after the start does not make sealing durable by itself", () => {
  const world = new World();
  const a = world.host({ address: A });
  a.wallOffsetMs = -HOUR_MS;
  const reserved: number[] = [];
  const { endpoint } = a;
  const poll = endpoint.pollReserve.bind(endpoint);
  endpoint.pollReserve = (wallNs) => {
    const order = poll(wallNs);
    if (order !== undefined) reserved.push(order.untilNs);
    return order;
  };

  a.insert(B, '{"text":"hello"}');
  world.run(AT_ONCE_MS);

  assert.equal(from(world, a).length, 1);
  assert.equal(reserved.length, 1);
  assert.ok((reserved[0] as number) >= a.wallNs);
});

// --- Clocks that were wrong -------------------------------------------------------------------------

const YEARS_MS = 10 * 365 * 86_400_000;

/** Own datagrams thrown at a host as if they came from the other. */
function throwBack(world: World, at: Host, own: readonly Datagram[]): void {
  for (const { bytes } of own) {
    at.receive({ bytes, from: B, fromPort: 4_000, to: at.address, toPort: at.port });
  }
  at.pump();
  world.run(1);
}

for (const end of ["crash", "stop"] as const) {
  test(`a clock that ran ten years ahead until a ${end} costs no ACK once it is right`, () => {
    const { world, a, b } = makePair();
    deliver(world, a, b);
    for (const offset of [YEARS_MS, 0]) {
      a.wallOffsetMs = offset;
      b.wallOffsetMs = offset;
      if (offset === 0) {
        if (end === "stop") a.stop();
        a.restart();
        b.restart();
      }
      world.run((3 * SEAL_RESERVE_NS) / NS_PER_MS);
      deliver(world, a, b);
    }

    assert.equal(a.drops["reflected"], undefined);
  });
}

test("what was sealed ten years ahead is known as our own when those years come round", () => {
  const { world, a, b } = makePair();
  a.wallOffsetMs = YEARS_MS;
  b.wallOffsetMs = YEARS_MS;
  world.run(1);
  deliver(world, b, a);
  silence(world);
  const lost = a.insert(B, '{"text":"never arrived"}');
  world.run(AT_ONCE_MS);
  const own = from(world, a);
  assert.equal(own.length, 2, "an ACK and a message");
  a.wallOffsetMs = 0;
  a.restart();
  world.run(HOUR_MS);
  const stored = a.stored.length;

  a.wallOffsetMs = YEARS_MS - HOUR_MS - 1_000;
  a.restart();
  world.run(1);
  throwBack(world, a, own);

  assert.equal(a.stored.length, stored);
  assert.equal(a.drops["reflected"], 1, "the ACK; the message is recognised by the store");
  assert.notEqual(lost.state, "acknowledged");
});

test("what was sealed before the clock was set back in one run is known, though its nonce is forgotten", () => {
  const { world, a, b } = makePair();
  deliver(world, b, a);
  silence(world);
  a.insert(B, '{"text":"never arrived"}');
  world.run(AT_ONCE_MS);
  const own = from(world, a);
  const stored = a.stored.length;
  world.run(HOUR_MS);

  a.wallOffsetMs = -HOUR_MS - 1_000;
  world.run(AT_ONCE_MS / 2);
  throwBack(world, a, own);

  assert.equal(a.stored.length, stored);
  assert.equal(a.drops["reflected"], 1, "the ACK; the message is recognised by the store");
});

test("a clock that was set back counts from the first datagram that is opened after it", () => {
  const { world, a, b } = makePair();
  const heard = b.insert(A, '{"text":"once"}');
  world.run(AT_ONCE_MS);
  assert.equal(heard.state, "acknowledged");
  const copy = from(world, b)[0] as Datagram;
  world.run(HOUR_MS);
  const sent = from(world, a).length;
  // It is an hour later: the nonce is forgotten.
  a.pump();

  a.wallOffsetMs = -HOUR_MS;
  world.deliver(copy);
  a.pump();

  assert.equal(from(world, a).length, sent);
  assert.equal(a.drops["stamp_before_start"], 1);
});

test("what may be our own wakes nothing that waits", () => {
  const { world, a } = makePair();
  a.wallOffsetMs = HOUR_MS;
  silence(world);
  a.insert(B, '{"text":"to nobody"}');
  world.run(AT_ONCE_MS);
  const own = from(world, a);
  world.run(HOUR_MS);
  a.wallOffsetMs = -2 * AT_ONCE_MS;
  a.restart();
  world.run(10_000);
  const before = from(world, a).length;
  const down = a.endpoint.pollDeadline(world.now);

  throwBack(world, a, own);

  assert.equal(from(world, a).length, before);
  assert.ok(a.endpoint.pollDeadline(world.now) >= Math.min(down, world.now + 1));
});
