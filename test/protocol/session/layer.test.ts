import assert from "node:assert/strict";
import { test } from "node:test";
import type { WorldOptions } from "./layer-parts.js";
import { LayerWorld } from "./layer-world.js";

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

function world(options: Partial<WorldOptions> = {}): LayerWorld {
  return new LayerWorld({ seed: 1, ...options });
}

test("a message makes a session, arrives, and is acknowledged", () => {
  const it = world();
  const [a, b] = it.hosts;

  a.send(1, text("hello"));
  it.run(1_000);

  assert.deepEqual(a.acknowledged, [1]);
  assert.equal(b.stored.length, 1);
  assert.deepEqual(b.stored[0]?.payload, text("hello"));
  assert.deepEqual(a.drops.concat(b.drops), []);
});

test("ten thousand small messages both ways arrive once each over a path that loses a tenth", () => {
  const it = world({
    network: (random) => (random.next() < 0.1 ? [] : [1 + random.next() * 5]),
  });
  const [a, b] = it.hosts;

  for (let row = 1; row <= 5_000; row++) {
    a.send(row, text(`from a ${row}`));
    b.send(row, text(`from b ${row}`));
  }
  it.run(60_000, () => a.acknowledged.length === 5_000 && b.acknowledged.length === 5_000);

  assert.equal(new Set(a.acknowledged).size, 5_000);
  assert.equal(new Set(b.acknowledged).size, 5_000);
  assert.equal(a.stored.length, 5_000);
  assert.equal(b.stored.length, 5_000);
});

test("a message of three megabytes arrives over a path that loses a twentieth", () => {
  const it = world({ network: (random) => (random.next() < 0.05 ? [] : [1]) });
  const [a, b] = it.hosts;
  const large = new Uint8Array(3_000_000).map((_, i) => (i * 31) & 255);

  a.send(1, large);
  a.send(2, new Uint8Array(100_000).fill(7));
  it.run(600_000, () => a.acknowledged.length === 2);

  assert.deepEqual(new Set(a.acknowledged), new Set([1, 2]));
  assert.deepEqual(b.stored.find((each) => each.payload.length === 3_000_000)?.payload, large);
});

test("messages of a stream are stored in order over a path that reorders", () => {
  const it = world({
    network: (random) => (random.next() < 0.2 ? [] : [1 + random.next() * 50]),
  });
  const [a, b] = it.hosts;

  for (let row = 1; row <= 300; row++) a.send(row, text(`${row}`), { stream: "s" });
  it.run(60_000, () => a.acknowledged.length === 300);

  assert.equal(a.acknowledged.length, 300);
  assert.deepEqual(
    b.stored.map(({ sequence }) => sequence),
    Array.from({ length: 300 }, (_, i) => i + 1),
  );
});

test("a session is rekeyed without losing a message", () => {
  const it = world();
  const [a, b] = it.hosts;
  const before = new Set<number>();

  for (let second = 0; second < 400; second++) {
    it.run(second * 1_000);
    a.send(second + 1, text(`${second}`));
    const session = a.layer.peers[0]?.session;
    if (session !== undefined) before.add(session.localId);
  }
  it.run(405_000);

  assert.equal(a.acknowledged.length, 400);
  assert.equal(b.stored.length, 400);
  assert.ok(before.size >= 3, `three sessions in 400 s, not ${before.size}`);
});

test("a peer that was killed and comes back gets what it missed in one round trip", () => {
  const it = world();
  const [a, b] = it.hosts;
  a.send(1, text("before"));
  it.run(1_000);

  b.up = false;
  a.send(2, text("while it is away"));
  it.run(20_000);
  b.up = true;
  b.restart();
  b.layer.announce(b.now, 0);
  it.run(20_100);

  assert.deepEqual(a.acknowledged, [1, 2]);
  assert.equal(b.stored.length, 2);
});

test("a sender that was killed releases its rows anew, and they are stored once", () => {
  const it = world({ storeDelayMs: 50 });
  const [a, b] = it.hosts;
  for (let row = 1; row <= 100; row++) a.send(row, text(`${row}`));
  it.run(40);

  a.restart();
  it.run(10_000);

  assert.equal(new Set(a.acknowledged).size, 100);
  assert.equal(b.stored.length, 100);
});

