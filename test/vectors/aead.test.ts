// RFC 8439 and Wycheproof vectors through the functions that the crypto worker uses, BLAKE2b's known
// answers through its digest, and Wycheproof HKDF-SHA-512 through what derives pair secrets.

import assert from "node:assert/strict";
import { hkdfSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { blake2b, NONCE_BYTES, open, sealInPlace, TAG_BYTES } from "../../src/workers/aead.js";

const VECTORS = new URL("../../../test/vectors/", import.meta.url);
const load = (name: string) => JSON.parse(readFileSync(new URL(name, VECTORS), "utf8"));
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));

interface Case {
  readonly tcId?: number;
  readonly id?: string;
  readonly key: string;
  readonly iv: string;
  readonly aad: string;
  readonly msg: string;
  readonly ct: string;
  readonly tag: string;
  readonly result: "valid" | "invalid" | "acceptable";
}

function judge(vector: Case): void {
  const name = `case ${vector.tcId ?? vector.id}`;
  const [key, iv, msg] = [bytes(vector.key), bytes(vector.iv), bytes(vector.msg)];
  const sealed = bytes(vector.ct + vector.tag);
  const plain = new Uint8Array(msg.length).fill(0xa5);
  const aad = vector.aad === "" ? null : bytes(vector.aad);
  const opened = open(plain, sealed, iv, key, aad);
  if (vector.result !== "valid") {
    assert.equal(opened, false, name);
    assert.ok(
      plain.every((byte) => byte === 0 || msg.length === 0),
      `${name}: no plaintext leaves`,
    );
    return;
  }
  assert.equal(opened, true, name);
  assert.deepEqual(plain, msg, name);
  const memory = new Uint8Array(msg.length + TAG_BYTES);
  memory.set(msg);
  sealInPlace(memory, memory.subarray(0, msg.length), iv, key, aad);
  assert.deepEqual(memory, sealed, `${name}: sealed in place`);
}

test("RFC 8439 vectors open and seal as printed", () => {
  const { vectors } = load("rfc/rfc8439_aead.json") as { vectors: Case[] };
  assert.equal(vectors.length, 2);
  for (const vector of vectors) judge({ ...vector, result: "valid" });
});

test("all 325 Wycheproof ChaCha20-Poly1305 cases agree", () => {
  const { testGroups } = load("wycheproof/chacha20_poly1305_test.json");
  let [judged, refused] = [0, 0];
  for (const group of testGroups) {
    for (const vector of group.tests as Case[]) {
      if (group.ivSize === NONCE_BYTES * 8) {
        judge(vector);
        judged += 1;
      } else {
        const plain = new Uint8Array(vector.msg.length / 2);
        assert.equal(
          open(plain, bytes(vector.ct + vector.tag), bytes(vector.iv), bytes(vector.key)),
          false,
        );
        refused += 1;
      }
    }
  }
  assert.deepEqual([judged, refused], [316, 9]);
});

test("a datagram with any single bit flipped does not open", () => {
  const key = new Uint8Array(32).fill(7);
  const nonce = new Uint8Array(12).fill(9);
  const sealed = new Uint8Array(40 + TAG_BYTES);
  sealInPlace(sealed, sealed.subarray(0, 40), nonce, key);
  const plain = new Uint8Array(40);
  assert.equal(open(plain, sealed, nonce, key), true);
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    sealed[bit >> 3] = (sealed[bit >> 3] as number) ^ (1 << (bit & 7));
    assert.equal(open(plain, sealed, nonce, key), false, `bit ${bit}`);
    sealed[bit >> 3] = (sealed[bit >> 3] as number) ^ (1 << (bit & 7));
  }
});

test("BLAKE2b gives its known answers", () => {
  const cases = (
    load("blake2/blake2b_kat.json") as { in: string; key: string; out: string }[]
  ).filter(({ key }) => key === "");
  assert.equal(cases.length, 256);
  for (const { in: input, out } of cases) {
    const digest = new Uint8Array(out.length / 2);
    blake2b(digest, bytes(input));
    assert.deepEqual(digest, bytes(out));
  }
});

test("the platform's HKDF-SHA-512 agrees with Wycheproof", () => {
  const { testGroups } = load("wycheproof/hkdf_sha512_test.json");
  let [valid, invalid] = [0, 0];
  for (const group of testGroups) {
    for (const { ikm, salt, info, size, okm, result } of group.tests) {
      const derive = () => hkdfSync("sha512", bytes(ikm), bytes(salt), bytes(info), size);
      if (result === "valid") {
        assert.deepEqual(new Uint8Array(derive()), bytes(okm));
        valid += 1;
      } else {
        assert.throws(derive);
        invalid += 1;
      }
    }
  }
  assert.deepEqual([valid, invalid], [80, 3]);
});
