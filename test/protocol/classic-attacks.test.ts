// The broken promises of the daemon that classic comes from, each as a permanent test named after
// the attack, and beside each its honest twin, which must work. Real core and cipher, virtual time.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  type Datagram,
  defaultConfig,
  type Host,
  ringKeys,
  SECRET,
  World,
} from "../simulator/world.js";
import { A, B, connect, makePair, silence } from "./classic-pair.js";

const C = "192.0.2.3";
const HELLO = '{"text":"hello"}';
const OTHER_SECRET = "07e5".padEnd(64, "1");

/** The datagram as an attacker throws it: same bytes, at `to`, from anywhere. */
const thrownAt = (host: Host, datagram: Datagram, from = C): Datagram => ({
  bytes: datagram.bytes,
  from,
  fromPort: 4_000,
  to: host.address,
  toPort: host.port,
});
const last = (world: World): Datagram => {
  const datagram = world.sent.at(-1);
  assert.ok(datagram !== undefined);
  return datagram;
};

describe("the honest way", () => {
  test("a message is stored once, byte for byte, and its row is acknowledged", () => {
    const { world, a, b } = makePair();
    const row = a.insert(B, '{ "text" : "gr\u00fc\u00df", "n": 1.50 }');

    world.run(1_000);

    assert.equal(row.state, "acknowledged");
    assert.deepEqual(
      b.stored.map(({ payload, source }) => ({ payload, source })),
      [{ payload: row.payload, source: A }],
    );
    assert.equal(world.sent.length, 2);
  });

  test("messages cross in both directions at once", () => {
    const { world, a, b } = makePair();
    for (let i = 0; i < 500; i++) {
      a.insert(B, `{"i":${i}}`);
      b.insert(A, `{"i":${i}}`);
    }

    world.run(1_000);

    assert.equal(a.stored.length, 500);
    assert.equal(b.stored.length, 500);
    assert.ok(
      [...a.rows.values(), ...b.rows.values()].every((row) => row.state === "acknowledged"),
    );
  });

  test("a lost datagram, or a lost ACK, is sent again until it is acknowledged, and stored once", () => {
    const { world, a, b } = makePair();
    world.route = (datagram) => (world.uniform() < 0.5 ? [datagram] : []);
    const rows = Array.from({ length: 100 }, (_, i) => a.insert(B, `{"i":${i}}`));

    world.run(3_600_000);

    assert.ok(rows.every((row) => row.state === "acknowledged"));
    assert.equal(b.stored.length, 100);
  });
});

