import assert from "node:assert/strict";
import test from "node:test";
import { Burst } from "../../src/main/burst.js";
import { nanoseconds } from "../../src/shared/base/units.js";

const SPAN = 10_000;
const burst = (): Burst => new Burst({ rowsMax: 2_048, spanNs: SPAN });

test("a few rows do not wait, however many transactions there were before", () => {
  const rows = burst();
  rows.began(nanoseconds(100), 63);
  assert.equal(rows.ready(nanoseconds(100), 1), true);
});

test("behind a burst the next transaction gathers for a span", () => {
  const rows = burst();
  rows.began(nanoseconds(100), 64);
  assert.equal(rows.nextAt, 100 + SPAN);
  assert.equal(rows.ready(nanoseconds(99 + SPAN), 2_047), false);
  assert.equal(rows.ready(nanoseconds(100 + SPAN), 1), true);
});

test("behind a large burst the next one gathers longer, in proportion, up to four spans", () => {
  const rows = burst();
  const spansBehind = (count: number): number => {
    rows.began(nanoseconds(0), count);
    return rows.nextAt / SPAN;
  };
  assert.deepEqual([256, 512, 1_024, 2_048, 100_000].map(spansBehind), [1, 2, 4, 4, 4]);
});

test("enough rows for a transaction go before the span is over", () => {
  const rows = burst();
  rows.began(nanoseconds(0), 2_048);
  assert.equal(rows.ready(nanoseconds(1), 2_047), false);
  assert.equal(rows.ready(nanoseconds(1), 2_048), true);
});