test("what was recorded draws no reply, now, after a restart, and after both", () => {
  const it = world();
  const [a, b] = it.hosts;
  a.send(1, text("one"));
  b.send(1, text("two"));
  it.run(5_000);
  const recorded = [...it.record];

  for (const restarts of [0, 1, 2]) {
    if (restarts >= 1) b.restart();
    if (restarts >= 2) a.restart();
    it.run(it.now / 1e6 + 1);
    const before = it.datagrams;
    for (const { from, datagram } of recorded) {
      for (const host of it.hosts) host.receive(datagram, `host${from}`);
    }
    it.run(it.now / 1e6 + 500);
    assert.equal(it.datagrams, before, `${restarts} restarts: ${it.datagrams - before} replies`);
  }
  assert.equal(a.stored.length, 1);
  assert.equal(b.stored.length, 1);
});

test("both ends that begin at once agree on one session, and mail flows both ways", () => {
  const it = world({ network: () => [20] });
  const [a, b] = it.hosts;

  for (let row = 1; row <= 50; row++) {
    a.send(row, text(`a${row}`));
    b.send(row, text(`b${row}`));
  }
  it.run(10_000);

  assert.equal(a.acknowledged.length, 50);
  assert.equal(b.acknowledged.length, 50);
  assert.equal(a.layer.peers[0]?.session?.localId, b.layer.peers[0]?.session?.remoteId);
});

test("a host whose clock stands at 1970 connects, either way", () => {
  for (const which of [0, 1] as const) {
    const it = world();
    const [a, b] = it.hosts;
    it.hosts[which].wallOffsetNs = 0;

    a.send(1, text("hello"));
    it.run(2_000);

    assert.deepEqual(a.acknowledged, [1], `host ${which} at 1970`);
    assert.equal(b.stored.length, 1);
  }
});

test("a host whose stamps went back is healed by the other end", () => {
  const it = world();
  const [a, b] = it.hosts;
  a.send(1, text("one"));
  it.run(1_000);

  a.stamps.sent = 0n;
  a.stamps.accepted = 0n;
  a.wallOffsetNs = 0;
  a.restart();
  a.send(2, text("two"));
  it.run(30_000);
  assert.deepEqual(a.acknowledged, [1], "its stamps are too low to be heard");

  b.restart();
  b.layer.announce(b.now, 0);
  it.run(60_000);

  assert.deepEqual(a.acknowledged, [1, 2]);
});

test("a peer that claims to have accepted the last stamp there is does not use up ours", () => {
  for (const accepted of [2n ** 62n, 2n ** 62n + 1n, 2n ** 64n - 1n]) {
    const it = world();
    const [a, b] = it.hosts;
    b.stamps.accepted = accepted;
    b.restart();
    b.layer.announce(b.now, 0);
    b.send(1, text("here"));
    it.run(5_000);
    assert.deepEqual(b.acknowledged, [1]);
    // The year 2116 is believed, and followed by 2^62 more.
    assert.equal(a.stamps.sent >= 2n ** 62n, accepted === 2n ** 62n, `${a.stamps.sent}`);
  }
});

test("a peer that moves is followed, and a copy from elsewhere moves nothing", () => {
  const it = world();
  const [a, b] = it.hosts;
  a.send(1, text("one"));
  it.run(1_000);

  const copy = it.record.filter(({ from }) => from === 0).at(-1);
  assert.ok(copy);
  b.receive(copy.datagram, "elsewhere");
  it.run(1_500);
  assert.equal(b.layer.peers[0]?.path.place?.address, "host0");

  a.address = "moved";
  a.send(2, text("two"));
  it.run(3_000);

  assert.deepEqual(a.acknowledged, [1, 2]);
  assert.equal(b.layer.peers[0]?.path.place?.address, "moved");
  assert.equal(b.layer.peers[0]?.path.proven, true);
});
