// What is copied without an object is what `set` would have copied.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ByteCopier } from "../../src/shared/base/byte-copier.js";

const memory = fc.record({ shared: fc.boolean(), inset: fc.nat(9) });
const SIZE = 600;

/** A view that does not begin where its memory does. */
function viewOf({ shared, inset }: { shared: boolean; inset: number }): Uint8Array {
  const bytes = inset + SIZE;
  return new Uint8Array(shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes), inset);
}

test("bytes arrive as with `set`, wherever they lie, and nothing beside them changes", () => {
  const copy = fc.record({
    source: fc.nat(1),
    target: fc.nat(1),
    from: fc.nat(SIZE - 400),
    at: fc.nat(SIZE - 400),
    length: fc.nat(400),
  });
  fc.assert(
    fc.property(
      fc.array(memory, { minLength: 4, maxLength: 4 }),
      fc.array(copy, { maxLength: 12 }),
      (memories, copies) => {
        const copier = new ByteCopier();
        const [sources, targets] = [memories.slice(0, 2), memories.slice(2)].map((pair) =>
          pair.map(viewOf),
        ) as [Uint8Array[], Uint8Array[]];
        sources.forEach((source, which) => {
          source.forEach((_, i) => {
            source[i] = i * 7 + which * 101;
          });
        });
        for (const { source, target, from, at, length } of copies) {
          const bytes = sources[source] as Uint8Array;
          const into = targets[target] as Uint8Array;
          const expected = Uint8Array.from(into);
          expected.set(bytes.slice(from, from + length), at);
          copier.copy(bytes, from, into, at, length);
          assert.deepEqual(Uint8Array.from(into), expected);
        }
      },
    ),
  );
});

test("what does not lie in source or target is refused", () => {
  const copier = new ByteCopier();
  const [short, long] = [new Uint8Array(10), new Uint8Array(1_000)];
  for (const length of [11, 500]) {
    assert.throws(() => copier.copy(long, 0, short, 0, length), RangeError);
  }
  assert.throws(() => copier.copy(short, 0, long, 0, 11), RangeError);
  copier.copy(long, 0, short, 0, 10);
});
