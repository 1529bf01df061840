// How often a peer that breaks the rules gets a session, and what copies of handshakes cost: little,
// and nothing of it delays who keeps the rules.

import assert from "node:assert/strict";
import { test } from "node:test";
import { putClose, putPing, putRekey } from "../../../src/shared/protocol/session/frame-control.js";
import { LayerWorld } from "./layer-world.js";

const text = (words: string): Uint8Array => new TextEncoder().encode(words);
/** No frame has this type. */
const FAULT = Uint8Array.of(0x3f);

/** Messages 2 that a host sent until now, or all hosts. */
const answers = (it: LayerWorld, host?: number): number =>
  [...it.greetings.values()].filter(({ from, type }) => type === 2 && from === (host ?? from))
    .length;

test("two hosts whose sessions end with a fault rest, longer each time, on both sides", () => {
  const it = new LayerWorld({ seed: 11 });
  const [a, b] = it.hosts;
  b.tamper = () => FAULT;
  a.send(1, text("to a broken host"));
  b.send(1, text("from a broken host"));

  it.run(60_000);
  const inMinute = answers(it);
  it.run(600_000);

  // Rests of 5, 10, 20, 40 s: four rounds in a minute, of two sessions at most.
  assert.ok(inMinute >= 3 && inMinute <= 8, `${inMinute} sessions in a minute`);
  assert.ok(answers(it) - inMinute <= 8, `${answers(it)} sessions in ten minutes`);
  b.tamper = undefined;
  it.run(1_000_000);
  assert.deepEqual([a.acknowledged, b.acknowledged], [[1], [1]]);
});

test("a broken host that starts anew at each fault gets one more session for each rest", () => {
  const it = new LayerWorld({ seed: 12 });
  const [a, b] = it.hosts;
  b.tamper = () => FAULT;

  for (let restart = 0; restart < 600; restart++) {
    b.layer.announce(b.now, 0);
    it.run((restart + 1) * 100);
    b.restart();
  }

  const closed = a.reports.filter((sentence) => sentence.includes("closed by us")).length;
  assert.ok(closed >= 3 && closed <= 10, `${closed} sessions in a minute`);
});

test("a host that starts anew behind a fault is back within a round trip", () => {
  const it = new LayerWorld({ seed: 13 });
  const [a, b] = it.hosts;
  a.send(1, text("before"));
  it.run(1_000);
  b.tamper = () => FAULT;
  b.send(1, text("whose packet is broken"));
  it.run(1_100);
  assert.equal(a.layer.peers[0]?.session, undefined, "the session is closed");

  b.tamper = undefined;
  b.restart();
  b.layer.announce(b.now, 0);
  a.send(2, text("behind"));
  it.run(1_120);

  assert.deepEqual(b.acknowledged, [1]);
  assert.deepEqual(a.acknowledged, [1, 2]);
});

test("a peer that begins sessions without end is answered twice a second", () => {
  const it = new LayerWorld({ seed: 14 });
  const [a, b] = it.hosts;
  for (let restart = 0; restart < 400; restart++) {
    b.layer.announce(b.now, 0);
    it.run((restart + 1) * 50);
    b.restart();
  }

  const answered = answers(it, 0);
  assert.ok(answered >= 40 && answered <= 60, `${answered} in 20 s`);
  b.layer.announce(b.now, 0);
  a.send(1, text("and yet"));
  it.run(25_000);
  assert.deepEqual(a.acknowledged, [1]);
});

// --- Copies ---------------------------------------------------------------------------------------

test("copies of handshakes that were read are not read again", () => {
  const it = new LayerWorld({ seed: 15 });
  const [a, b] = it.hosts;
  a.send(1, text("one"));
  it.run(1_000);
  const recorded = it.record.filter(({ datagram }) => datagram.length >= 140).slice(0, 2);
  assert.equal(recorded.length, 2, "message 1 and 2");
  const [readsOfA, readsOfB] = [a.reads, b.reads];

  for (let copy = 0; copy < 2_000; copy++) {
    for (const { from, datagram } of recorded) it.hosts[1 - from]?.receive(datagram, "elsewhere");
  }

  assert.deepEqual([a.reads, b.reads], [readsOfA, readsOfB]);
  assert.equal(b.drops.filter((reason) => reason === "replayed").length, 2_000);
});

test("behind a restart each copy is read once", () => {
  const it = new LayerWorld({ seed: 16 });
  const [a, b] = it.hosts;
  a.send(1, text("one"));
  it.run(1_000);
  const recorded = it.record.filter(({ datagram }) => datagram.length >= 140).slice(0, 2);
  for (const host of it.hosts) host.restart();
  const reads = a.reads + b.reads;

  for (let copy = 0; copy < 500; copy++) {
    for (const { from, datagram } of recorded) it.hosts[1 - from]?.receive(datagram, "elsewhere");
    it.run(1_001 + copy);
  }

  assert.equal(a.reads + b.reads - reads, 2);
});

