// Messages and pieces wait for the store in lanes of their own, and keep the order that counts.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { MessageDelivery, PieceDelivery } from "../../src/shared/protocol/session/ports.js";
import { DELIVERY_KIND, DeliveryBatchReader } from "../../src/shared/runtime/delivery-batch.js";
import { type DeliveryLane, DeliveryLanes } from "../../src/shared/runtime/delivery-lanes.js";

const BOOT = new Uint8Array(8);
const ID = new Uint8Array(12);
const KIB = 1_024;
const BYTES = new Uint8Array(256 * KIB);

const lanesOf = (): DeliveryLanes => new DeliveryLanes((peer) => `scope of ${peer}`);

/** `number` says later which record it was; `stream` "" is unordered. */
function messageOf(number: number, stream = "", payloadLength = 10, peer = 0): MessageDelivery {
  return {
    peer,
    token: 0,
    boot: BOOT,
    number,
    flags: 0,
    stream,
    sequence: stream === "" ? 0 : number + 1,
    resume: false,
    gapFirst: 0,
    gapLast: 0,
    bytes: BYTES,
    messageIdAt: 0,
    inReplyToAt: 12,
    payloadAt: 0,
    payloadLength,
    sentWallNs: 0,
    address: "192.0.2.1",
    port: 1,
  };
}

function pieceOf(number: number, stream = "", payloadLength = 1_200, peer = 0): PieceDelivery {
  const message = messageOf(number, stream, payloadLength, peer);
  return { ...message, total: 1e6, offset: 0, digest16At: 24, last: false };
}

const lastOf = (number: number, stream = "", peer = 0): PieceDelivery => ({
  ...pieceOf(number, stream, 0, peer),
  last: true,
});

interface Taken {
  readonly lane: DeliveryLane;
  /** Numbers of its records; of `settled`: below. */
  readonly numbers: readonly number[];
}

function takeOne(lanes: DeliveryLanes): Taken {
  const lane = lanes.turns.find((each) => lanes.mayGo(each));
  assert(lane !== undefined, "something may go while something waits");
  const batch = lanes.take(lane);
  const records = new DeliveryBatchReader(batch);
  const numbers: number[] = [];
  while (records.next()) numbers.push(records.number);
  lanes.recycle(batch);
  return { lane, numbers };
}

function takeAll(lanes: DeliveryLanes): Taken[] {
  const taken: Taken[] = [];
  while (!lanes.isEmpty) taken.push(takeOne(lanes));
  return taken;
}

test("a message waits for one batch of pieces at most, and pieces for one of messages", () => {
  const lanes = lanesOf();
  for (let i = 0; i < 3_000; i++) assert(lanes.piece(pieceOf(1)));
  assert(lanes.message(messageOf(2)));
  const taken = [takeOne(lanes), takeOne(lanes)];
  assert(lanes.message(messageOf(3)));
  taken.push(takeOne(lanes));
  assert(lanes.message(messageOf(4)));
  taken.push(takeOne(lanes));

  assert.deepEqual(
    taken.map(({ lane }) => lane),
    ["messages", "pieces", "messages", "pieces"],
  );
  assert(taken.every(({ numbers }) => numbers.length < 1_000));
});

test("what waits is bounded in both lanes, and there is room again behind a batch", () => {
  const lanes = lanesOf();
  let pieces = 0;
  while (lanes.piece(pieceOf(1, "", 256 * KIB))) pieces += 1;
  let messages = 0;
  while (lanes.message(messageOf(2, "", 256 * KIB))) messages += 1;

  assert.deepEqual([pieces, messages], [24, 28]);
  takeOne(lanes);
  assert(lanes.message(messageOf(2, "", 256 * KIB)));
  takeOne(lanes);
  assert(lanes.piece(pieceOf(1, "", 256 * KIB)));
});

