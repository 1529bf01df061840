import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DeadlineHeap } from "../../src/shared/protocol/deadline-heap.js";

test("an empty heap is never due", () => {
  const heap = new DeadlineHeap(4);

  assert.equal(heap.peekAt(), Number.POSITIVE_INFINITY);
  assert.equal(heap.peekSlot(), -1);
  assert.equal(heap.size, 0);
  assert.equal(heap.remove(3), false);
});

test("the earliest deadline comes first, moves and goes", () => {
  const heap = new DeadlineHeap(1_000);
  const rows: [string, () => void, number, number][] = [
    ["1 one slot", () => heap.set(7, 70), 7, 70],
    ["2 a later one", () => heap.set(900, 90), 7, 70],
    ["3 an earlier one", () => heap.set(3, 30), 3, 30],
    ["4 the first put off", () => heap.set(3, 100), 7, 70],
    ["5 the last drawn near", () => heap.set(3, 1), 3, 1],
    ["6 the first removed", () => heap.remove(3), 7, 70],
    ["7 one behind removed", () => heap.remove(900), 7, 70],
    [
      "8 a deadline never due",
      () => heap.set(7, Number.POSITIVE_INFINITY),
      7,
      Number.POSITIVE_INFINITY,
    ],
    ["9 the last removed", () => heap.remove(7), -1, Number.POSITIVE_INFINITY],
  ];
  for (const [name, act, slot, at] of rows) {
    act();

    assert.equal(heap.peekSlot(), slot, name);
    assert.equal(heap.peekAt(), at, name);
  }
});

test("a slot outside and a deadline that is no number are programmer errors", () => {
  const heap = new DeadlineHeap(4);

  assert.throws(() => heap.set(4, 1), /below the capacity/);
  assert.throws(() => heap.set(0, Number.NaN), /is a number/);
  heap.set(3, 1);
});

test("it behaves as a map sorted by deadline, whatever is set and removed", () => {
  const step = fc.tuple(fc.boolean(), fc.nat(299), fc.nat(1_000));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 500, size: "max" }), (steps) => {
      const heap = new DeadlineHeap(300);
      const model = new Map<number, number>();
      for (const [sets, slot, at] of steps) {
        if (sets) {
          heap.set(slot, at);
          model.set(slot, at);
        } else {
          assert.equal(heap.remove(slot), model.delete(slot));
        }
        assert.equal(heap.size, model.size);
        assert.equal(heap.has(slot), model.has(slot));
        assert.equal(heap.peekAt(), Math.min(Number.POSITIVE_INFINITY, ...model.values()));
      }
      const drained: number[] = [];
      while (heap.size > 0) {
        const slot = heap.peekSlot();
        assert.equal(heap.peekAt(), model.get(slot));
        drained.push(heap.peekAt());
        heap.remove(slot);
      }
      assert.deepEqual(
        drained,
        [...model.values()].sort((a, b) => a - b),
      );
    }),
  );
});
