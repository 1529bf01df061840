// Names of streams without end: each is remembered at both ends while it is in use, and only so long.

import assert from "node:assert/strict";
import { test } from "node:test";
import { STREAMS_IN_USE_MAX, STREAMS_MAX } from "../../../src/shared/protocol/session/limits.js";
import { DELIVERED } from "../../../src/shared/protocol/session/ports.js";
import { ReassemblyBudget } from "../../../src/shared/protocol/session/reassembly.js";
import { Receiver } from "../../../src/shared/protocol/session/receiver.js";
import { frameOf, type Saying } from "./frame-of.js";
import { Random } from "./layer-parts.js";
import { MessageStore } from "./message-store.js";
import { MessageWorld } from "./message-world.js";

const ARRIVAL = { address: "other", port: 1, sentWallNs: 0 };
const PAYLOAD = Uint8Array.of(1);

function world(): MessageWorld {
  const terms = { creditMessages: 4_096, creditBytes: 1 << 20, budgetBytes: 1 << 20 };
  const it = new MessageWorld(new Random(1), terms, () => ({
    arrives: [1],
    toldAfter: 2,
    acked: true,
  }));
  for (const host of it.hosts) {
    host.rowsMax = 4_096;
    host.store.recordsMax = 100_000;
  }
  it.connect(true);
  return it;
}

test("100,000 streams of one message each arrive in turn, and few are remembered", () => {
  const it = world();
  const [a, b] = it.hosts;
  const names = 100_000;
  for (let i = 0; i < names; i++) a.send(PAYLOAD, `stream ${i}`);
  let [remembered, inUse] = [0, 0];

  it.run(1e9, () => {
    remembered = Math.max(remembered, b.receiver.streams);
    inUse = Math.max(inUse, a.sender.streamsInUse);
    return b.store.inserted.length === names && a.sender.rows === 0;
  });

  assert.deepEqual([a.closings, b.closings, a.outgoing.postponements], [[], [], 0]);
  assert.equal(b.store.inserted.length, names);
  assert.equal(b.store.gaps.length, 0);
  assert.ok(remembered <= STREAMS_MAX, `${remembered} at the receiver`);
  assert.ok(inUse <= STREAMS_IN_USE_MAX && inUse > 1_000, `${inUse} in use at the sender`);
  const namesMax = 65_536 + STREAMS_IN_USE_MAX;
  assert.ok(a.sender.streamNames <= namesMax, `${a.sender.streamNames} names at the sender`);
  // One that both ends have forgotten, and one that both remember, go on.
  a.send(PAYLOAD, "stream 0");
  a.send(PAYLOAD, `stream ${names - 1}`);
  it.run(it.nowMs + 1_000);
  assert.equal(b.store.inserted.length, names + 2);
  assert.equal(b.store.gaps.length, 0);
});

test("while a refused message holds up what is settled, new streams wait, and no longer than it", () => {
  const it = world();
  const [a, b] = it.hosts;
  const names = 20_000;
  const first = a.send(PAYLOAD, "refused");
  let refusals = 0;
  let isFull = true;
  b.store.refuses = () => {
    if (!isFull || first.state === "acknowledged" || b.store.inserted.length > 0) return undefined;
    refusals += 1;
    return DELIVERED.quota;
  };
  it.run(4_000_000);
  assert.ok(refusals >= 8, "by now it waits for about an hour");
  b.store.refuses = undefined;
  for (let i = 0; i < names; i++) a.send(PAYLOAD, `stream ${i}`);
  isFull = false;

  const from = it.nowMs;
  it.run(from + 2_000);
  const [inUse, inserted] = [a.sender.streamsInUse, b.store.inserted.length];
  it.run(from + 130_000);

  assert.equal(inUse, STREAMS_IN_USE_MAX);
  assert.equal(inserted, STREAMS_IN_USE_MAX - 1);
  assert.equal(b.store.inserted.length, names + 1, "behind a minute all of them");
  assert.equal(a.outgoing.postponements, refusals, "the other end refused no stream");
  assert.deepEqual([a.closings, b.closings], [[], []]);
});

// --- What both ends think of a stream that one of them forgot -------------------------------------

function receiver(): { readonly take: (saying: Saying) => void; readonly store: MessageStore } & {
  readonly settle: (below: number) => void;
} {
  const store = new MessageStore();
  const it = new Receiver({
    peer: 0,
    budget: new ReassemblyBudget(1 << 20),
    creditMessages: 1_024,
    creditBytes: 1 << 20,
    messageBytesMax: 1 << 20,
  });
  it.sessionUp(new Uint8Array(8).fill(1), true);
  const answer = (): void => {
    for (const record of store.run()) it.handleDelivered(record, store);
  };
  return {
    store,
    take: (saying) => {
      assert.equal(it.handleMessage(frameOf(saying), ARRIVAL, store), undefined);
      answer();
    },
    settle: (below) => {
      assert.equal(it.handleSettled(below, store), undefined);
      answer();
    },
  };
}

test("a message whose stream was forgotten while it was on its way does not wait for what is settled", () => {
  const { take, settle, store } = receiver();
  // Written while 3 to 6 were owed, and overtaken by the end of all that.
  take({ number: 7, stream: "s", sequence: 7, base: 3 });
  assert.deepEqual(store.inserted, []);

  settle(6);
  assert.deepEqual(store.inserted, [], "6 may still come");
  settle(7);

  assert.deepEqual(
    store.inserted.map(({ sequence }) => sequence),
    [7],
  );
});

test("a message that waits for one which may still come goes on waiting", () => {
  const { take, settle, store } = receiver();
  take({ number: 3, stream: "s", sequence: 3, base: 1 });
  settle(2);
  assert.deepEqual(store.inserted, []);

  take({ number: 2, stream: "s", sequence: 2, base: 2 });

  assert.deepEqual(
    store.inserted.map(({ sequence }) => sequence),
    [2, 3],
  );
});