describe("reflection", () => {
  test("a host's own message thrown back at it draws nothing and is not stored", () => {
    const { world, a } = makePair();
    silence(world);
    a.insert(B, HELLO);
    world.run(10);
    const own = last(world);

    world.deliver(thrownAt(a, own));
    world.run(10);

    assert.equal(a.drops.reflected, 1);
    assert.equal(a.stored.length, 0);
    assert.equal(world.sent.length, 1);
  });

  test("a host's own ACK thrown back at it acknowledges nothing", () => {
    const { world, a, b } = makePair();
    const row = a.insert(B, HELLO);
    world.run(1);
    const ack = last(world);
    assert.equal(ack.from, B);
    silence(world);
    const echo = b.insert(A, HELLO, row.messageId);
    world.run(10);

    world.deliver(thrownAt(b, ack, A));
    world.run(10);

    assert.equal(b.drops.reflected, 1);
    assert.equal(echo.state, "pending");
  });

  test("after a restart, what was sealed before it is too old to be believed", () => {
    const { world, a } = makePair();
    silence(world);
    a.insert(B, HELLO);
    world.run(10);
    const own = last(world);
    a.rows.clear();

    a.restart();
    world.deliver(thrownAt(a, own));
    world.run(10);

    assert.equal(a.drops.stamp_before_start, 1);
    assert.equal(a.stored.length, 0);
  });

  test("after a restart with the clock set back, id and digest still give it away", () => {
    const { world, a } = makePair();
    silence(world);
    a.insert(B, HELLO);
    world.run(1_500);
    const own = last(world);

    a.wallOffsetMs = -3_000;
    a.restart();
    const before = world.sent.length;
    world.run(2);
    const own2 = world.sent.slice(before).length;
    world.deliver(thrownAt(a, own));
    world.run(2);

    assert.equal(a.drops.reflected ?? 0, 0);
    assert.equal(a.stored.length, 0, "the store knows its own outbound row");
    assert.equal(world.sent.length, before + own2);
  });

  test("after a restart with the clock set back, an ACK of ours acknowledges nothing", () => {
    const { world, a, b } = makePair();
    const row = a.insert(B, HELLO);
    world.run(1);
    const ack = last(world);
    silence(world);
    const echo = b.insert(A, HELLO, row.messageId);

    b.wallOffsetMs = -1_500;
    b.restart();
    world.run(10);
    world.deliver(thrownAt(b, ack, A));
    world.run(10);

    assert.notEqual(echo.state, "acknowledged");
  });

  test("twin: a peer that echoes a message under the same id is heard and answered", () => {
    const { world, a, b } = makePair();
    const row = a.insert(B, HELLO);
    world.run(100);

    const echo = b.insert(A, HELLO, row.messageId);
    world.run(1_000);

    assert.equal(echo.state, "acknowledged");
    assert.deepEqual(
      a.stored.map((m) => m.payload),
      [echo.payload],
    );
  });

  test("twin: an echo of the same bytes is heard after a restart, too", () => {
    const { world, a, b } = makePair();
    const row = a.insert(B, HELLO);
    world.run(100);
    a.restart();
    world.run(100);

    const echo = b.insert(A, HELLO, row.messageId);
    world.run(20_000);

    assert.equal(echo.state, "acknowledged");
    assert.equal(a.stored.length, 1);
  });
});

describe("replay", () => {
  test("a copy of a message inside the window draws no second ACK", () => {
    const { world, a, b } = makePair();
    a.insert(B, HELLO);
    world.run(100);
    const message = world.sent[0] as Datagram;
    const before = world.sent.length;

    for (let i = 0; i < 20; i++) world.deliver(thrownAt(b, message, A));
    world.run(10);

    assert.equal(b.drops.replayed, 20);
    assert.equal(world.sent.length, before);
    assert.equal(b.stored.length, 1);
  });

  test("a copy that arrives in the same breath as the original draws one ACK", () => {
    const { world, a, b } = makePair();
    world.route = (datagram) => (datagram.to === B ? [datagram, datagram, datagram] : [datagram]);
    a.insert(B, HELLO);

    world.run(100);

    assert.equal(world.sent.filter((d) => d.from === B).length, 1);
    assert.equal(b.drops.replayed, 2);
  });

  test("a copy is refused for as long as its stamp is inside the window, and by its stamp after", () => {
    const { world, a, b } = makePair();
    a.insert(B, HELLO);
    world.run(100);
    const message = world.sent[0] as Datagram;
    const before = world.sent.length;

    for (let second = 0; second < 60; second++) {
      world.run(1_000);
      world.deliver(thrownAt(b, message, A));
      world.run(1);
    }

    assert.equal((b.drops.replayed ?? 0) + (b.drops.stamp_outside_window ?? 0), 60);
    assert.ok((b.drops.stamp_outside_window ?? 0) > 40);
    assert.equal(world.sent.length, before);
  });

  test("a copy is refused when the clock went forward a day and came back", () => {
    const { world, a, b } = makePair();
    a.insert(B, HELLO);
    world.run(100);
    const message = world.sent[0] as Datagram;
    const before = world.sent.length;
    b.wallOffsetMs = 86_400_000;
    world.run(1_000);
    b.wallOffsetMs = 0;
    world.run(1_000);

    world.deliver(thrownAt(b, message, A));
    world.run(10);

    assert.equal(world.sent.length, before);
    assert.equal(b.stored.length, 1);
  });

  test("twin: a true retransmission, sealed anew, is acknowledged again", () => {
    const { world, a, b } = makePair();
    let acks = 0;
    world.route = (datagram) => (datagram.from === B && acks++ === 0 ? [] : [datagram]);
    const row = a.insert(B, HELLO);

    world.run(60_000);

    assert.equal(row.state, "acknowledged");
    assert.equal(acks, 2);
    assert.equal(b.stored.length, 1);
  });

  test("twin: a sender whose clock is 9 s ahead, or 9 s behind, is heard", () => {
    for (const offset of [9_000, -9_000]) {
      const world = new World();
      const a = world.host({ address: A, wallOffsetMs: offset });
      world.host({ address: B });
      world.run(20_000);

      const row = a.insert(B, HELLO);
      world.run(100);

      assert.equal(row.state, "acknowledged", `offset ${offset} ms`);
    }
  });

  test("a sender whose clock is 11 s ahead or behind is not believed", () => {
    for (const offset of [11_000, -11_000]) {
      const world = new World();
      const a = world.host({ address: A, wallOffsetMs: offset });
      const b = world.host({ address: B });
      world.run(20_000);

      a.insert(B, HELLO);
      world.run(100);

      assert.equal(b.drops.stamp_outside_window, 1, `offset ${offset} ms`);
      assert.equal(b.stored.length, 0);
    }
  });
});

