// Wycheproof's HKDF cases through our HKDF, with SHA-512 in the place of BLAKE2b (for which nobody
// has published any): the same HMAC and the same expansion as in Noise and in the keys of pairs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Hkdf, hkdfBytes } from "../../src/shared/protocol/noise/hkdf.js";
import { nodePrimitives } from "./node-primitives.js";

interface Case {
  readonly tcId: number;
  readonly ikm: string;
  readonly salt: string;
  readonly info: string;
  readonly size: number;
  readonly okm: string;
  readonly result: "valid" | "invalid";
}

const FILE = new URL("../../../test/vectors/wycheproof/hkdf_sha512_test.json", import.meta.url);
const CASES: readonly Case[] = JSON.parse(readFileSync(FILE, "utf8")).testGroups.flatMap(
  ({ tests }: { tests: readonly Case[] }) => tests,
);
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));

test("our HKDF agrees with Wycheproof, asserts what is too long, and keeps nothing", () => {
  const primitives = nodePrimitives("SHA512");
  const memory = new Uint8Array(hkdfBytes(primitives.hash));
  const hkdf = new Hkdf(primitives, memory);
  const counts = { valid: 0, invalid: 0 };

  for (const { tcId, ikm, salt, info, size, okm, result } of CASES) {
    const into = new Uint8Array(size);
    const derive = () => hkdf.derive(into, bytes(salt), [bytes(ikm)], [bytes(info)]);
    if (result === "valid") {
      derive();
      assert.deepEqual(into, bytes(okm), `case ${tcId}`);
      assert.deepEqual(memory, new Uint8Array(memory.length), `case ${tcId}: wiped`);
    } else {
      assert.throws(derive, /255 blocks/, `case ${tcId}`);
    }
    counts[result] += 1;
  }

  assert.deepEqual(counts, { valid: 80, invalid: 3 });
});
