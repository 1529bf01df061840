// Wycheproof's X25519 cases through the DH of the crypto worker, among them the low-order points
// that would lead every host to the same secret.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { NOISE_PRIMITIVES } from "../../src/workers/noise-primitives.js";
import { nodePrimitives } from "./node-primitives.js";

interface Case {
  readonly tcId: number;
  readonly public: string;
  readonly private: string;
  readonly shared: string;
  readonly result: "valid" | "acceptable";
}

const FILE = new URL("../../../test/vectors/wycheproof/x25519_test.json", import.meta.url);
const CASES: readonly Case[] = JSON.parse(readFileSync(FILE, "utf8")).testGroups.flatMap(
  ({ tests }: { tests: readonly Case[] }) => tests,
);
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));
const isZero = (each: Uint8Array): boolean => each.every((byte) => byte === 0);

for (const [name, { dh }] of [
  ["libsodium", NOISE_PRIMITIVES],
  ["node:crypto", nodePrimitives("BLAKE2b")],
] as const) {
  test(`${name}: 264 valid and 223 acceptable cases match, 31 of low order are refused`, () => {
    const counts = { valid: 0, acceptable: 0, refused: 0 };
    for (const each of CASES) {
      const expected = bytes(each.shared);
      const shared = new Uint8Array(32).fill(0xa5);
      const good = dh(shared, bytes(each.private), bytes(each.public));
      assert.equal(good, !isZero(expected), `case ${each.tcId}`);
      assert.deepEqual(shared, expected, `case ${each.tcId}`);
      counts[good ? each.result : "refused"] += 1;
    }

    assert.deepEqual(counts, { valid: 264, acceptable: 223, refused: 31 });
  });
}

test("both give the same public key for a private one", () => {
  for (const { private: hex } of CASES.slice(0, 50)) {
    const [ours, other] = [new Uint8Array(32), new Uint8Array(32)];
    NOISE_PRIMITIVES.publicKey(ours, bytes(hex));
    nodePrimitives("BLAKE2b").publicKey(other, bytes(hex));
    assert.deepEqual(ours, other);
  }
});

test("a key of another length is an error of the program, not a refusal", () => {
  const key = new Uint8Array(32).fill(9);

  assert.throws(() => NOISE_PRIMITIVES.dh(new Uint8Array(32), key, key.subarray(1)), /32 bytes/);
  assert.equal(NOISE_PRIMITIVES.dh(new Uint8Array(32), key, key), true);
});
