import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameCursor } from "../../../src/shared/protocol/session/frame-cursor.js";

test("a cursor gives what lies before its end, and nothing of what lies behind", () => {
  const cursor = cursorOver([0xaa, 0x05, 0x40, 0x40, 1, 2, 3], 6);

  assert.equal(cursor.byte(), 0xaa);
  assert.equal(cursor.varint(), 5);
  assert.equal(cursor.varint(), 64);
  assert.equal(cursor.take(2), 4 + 1);
  assert.equal(cursor.failed, false);
  assert.equal(cursor.byte(), -1);
  assert.equal(cursor.failed, true);
});

test("what reaches beyond the end fails, and leaves nothing to read", () => {
  const steps: readonly [string, (cursor: FrameCursor) => number][] = [
    ["a varint that is cut off", (cursor) => cursor.varint()],
    ["a byte too many", (cursor) => cursor.take(3)],
    ["2^53 - 1 bytes", (cursor) => cursor.take(Number.MAX_SAFE_INTEGER)],
    ["the count of a varint that failed", (cursor) => cursor.take(-1)],
  ];
  for (const [what, step] of steps) {
    const cursor = cursorOver([0x80, 0, 0, 0], 2);

    assert.equal(step(cursor), -1, what);
    assert.equal(cursor.failed, true, what);
    assert.equal(cursor.byte(), -1, what);
    assert.equal(cursor.varint(), -1, what);
    assert.equal(cursor.take(1), -1, what);
  }
});

test("no byte is taken at the end without a failure", () => {
  const cursor = cursorOver([7], 0);

  assert.equal(cursor.take(0), 1);
  assert.equal(cursor.failed, false);
});

test("a cursor that follows another goes its own way from there", () => {
  const first = cursorOver([1, 2, 3], 3);
  first.byte();
  const second = new FrameCursor();

  second.follow(first);

  assert.equal(second.byte(), 2);
  assert.equal(first.byte(), 2);
  assert.equal(second.byte(), 3);
});

test("an opened cursor has forgotten that it failed", () => {
  const cursor = cursorOver([1], 1);
  cursor.take(2);

  cursor.open(Uint8Array.of(9), 0, 1);

  assert.equal(cursor.failed, false);
  assert.equal(cursor.byte(), 9);
});

/** Over the first `length` of the bytes, with one byte in front. */
function cursorOver(bytes: readonly number[], length: number): FrameCursor {
  const cursor = new FrameCursor();
  cursor.open(Uint8Array.of(0xff, ...bytes), 1, length);
  return cursor;
}
