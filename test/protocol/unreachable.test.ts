// Peers that are off, silent or lossy: nothing is given up before its time, nothing delays others, and
// the first sign of life is enough. Real core and cipher, virtual time.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { NS_PER_MS } from "../../src/shared/base/units.js";
import { defaultConfig, World } from "../simulator/world.js";
import { A, B, connect, makePair, silence } from "./classic-pair.js";

const HELLO = '{"text":"hello"}';

describe("unreachable", () => {
  test("a message to a host that is off for hours arrives when it is back", () => {
    const { world, a, b } = makePair();
    b.up = false;
    const rows = Array.from({ length: 300 }, (_, i) => a.insert(B, `{"i":${i}}`));
    world.run(5 * 3_600_000);
    const spent = world.sent.length;
    assert.ok(spent < 2_000, `a dead host costs little: ${spent} datagrams in five hours`);

    b.up = true;
    world.run(90_000);

    assert.ok(rows.every((row) => row.state === "acknowledged"));
    assert.equal(b.stored.length, 300);
  });

  test("a dead host does not delay a live one", () => {
    const { world, a, b } = makePair();
    for (let i = 0; i < 400; i++) a.insert("192.0.2.77", `{"i":${i}}`);
    world.run(60_000);

    const row = a.insert(B, HELLO);
    world.run(5);

    assert.equal(row.state, "acknowledged");
    assert.equal(b.stored.length, 1);
  });

  test("anything authentic from a host that was down wakes what waits for it", () => {
    const { world, a, b } = makePair();
    b.up = false;
    const row = a.insert(B, HELLO);
    world.run(3_600_000);
    b.up = true;

    b.insert(A, '{"back":true}');
    world.run(50);

    assert.equal(row.state, "acknowledged");
  });

  test("anything authentic from a host that owes an answer has what it missed sent again at once", () => {
    const { world, a, b } = makePair();
    silence(world);
    const row = a.insert(B, HELLO);
    world.run(1_100);
    const lost = world.sent.filter((datagram) => datagram.from === A).length;
    assert.ok(lost >= 2, "one wait ran out, the next is longer");
    connect(world);

    b.insert(A, '{"back":true}');
    world.run(10);
    assert.notEqual(row.state, "acknowledged", "what left just now may still be answered");
    world.run(1_000);

    assert.equal(row.state, "acknowledged");
  });

  test("a message expires, and its row says whether it may have been delivered", () => {
    const { world, a, b } = makePair();
    b.up = false;
    const row = a.insert(B, HELLO);
    row.expiresAt = a.wallNs / NS_PER_MS + 60_000;
    world.run(120_000);

    assert.equal(row.state, "send_failed");
    assert.equal(row.lastError, "expired, may have been delivered");
  });

  test("a row that takes over the id of one in flight goes in its place", () => {
    const { world, a, b } = makePair();
    silence(world);
    const former = a.insert(B, '{"text":"former"}');
    world.run(100);
    const { messageId } = former;
    former.state = "send_failed";
    former.messageId = "0123456789abcdef01234567";

    const row = a.insert(B, HELLO, messageId);
    world.run(100);
    assert.equal(a.endpoint.inFlight, 1);
    connect(world);
    world.run(5_000);

    assert.equal(row.state, "acknowledged");
    assert.deepEqual(
      b.stored.map(({ payload }) => payload),
      [row.payload],
    );
  });

  test("with max retries and a retry interval a message is tried as the older daemon tried it", () => {
    const world = new World();
    const retry = { intervalNs: (5_000 * NS_PER_MS) as never, retriesMax: 10 };
    const a = world.host({ address: A, config: { ...defaultConfig, retry } });
    world.run(1);
    const row = a.insert(B, HELLO);

    world.run(54_000);
    assert.notEqual(row.state, "send_failed");
    world.run(2_000);

    assert.equal(row.state, "send_failed");
    assert.equal(world.sent.length, 11);
    assert.match(row.lastError ?? "", /no acknowledgement after 11 attempts/);
  });
});
