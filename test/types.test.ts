// What must not compile. Each line under `@ts-expect-error` is wrong in one way; if the compiler takes
// it, the build fails with "unused directive". The twin beside it is right, and compiles.

import assert from "node:assert/strict";
import { test } from "node:test";
import { unreachable } from "../src/shared/base/assert.js";
import {
  milliseconds,
  type Nanoseconds,
  nanoseconds,
  type RingIndex,
  ringIndex,
  type Stamp,
  stamp,
  type Ticket,
  ticket,
  type WallMilliseconds,
  wallMilliseconds,
} from "../src/shared/base/units.js";
import { type Handlers, type Port, send } from "../src/shared/runtime/channel.js";
import type { StoreJob, StoreResult } from "../src/shared/runtime/messages.js";

declare const jobs: Port<"storeJobs">;
declare const results: Port<"storeResults">;
const job = { kind: "reserve", stamp: 1n, spans: [] } as const;
const result = { kind: "reserved", stamp: 1n } as const;

/** Never called: what counts is whether it compiles. */
export function channels(): void {
  send(jobs, job);
  send(results, result);
  // @ts-expect-error a result on the channel of jobs
  send(jobs, result);
  // @ts-expect-error a job on the channel of results
  send(results, job);
  // @ts-expect-error a port of one channel in place of the other's
  const swapped: Port<"storeJobs"> = results;
  // @ts-expect-error a member of another type
  send(jobs, { kind: "reserve", stamp: 1, spans: [] });
  // @ts-expect-error a kind that nobody knows
  send(jobs, { kind: "forget", stamp: 1n });
  void swapped;
}

const all: Handlers<StoreResult> = {
  leased: ({ gone }) => void gone.length,
  stored: ({ batch }) => void batch,
  settled: ({ rows }) => void rows,
  reserved: ({ stamp }) => void stamp,
  failed: ({ code }) => void code,
  broken: ({ error }) => void error.next,
  reported: ({ sentence }) => void sentence,
  delivered: ({ failure }) => void failure,
  stamped: ({ accepted }) => void accepted,
  confirmed: ({ peer }) => void peer,
  read: ({ bytes }) => void bytes?.length,
};
const { reported, ...rest } = all;
// @ts-expect-error a kind without a handler
const missing: Handlers<StoreResult> = rest;
// @ts-expect-error a handler of a kind that does not exist
const excess: Handlers<StoreResult> = { ...all, forgotten: () => {} };
const twisted: Handlers<StoreResult> = {
  ...all,
  // @ts-expect-error a handler that reads what its message has not
  settled: ({ sentence }) => void sentence,
};

/** A switch over a union is complete, or `unreachable` says what is missing. */
export function exhaustive(some: Extract<StoreJob, { kind: "lease" | "limit" }>): string {
  if (some.kind === "lease") return some.kind;
  // @ts-expect-error the kind "limit" is left
  return unreachable(some);
}

/** Never called. */
export function units(): void {
  const span: Nanoseconds = milliseconds(5);
  const sum: Nanoseconds = nanoseconds(span + 1);
  const wall: WallMilliseconds = wallMilliseconds(5);
  const sealed: Stamp = stamp(5n);
  const ring: RingIndex = ringIndex(1);
  const slot: Ticket = ticket(1);
  // @ts-expect-error a bare number
  const bare: Nanoseconds = 5;
  // @ts-expect-error a sum is a bare number until somebody says what it is
  const added: Nanoseconds = span + span;
  // @ts-expect-error the wall clock in place of the monotonic one
  const clock: Nanoseconds = wall;
  // @ts-expect-error a span in place of a stamp
  const time: Stamp = span;
  // @ts-expect-error a ticket in place of a ring
  const index: RingIndex = slot;
  // @ts-expect-error a bare bigint
  const plain: Stamp = 5n;
  void [sum, sealed, ring, bare, added, clock, time, index, plain];
}

test("the lines that must not compile do not, or this file would not run", () => {
  assert.deepEqual(Object.keys({ ...rest, reported }).sort(), Object.keys(all).sort());
  void [missing, excess, twisted];
});
