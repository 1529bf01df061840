import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { hashWords, wordAt } from "../../src/shared/protocol/keyed-hash.js";

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });

test("sixteen counting bytes under the counting key hash as in the Linux self-test", () => {
  // Source: Linux lib/test_siphash.c, test_vectors_hsiphash for 32 bit, entry 16.
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => i);
  const words = [0, 4, 8, 12].map((at) => wordAt(bytes, at)) as [number, number, number, number];

  const hash = hashWords([0x03020100, 0x07060504], ...words);

  assert.equal(hash, 0x8b31d501);
});

test("the hash is HalfSipHash-1-3 of the words for any seed", () => {
  fc.assert(
    fc.property(fc.tuple(u32, u32), fc.tuple(u32, u32, u32, u32), (seeds, words) => {
      assert.equal(hashWords(seeds, ...words), halfSipHash13(seeds, words));
    }),
  );
});

test("keys that meet under one seed part under another", () => {
  const slotOf = (seeds: [number, number], key: number) => hashWords(seeds, key, 0, 0, 0) & 0xfff;
  const chosen: number[] = [];
  for (let key = 0; chosen.length < 64; key++) if (slotOf([1, 2], key) === 7) chosen.push(key);

  const slots = new Set(chosen.map((key) => slotOf([3, 4], key)));

  assert.ok(slots.size > 56, `64 keys of one slot land in ${slots.size} slots`);
});

test("a word is read at any offset, little-endian", () => {
  const bytes = Uint8Array.of(9, 0x04, 0x03, 0x02, 0xf1);

  assert.equal(wordAt(bytes, 1), 0xf1020304);
});

/** The same function in the words of its definition, over big integers. */
function halfSipHash13(seeds: [number, number], words: readonly number[]): number {
  const M = 0xffffffffn;
  const rotl = (x: bigint, by: bigint) => ((x << by) | (x >> (32n - by))) & M;
  let [v0, v1, v2, v3] = [BigInt(seeds[0]), BigInt(seeds[1]), 0x6c796765n, 0x74656462n];
  v2 ^= v0;
  v3 ^= v1;
  const round = () => {
    v0 = (v0 + v1) & M;
    v1 = rotl(v1, 5n) ^ v0;
    v0 = rotl(v0, 16n);
    v2 = (v2 + v3) & M;
    v3 = rotl(v3, 8n) ^ v2;
    v0 = (v0 + v3) & M;
    v3 = rotl(v3, 7n) ^ v0;
    v2 = (v2 + v1) & M;
    v1 = rotl(v1, 13n) ^ v2;
    v2 = rotl(v2, 16n);
  };
  for (const word of [...words, 16 << 24]) {
    v3 ^= BigInt(word);
    round();
    v0 ^= BigInt(word);
  }
  v2 ^= 0xffn;
  for (let i = 0; i < 3; i++) round();
  return Number(v1 ^ v3);
}
