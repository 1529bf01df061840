// Frames of every kind that an honest peer may say, for fast-check.

import fc from "fast-check";
import type { KeyRole } from "../../../src/shared/protocol/session/ports.js";
import { hex, type Pair, type Said } from "./said.js";

const MAX = Number.MAX_SAFE_INTEGER;

/** Whole numbers of every length on the wire, and the edges between them. */
export const wireNumber = fc.oneof(
  fc.nat(63),
  fc.nat(16_383),
  fc.nat(2 ** 30 - 1),
  fc.maxSafeNat(),
  fc.constantFrom(0, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, 2 ** 32, MAX),
);
const fromOne = wireNumber.map((value) => Math.max(1, value));
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const bytesOf = (minLength: number, maxLength = minLength) =>
  fc.uint8Array({ minLength, maxLength }).map(hex);
const smallStep = fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 4 }) }, fromOne);

/** Sums of the steps, as long as they are exact. */
function ascending(steps: readonly number[]): number[] {
  const sums: number[] = [];
  let sum = 0;
  for (const step of steps) {
    if (step > MAX - sum) break;
    sum += step;
    sums.push(sum);
  }
  return sums;
}

const ack: fc.Arbitrary<Said> = fc
  .record({
    delayUs: fc.nat(2 ** 30).map((units) => units * 8),
    bounds: fc
      .array(smallStep, { minLength: 2, maxLength: 128, size: "max" })
      .map((steps) => ascending(steps.map((step) => Math.min(step, MAX / 256) + 1))),
  })
  .map(({ delayUs, bounds }) => ({ kind: "ack", delayUs, ranges: pairsOf(bounds).reverse() }));

function pairsOf(bounds: readonly number[]): Pair[] {
  const pairs: Pair[] = [];
  for (let i = 0; i + 1 < bounds.length; i += 2) {
    pairs.push([Math.floor(bounds[i]), Math.floor(bounds[i + 1])]);
  }
  return pairs;
}

const receipt: fc.Arbitrary<Said> = fc
  .record({
    boot: bytesOf(8),
    steps: fc.array(smallStep, { minLength: 1, maxLength: 64, size: "max" }),
    digests: fc.array(fc.tuple(u32, u32), { minLength: 64, maxLength: 64 }),
  })
  .map(({ boot, steps, digests }) => ({
    kind: "receipt",
    boot,
    entries: ascending(steps).map((number, i) => [number, ...digests[i]] as const),
  }));

const refuse: fc.Arbitrary<Said> = fc
  .record({
    boot: bytesOf(8),
    number: fromOne,
    digest: fc.tuple(u32, u32),
    reason: fc.nat(255),
    delay: wireNumber,
  })
  .map(({ delay, ...rest }) => ({
    kind: "refuse",
    ...rest,
    delaySeconds: rest.reason < 64 ? 0 : delay,
  }));

const have: fc.Arbitrary<Said> = fc
  .record({
    dropped: fc.boolean(),
    messageId: bytesOf(12),
    digest16: bytesOf(16),
    bounds: fc.array(smallStep, { maxLength: 64, size: "max" }).map(ascending),
    first: fc.nat(1),
    beyond: fc.nat(1_000),
  })
  .map(({ bounds, first, beyond, ...said }) => {
    const ranges = pairsOf(bounds.map((bound) => bound - first));
    const end = ranges.at(-1)?.[1] ?? 0;
    return { kind: "have", ...said, total: Math.min(MAX, end + beyond), ranges };
  });

const rekey: fc.Arbitrary<Said> = fc
  .record({ sessionId: u32, answers: u32, noise: bytesOf(48, 200), first: fc.boolean() })
  .map(({ sessionId, answers, noise, first }) => ({
    kind: "rekey",
    message: first ? 1 : 2,
    sessionId: Math.max(1, sessionId),
    answers: first ? 0 : Math.max(1, answers),
    noise,
  }));

const stream = fc
  .string({ unit: "binary", minLength: 1, maxLength: 16 })
  .map((name) => Buffer.from(name, "utf8").toString("hex"))
  .filter((name) => name.length > 0 && name.length <= 128);

const message: fc.Arbitrary<Said> = fc
  .record({
    number: wireNumber,
    bytes: fc.boolean(),
    priority: fc.nat(3),
    messageId: bytesOf(12),
    lifeSeconds: fromOne,
    inReplyTo: fc.option(bytesOf(12), { nil: undefined }),
    ordered: fc.option(
      fc.record({ stream, numbers: fc.tuple(fromOne, fromOne) }).map(({ stream, numbers }) => ({
        stream,
        sequence: Math.max(...numbers),
        base: Math.min(...numbers),
      })),
      { nil: undefined },
    ),
    piece: fc.option(fc.record({ digest16: bytesOf(16), offset: wireNumber }), { nil: undefined }),
    data: bytesOf(0, 100),
    behind: fc.nat(100_000),
  })
  .map(({ behind, ...said }) => {
    const length = said.data.length / 2;
    if (said.piece === undefined) return { kind: "message", ...said, total: length };
    const offset = length === 0 ? 0 : Math.min(said.piece.offset, MAX - length);
    const total = length === 0 ? 0 : Math.min(MAX, offset + length + behind);
    return { kind: "message", ...said, piece: { ...said.piece, offset }, total };
  });

const role = fc.constantFrom<KeyRole>(0, 1, 2);
export const FRAMES: Readonly<Record<Said["kind"], fc.Arbitrary<Said>>> = {
  ping: fc.constant({ kind: "ping" }),
  ack,
  message,
  receipt,
  refuse,
  settled: wireNumber.map((below) => ({ kind: "settled", below })),
  have,
  credit: fc
    .tuple(wireNumber, wireNumber)
    .map(([messages, bytes]) => ({ kind: "credit", messages, bytes })),
  rekey,
  challenge: bytesOf(8).map((data) => ({ kind: "challenge", data })),
  response: bytesOf(8).map((data) => ({ kind: "response", data })),
  close: wireNumber.map((reason) => ({ kind: "close", reason })),
  keys: fc
    .array(fc.tuple(role, bytesOf(8)), { minLength: 1, maxLength: 3 })
    .map((keys) => ({ kind: "keys", keys })),
};

export const anyFrame: fc.Arbitrary<Said> = fc.oneof(...Object.values(FRAMES));