describe("acknowledged but not stored", () => {
  test("a store that fails draws no ACK, and the message comes again", () => {
    const { world, a, b } = makePair();
    b.commits = false;
    const row = a.insert(B, HELLO);
    world.run(5_000);
    assert.notEqual(row.state, "acknowledged");
    assert.equal(world.sent.filter((d) => d.from === B).length, 0);

    b.commits = true;
    world.run(120_000);

    assert.equal(row.state, "acknowledged");
    assert.equal(b.stored.length, 1);
  });
});

describe("receipts", () => {
  test("an ACK for a message that was never sent acknowledges nothing", () => {
    const { world, a, b } = makePair();
    const id = "0123456789abcdef01234567";
    silence(world);
    b.insert(C, '{"x":1}', id);
    a.insert(B, '{"x":1}', id);
    world.run(1);
    const forB = world.sent.find((d) => d.from === A) as Datagram;
    connect(world);
    a.restart();
    const never = a.insert("192.0.2.99", '{"y":1}', "ffffffffffffffffffffffff");

    world.deliver(thrownAt(b, forB, A));
    world.run(1);

    assert.equal(never.state, "pending");
  });

  test("an ACK under another peer's key acknowledges nothing", () => {
    const world = new World();
    const rings = [
      { name: "b", addresses: [{ address: B, port: undefined }], keys: 1 },
      { name: "c", addresses: [{ address: C, port: undefined }], keys: 1 },
    ];
    const a = world.host({
      address: A,
      config: { ...defaultConfig, rings },
      keys: [ringKeys(SECRET), ringKeys(OTHER_SECRET)],
    });
    const c = world.host({ address: C, keys: [ringKeys(OTHER_SECRET)] });
    world.run(1);
    const row = a.insert(B, HELLO);
    world.run(10);
    // C squats the id: it sends A's id to itself through A's eyes by acknowledging it.
    c.insert(A, HELLO, row.messageId);
    world.run(10);
    a.insert(C, HELLO, row.messageId.replace(/.$/, "0"));

    const forged = ackFrom(world, c, row.messageId);
    world.deliver({ ...forged, from: B, fromPort: 61_773, to: A, toPort: 61_773 });
    world.deliver({ ...forged, from: C, fromPort: 61_773, to: A, toPort: 61_773 });
    world.run(10);

    assert.notEqual(row.state, "acknowledged");
    assert.ok((a.drops.ack_other_ring ?? 0) >= 1);
  });

  test("twin: an ACK from another address of the peer counts", () => {
    const { world, a } = makePair();
    world.route = (d) => [d.from === B ? { ...d, from: "198.51.100.7", fromPort: 9 } : d];
    const row = a.insert(B, HELLO);

    world.run(100);

    assert.equal(row.state, "acknowledged");
  });

  test("twin: a peer with an address of its own in the configuration ACKs from it", () => {
    const world = new World();
    const addresses = [B, "198.51.100.7"].map((address) => ({ address, port: undefined }));
    const a = world.host({
      address: A,
      config: { ...defaultConfig, rings: [{ name: "b", addresses, keys: 1 }] },
    });
    world.host({ address: B });
    world.route = (d) => [d.from === B ? { ...d, from: "198.51.100.7" } : d];
    world.run(1);
    const row = a.insert("b", HELLO);

    world.run(100);

    assert.equal(row.state, "acknowledged");
  });
});

