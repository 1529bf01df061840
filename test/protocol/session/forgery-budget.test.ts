import assert from "node:assert/strict";
import { test } from "node:test";
import { milliseconds, type Nanoseconds, seconds } from "../../../src/shared/base/units.js";
import { ForgeryBudget } from "../../../src/shared/protocol/session/forgery-budget.js";

test("a session opens 100 forgeries at once, then one each 10 ms", () => {
  const budget = new ForgeryBudget(seconds(1), 100);

  assert.equal(forge(budget, seconds(1), 1_000), 100);
  assert.equal(budget.admits(milliseconds(1_009)), false);
  assert.equal(budget.admits(milliseconds(1_010)), true);
  assert.equal(forge(budget, milliseconds(1_050), 1_000), 5);
  assert.equal(forge(budget, seconds(9), 1_000), 100);
});

test("over ten seconds of forgeries 100 a second are opened, and the burst", () => {
  const budget = new ForgeryBudget(seconds(0), 100);
  let opened = 0;
  for (let ms = 0; ms < 10_000; ms++) opened += forge(budget, milliseconds(ms), 3);

  assert.ok(opened >= 1_095 && opened <= 1_100, `${opened}`);
});

test("authentic packets cost nothing, however many there are", () => {
  const budget = new ForgeryBudget(seconds(0), 100);
  forge(budget, seconds(0), 99);

  for (let i = 0; i < 100_000; i++) assert.equal(budget.admits(seconds(0)), true);
  budget.failed(seconds(0));
  assert.equal(budget.admits(seconds(0)), false);
});

test("failures that were under way when the budget ran out do not prolong it", () => {
  const budget = new ForgeryBudget(seconds(0), 100);
  for (let i = 0; i < 5_000; i++) budget.failed(seconds(0));

  assert.equal(budget.admits(milliseconds(9)), false);
  assert.equal(budget.admits(milliseconds(10)), true);
});

test("a budget of its own size", () => {
  const budget = new ForgeryBudget(seconds(0), 5);

  assert.equal(forge(budget, seconds(0), 100), 5);
});

/** Tries so many forgeries; how many of them were opened, and failed. */
function forge(budget: ForgeryBudget, now: Nanoseconds, tries: number): number {
  let opened = 0;
  for (let i = 0; i < tries; i++) {
    if (!budget.admits(now)) continue;
    budget.failed(now);
    opened += 1;
  }
  return opened;
}

test("a long forgery costs as much as the short ones that it takes the time of", () => {
  const budget = new ForgeryBudget(seconds(0), 100);
  for (let i = 0; i < 2; i++) {
    assert.equal(budget.admits(seconds(0)), true);
    budget.failed(seconds(0), 65_507);
  }
  assert.equal(budget.admits(seconds(0)), true);
  budget.failed(seconds(0), 65_507);
  assert.equal(budget.admits(seconds(0)), false);

  const short = new ForgeryBudget(seconds(0), 100);
  for (let i = 0; i < 99; i++) short.failed(seconds(0), 100);
  assert.equal(short.admits(seconds(0)), true);
});
