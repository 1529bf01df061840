// Large transfers fill a path, and no queue in front of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BULK_BYTES_MIN,
  BulkAllowance,
} from "../../../src/shared/protocol/transport/bulk-allowance.js";
import { ms } from "./acks.js";

interface Path {
  readonly baseMs: number;
  readonly bytesPerMs: number;
}

/**
 * A transfer that sends all it may over a path with one narrow place, for so long from `fromMs` on;
 * the round trips that it saw, ms.
 */
function transfer(
  bulk: BulkAllowance,
  { baseMs, bytesPerMs }: Path,
  fromMs: number,
  forMs: number,
): number[] {
  const seen: number[] = [];
  for (let now = fromMs; now < fromMs + forMs; ) {
    if (!bulk.allows(bulk.bytes)) bulk.handleHeldBack();
    // A window's worth of bytes takes the path's delay, or the narrow place's time for it.
    const roundTripMs = Math.max(baseMs, bulk.bytes / bytesPerMs);
    // Sixteen acknowledgements a round, some late for reasons of their own.
    for (let i = 0; i < 16; i++) {
      now += roundTripMs / 16;
      const late = i % 5 === 0 ? 7 : 0;
      bulk.handleSample(ms(now), ms(roundTripMs + late), ms(roundTripMs));
    }
    seen.push(roundTripMs);
  }
  return seen;
}

test("a transfer takes all of a path of any length, and queues no more than half a round trip", () => {
  for (const baseMs of [20, 60, 200]) {
    const path = { baseMs, bytesPerMs: 40_000 };
    const bulk = new BulkAllowance();
    transfer(bulk, path, 0, 60 * baseMs);
    const later = transfer(bulk, path, 60 * baseMs, 20 * baseMs);

    assert.ok(bulk.bytes >= baseMs * path.bytesPerMs * 0.99, `${bulk.bytes} over ${baseMs} ms`);
    assert.ok(Math.max(...later) <= 1.5 * baseMs, `${later.join()}`);
  }
});

test("on a slow path it goes down to 256 KiB, and not below", () => {
  const bulk = new BulkAllowance();
  bulk.handleSample(ms(0), ms(20), ms(20));
  transfer(bulk, { baseMs: 20, bytesPerMs: 1_000 }, 0, 20_000);
  assert.equal(bulk.bytes, BULK_BYTES_MIN);
});

test("it does not rise while nobody is held back by it", () => {
  const bulk = new BulkAllowance();
  const before = bulk.bytes;
  for (let now = 0; now < 2_000; now++) bulk.handleSample(ms(now), ms(20), ms(20));
  assert.equal(bulk.bytes, before);

  bulk.handleHeldBack();
  for (let now = 2_000; now < 2_050; now++) bulk.handleSample(ms(now), ms(20), ms(20));
  assert.ok(bulk.bytes > before);
});

test("a path that became longer is no queue for ever", () => {
  const bulk = new BulkAllowance();
  transfer(bulk, { baseMs: 20, bytesPerMs: 40_000 }, 0, 1_000);
  const longer = { baseMs: 80, bytesPerMs: 40_000 };
  transfer(bulk, longer, 1_000, 2_000);
  assert.equal(bulk.bytes, BULK_BYTES_MIN);

  transfer(bulk, longer, 3_000, 70_000);
  assert.ok(bulk.bytes >= 80 * 40_000 * 0.99, `${bulk.bytes}`);
});

test("exactly so many bytes in flight are too many, one less is not", () => {
  const bulk = new BulkAllowance();
  assert.equal(bulk.allows(bulk.bytes), false);
  assert.equal(bulk.allows(bulk.bytes - 1), true);
});
