// What a peer with true keys may say to a receiver: each absurdity closes the session with its reason, or
// is refused, or ignored; and what it costs is bounded. Each has its honest twin.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../../../src/shared/base/units.js";
import { LARGE_TRANSFERS_MAX } from "../../../src/shared/protocol/session/large-in.js";
import { NUMBER_SPAN_NUMBERS, STREAMS_MAX } from "../../../src/shared/protocol/session/limits.js";
import { DELIVERED } from "../../../src/shared/protocol/session/ports.js";
import { CLOSING, REFUSAL } from "../../../src/shared/protocol/session/reasons.js";
import { ReassemblyBudget } from "../../../src/shared/protocol/session/reassembly.js";
import { Receiver } from "../../../src/shared/protocol/session/receiver.js";
import { StreamIn } from "../../../src/shared/protocol/session/stream-in.js";
import { frameOf, idOf, type Saying } from "./frame-of.js";
import { digestOf } from "./layer-parts.js";
import { hex, MessageStore } from "./message-store.js";

const ARRIVAL = { address: "other", port: 1, sentWallNs: 0 };
const CREDIT = { creditMessages: 100, creditBytes: 512 * 1_024 };
const LARGE_BYTES = 300_000;

class Hostile {
  readonly store = new MessageStore();
  readonly budget = new ReassemblyBudget(64 << 20);
  readonly receiver = new Receiver({
    peer: 0,
    budget: this.budget,
    ...CREDIT,
    messageBytesMax: 1 << 20,
  });

  constructor() {
    this.store.recordsMax = 1_000_000;
    this.receiver.sessionUp(new Uint8Array(8).fill(1), true);
  }

  say(saying: Saying): number | undefined {
    return this.receiver.handleMessage(frameOf(saying), ARRIVAL, this.store);
  }
  settle(below: number): number | undefined {
    return this.receiver.handleSettled(below, this.store);
  }
  answer(failure?: number): void {
    for (const record of this.store.run(failure)) this.receiver.handleDelivered(record, this.store);
  }
  set now(now: Nanoseconds) {
    this.receiver.now = now;
  }
  /** Reasons of the refusals that wait, which are taken. */
  refused(): number[] {
    const reasons: number[] = [];
    const { refusals } = this.receiver;
    for (let next = refusals.peek(); next !== undefined; next = refusals.peek()) {
      reasons.push(next.refusal.reason);
      refusals.sent();
      refusals.acknowledged(next.token);
    }
    return reasons;
  }
}

/** A piece of a message of ten bytes. */
const piece = (more: Partial<Saying>): Saying => ({ number: 1, total: 10, id: 1, ...more });
/** A piece of one that goes into a file. */
const large = (number: number, more: Partial<Saying> = {}): Saying => ({
  ...{ number, total: LARGE_BYTES, id: number, data: new Uint8Array(100) },
  ...more,
});

test("numbers out of range close the session, those at the edge do not", () => {
  const it = new Hostile();
  assert.equal(it.say({ number: NUMBER_SPAN_NUMBERS }), undefined);
  assert.equal(it.say({ number: NUMBER_SPAN_NUMBERS + 1 }), CLOSING.number);
  assert.equal(it.say({ number: 0 }), CLOSING.number);
  assert.equal(it.settle(NUMBER_SPAN_NUMBERS + 1), CLOSING.number);
  assert.equal(it.settle(5), undefined);
  assert.equal(it.say({ number: 4 }), undefined, "settled: ignored");
  it.answer();
  assert.equal(it.store.inserted.length, 1);
});

test("pieces that contradict each other close the session, in memory and in files", () => {
  for (const more of [{ total: 11 }, { id: 2 }, { digest: 8 }]) {
    const it = new Hostile();
    assert.equal(it.say(piece({ offset: 0 })), undefined);
    assert.equal(it.say(piece({ offset: 1, ...more })), CLOSING.conflict, JSON.stringify(more));
  }
  for (const more of [{ total: LARGE_BYTES + 1 }, { id: 2 }, { digest: 8 }]) {
    const it = new Hostile();
    assert.equal(it.say(large(1)), undefined);
    assert.equal(it.say(large(1, more)), CLOSING.conflict, JSON.stringify(more));
  }
  const it = new Hostile();
  for (const offset of [0, 1, 0, 3, 2, 4, 5, 6, 7, 8, 9, 9]) {
    assert.equal(it.say(piece({ offset })), undefined);
  }
  it.answer();
  assert.equal(it.store.inserted.length, 1, "overlap with the same values is allowed");
});