test("other bytes behind a recorded tag cost a hundredth of a core, and no other peer anything", () => {
  const it = new LayerWorld({ seed: 17, hosts: 3 });
  const [a, b, c] = it.hosts;
  a.up = false;
  b.send(1, text("message 1 is recorded, and lost"));
  it.run(10);
  const lost = it.record.find(({ from }) => from === 1)?.datagram;
  assert.ok(lost);
  a.up = true;
  b.up = false;

  for (let ms = 10; ms < 2_010; ms++) {
    for (let copy = 0; copy < 10; copy++) {
      const forged = lost.slice();
      forged[20] = copy;
      forged[21] = ms & 255;
      a.receive(forged, "elsewhere");
    }
    it.run(ms + 1);
    if (ms === 1_500) c?.send(1, text("to a, meanwhile"), {}, 0);
    if (ms === 1_520) assert.deepEqual(c?.acknowledged, [1], "another peer is read at once");
  }

  assert.ok(a.reads > 1_000 && a.reads < 2_000, `${a.reads} of 20,000 were read`);
  assert.ok(a.drops.filter((reason) => reason === "handshake_budget").length > 15_000);
  b.up = true;
  it.run(10_000);
  assert.deepEqual(b.acknowledged, [1]);
});

// --- Peers with keys ------------------------------------------------------------------------------

test("REKEY frames without end are read twice a second", () => {
  const it = new LayerWorld({ seed: 18 });
  const [a, b] = it.hosts;
  b.send(1, text("first"));
  it.run(1_000);
  const frames = new Uint8Array(1_000);
  let end = 0;
  for (let id = 1; id <= 10; id++) end = putRekey(frames, end, 1, id, 0, new Uint8Array(48));
  b.tamper = () => frames.slice(0, end);

  for (let second = 1; second <= 20; second++) {
    for (let row = 0; row < 20; row++) b.send(second * 100 + row, text("in its place"));
    it.run((second + 1) * 1_000);
  }

  assert.ok(a.rekeyReads >= 8 && a.rekeyReads <= 50, `${a.rekeyReads} in 20 s`);
  assert.ok(a.layer.peers[0]?.session !== undefined, "that is no fault");
});

test("what a peer left unfinished is let go with its last session", () => {
  const it = new LayerWorld({ seed: 19, network: () => [5] });
  const [a, b] = it.hosts;
  a.send(1, new Uint8Array(200_000));
  const receiver = b.layer.peers[0]?.receiver;
  it.run(1_000, () => (receiver?.heldBytes ?? 0) > 0);
  a.up = false;
  it.run(100_000);
  assert.equal(receiver?.heldBytes, 200_000, "it may go on");

  it.run(200_000);

  assert.equal(receiver?.heldBytes, 0);
  a.up = true;
  a.restart();
  it.run(600_000);
  assert.deepEqual(a.acknowledged, [1]);
});

test("what stands behind the word that a session is closed is not taken", () => {
  for (const closes of [false, true]) {
    const it = new LayerWorld({ seed: 20 });
    const [a, b] = it.hosts;
    b.send(1, text("first"));
    it.run(1_000);
    // MESSAGE 9, one byte of 1,000: number, flags, id, life, total, digest16, offset, length, data.
    const piece = [3, 9, 6, ...Array(12).fill(1), 60, 0x43, 0xe8, ...Array(16).fill(2), 0, 1, 7];
    const first = new Uint8Array(2);
    const at = closes ? putClose(first, 0, 0) : putPing(first, 0);
    b.tamper = () => Uint8Array.of(...first.subarray(0, at), ...piece);
    b.send(2, text("in its place"));
    it.run(1_100);

    assert.equal(a.layer.peers[0]?.receiver.heldBytes, closes ? 0 : 1_000);
    assert.equal(a.layer.reassembly.bytes > 0, !closes);
  }
});

test("of ACK frames without number in one packet a few are looked at", () => {
  const it = new LayerWorld({ seed: 21 });
  const [a, b] = it.hosts;
  b.send(1, text("first"));
  a.send(1, text("back"));
  it.run(1_000);
  const recovery = a.layer.peers[0]?.session?.recovery;
  assert.ok(recovery);
  let read = 0;
  const handleAck = recovery.handleAck.bind(recovery);
  recovery.handleAck = (now, ack) => {
    read += 1;
    return handleAck(now, ack);
  };
  // ACK: largest 0, delay 0, no more ranges, no packets below.
  const acks = Uint8Array.from({ length: 1_000 }, (_, i) => (i % 5 === 0 ? 2 : 0));
  b.tamper = () => acks;
  b.send(2, text("in its place"));
  it.run(1_005);
  assert.ok(read > 0 && read <= 16, `${read} of 200 in each packet`);
  assert.ok(a.layer.peers[0]?.session !== undefined, "that is no fault");
});
