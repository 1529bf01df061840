import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { IdTable, idTableBytesMax } from "../../src/shared/protocol/id-table.js";
import { hashWords } from "../../src/shared/protocol/keyed-hash.js";

const SEEDS = [0x1234_5678, 0x9abc_def0] as const;

test("an id means something only together with its scope", () => {
  const table = new IdTable({ seeds: SEEDS, entriesMax: 8 });

  table.insert(idOf(1), 0, 0, 10);
  table.insert(idOf(1), 0, 1, 11);

  assert.equal(table.find(idOf(1), 0, 0), 10);
  assert.equal(table.find(idOf(1), 0, 1), 11);
  assert.equal(table.find(idOf(1), 0, 2), -1);
  assert.equal(table.size, 2);
});

test("an id is read at any offset", () => {
  const table = new IdTable({ seeds: SEEDS, entriesMax: 8 });
  const bytes = new Uint8Array(40);
  bytes.set(idOf(77), 13);

  table.insert(bytes, 13, 0, 5);

  assert.equal(table.find(idOf(77), 0, 0), 5);
  assert.equal(table.delete(bytes, 13, 0), true);
  assert.equal(table.find(idOf(77), 0, 0), -1);
});

test("the greatest values and scopes of 32 bits come back as they were", () => {
  const table = new IdTable({ seeds: SEEDS, entriesMax: 8 });

  table.insert(idOf(1), 0, 0xffff_ffff, 0xffff_ffff);

  assert.equal(table.find(idOf(1), 0, 0xffff_ffff), 0xffff_ffff);
});

test("a full table refuses a new id, takes a known one, and the new one after a deletion", () => {
  const table = new IdTable({ seeds: SEEDS, entriesMax: 3 });
  for (let i = 0; i < 3; i++) assert.equal(table.insert(idOf(i), 0, 0, i), true);

  assert.equal(table.insert(idOf(3), 0, 0, 3), false);
  assert.equal(table.find(idOf(3), 0, 0), -1);
  assert.equal(table.insert(idOf(1), 0, 0, 99), true);
  assert.equal(table.find(idOf(1), 0, 0), 99);

  assert.equal(table.delete(idOf(0), 0, 0), true);
  assert.equal(table.delete(idOf(0), 0, 0), false);
  assert.equal(table.insert(idOf(3), 0, 0, 3), true);
  assert.equal(table.size, 3);
});

test("keys of the same hash are told apart by every word", () => {
  for (const word of [0, 1, 2, 3]) {
    const [one, other] = collision(word);
    const table = new IdTable({ seeds: SEEDS, entriesMax: 8 });

    table.insert(one.id, 0, one.scope, 1);

    assert.equal(table.find(one.id, 0, one.scope), 1, `word ${word}`);
    assert.equal(table.find(other.id, 0, other.scope), -1, `word ${word}`);
  }
});

test("clearing forgets every id", () => {
  const table = new IdTable({ seeds: SEEDS, entriesMax: 1_000 });
  for (let i = 0; i < 1_000; i++) table.insert(idOf(i), 0, 0, i);

  table.clear();

  assert.equal(table.size, 0);
  for (let i = 0; i < 1_000; i++) assert.equal(table.find(idOf(i), 0, 0), -1);
});

test("it behaves as a map does, whatever is inserted and deleted", () => {
  // Few ids, so that deletions hit; enough of them that probe chains form, wrap round and grow.
  const step = fc.tuple(
    fc.constantFrom("insert", "insert", "delete", "find"),
    fc.nat(160),
    fc.nat(1),
    fc.nat(2 ** 31),
  );
  fc.assert(
    fc.property(
      fc.tuple(fc.nat(), fc.nat()),
      fc.array(step, { maxLength: 600, size: "max" }),
      (seeds, steps) => {
        const table = new IdTable({ seeds, entriesMax: 150 });
        const model = new Map<string, number>();
        for (const [kind, id, scope, value] of steps) {
          const key = `${id}/${scope}`;
          if (kind === "insert") {
            const room = model.has(key) || model.size < 150;
            assert.equal(table.insert(idOf(id), 0, scope, value), room);
            if (room) model.set(key, value);
          } else if (kind === "delete") {
            assert.equal(table.delete(idOf(id), 0, scope), model.delete(key));
          } else {
            assert.equal(table.find(idOf(id), 0, scope), model.get(key) ?? -1);
          }
          assert.equal(table.size, model.size);
        }
        for (const [key, value] of model) {
          const [id, scope] = key.split("/").map(Number) as [number, number];
          assert.equal(table.find(idOf(id), 0, scope), value);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("every id is found after two thirds of many were deleted", () => {
  const table = new IdTable({ seeds: SEEDS, entriesMax: 65_536 });
  for (let i = 0; i < 65_536; i++) assert.equal(table.insert(idOf(i), 0, i & 3, i), true);
  assert.equal(table.insert(idOf(65_536), 0, 0, 0), false);

  for (let i = 0; i < 65_536; i++) if (i % 3 !== 0) table.delete(idOf(i), 0, i & 3);

  for (let i = 0; i < 65_536; i++) {
    assert.equal(table.find(idOf(i), 0, i & 3), i % 3 === 0 ? i : -1);
  }
  assert.equal(table.size, 21_846);
});

test("the memory of a full table of 65,536 ids is 3 MiB", () => {
  assert.equal(idTableBytesMax(65_536), 3 * 2 ** 20);
});

interface Key {
  readonly id: Uint8Array;
  readonly scope: number;
}

/** Two keys with one hash of 32 bits that differ in one word, found by search. */
function collision(word: number): readonly [Key, Key] {
  const seen = new Map<number, number>();
  for (let value = 0; ; value++) {
    const words: [number, number, number, number] = [0, 0, 0, 0];
    words[word] = value;
    const hash = hashWords(SEEDS, ...words);
    const earlier = seen.get(hash);
    if (earlier !== undefined) return [keyOf(word, earlier), keyOf(word, value)];
    seen.set(hash, value);
  }
}

function keyOf(word: number, value: number): Key {
  const id = new Uint8Array(12);
  if (word < 3) new DataView(id.buffer).setUint32(word * 4, value, true);
  return { id, scope: word < 3 ? 0 : value };
}

function idOf(number: number): Uint8Array {
  const id = new Uint8Array(12);
  new DataView(id.buffer).setUint32(8, number);
  return id;
}
