// The jobs of sessions as they are written into slabs: rooms that shrink or are given back, alignment,
// zeroes behind what was released, and key slots that wait to be forgotten.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NO_KEY_SLOT } from "../../src/shared/protocol/session/ports.js";
import { type OpenSlab, SessionSink } from "../../src/shared/runtime/session-sink.js";
import { SESSION_JOB, SESSION_WORD, SessionCursor } from "../../src/shared/runtime/session-slab.js";
import { SLAB_ENTRIES_MAX, SlabTable, wordOf } from "../../src/shared/runtime/slab.js";
import { SlabRoutes } from "../../src/shared/runtime/slab-cursor.js";

/** Lanes with one slab each; those whose slab was taken away have no credit. */
function sinkOf(lanes: number) {
  const slabs = Array.from({ length: lanes }, (): OpenSlab | undefined => newSlab());
  const sink = new SessionSink({
    laneOf: (affinity) => affinity % lanes,
    slabFor: (affinity, length) => {
      const slab = slabs[affinity % lanes];
      return slab?.table.fits(length) ? slab : undefined;
    },
  });
  return { sink, slabs };
}

const newSlab = (): OpenSlab => ({ table: SlabTable.allocate(), routes: new SlabRoutes() });
const seal = (sink: SessionSink, affinity: number, frameBytes: number): void => {
  assert.ok(sink.packetRoom(affinity, 1_200));
  sink.sealPacket(frameBytes, 1, 2, 3, 4, 5, "192.0.2.7", 6);
};
const initiate = (sink: SessionSink, affinity: number, keySlot: number): boolean =>
  sink.initiate({
    peer: affinity,
    affinity,
    tag: 0,
    parentKeySlot: NO_KEY_SLOT,
    address: "x",
    port: 1,
    role: 0,
    keySlot,
    sessionId: 1,
    stampHigh: 0,
    stampLow: 1,
    payload: new Uint8Array(3),
  });
const jobsOf = ({ table }: OpenSlab): (readonly [number, number])[] =>
  Array.from({ length: table.entries }, (_, i) => [
    table.codeOf(i),
    table.words[wordOf(i) + SESSION_WORD.keySlot],
  ]);

test("frames are aligned whatever was written before them, and the header stands in front", () => {
  const { sink, slabs } = sinkOf(1);
  for (let frameBytes = 1; frameBytes < 60; frameBytes++) {
    assert.ok(sink.packetRoom(0, 1_172));
    assert.equal(sink.bodyAt % 8, 0);
    sink.sealPacket(frameBytes, 1, 0xa1b2_c3d4, 0x0102_0304, 0xff05_0607, 77, "192.0.2.7", 4_000);
  }
  const [slab] = slabs;
  assert.ok(slab);
  const cursor = new SessionCursor(slab.table, slab.routes).move(slab.table, slab.routes, 40);
  assert.equal(
    Buffer.from(cursor.bytes.subarray(cursor.at, cursor.bodyAt)).toString("hex"),
    "a1b2c3d401020304ff050607",
  );
  assert.deepEqual(
    [cursor.bodyLength, cursor.length, cursor.tag, cursor.address, cursor.port, cursor.keySlot],
    [41, 41 + 28, 77, "192.0.2.7", 4_000, 1],
  );
});

test("a datagram to be opened is copied with its counter clear, the rest of it as it came", () => {
  const { sink, slabs } = sinkOf(1);
  const datagram = Uint8Array.from({ length: 61 }, (_, i) => 0x80 + i);

  assert.ok(sink.openPacket(0, datagram, 9, 0x0102_0304, 0xff05_0607, 8, "192.0.2.7", 4_000));

  const [slab] = slabs;
  assert.ok(slab);
  const cursor = new SessionCursor(slab.table, slab.routes);
  const copied = cursor.bytes.slice(cursor.move(slab.table, slab.routes, 0).at).subarray(0, 61);
  assert.deepEqual(
    copied,
    Uint8Array.from([
      ...datagram.subarray(0, 4),
      1,
      2,
      3,
      4,
      255,
      5,
      6,
      7,
      ...datagram.subarray(12),
    ]),
  );
  assert.deepEqual([cursor.bodyAt % 8, cursor.bodyLength, cursor.datagramLength], [0, 33, 61]);
  assert.deepEqual([cursor.counterHigh, cursor.counterLow], [0x0102_0304, 0xff05_0607]);
});

