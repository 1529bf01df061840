// Times as text: what SQLite writes, what other programs write, and what is none.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { connect } from "../../src/shared/store/driver.js";
import { parseStamp, parseTime, StampText, timeText } from "../../src/shared/store/text-time.js";

test("an instant is written as SQLite's strftime writes it", () => {
  const db = connect(":memory:", {});
  const strftime = db
    .prepare("SELECT strftime('%Y-%m-%dT%H:%M:%f', ? / 1000.0, 'unixepoch')")
    .pluck();
  for (const ms of [0, 1_700_000_000_123, 951_782_400_000, 4_102_444_799_999]) {
    assert.equal(timeText(ms), strftime.get(ms));
  }
  db.close();
});

test("what was written is read back, and sorts as the instants do", () => {
  const instants = fc.integer({ min: 0, max: Date.UTC(9_999, 11, 31) });
  fc.assert(
    fc.property(instants, instants, (a, b) => {
      assert.equal(parseTime(timeText(a)), a);
      assert.equal(timeText(a) < timeText(b), a < b);
    }),
  );
});

test("other spellings of UTC are read", () => {
  const expected = Date.UTC(2026, 10, 22, 1, 2, 3);
  for (const text of [
    "2026-11-22T01:02:03.000",
    "2026-11-22 01:02:03",
    "2026-11-22T01:02:03Z",
    "2026-11-22 01:02:03+00:00",
    "2026-11-22T01:02:03.000000999",
  ]) {
    assert.equal(parseTime(text), expected, text);
  }
  assert.equal(parseTime("2026-11-22"), Date.UTC(2026, 10, 22));
  assert.equal(parseTime("0001-01-01T00:00:00.000"), -62_135_596_800_000);
});

test("what is no time is none", () => {
  for (const text of [
    "",
    "now",
    "soon",
    "2026-13-01T00:00:00",
    "2026-02-30T00:00:00",
    "2026-11-22T24:00:00",
    "2026-11-22T01:02:03+01:00",
    "1764000000",
    " 2026-11-22",
    "2026-11-22\0",
    null,
    5,
    Buffer.from("2026-11-22"),
  ]) {
    assert.equal(parseTime(text), undefined, String(text));
  }
});

test("instants that no text holds become the nearest that one does", () => {
  assert.equal(timeText(Number.POSITIVE_INFINITY), "9999-12-31T23:59:59.999");
  assert.equal(timeText(Number.NEGATIVE_INFINITY), "0000-01-01T00:00:00.000");
  assert.equal(timeText(Number.NaN), "1970-01-01T00:00:00.000");
});

test("stamps keep their nanoseconds", () => {
  const text = new StampText();
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 62n - 1n }), (stampNs) => {
      assert.equal(parseStamp(text.of(stampNs)), stampNs);
    }),
  );
  assert.equal(text.of(1_000_000_001n), "1970-01-01T00:00:01.000000001");
  assert.equal(parseStamp("soon"), undefined);
});
