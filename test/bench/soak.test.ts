// What a soak concludes: a slope that is there must show, and one that is not must not.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Sample, type Soaked, slopeMbPerHour, soakReport } from "../../bench/soak-report.js";
import { reached } from "../../bench/suite.js";

const LOOP = { minuteP99Ms: 2, minuteMaxMs: 30, p50Ms: 0.2, p99Ms: 3, maxMs: 60 };

/** An hour of samples, one a minute; RSS of the sender as the function says, by minute. */
function soaked(rssMb: (minute: number) => number): Soaked {
  const samples = Array.from(
    { length: 60 },
    (_, minute): Sample => ({
      seconds: 60 * (minute + 1),
      rssMb: [rssMb(minute + 1), 150],
      walMb: [8, 8],
      databaseMb: [200, 200],
      loops: minute === 0 ? [undefined, undefined] : [LOOP, LOOP],
    }),
  );
  return {
    capacity: 20_000,
    perSecond: 10_000,
    rows: 1,
    behindMax: 0,
    drainMs: 1,
    deleted: { outbound: 1, inbound: 1 },
    samples,
  };
}

const outcomes = (of: Soaked): readonly boolean[] => soakReport(of, "ext4").targets.map(reached);

describe("a soak", () => {
  test("finds the slope of what grows by two MB an hour, and of what does not grow", () => {
    const growing = Array.from({ length: 10 }, (_, i) => [360 * i, 100 + 0.2 * i] as const);

    assert.ok(Math.abs(slopeMbPerHour(growing) - 2) < 1e-9);
    assert.equal(slopeMbPerHour(growing.map(([seconds]) => [seconds, 100] as const)), 0);
  });

  test("reaches its figures when memory grows in the first ten minutes alone", () => {
    assert.deepEqual(outcomes(soaked((minute) => 100 + 10 * Math.min(minute, 10))), [
      ...[true, true],
      ...[true, true],
    ]);
  });

  test("misses them when the sender's grows afterwards", () => {
    assert.deepEqual(outcomes(soaked((minute) => 100 + minute)), [false, true, true, true]);
  });

  test("misses what no event loop said anything about", () => {
    const { samples, ...rest } = soaked(() => 100);
    const silent = samples.map((sample) => ({ ...sample, loops: [undefined, undefined] }));

    assert.deepEqual(outcomes({ ...rest, samples: silent }), [true, true, false, false]);
  });
});