test("messages that never end are bounded by the credit, in number and in bytes", () => {
  const many = new Hostile();
  let closing: number | undefined;
  let begun = 0;
  while (closing === undefined && begun < 1_000) {
    begun += 1;
    closing = many.say({ number: begun, total: 2, offset: 0 });
  }
  assert.deepEqual([closing, begun], [CLOSING.credit, 2 * CREDIT.creditMessages + 1]);

  const heavy = new Hostile();
  closing = undefined;
  begun = 0;
  while (closing === undefined && begun < 1_000) {
    begun += 1;
    closing = heavy.say({ number: begun, total: 200_000, offset: 0 });
  }
  assert.equal(closing, CLOSING.credit);
  assert.ok(heavy.receiver.heldBytes <= 2 * CREDIT.creditBytes + 200_000);
  heavy.receiver.sessionDown();
  assert.equal(heavy.budget.bytes, 0, "with the last session goes what it held");
});

test("a message in dust is turned away when it has more gaps than an honest one", () => {
  const it = new Hostile();
  const total = 200_000;
  for (let offset = 0; offset < total; offset += 2) {
    assert.equal(it.say({ number: 1, id: 1, total, offset }), undefined);
  }
  assert.ok(it.refused().includes(REFUSAL.memory));
  assert.equal(it.budget.bytes, 0);
});

test("one sequence under two numbers closes the session", () => {
  const it = new Hostile();
  assert.equal(it.say({ number: 2, stream: "s", sequence: 2, base: 1 }), undefined);
  assert.equal(it.say({ number: 3, stream: "s", sequence: 2, base: 1 }), CLOSING.conflict);
});

test("streams beyond those that are remembered are refused for a while, and go on later", () => {
  const it = new Hostile();
  for (let n = 1; n <= STREAMS_MAX; n++) {
    assert.equal(it.say({ number: n, stream: `s${n}` }), undefined);
    if (n % 50 === 0) it.answer();
  }
  it.answer();
  const more = { number: STREAMS_MAX + 1, stream: "one more" };
  assert.equal(it.say(more), undefined);
  assert.deepEqual(it.refused(), [REFUSAL.busy]);
  assert.equal(it.receiver.streams, STREAMS_MAX);

  it.settle(100);
  assert.equal(it.say(more), undefined);
  it.answer();
  assert.equal(it.store.inserted.length, STREAMS_MAX + 1);
  assert.equal(it.receiver.streams, STREAMS_MAX);
});

test("files that are begun and dropped without end are slowed down, files that end are not", () => {
  const drops = new Hostile();
  let begun = 0;
  for (let n = 1; n <= 1_000; n++) {
    assert.equal(drops.say(large(n, { id: 1, digest: n & 255 })), undefined);
    drops.settle(n + 1);
    if (drops.refused().length === 0) begun += 1;
    drops.answer();
  }
  assert.ok(begun <= 130, `${begun} files in no time`);
  drops.now = nanoseconds(10 * NS_PER_SECOND);
  assert.equal(drops.say(large(1_001)), undefined);
  assert.deepEqual(drops.refused(), [], "ten seconds later it may again");

  const ends = new Hostile();
  for (let n = 1; n <= 300; n++) {
    const digest = digestOf(hex(idOf(n)), new Uint8Array(LARGE_BYTES));
    for (let offset = 0; offset < LARGE_BYTES; offset += 100_000) {
      ends.say(large(n, { offset, digest, data: new Uint8Array(100_000) }));
    }
    ends.answer();
    assert.deepEqual(ends.refused(), [], `file ${n}`);
  }
  assert.equal(ends.store.inserted.length, 300);
});

test("files of messages that were refused for a while go with their numbers", () => {
  const it = new Hostile();
  it.say(large(1));
  it.answer();
  it.say(large(1, { offset: 100 }));
  it.say(large(2, { id: 2 }));
  it.answer(DELIVERED.quota);
  assert.deepEqual(it.refused(), [REFUSAL.quota, REFUSAL.quota]);
  assert.deepEqual([it.receiver.files.size, it.store.files], [2, 1]);

  it.settle(2);
  it.answer();
  assert.deepEqual([it.receiver.files.size, it.store.files], [1, 0], "2 may still come");
  it.settle(3);
  it.answer();
  assert.deepEqual([it.receiver.files.size, it.store.files], [0, 0]);
});

test("a file goes that is settled while the store is at its last piece, and refuses it", () => {
  const it = new Hostile();
  const digest = digestOf(hex(idOf(1)), new Uint8Array(LARGE_BYTES));
  for (let offset = 0; offset < LARGE_BYTES; offset += 100_000) {
    it.say(large(1, { offset, digest, data: new Uint8Array(100_000) }));
  }
  it.settle(2);
  it.answer(DELIVERED.busy);
  it.answer();

  assert.deepEqual([it.receiver.files.size, it.store.files], [0, 0]);
});

