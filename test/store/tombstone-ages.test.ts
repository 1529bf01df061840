// Which dates of tombstones prove that they are old: what a clock that is wrong, a daemon that is off,
// and the restore of a file make of them.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TOMBSTONE_LIFE_MS, TombstoneAges } from "../../src/workers/tombstone-ages.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const RIGHT_MS = Date.UTC(2026, 0, 1);

/** A daemon's two clocks, and what its file keeps. */
class Host {
  wall = RIGHT_MS;
  monotonic = 0;
  #kept: number | undefined;
  #ages = new TombstoneAges(undefined, 0);

  pass(ms: number): void {
    this.wall += ms;
    this.monotonic += ms;
  }
  restart(): void {
    this.monotonic = 0;
    this.#ages = new TombstoneAges(this.#kept, 0);
  }
  /** A visit; whether it frees, renews or leaves what was deleted at a date. */
  visit(deletedAt: number): "freed" | "renewed" | "left" {
    const span = this.#ages.begin(this.wall, this.monotonic);
    this.#kept = this.#ages.end(span, this.monotonic) ?? this.#kept;
    if (deletedAt >= span.before) return "left";
    return deletedAt >= span.from && deletedAt < span.to ? "freed" : "renewed";
  }
}

test("what grew old while visits went on is freed, at the first visit behind its life", () => {
  const host = new Host();
  const deletedAt = host.wall;
  for (let hour = 0; hour < 8 * 24; hour++) {
    assert.equal(host.visit(deletedAt), "left");
    host.pass(HOUR_MS);
  }
  host.pass(1);
  assert.equal(host.visit(deletedAt), "freed");
});

test("the same beside a restart each day", () => {
  const host = new Host();
  const deletedAt = host.wall;
  for (let day = 0; day < 8; day++) {
    assert.equal(host.visit(deletedAt), "left");
    host.pass(DAY_MS - HOUR_MS);
    assert.equal(host.visit(deletedAt), "left");
    host.wall += HOUR_MS;
    host.restart();
  }
  host.pass(1);
  assert.equal(host.visit(deletedAt), "freed");
});

test("a clock that was at 1970 when it was deleted, and set right between two visits, frees nothing", () => {
  const host = new Host();
  host.visit(0);
  host.pass(1_000);
  assert.equal(host.visit(500), "renewed");
});

test("the same when no daemon ran while it was wrong, nor when it was set", () => {
  const host = new Host();
  host.visit(0);
  host.wall += 2 * HOUR_MS;
  host.restart();
  assert.equal(host.visit(500), "renewed");
});

test("the same when the file was made while it was wrong", () => {
  const host = new Host();
  host.wall = 10_000;
  assert.equal(host.visit(9_000), "left");
  host.pass(HOUR_MS);
  host.visit(9_000);
  host.wall = RIGHT_MS;
  host.restart();
  assert.equal(host.visit(9_000), "renewed");
});

test("what was deleted while the daemon was off for weeks begins a life anew, once", () => {
  const host = new Host();
  host.visit(0);
  host.wall += 21 * DAY_MS;
  host.restart();
  const deletedAt = host.wall - 10 * DAY_MS;
  assert.equal(host.visit(deletedAt), "renewed");
  const renewedAt = host.wall;
  host.pass(TOMBSTONE_LIFE_MS + 1);
  assert.equal(host.visit(renewedAt), "freed");
});

test("a clock that was ahead once has nothing kept longer than two lives", () => {
  const host = new Host();
  host.wall += 3_650 * DAY_MS;
  host.visit(0);
  host.wall = RIGHT_MS;
  const deletedAt = host.wall;
  let renewedAt = deletedAt;
  for (let hour = 0; hour <= 2 * 8 * 24 + 1; hour++) {
    const outcome = host.visit(renewedAt);
    if (outcome === "freed") return;
    if (outcome === "renewed") renewedAt = host.wall;
    host.pass(HOUR_MS);
  }
  assert.fail("it is kept");
});

test("whatever clocks do, nothing is freed in the half day after it was deleted", () => {
  const step = fc.oneof(
    fc.record({ passMs: fc.integer({ min: 1, max: HOUR_MS }) }),
    fc.record({ setMs: fc.integer({ min: -20_000 * DAY_MS, max: 5_000 * DAY_MS }) }),
    fc.constant("restart" as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(59), (steps, deletedBefore) => {
      const host = new Host();
      let date: number | undefined;
      let livedMs = 0;
      for (const [i, each] of steps.entries()) {
        if (i === deletedBefore) date = host.wall;
        if (each === "restart") host.restart();
        else if ("setMs" in each) host.wall += each.setMs;
        else {
          host.pass(each.passMs);
          if (date !== undefined) livedMs += each.passMs;
        }
        if (livedMs > DAY_MS / 2) return;
        const outcome = host.visit(date ?? host.wall);
        assert.notEqual(outcome, "freed");
        if (outcome === "renewed") {
          date = host.wall;
          livedMs = 0;
        }
      }
    }),
    { numRuns: 2_000 },
  );
});
