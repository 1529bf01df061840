import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SipHash } from "../../../src/shared/protocol/session/siphash.js";

const COUNTING_KEY = Uint8Array.from({ length: 16 }, (_, i) => i);

test("counting inputs under the counting key hash as the authors published", () => {
  // Source: the 64 outputs of the reference code, vectors_sip64; 15 bytes: the paper's appendix A.
  const rows: [number, string][] = [
    [0, "310e0edd47db6f72"],
    [1, "fd67dc93c539f874"],
    [2, "5a4fa9d909806c0d"],
    [3, "2d7efbd796666785"],
    [4, "b7877127e09427cf"],
    [5, "8da699cd64557618"],
    [6, "cee3fe586e46c9cb"],
    [7, "37d1018bf50002ab"],
    [8, "6224939a79f5f593"],
    [15, "e545be4961ca29a1"],
    [16, "db9bc2577fcc2a3f"],
    [63, "724506eb4c328a95"],
  ];
  for (const [length, expected] of rows) {
    const input = Uint8Array.from({ length }, (_, i) => i);

    assert.equal(hashOf(COUNTING_KEY, input), expected, `${length} bytes`);
  }
});

test("the paper's example has the halves of 0xa129ca6149be45e5", () => {
  const hash = new SipHash(COUNTING_KEY);

  hash.hash(
    Uint8Array.from({ length: 15 }, (_, i) => i),
    0,
    15,
  );

  assert.equal(hash.high, 0xa129ca61);
  assert.equal(hash.low, 0x49be45e5);
});

test("the hash is SipHash-2-4 for any key and input, wherever the input lies", () => {
  const bytes = fc.uint8Array({ minLength: 0, maxLength: 70 });
  const key = fc.uint8Array({ minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(key, bytes, bytes, bytes, (key, before, input, behind) => {
      const hash = new SipHash(key);

      hash.hash(Uint8Array.of(...before, ...input, ...behind), before.length, input.length);

      assert.equal((BigInt(hash.high) << 32n) | BigInt(hash.low), sipHash24(key, input));
    }),
    { numRuns: 2_000 },
  );
});

test("a hash is written little-endian, and equals what was written and nothing else", () => {
  const hash = new SipHash(COUNTING_KEY);
  hash.hash(COUNTING_KEY, 0, 16);
  const bytes = new Uint8Array(11);

  hash.write(bytes, 2);

  assert.equal(Buffer.from(bytes).toString("hex"), "0000db9bc2577fcc2a3f00");
  assert.equal(hash.equals(bytes, 2), true);
  for (let bit = 0; bit < 64; bit++) {
    const other = bytes.slice();
    other[2 + (bit >> 3)] ^= 1 << (bit & 7);
    assert.equal(hash.equals(other, 2), false, `bit ${bit}`);
  }
});

test("the key is copied, and a wiped key is the zero key", () => {
  const key = COUNTING_KEY.slice();
  const hash = new SipHash(key);
  key.fill(9);

  hash.hash(COUNTING_KEY, 0, 16);
  const before = hash.high;
  hash.wipe();
  hash.hash(COUNTING_KEY, 0, 16);

  assert.equal(before, 0x3f2acc7f);
  assert.equal(hex(hash), hashOf(new Uint8Array(16), COUNTING_KEY));
});

test("a key of another length is a mistake of the caller", () => {
  assert.throws(() => new SipHash(new Uint8Array(15)), /16 bytes/);
  assert.throws(() => new SipHash(new Uint8Array(17)), /16 bytes/);
});

function hashOf(key: Uint8Array, input: Uint8Array): string {
  const hash = new SipHash(key);
  hash.hash(input, 0, input.length);
  return hex(hash);
}

function hex(hash: SipHash): string {
  const bytes = new Uint8Array(8);
  hash.write(bytes, 0);
  return Buffer.from(bytes).toString("hex");
}

/** The same function in the words of its definition, over big integers. */
function sipHash24(key: Uint8Array, input: Uint8Array): bigint {
  const M = 0xffff_ffff_ffff_ffffn;
  const rotl = (x: bigint, by: bigint) => ((x << by) | (x >> (64n - by))) & M;
  const little = (bytes: Uint8Array) =>
    bytes.reduceRight((word, byte) => (word << 8n) | BigInt(byte), 0n);
  const [k0, k1] = [little(key.subarray(0, 8)), little(key.subarray(8))];
  let v0 = k0 ^ 0x736f6d6570736575n;
  let v1 = k1 ^ 0x646f72616e646f6dn;
  let v2 = k0 ^ 0x6c7967656e657261n;
  let v3 = k1 ^ 0x7465646279746573n;
  const round = () => {
    v0 = (v0 + v1) & M;
    v1 = rotl(v1, 13n) ^ v0;
    v0 = rotl(v0, 32n);
    v2 = (v2 + v3) & M;
    v3 = rotl(v3, 16n) ^ v2;
    v0 = (v0 + v3) & M;
    v3 = rotl(v3, 21n) ^ v0;
    v2 = (v2 + v1) & M;
    v1 = rotl(v1, 17n) ^ v2;
    v2 = rotl(v2, 32n);
  };
  const padded = new Uint8Array((Math.floor(input.length / 8) + 1) * 8);
  padded.set(input);
  padded[padded.length - 1] = input.length;
  for (let at = 0; at < padded.length; at += 8) {
    const block = little(padded.subarray(at, at + 8));
    v3 ^= block;
    round();
    round();
    v0 ^= block;
  }
  v2 ^= 0xffn;
  for (let i = 0; i < 4; i++) round();
  return v0 ^ v1 ^ v2 ^ v3;
}
