// Datagrams that the own system refuses for their size: the next ones are smaller, at once.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LayerWorld } from "./layer-world.js";

/** Hosts whose path was found to carry 1,452 bytes. */
function grown(): LayerWorld {
  const it = new LayerWorld({ seed: 31, network: () => [10] });
  const [a] = it.hosts;
  for (let row = 1; row <= 40; row++) {
    a.send(row, new Uint8Array(4_000));
    it.run(row * 100);
  }
  it.run(6_000);
  assert.equal(a.acknowledged.length, 40);
  assert.equal(a.layer.peers[0]?.path.transport.mtu.bytes, 1_452);
  return it;
}

test("a datagram that the system refuses for its size goes again in smaller ones at once", () => {
  const it = grown();
  const [a, b] = it.hosts;
  const { transport } = a.layer.peers[0]?.path ?? {};
  const window = transport?.congestion.window ?? 0;
  const before = transport?.roundTrip.smoothedNs ?? 0;

  a.systemBytesMax = 1_300;
  a.send(41, new Uint8Array(10_000));
  const sentAt = it.now;
  it.run(7_000, () => a.acknowledged.length === 41);

  assert.equal(a.acknowledged.length, 41);
  const tookMs = (it.now - sentAt) / 1e6;
  assert.ok(tookMs < 50, `${tookMs} ms, and a timeout is more than 90`);
  assert.ok((transport?.mtu.bytes ?? 0) < 1_300);
  assert.ok((transport?.congestion.window ?? 0) > (window * 3) / 4, "that is no congestion");
  assert.equal(a.layer.peers[0]?.session?.recovery.lostPackets, 0);
  assert.ok(Math.abs((transport?.roundTrip.smoothedNs ?? 0) - before) < 5e6);
  assert.equal(b.stored.length, 41);
});

test("what the system refuses however small it is does not go again and again", () => {
  const it = grown();
  const [a] = it.hosts;

  a.systemBytesMax = 400;
  const sealed = it.sealed.size;
  a.send(41, new Uint8Array(10_000));
  it.run(8_000);
  assert.equal(a.acknowledged.length, 40);
  const tries = (it.sealed.size - sealed) / 2;
  assert.ok(tries < 60, `${tries} packets in two seconds`);
  a.systemBytesMax = Number.POSITIVE_INFINITY;
  it.run(30_000);

  assert.equal(a.acknowledged.length, 41);
});