test("a peer that never pauses leaves room for the others in both lanes, and so do many of them", () => {
  const lanes = lanesOf();
  const fill = (peer: number): number => {
    let handed = 0;
    while (lanes.message(messageOf(1, "", 10, peer))) handed += 1;
    return handed;
  };
  const alone = fill(1);
  assert(alone > 7_000, "nearly all of it, while nobody else wants any");
  assert(lanes.message(messageOf(2, "", 10, 0)));
  takeAll(lanes);
  // All at once: each hands over what it can, in turn.
  for (let round = 0; round < 1_000; round++) {
    for (let peer = 1; peer <= 64; peer++) lanes.message(messageOf(1, "", 10, peer));
  }
  for (let n = 0; n < 10; n++) assert(lanes.message(messageOf(3, "", 10, 0)), "one more gets some");

  while (lanes.piece(pieceOf(1, "", 60 * KIB, 1)));
  assert(lanes.piece(pieceOf(2, "", 60 * KIB, 0)));
  while (lanes.piece(pieceOf(1, "", 1, 1)));
  assert(lanes.piece(pieceOf(3, "", 1, 0)));

  takeAll(lanes);
  assert.equal(fill(1), alone, "what went counts no more");
});

test("a stream keeps its order over both lanes", () => {
  const lanes = lanesOf();
  assert(lanes.piece(pieceOf(2, "a")));
  assert(lanes.message(messageOf(1, "a")));
  assert(lanes.piece(lastOf(2, "a")));
  assert(lanes.message(messageOf(3, "a")));
  assert(lanes.message(messageOf(10, "b")));

  assert.deepEqual(takeAll(lanes), [
    { lane: "messages", numbers: [1, 10] },
    { lane: "pieces", numbers: [2, 2, 3] },
  ]);
  assert(lanes.message(messageOf(4, "a")));
  assert.deepEqual(takeAll(lanes), [{ lane: "messages", numbers: [4] }]);
});

test("a message that follows its stream into a later batch of pieces draws the next one with it", () => {
  const lanes = lanesOf();
  assert(lanes.piece(lastOf(2, "a")));
  for (let i = 0; i < 4; i++) assert(lanes.piece(pieceOf(9, "", 255 * KIB)));
  assert(lanes.message(messageOf(3, "a", 255 * KIB)));
  assert.deepEqual(takeOne(lanes).numbers, [2, 9, 9, 9, 9]);
  assert(lanes.message(messageOf(4, "a")));

  assert.deepEqual(takeAll(lanes), [{ lane: "pieces", numbers: [3, 4] }]);
});

test("settled numbers stay behind both lanes", () => {
  const lanes = lanesOf();
  assert(lanes.piece(pieceOf(1)));
  assert(lanes.message(messageOf(2)));
  assert(lanes.settled(0, BOOT, 3));
  assert.deepEqual(takeAll(lanes), [
    { lane: "messages", numbers: [2] },
    { lane: "pieces", numbers: [1, 3] },
  ]);
});

test("settled numbers of a peer are one record, the last of them, in each transaction", () => {
  const lanes = lanesOf();
  assert(lanes.message(messageOf(1)));
  for (let below = 2; below < 20_000; below++) assert(lanes.settled(0, BOOT, below));
  assert(lanes.settled(1, BOOT, 5));
  assert(lanes.settled(0, Uint8Array.of(1, ...BOOT.subarray(1)), 7));
  assert(lanes.message(messageOf(8)));
  assert.deepEqual(takeAll(lanes), [{ lane: "messages", numbers: [1, 19_999, 5, 7, 8] }]);

  assert(lanes.piece(pieceOf(1)) && lanes.settled(0, BOOT, 2) && lanes.settled(0, BOOT, 3));
  assert(lanes.piece(lastOf(4)) && lanes.settled(0, BOOT, 5) && lanes.settled(0, BOOT, 6));
  assert.deepEqual(takeAll(lanes), [{ lane: "pieces", numbers: [1, 3, 4, 6] }]);
});

