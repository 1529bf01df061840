import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  putVarint,
  varintAt,
  varintBytes,
  varintBytesFrom,
} from "../../../src/shared/protocol/session/varint.js";

const MAX = Number.MAX_SAFE_INTEGER;

test("the examples of RFC 9000 appendix A.1 are read, the one above 2^53 - 1 refused", () => {
  const rows: [string, number, number][] = [
    // bytes, value, length
    ["9d7f3e7d", 494_878_333, 4],
    ["7bbd", 15_293, 2],
    ["25", 37, 1],
    ["4025", 37, 2],
    ["c2197c5eff14e88c", -1, 8],
  ];
  for (const [hex, value, length] of rows) {
    const bytes = Buffer.from(hex, "hex");
    assert.equal(varintAt(bytes, 0, bytes.length), value, hex);
    assert.equal(varintBytesFrom(bytes[0]), length, hex);
  }
});

test("numbers at the edges have these bytes, and are read back", () => {
  const rows: [number, string][] = [
    [0, "00"],
    [63, "3f"],
    [64, "4040"],
    [16_383, "7fff"],
    [16_384, "80004000"],
    [2 ** 30 - 1, "bfffffff"],
    [2 ** 30, "c000000040000000"],
    [2 ** 32, "c000000100000000"],
    [MAX, "c01fffffffffffff"],
  ];
  for (const [value, hex] of rows) {
    const into = new Uint8Array(8);
    const end = putVarint(into, 0, value);

    assert.equal(Buffer.from(into.subarray(0, end)).toString("hex"), hex);
    assert.equal(varintAt(into, 0, end), value);
  }
});

test("2^53 - 1 is read, 2^53 and everything above it refused", () => {
  const rows: [string, number][] = [
    ["c01fffffffffffff", MAX],
    ["c020000000000000", -1],
    ["c020000000000001", -1],
    ["ffffffffffffffff", -1],
  ];
  for (const [hex, value] of rows) assert.equal(varintAt(Buffer.from(hex, "hex"), 0, 8), value);
});

test("every number comes back from its shortest form, and from every longer one", () => {
  const number = fc.oneof(
    fc.maxSafeNat(),
    ...[63, 64, 16_383, 16_384, 2 ** 30, 2 ** 32, MAX].map((edge) =>
      fc.integer({ min: Math.max(0, edge - 3), max: Math.min(MAX, edge + 3) }),
    ),
  );
  fc.assert(
    fc.property(number, fc.nat(5), (value, at) => {
      const into = new Uint8Array(16).fill(0xee);
      const end = putVarint(into, at, value);

      assert.equal(end - at, varintBytes(value));
      assert.equal(varintBytesFrom(into[at]), end - at);
      assert.equal(varintAt(into, at, end), value);
      assert.equal(into[end], 0xee, "nothing behind it is written");
      for (let shorter = at; shorter < end; shorter++) {
        assert.equal(varintAt(into, at, shorter), -1, "cut off");
      }
      for (const length of [1, 2, 4, 8]) {
        if (length < end - at) continue;
        assert.equal(varintAt(padded(value, length), 0, length), value, `in ${length} bytes`);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("what is no whole number from 0 to 2^53 - 1 is a mistake of the caller", () => {
  for (const value of [-1, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => putVarint(new Uint8Array(8), 0, value), /whole number/, `${value}`);
  }
});

/** A number in a form of that many bytes, whether or not it is the shortest. */
function padded(value: number, length: number): Uint8Array {
  let rest = BigInt(value) | (BigInt(Math.log2(length)) << BigInt(length * 8 - 2));
  const bytes = new Uint8Array(length);
  for (let i = length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}