test("a room that shrank or was given back leaves its place to the next, and nothing behind", () => {
  const { sink, slabs } = sinkOf(1);
  const [slab] = slabs;
  assert.ok(slab);
  const { table } = slab;

  seal(sink, 0, 20);
  assert.ok(sink.packetRoom(0, 1_200));
  sink.bytes.fill(0xee, sink.bodyAt, sink.bodyAt + 1_200);
  const given = sink.bodyAt;
  sink.cancelPacket();
  assert.equal(table.entries, 1);
  assert.ok(sink.packetRoom(0, 100));
  assert.equal(sink.bodyAt, given);
  sink.sealPacket(100, 1, 2, 3, 4, 5, "x", 6);

  assert.ok(table.bytes.lastIndexOf(0xee) > given + 1_000, "the room was written to its end");
  table.reset();
  assert.ok(table.bytes.subarray(8).every((byte) => byte === 0));
});

test("a slab takes as many short packets as it has entries, though each room was long", () => {
  const { sink, slabs } = sinkOf(1);
  for (let i = 0; i < SLAB_ENTRIES_MAX; i++) seal(sink, 0, 40);
  assert.equal(sink.packetRoom(0, 40), false);
  slabs[0]?.table.reset();
  assert.equal(sink.packetRoom(0, 40), true);
});

test("another job while a packet is being written is an error of the program", () => {
  const { sink } = sinkOf(1);
  assert.throws(() => sink.sealPacket(1, 1, 2, 3, 4, 5, "x", 6), /room/);
  assert.throws(() => sink.cancelPacket(), /room/);
  assert.ok(sink.packetRoom(0, 100));
  assert.throws(() => sink.packetRoom(0, 100), /completed or cancelled/);
  assert.throws(() => initiate(sink, 0, 1), /completed or cancelled/);
  assert.throws(() => sink.sealPacket(101, 1, 2, 3, 4, 5, "x", 6), /smaller/);
  sink.sealPacket(100, 1, 2, 3, 4, 5, "x", 6);
  assert.ok(initiate(sink, 0, 1));
});

test("without credit a packet and a handshake are refused, and a key slot is forgotten later", () => {
  const { sink, slabs } = sinkOf(2);
  const [full, other] = slabs;
  assert.ok(full && other);
  slabs[0] = undefined;
  assert.equal(sink.packetRoom(0, 40), false);
  assert.equal(initiate(sink, 0, 5), false);
  assert.equal(sink.openPacket(0, new Uint8Array(29), 5, 0, 0, 0, "x", 1), false);

  sink.forget(0, 5);
  sink.forget(2, 6);
  sink.forget(1, 7);

  assert.equal(sink.forgetting, 2);
  assert.deepEqual(jobsOf(other), [[SESSION_JOB.forget, 7]], "the other worker has credit");
  sink.flush();
  assert.equal(sink.forgetting, 2);
  slabs[0] = full;
  assert.ok(initiate(sink, 0, 5), "the slot is used again");
  assert.equal(sink.forgetting, 0);
  assert.deepEqual(jobsOf(full), [
    [SESSION_JOB.forget, 5],
    [SESSION_JOB.forget, 6],
    [SESSION_JOB.initiate, 5],
  ]);
});

test("what waits to be forgotten goes with the next flush, and in the middle of a packet waits", () => {
  const { sink, slabs } = sinkOf(1);
  assert.ok(sink.packetRoom(0, 100));
  sink.forget(0, 5);
  sink.sealPacket(100, 1, 2, 3, 4, 5, "x", 6);
  assert.equal(sink.forgetting, 1);

  sink.flush();

  assert.equal(sink.forgetting, 0);
  assert.deepEqual(slabs[0] && jobsOf(slabs[0]), [
    [SESSION_JOB.sealPacket, 1],
    [SESSION_JOB.forget, 5],
  ]);
});
