// How the consumers of the benchmarks count, so that a rate is one of messages that all arrived.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MessageCount } from "../../bench/message-count.js";
import { message } from "../../bench/payload.js";

const BYTES = 200;
const end = (n: number): Uint8Array => Buffer.from(`{"end":${n}}`);

/** A count that took these, in this order. */
function counted(...payloads: readonly Uint8Array[]): MessageCount {
  const count = new MessageCount(BYTES);
  count.whole.catch(() => {});
  for (const payload of payloads) count.take(payload);
  return count;
}
const sent = (n: number): Uint8Array => message(n, BYTES).payload;

describe("a count of messages", () => {
  test("is whole when each number up to the last one came", async () => {
    const before = performance.timeOrigin + performance.now();
    const count = counted(sent(0), sent(1), sent(2), end(3));

    assert.equal(count.isWhole, true);
    assert.equal(count.messages, 4);
    assert.ok((await count.whole) >= before);
  });

  test("is not whole while one is missing, whatever came twice", () => {
    const count = counted(sent(0), sent(2), sent(2), end(3));

    assert.equal(count.isWhole, false);
    assert.deepEqual([count.messages, count.again], [3, 1]);

    count.take(sent(1));
    assert.equal(count.isWhole, true);
  });

  test("does not mind the order", () => {
    assert.equal(counted(end(2), sent(1), sent(0)).isWhole, true);
  });

  test("tells numbers of many digits apart", () => {
    const count = counted(sent(9), sent(10), sent(99), sent(100), sent(3_000_000), sent(300_000));

    assert.deepEqual([count.messages, count.again], [6, 0]);
  });

  test("rejects a message of another length, and takes its twin of the right one", async () => {
    const count = counted(sent(0));
    assert.equal(count.messages, 1);

    count.take(sent(1).subarray(0, -1));
    await assert.rejects(count.whole, /a message of 199 bytes arrived/);
  });
});