describe("id squatting", () => {
  test("a peer that takes another peer's id first does not keep the other's message out", () => {
    const world = new World();
    const rings = [
      { name: "b", addresses: [{ address: B, port: undefined }], keys: 1 },
      { name: "c", addresses: [{ address: C, port: undefined }], keys: 1 },
    ];
    const a = world.host({
      address: A,
      config: { ...defaultConfig, rings },
      keys: [ringKeys(SECRET), ringKeys(OTHER_SECRET)],
    });
    const b = world.host({ address: B });
    const c = world.host({ address: C, keys: [ringKeys(OTHER_SECRET)] });
    world.run(1);
    const id = "00112233445566778899aabb";

    const squatter = c.insert(A, '{"mine":true}', id);
    world.run(100);
    const victim = b.insert(A, HELLO, id);
    world.run(100);

    assert.equal(squatter.state, "acknowledged");
    assert.equal(victim.state, "acknowledged");
    assert.deepEqual(
      a.stored.map((m) => m.payload).sort(),
      [squatter.payload, victim.payload].sort(),
    );
  });

  test("the same peer with other content under a used id is refused and reported", () => {
    const world = new World();
    const rings = [{ name: "b", addresses: [{ address: B, port: undefined }], keys: 1 }];
    const a = world.host({ address: A, config: { ...defaultConfig, rings } });
    const b = world.host({ address: B });
    world.run(1);
    const id = "00112233445566778899aabb";
    b.insert(A, HELLO, id);
    world.run(100);
    b.rows.clear();

    const second = b.insert(A, '{"text":"other"}', id);
    world.run(100);

    assert.notEqual(second.state, "acknowledged");
    assert.deepEqual(a.reported, [id]);
    assert.equal(a.stored.length, 1);
  });

  test("under the shared secret, where nobody can be told apart, both are stored", () => {
    const world = new World();
    const a = world.host({ address: A });
    const b = world.host({ address: B });
    const c = world.host({ address: C });
    world.run(1);
    const id = "00112233445566778899aabb";
    c.insert(A, '{"mine":true}', id);
    world.run(100);

    const victim = b.insert(A, HELLO, id);
    world.run(100);

    assert.equal(victim.state, "acknowledged");
    assert.equal(a.stored.length, 2);
  });
});

describe("other bytes", () => {
  test("twin: a retransmission with other white space is the same message", () => {
    const { world, b } = makePair();
    const id = "00112233445566778899aabb";
    const c = world.host({ address: C });
    world.run(1);
    c.insert(B, `{"text":"hello","n":1.0,"message_id":"${id}"}`, id);
    world.run(100);
    c.rows.clear();

    const again = c.insert(B, `{ "text": "hel\\u006co",\n "n": 1e0, "message_id": "${id}" }`, id);
    world.run(100);

    assert.equal(again.state, "acknowledged");
    assert.equal(b.stored.length, 1);
  });
});

describe("what cannot be sent", () => {
  test("a row to ourselves, and one that no secret covers, fail with the reason", () => {
    const world = new World();
    const rings = [{ name: "b", addresses: [{ address: B, port: undefined }], keys: 1 }];
    const a = world.host({ address: A, config: { ...defaultConfig, rings } });
    world.host({ address: B });
    world.run(1);

    const self = a.insert(A, HELLO);
    const stranger = a.insert("203.0.113.5", HELLO);
    const good = a.insert(B, HELLO);
    world.run(100);

    assert.match(self.lastError ?? "", /this daemon itself/);
    assert.match(stranger.lastError ?? "", /no secret covers 203\.0\.113\.5/);
    assert.equal(good.state, "acknowledged");
  });
});

