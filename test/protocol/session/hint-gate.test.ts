// Whose handshake a datagram may be, and what strangers may cost.

import assert from "node:assert/strict";
import { test } from "node:test";
import { nanoseconds } from "../../../src/shared/base/units.js";
import { HANDSHAKE_BYTES_MIN, HintGate } from "../../../src/shared/protocol/session/hint-gate.js";
import { SipHash } from "../../../src/shared/protocol/session/siphash.js";

const NOW = nanoseconds(1e9);
const NOBODY = -1;
const NO_BUDGET = -2;
const keyOf = (peer: number): Uint8Array => new Uint8Array(16).fill(peer + 1);

function gateOf(peers: number): HintGate {
  const gate = new HintGate();
  gate.configure(Array.from({ length: peers }, (_, peer) => [keyOf(peer)]));
  return gate;
}

/** A datagram with the hint of a peer, or of nobody. */
function datagramOf(peer: number | undefined): Uint8Array {
  const datagram = new Uint8Array(HANDSHAKE_BYTES_MIN + 32).fill(7);
  if (peer === undefined) return datagram;
  const at = datagram.length - 8;
  const hash = new SipHash(keyOf(peer));
  hash.hash(datagram, at - 16, 16);
  hash.write(datagram, at);
  return datagram;
}

/** Spends all that strangers may cost at this instant. */
function exhaust(gate: HintGate): void {
  let left = 1_000_000;
  while (gate.peerOf(NOW, datagramOf(undefined), "203.0.113.9", 9) === NOBODY) {
    left -= 1;
    assert.ok(left > 0, "strangers cost without end");
  }
}

test("a hint names its peer from anywhere, and no other bytes do", () => {
  const gate = gateOf(3);
  for (const peer of [0, 1, 2]) {
    assert.equal(gate.peerOf(NOW, datagramOf(peer), "192.0.2.1", 1), peer);
  }
  assert.equal(gate.peerOf(NOW, datagramOf(undefined), "192.0.2.1", 1), NOBODY);
  const short = datagramOf(0).subarray(33);
  assert.equal(gate.peerOf(NOW, short, "192.0.2.1", 1), NOBODY);
});

test("a flood of strangers does not keep out who was heard where it is, and nobody else comes in", () => {
  const gate = gateOf(3);
  gate.heard(1, "192.0.2.1", 1_001);
  exhaust(gate);

  assert.equal(gate.peerOf(NOW, datagramOf(1), "192.0.2.1", 1_001), 1);
  assert.equal(gate.peerOf(NOW, datagramOf(2), "192.0.2.1", 1_001), NO_BUDGET);
  assert.equal(gate.peerOf(NOW, datagramOf(1), "192.0.2.1", 1_002), NO_BUDGET);
});

test("a peer is known at the last place it was heard at, and at no earlier one", () => {
  const gate = gateOf(2);
  gate.heard(0, "192.0.2.1", 1_001);
  gate.heard(0, "192.0.2.1", 1_002);
  gate.heard(0, "192.0.2.2", 1_001);
  exhaust(gate);

  assert.equal(gate.peerOf(NOW, datagramOf(0), "192.0.2.2", 1_001), 0);
  for (const port of [1_001, 1_002]) {
    assert.equal(gate.peerOf(NOW, datagramOf(0), "192.0.2.1", port), NO_BUDGET);
  }
});

test("a peer that writes another one's address on what it sends does not take its place", () => {
  const gate = gateOf(2);
  gate.heard(0, "192.0.2.1", 1_001);
  gate.heard(1, "192.0.2.1", 1_001);
  exhaust(gate);
  for (const peer of [0, 1]) {
    assert.equal(gate.peerOf(NOW, datagramOf(peer), "192.0.2.1", 1_001), peer);
  }

  gate.heard(1, "192.0.2.9", 1_001);
  assert.equal(gate.peerOf(NOW, datagramOf(0), "192.0.2.1", 1_001), 0);
  assert.equal(gate.peerOf(NOW, datagramOf(1), "192.0.2.1", 1_001), NO_BUDGET);
  assert.equal(gate.peerOf(NOW, datagramOf(1), "192.0.2.9", 1_001), 1);
});

test("of many peers that are moved to one source the newest are compared for nothing, and no more", () => {
  const gate = gateOf(20);
  for (let peer = 0; peer < 20; peer++) gate.heard(peer, "192.0.2.1", 1_001);
  exhaust(gate);
  const found = Array.from({ length: 20 }, (_, peer) =>
    gate.peerOf(NOW, datagramOf(peer), "192.0.2.1", 1_001),
  );
  assert.deepEqual(
    found.filter((peer) => peer !== NO_BUDGET),
    [12, 13, 14, 15, 16, 17, 18, 19],
  );
});

test("new keys forget where anybody was", () => {
  const gate = gateOf(1);
  gate.heard(0, "192.0.2.1", 1_001);
  gate.configure([[keyOf(0)]]);
  exhaust(gate);
  assert.equal(gate.peerOf(NOW, datagramOf(0), "192.0.2.1", 1_001), NO_BUDGET);

  gate.heard(0, "192.0.2.1", 1_001);
  assert.equal(gate.peerOf(NOW, datagramOf(0), "192.0.2.1", 1_001), 0);
});
