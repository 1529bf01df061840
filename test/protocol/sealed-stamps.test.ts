// Spans of stamps that may have been sealed, by themselves: what is joined, what is suspect, and that
// nothing is ever sealed outside of what is on disk.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NS_PER_SECOND } from "../../src/shared/base/units.js";
import {
  CLOCK_STEP_NS,
  SEAL_RESERVE_NS,
  SEALED_GAP_NS,
  SEALED_SPANS_MAX,
} from "../../src/shared/protocol/constants.js";
import {
  joinSpans,
  SealedStamps,
  type StampSpan,
  suspectUntil,
} from "../../src/shared/protocol/sealed-stamps.js";

const START_NS = 1_760_000_000 * NS_PER_SECOND;
const span = (fromNs: number, untilNs: number): StampSpan => ({ fromNs, untilNs });
const holds = (spans: readonly StampSpan[], stampNs: number): boolean =>
  spans.some(({ fromNs, untilNs }) => fromNs <= stampNs && stampNs <= untilNs);

test("what overlaps is one span, and the smallest gaps close when there are too many", () => {
  const spans = [span(50, 60), span(10, 20), span(15, 30), span(33, 40), span(90, 91)];

  assert.deepEqual(joinSpans(spans, 9), [span(10, 30), span(33, 40), span(50, 60), span(90, 91)]);
  assert.deepEqual(joinSpans(spans, 3), [span(10, 40), span(50, 60), span(90, 91)]);
  assert.deepEqual(joinSpans(spans, 1), [span(10, 91)]);
  assert.deepEqual(joinSpans([], 1), []);
});

test("joining loses no stamp, however many spans there are", () => {
  const stamps = fc.tuple(fc.nat(1_000), fc.nat(50));
  fc.assert(
    fc.property(
      fc.array(stamps, { maxLength: 60 }),
      fc.integer({ min: 1, max: 20 }),
      (all, max) => {
        const spans = all.map(([from, length]) => span(from, from + length));
        const joined = joinSpans(spans, max);

        assert.ok(joined.length <= max);
        for (const { fromNs, untilNs } of spans) {
          assert.ok(joined.some((each) => each.fromNs <= fromNs && untilNs <= each.untilNs));
        }
        for (let i = 1; i < joined.length; i++) {
          assert.ok((joined[i] as StampSpan).fromNs > (joined[i - 1] as StampSpan).untilNs);
        }
      },
    ),
  );
});

test("the end of a span is told to those inside it", () => {
  const spans = [span(10, 20), span(30, 40)];

  assert.deepEqual(
    [9, 10, 20, 21, 35].map((stamp) => suspectUntil(spans, stamp)),
    [undefined, 20, 20, undefined, 40],
  );
});

test("the spans of earlier runs are suspect, those of this run are not", () => {
  const stamps = new SealedStamps([span(START_NS - 100e9, START_NS - 50e9)]);
  stamps.reserved(stamps.reserve(START_NS).untilNs);
  stamps.sealed(START_NS);

  assert.deepEqual(
    [-101, -100, -50, -49, 0].map((at) => stamps.isSuspect(START_NS + at * 1e9)),
    [false, true, true, false, false],
  );
});

test("a clock that steps on begins a span of its own, and so does one that is set back", () => {
  const stamps = new SealedStamps([]);
  const ahead = START_NS + 1e6 * NS_PER_SECOND;
  for (const at of [START_NS, ahead]) {
    assert.ok(!stamps.admits(at));
    stamps.reserved(stamps.reserve(at).untilNs);
    stamps.sealed(at);
  }

  stamps.setBack();
  const { spans } = stamps.reserve(START_NS + 2 * SEALED_GAP_NS);

  assert.equal(spans.length, 3);
  assert.ok(stamps.isSuspect(START_NS) && stamps.isSuspect(ahead));
  assert.ok(!stamps.isSuspect(START_NS + 1e9) && !stamps.isSuspect(ahead + 1e9));
});

test("an hour at work is one span, and a short rest does not end it", () => {
  const stamps = new SealedStamps([]);
  let at = START_NS;
  for (let i = 0; i < 3_600; i++) {
    at += i % 600 === 0 ? SEALED_GAP_NS : NS_PER_SECOND;
    if (stamps.isShort(at)) stamps.reserved(stamps.reserve(at).untilNs);
    assert.ok(stamps.admits(at));
    stamps.sealed(at);
  }

  assert.deepEqual(stamps.ended(), [span(START_NS + SEALED_GAP_NS - CLOCK_STEP_NS, at)]);
});

test("whatever the clock does, nothing is sealed outside of what is on disk, and all of it is kept", () => {
  const steps = fc.array(
    fc.record({
      by: fc.oneof(
        fc.integer({ min: 0, max: 3 * SEAL_RESERVE_NS }),
        fc.integer({ min: -CLOCK_STEP_NS, max: 0 }),
        fc.constantFrom(-3e15, -4e12, -1e10, 1e10, 1e11, 4e12, 3e15, 3e17),
      ),
      event: fc.constantFrom("seal", "seal", "seal", "crash", "stop", "failed"),
    }),
    { maxLength: 120 },
  );
  fc.assert(
    fc.property(steps, (all) => {
      let disk: readonly StampSpan[] = [];
      let stamps = new SealedStamps(disk);
      let [wall, latest] = [START_NS, START_NS];
      const mine: number[] = [];
      const before: number[] = [];
      for (const { by, event } of all) {
        wall += by;
        if (wall < latest - CLOCK_STEP_NS) {
          stamps.setBack();
          before.push(...mine.splice(0));
          latest = wall;
        }
        latest = Math.max(latest, wall);
        if (event === "crash" || event === "stop") {
          if (event === "stop") disk = stamps.ended();
          stamps = new SealedStamps(disk);
          before.push(...mine.splice(0));
          latest = wall;
        } else if (event === "seal" || event === "failed") {
          if (stamps.isShort(wall)) {
            const { untilNs, spans } = stamps.reserve(wall);
            assert.ok(spans.length <= SEALED_SPANS_MAX);
            if (event === "seal") {
              disk = spans;
              stamps.reserved(untilNs);
            }
          }
          if (stamps.admits(wall)) {
            assert.ok(holds(disk, wall), "sealed and not on disk");
            stamps.sealed(wall);
            mine.push(wall);
          } else assert.equal(event, "failed", "a reservation that was made admits");
        }
        for (const stamp of before) assert.ok(stamps.isSuspect(stamp), "forgotten and believed");
        for (const stamp of [...before, ...mine]) assert.ok(holds(disk, stamp));
      }
    }),
    { numRuns: 500 },
  );
});