test("settled numbers without end do not keep pieces from the store", () => {
  const lanes = lanesOf();
  assert(lanes.piece(pieceOf(1)));
  let turns = 0;
  for (let below = 2; takeAfter(below).lane === "messages"; below++) turns += 1;

  assert.equal(turns, 1);

  function takeAfter(below: number): Taken {
    lanes.message(messageOf(below));
    lanes.settled(0, BOOT, below);
    return takeOne(lanes);
  }
});

type Step =
  | { readonly kind: "message" | "piece" | "last"; readonly stream: string; readonly peer: number }
  | { readonly kind: "settled" | "drop" | "take" };
const of = { stream: fc.constantFrom("", "a", "b"), peer: fc.nat(1) };
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom("message" as const, "piece" as const), ...of }),
  fc.record({ kind: fc.constant("last" as const), ...of }),
  fc.record({ kind: fc.constantFrom("settled" as const, "drop" as const, "take" as const) }),
);

interface Handed {
  readonly kind: string;
  readonly order: string | undefined;
}

/** Which of two records, the first handed first, must stay in front. */
function mustStay(first: Handed, second: Handed): boolean {
  if (second.kind === "settled") return true;
  const pieces = (each: Handed) => ["piece", "last", "drop"].includes(each.kind);
  if (pieces(first) && pieces(second)) return true;
  return first.order !== undefined && first.order === second.order;
}

test("whatever is handed in whatever order, all of it goes, and what must stay behind does", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const lanes = lanesOf();
      const handed: Handed[] = [];
      const gone: number[] = [];
      for (const each of steps) {
        const number = handed.length;
        const kind = each.kind;
        if (kind === "take") {
          if (!lanes.isEmpty) go(lanes, handed, gone);
        } else if (kind === "settled") {
          if (lanes.settled(0, BOOT, number)) handed.push({ kind, order: undefined });
        } else if (kind === "drop") {
          assert(lanes.drop(0, idOf(number)));
          handed.push({ kind, order: undefined });
        } else if ("stream" in each) {
          const { stream, peer } = each;
          const ordered = stream !== "" && kind !== "piece";
          handed.push({ kind, order: ordered ? `${peer} ${stream}` : undefined });
          if (kind === "message") assert(lanes.message(messageOf(number, stream, 10, peer)));
          else if (kind === "piece") assert(lanes.piece(pieceOf(number, stream, 10, peer)));
          else assert(lanes.piece(lastOf(number, stream, peer)));
        }
      }
      while (!lanes.isEmpty) go(lanes, handed, gone);

      assert.deepEqual(
        [...gone].sort((a, b) => a - b),
        [...handed.keys()],
      );
      const placeOf = new Map(gone.map((number, place) => [number, place]));
      handed.forEach((second, at) => {
        for (let before = 0; before < at; before++) {
          if (!mustStay(handed[before] as Handed, second)) continue;
          assert((placeOf.get(before) as number) < (placeOf.get(at) as number), `${before} ${at}`);
        }
      });
    }),
    { numRuns: 2_000 },
  );
});

const idOf = (number: number): Uint8Array => Uint8Array.of(number, ...ID.subarray(1));

/** Takes a batch, and adds the numbers of its records in the order in which the worker does them. */
function go(lanes: DeliveryLanes, handed: readonly Handed[], gone: number[]): void {
  const lane = lanes.turns.find((each) => lanes.mayGo(each));
  assert(lane !== undefined, "something may go while something waits");
  const batch = lanes.take(lane);
  const records = new DeliveryBatchReader(batch);
  let below = -1;
  while (records.next()) {
    if (records.kind === DELIVERY_KIND.settled) {
      below = records.number;
      continue;
    }
    if (records.last) settle();
    const isDrop = records.kind === DELIVERY_KIND.drop;
    gone.push(isDrop ? (records.bytes[records.messageIdAt] as number) : records.number);
  }
  settle();
  lanes.recycle(batch);

  /** At the end of a transaction, and with it all that was told before. */
  function settle(): void {
    for (let number = 0; number <= below; number++) {
      if (handed[number]?.kind === "settled" && !gone.includes(number)) gone.push(number);
    }
    below = -1;
  }
}
