import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NS_PER_SECOND, seconds } from "../../src/shared/base/units.js";
import { nextDelay } from "../../src/shared/protocol/backoff.js";

test("waits double from the first to the longest", () => {
  const rows: [number, number][] = [
    // attempt, seconds
    [0, 1],
    [1, 2],
    [2, 4],
    [5, 32],
    [11, 2_048],
    [12, 3_600],
    [13, 3_600],
    [5_000, 3_600],
  ];
  for (const [attempt, expected] of rows) {
    const step = { attempt, first: seconds(1), max: seconds(3_600), jitterShare: 0.2, random: 0 };

    assert.equal(nextDelay(step), expected * NS_PER_SECOND, `attempt ${attempt}`);
  }
});

test("jitter takes up to its share away", () => {
  const step = { attempt: 3, first: seconds(1), max: seconds(3_600), jitterShare: 0.25 };

  assert.equal(nextDelay({ ...step, random: 0 }), seconds(8));
  assert.equal(nextDelay({ ...step, random: 0.5 }), seconds(7));
  assert.ok(nextDelay({ ...step, random: 1 - 2 ** -53 }) >= seconds(6));
});

test("another factor may be asked for; 1 keeps the wait", () => {
  const step = { attempt: 4, first: seconds(5), max: seconds(60), jitterShare: 0, random: 0 };

  assert.equal(nextDelay({ ...step, factor: 1 }), seconds(5));
  assert.equal(nextDelay({ ...step, factor: 1.5 }), seconds(25.3125));
});

test("a random number outside [0, 1) is a programmer error", () => {
  const step = { attempt: 0, first: seconds(5), max: seconds(60), jitterShare: 0.1 };

  assert.throws(() => nextDelay({ ...step, random: 1 }), /shares/);
  nextDelay({ ...step, random: 0.999 });
});

test("every wait is within the jitter of its bound, and bounds rise up to the longest", () => {
  fc.assert(
    fc.property(
      fc.nat(2_000),
      fc.integer({ min: 1, max: 1e12 }),
      fc.integer({ min: 1, max: 1e13 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (attempt, firstNs, maxNs, jitterShare, random) => {
        const step = {
          attempt,
          first: seconds(firstNs / 1e9),
          max: seconds(maxNs / 1e9),
          jitterShare,
        };
        const bound = nextDelay({ ...step, random: 0 });
        const wait = nextDelay({ ...step, random });

        assert.ok(wait <= bound && bound <= Math.ceil(step.max));
        assert.ok(wait >= bound * (1 - jitterShare) - 1);
        assert.ok(nextDelay({ ...step, attempt: attempt + 1, random: 0 }) >= bound);
      },
    ),
  );
});