test("a file is dropped when there is room for the word, but not one that began anew", () => {
  for (const again of [false, true]) {
    const it = new Hostile();
    it.say(large(1));
    it.say(large(2));
    it.answer();
    it.store.recordsMax = 0;
    it.settle(3);
    assert.deepEqual([it.receiver.files.size, it.store.files], [0, 2]);
    assert.ok(it.receiver.waitsForRoom);

    it.store.recordsMax = 1_000;
    if (again) it.say(large(3, { id: 1 }));
    it.receiver.handleRoom(it.store);
    it.answer();

    assert.equal(it.store.files, again ? 1 : 0);
    assert.equal(it.receiver.waitsForRoom, false);
  }
});

test("at the quota, what an earlier boot left makes way, one at a time, and can come again", () => {
  const it = new Hostile();
  for (let n = 1; n <= 3; n++) it.say(large(n));
  it.answer();
  it.receiver.sessionUp(new Uint8Array(8).fill(2), true);
  for (const each of it.receiver.files.all()) it.receiver.files.told(each);
  it.say(large(1, { id: 2, offset: 100 }));
  const files = (): number[] => [it.receiver.files.size, it.store.files];
  it.answer();
  assert.deepEqual(files(), [3, 3]);

  it.store.refuses = () => DELIVERED.quota;
  for (const second of [10, 12, 14]) {
    it.now = nanoseconds(second * NS_PER_SECOND);
    for (let number = 2; number < 20; number++) it.say({ number });
    it.answer();
    it.answer();
    assert.deepEqual(files(), [2, 2], `after ${second} s`);
  }
  it.now = nanoseconds(16 * NS_PER_SECOND);
  it.say({ number: 20 });
  it.answer();
  it.answer();
  assert.deepEqual(files(), [1, 1], "what has a number of this boot stays");
  it.now = nanoseconds(60 * NS_PER_SECOND);
  it.say({ number: 21 });
  it.answer();
  it.answer();
  assert.deepEqual(files(), [1, 1]);

  it.store.refuses = undefined;
  it.say(large(30, { id: 1, offset: 200 }));
  const [, begun] = it.receiver.files.all();
  assert.deepEqual([begun?.tell, begun?.dropped], [true, true], "its sender hears that it is gone");
  it.say(large(31, { id: 40, offset: 200 }));
  assert.equal(it.receiver.files.all()[2]?.dropped, false);
});

test("a SETTLED in each packet costs what it settles, not what is held", () => {
  const it = new Hostile();
  it.receiver.configure({ ...CREDIT, creditMessages: 16_384, messageBytesMax: 1 << 20 });
  const far = 1_000_000_000;
  for (let n = 0; n < 16_000; n++) {
    assert.equal(it.say({ number: far + n, total: 20, offset: 0 }), undefined);
  }
  const before = performance.now();
  for (let below = 2; below < 20_000; below++) it.settle(below * 20_000);
  const ms = performance.now() - before;

  // With a look at all that is held each takes a quarter of a millisecond or more.
  assert.ok(ms < 2_000, `${ms} ms for 20,000`);
  assert.equal(it.receiver.pending, 16_000);
  it.settle(far + 16_000);
  assert.deepEqual([it.receiver.pending, it.receiver.heldBytes, it.budget.bytes], [0, 0, 0]);
});

test("what is known before its turn is remembered for a while, and no more of it the more there is", () => {
  const stream = new StreamIn("s");
  stream.handleBase(1);
  for (let sequence = 10; sequence < 100_000; sequence += 2) stream.stored(sequence);
  const remembered = (from: number, to: number): number => {
    let count = 0;
    for (let sequence = from; sequence < to; sequence += 2) if (stream.passed(sequence)) count += 1;
    return count;
  };
  assert.equal(remembered(10, 100_000), LARGE_TRANSFERS_MAX);
  assert.equal(remembered(10, 10 + 2 * LARGE_TRANSFERS_MAX), LARGE_TRANSFERS_MAX);
});

test("messages that are begun cost what they take, however short they are, and a peer never has all", () => {
  const budget = new ReassemblyBudget(1 << 20);
  const begun = [0, 1].map((peer) => {
    const terms = { creditMessages: 100_000, creditBytes: 8 << 20, messageBytesMax: 1 << 20 };
    const receiver = new Receiver({ peer, budget, ...terms });
    receiver.sessionUp(new Uint8Array(8).fill(1), true);
    const store = new MessageStore();
    for (let number = 1; number <= 3_000; number++) {
      const frame = frameOf({ number, id: number, total: 2, offset: 0 });
      assert.equal(receiver.handleMessage(frame, ARRIVAL, store), undefined);
    }
    return receiver.pending;
  });
  assert.ok((begun[0] ?? 0) < 1_024, `${begun[0]} of two bytes in a megabyte`);
  assert.ok((begun[1] ?? 0) > 50, "the next one has some room");
});