describe("key rings", () => {
  test("secrets change on both hosts, one after the other, without losing a message", () => {
    const { world, a, b } = makePair();
    const rows = [a.insert(B, '{"n":0}')];
    world.run(100);
    const step = (host: Host, current: string, previous?: string, next?: string) => {
      host.reload(defaultConfig, [ringKeys(current, previous, next)]);
      rows.push(a.insert(B, `{"n":${rows.length}}`), b.insert(A, `{"n":${rows.length}}`));
      world.run(100);
    };

    step(a, SECRET, undefined, OTHER_SECRET);
    step(b, SECRET, undefined, OTHER_SECRET);
    step(a, OTHER_SECRET, SECRET);
    step(b, OTHER_SECRET, SECRET);
    step(a, OTHER_SECRET);
    step(b, OTHER_SECRET);

    assert.ok(rows.every((row) => row.state === "acknowledged"));
    assert.equal(a.drops.not_authentic ?? 0, 0);
    assert.equal(b.drops.not_authentic ?? 0, 0);
  });

  test("a message in flight while the secret changes is sealed anew and arrives", () => {
    const { world, a, b } = makePair();
    b.up = false;
    const row = a.insert(B, HELLO);
    world.run(10);
    b.up = true;
    a.reload(defaultConfig, [ringKeys(OTHER_SECRET)]);
    b.reload(defaultConfig, [ringKeys(OTHER_SECRET)]);

    world.run(60_000);

    assert.equal(row.state, "acknowledged");
  });
});

describe("peers by name", () => {
  const named = (port: number | undefined) => ({
    ...defaultConfig,
    rings: [{ name: "b", addresses: [{ address: "b.example", port }], keys: 1 }],
  });

  test("a peer with a host name is looked up at once, so that it may speak first", () => {
    const world = new World();
    const a = world.host({ address: A, config: named(undefined) });
    const b = world.host({ address: B });
    world.run(1);
    assert.equal(a.endpoint.pollResolve(), "b.example");

    a.endpoint.handleResolved(world.now, "b.example", B);
    const row = b.insert(A, HELLO);
    world.run(100);

    assert.equal(row.state, "acknowledged");
    assert.equal(a.stored[0]?.scope, "b");
  });

  test("a peer with a port is known by that port only", () => {
    const world = new World();
    const a = world.host({ address: A, config: named(5_000) });
    const b = world.host({ address: B });
    world.run(1);
    a.endpoint.handleResolved(world.now, "b.example", B);

    const row = b.insert(A, HELLO);
    world.run(100);

    assert.equal(row.state, "pending");
    assert.equal(a.stored.length, 0);
  });

  test("a row to a name waits until the name is known", () => {
    const world = new World();
    const a = world.host({ address: A });
    world.host({ address: B });
    const row = a.insert("mail.example", HELLO);
    world.run(60_000);
    assert.equal(row.state, "pending");

    a.endpoint.handleResolved(world.now, "mail.example", B);
    world.run(100);

    assert.equal(row.state, "acknowledged");
  });
});

describe("pacing", () => {
  test("messages leave at the rate that was set", () => {
    const world = new World();
    const a = world.host({
      address: A,
      config: { ...defaultConfig, ratePerSecond: 100, burst: 10 },
    });
    world.host({ address: B });
    world.run(1);
    for (let i = 0; i < 1_000; i++) a.insert(B, `{"i":${i}}`);

    world.run(5_000);

    const sent = world.sent.filter((d) => d.from === A).length;
    assert.ok(sent >= 500 && sent <= 515, `${sent} in 5 s`);
  });
});

/** The ACK that a host seals for an id, caught on its way. */
function ackFrom(world: World, host: Host, id: string): Datagram {
  const before = world.sent.length;
  const bytes = Uint8Array.from(Buffer.from(id, "hex"));
  const route = world.route;
  silence(world);
  host.endpoint.handleStored(bytes, 0, 0, A, 61_773);
  world.run(1);
  world.route = route;
  const ack = world.sent.slice(before).find((d) => d.from === host.address && d.bytes.length < 110);
  assert.ok(ack !== undefined, "the host sealed an ACK");
  return ack;
}
