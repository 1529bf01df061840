import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { AckRanges } from "../../../src/shared/protocol/transport/ack-ranges.js";
import { ms, rangesOf, writtenBy } from "./acks.js";

test("the newest 64 ranges of whatever arrives are the newest 64 ranges of the set of it", () => {
  const counters = fc.uniqueArray(fc.integer({ min: 0, max: 400 }), { maxLength: 300 });
  fc.assert(
    fc.property(counters, fc.integer({ min: 0, max: 2 ** 50 }), (list, base) => {
      const ranges = new AckRanges();
      const model = new Set<number>();
      for (const each of list) {
        const counter = base + each;
        ranges.handlePacket(ms(0), counter, true);
        add(model, counter);

        assert.deepEqual(writtenBy(ranges, ms(0))[1], rangesOf(model));
        assert.equal(ranges.largest, Math.max(...model));
      }
    }),
    { numRuns: 60 },
  );

  /** The set, less what the oldest ranges beyond 64 held. */
  function add(model: Set<number>, counter: number): void {
    model.add(counter);
    for (const [first, last] of rangesOf(model).slice(64)) {
      for (let each = first; each <= last; each++) model.delete(each);
    }
  }
});

test("a frame says gaps and lengths as RFC 9000 section 19.3.1 counts them", () => {
  const ranges = new AckRanges();
  for (const counter of [0, 1, 2, 5, 6, 8, 20]) ranges.handlePacket(ms(0), counter, true);

  assert.equal(ranges.rewind(), true);
  assert.deepEqual([ranges.largest, ranges.count, ranges.length], [20, 4, 0]);
  const rows: [number, number][] = [];
  while (ranges.next()) rows.push([ranges.gap, ranges.length]);
  assert.deepEqual(rows, [
    [10, 0], // 8; 9 to 19 are missing
    [0, 1], // 5 and 6; 7 is missing
    [1, 2], // 0 to 2; 3 and 4 are missing
  ]);
  assert.equal(ranges.next(), false);
});

test("without a packet there is no range and no deadline", () => {
  const ranges = new AckRanges();

  assert.equal(ranges.rewind(), false);
  assert.equal(ranges.next(), false);
  assert.deepEqual([ranges.count, ranges.largest], [0, -1]);
  assert.equal(ranges.pollDeadline(), Number.POSITIVE_INFINITY);
});

test("when an ACK is due, packet by packet", () => {
  const never = Number.POSITIVE_INFINITY;
  const rows: [string, [number, number, boolean][], number, boolean][] = [
    // name, packets [at ms, counter, eliciting], due at ms, due at 3 ms?
    ["1 one packet waits 25 ms", [[3, 0, true]], 28, false],
    ["2 the second is due at once", [at(2, 0), at(3, 1)], 2, true],
    ["3 nothing that elicits, no ACK", [[3, 0, false]], never, false],
    ["4 a packet that elicits nothing makes no gap", [[2, 0, false], at(3, 1)], 28, false],
    ["5 a gap is told at once", [[1, 0, false], at(3, 2)], 3, true],
    ["6 a gap seen by one that elicits nothing is not", [at(1, 0), [3, 2, false]], 26, false],
    ["7 an overtaken packet is told at once", [[1, 5, false], at(3, 4)], 3, true],
    ["8 a first counter above 0 is a gap", [at(3, 7)], 3, true],
    ["9 the wait begins with the first", [at(1, 0), [2, 1, false], [3, 2, false]], 26, false],
  ];
  for (const [name, packets, dueMs, due] of rows) {
    const ranges = new AckRanges();
    for (const [atMs, counter, eliciting] of packets) {
      ranges.handlePacket(ms(atMs), counter, eliciting);
    }

    assert.equal(ranges.pollDeadline(), ms(dueMs), name);
    assert.equal(ranges.ackDue(ms(3)), due, name);
    assert.equal(ranges.ackWanted, dueMs !== never, name);
    if (dueMs === never) continue;
    assert.equal(ranges.ackDue(ms(dueMs)), true, name);

    ranges.handleAckSent();
    assert.equal(ranges.pollDeadline(), never, `${name}: sent`);
    assert.equal(ranges.ackWanted, false, `${name}: sent`);
  }

  function at(atMs: number, counter: number): [number, number, boolean] {
    return [atMs, counter, true];
  }
});

test("after an old gap was told, packets in order are told in pairs again", () => {
  const ranges = new AckRanges();
  ranges.handlePacket(ms(0), 1, true);
  ranges.handleAckSent();

  ranges.handlePacket(ms(1), 2, true);

  assert.equal(ranges.ackDue(ms(1)), false);
  ranges.handlePacket(ms(1), 3, true);
  assert.equal(ranges.ackDue(ms(1)), true);
});

test("the threshold and the longest wait can be set", () => {
  const ranges = new AckRanges(5e6);
  ranges.every = 10;
  for (let counter = 0; counter < 9; counter++) ranges.handlePacket(ms(1), counter, true);

  assert.equal(ranges.pollDeadline(), ms(6));
  assert.equal(ranges.ackDue(ms(5)), false);
  ranges.handlePacket(ms(5), 9, true);
  assert.equal(ranges.ackDue(ms(5)), true);
});

test("the delay counts from the largest packet, not from the last to arrive", () => {
  const ranges = new AckRanges();
  ranges.handlePacket(ms(1), 5, true);
  ranges.handlePacket(ms(3), 4, true);

  assert.equal(ranges.delayUs(ms(4)), 3_000);
});

test("what the peer knows of is forgotten, and the largest range stays", () => {
  const rows: [string, number, [number, number][]][] = [
    ["1 nothing acknowledged", -1, [at(20, 20), at(8, 8), at(5, 6), at(0, 2)]],
    ["2 the oldest range", 2, [at(20, 20), at(8, 8), at(5, 6)]],
    ["3 half of a range", 5, [at(20, 20), at(8, 8), at(5, 6)]],
    ["4 several", 8, [at(20, 20)]],
    ["5 all: the newest stays", 20, [at(20, 20)]],
  ];
  for (const [name, acked, left] of rows) {
    const ranges = new AckRanges();
    for (const counter of [0, 1, 2, 5, 6, 8, 20]) ranges.handlePacket(ms(0), counter, true);

    ranges.handleAckOfAck(acked);

    assert.deepEqual(writtenBy(ranges, ms(0))[1], left, name);
  }

  function at(first: number, last: number): [number, number] {
    return [first, last];
  }
});

test("a packet older than 64 newer ranges is not told, one among them is", () => {
  const ranges = new AckRanges();
  for (let i = 1; i <= 64; i++) ranges.handlePacket(ms(0), i * 10, true);

  ranges.handlePacket(ms(0), 3, true);
  assert.equal(writtenBy(ranges, ms(0))[1].at(-1)?.[0], 10);

  ranges.handlePacket(ms(0), 15, true);
  assert.equal(writtenBy(ranges, ms(0))[1].at(-1)?.[0], 15);
  assert.equal(ranges.count, 64);
});
