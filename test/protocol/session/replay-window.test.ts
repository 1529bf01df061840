import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { WINDOW_COUNTERS } from "../../../src/shared/protocol/session/packet.js";
import { ReplayWindow } from "../../../src/shared/protocol/session/replay-window.js";
import { projectRoot } from "../../project.js";

interface Sequence {
  readonly name: string;
  readonly window: number;
  readonly limit: string;
  readonly steps: readonly (readonly [string, 0 | 1])[];
}

const { sequences } = JSON.parse(
  readFileSync(join(projectRoot(), "test/vectors/replay/replay_window.json"), "utf8"),
) as { readonly sequences: readonly Sequence[] };

for (const { name, window: counters, limit, steps } of sequences) {
  test(`the sequence ${name} is accepted and refused as its model says`, () => {
    const window = new ReplayWindow(counters);
    const shift = shiftOf(steps.map(([counter]) => BigInt(counter)));
    for (const [index, [text, accepted]] of steps.entries()) {
      const counter = toExact(BigInt(text), shift);
      const before = window.newest;
      // The limit is another object's business, the counter gate's.
      const taken = BigInt(text) < BigInt(limit) && window.peek(counter) && window.commit(counter);

      assert.equal(taken, accepted === 1, `step ${index}: ${text}`);
      if (!taken) assert.equal(window.newest, before, "a refused counter changes nothing");
    }
  });
}

test("all 19 sequences are there", () => {
  assert.equal(sequences.length, 19);
  assert.equal(sequences.flatMap(({ steps }) => steps).length, 6_218);
});

test("the window of a session holds 8,128 counters, the newest one included", () => {
  const rows: [number, number, boolean][] = [
    // number, counter behind the newest, taken?
    [1, 0, false],
    [2, 1, true],
    [3, 1, false],
    [4, WINDOW_COUNTERS - 1, true],
    [5, WINDOW_COUNTERS - 1, false],
    [6, WINDOW_COUNTERS, false],
    [7, WINDOW_COUNTERS + 1, false],
  ];
  for (const newest of [8_127, 8_128, 100_000, 2 ** 32 + 5, 2 ** 47 + 2 ** 20, 2 ** 53 - 1]) {
    const window = new ReplayWindow();
    assert.equal(window.commit(newest), true);
    for (const [number, behind, taken] of rows) {
      if (newest < behind) continue;
      assert.equal(window.peek(newest - behind), taken, `row ${number} at ${newest}`);
      assert.equal(window.commit(newest - behind), taken, `row ${number} at ${newest}`);
    }
  }
});

test("a look changes nothing: what was peeked is still taken, once", () => {
  const window = new ReplayWindow();
  window.commit(10);

  assert.equal(window.peek(70_000), true);
  assert.equal(window.newest, 10);
  assert.equal(window.peek(9), true);
  assert.equal(window.peek(9), true);
  assert.equal(window.commit(9), true);
  assert.equal(window.peek(9), false);
});

test("a window of any size agrees with a set, through jumps, copies and late counters", () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: -3, max: 3 }) },
    { weight: 3, arbitrary: fc.integer({ min: -300, max: 60 }) },
    { weight: 1, arbitrary: fc.integer({ min: -20_000, max: 20_000 }) },
  );
  const size = fc.oneof(
    fc.integer({ min: 1, max: 200 }),
    fc.constantFrom(31, 32, 33, 63, 64, 65, 96, 97, 128, 224, 225, WINDOW_COUNTERS),
  );
  const start = fc.constantFrom(0, 31, 32, 2 ** 31 - 40, 2 ** 32 - 40, 2 ** 48, 2 ** 53 - 2 ** 23);
  fc.assert(
    fc.property(size, start, fc.array(step, { maxLength: 400, size: "max" }), (size, start, by) => {
      const window = new ReplayWindow(size);
      const model = new ModelWindow(size);
      for (const step of by) {
        const counter = Math.max(0, (model.newest < 0 ? start : model.newest) + step);
        assert.equal(window.peek(counter), model.peek(counter));
        assert.equal(window.commit(counter), model.commit(counter), `${counter}`);
        assert.equal(window.newest, model.newest);
      }
    }),
    { numRuns: 1_000 },
  );
});

test("after every advance by one, each counter of the window is known or not, as it was taken", () => {
  const size = 40;
  const window = new ReplayWindow(size);
  const model = new ModelWindow(size);
  for (let newest = 0; newest < 600; newest += 1 + (newest % 3)) {
    assert.equal(window.commit(newest), model.commit(newest));
    for (let counter = Math.max(0, newest - 130); counter <= newest; counter++) {
      assert.equal(window.peek(counter), model.peek(counter), `${counter} behind ${newest}`);
    }
  }
});

/** The rule of the vectors, word by word. */
class ModelWindow {
  newest = -1;
  readonly #size: number;
  readonly #seen = new Set<number>();

  constructor(size: number) {
    this.#size = size;
  }
  peek(counter: number): boolean {
    if (counter > this.newest) return true;
    return this.newest - counter < this.#size && !this.#seen.has(counter);
  }
  commit(counter: number): boolean {
    if (!this.peek(counter)) return false;
    this.#seen.add(counter);
    this.newest = Math.max(this.newest, counter);
    return true;
  }
}

/** Our counters end at 2^53: what lies above is moved down, with all its neighbours, by this. */
function shiftOf(counters: readonly bigint[]): bigint {
  const largest = counters.reduce((a, b) => (a > b ? a : b));
  return largest < 2n ** 53n ? 0n : ((largest >> 20n) << 20n) - 2n ** 52n;
}

function toExact(counter: bigint, shift: bigint): number {
  if (counter < 2n ** 51n) return Number(counter);
  const moved = counter - shift;
  assert.ok(moved > 2n ** 51n && moved < 2n ** 53n, "the move keeps distances");
  return Number(moved);
}
