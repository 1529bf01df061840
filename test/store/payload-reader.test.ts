// Pieces of outbound payloads while their rows are what was leased, and nothing of what they became.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  PAYLOAD_IDLE_MS,
  PAYLOAD_PIECE_BYTES_MAX,
  PayloadReader,
} from "../../src/workers/payload-reader.js";
import { idOf, StoreUnderTest } from "./fixture.js";
import { largePayload } from "./session-fixture.js";

const LARGE = largePayload(700_000);
const PIECE = PAYLOAD_PIECE_BYTES_MAX;

test("a large payload comes in pieces of 256 KiB at most, and ends where it ends", (t) => {
  const store = new StoreUnderTest(t);
  const reader = new PayloadReader(store.db, () => store.now);
  const rowId = store.enqueue({ message_id: idOf(1), payload: LARGE });
  const read = (offset: number, length: number) =>
    reader.read({ rowId, generation: 0, offset, length, tag: 1 });

  const pieces = [0, PIECE, 2 * PIECE].map((offset) => read(offset, 10 * PIECE) as Uint8Array);

  assert.deepEqual(
    pieces.map(({ length }) => length),
    [PIECE, PIECE, LARGE.length - 2 * PIECE],
  );
  assert.ok(Buffer.concat(pieces).equals(LARGE));
  assert.deepEqual(read(699_999, 5)?.length, 1);
  assert.deepEqual(
    [read(700_000, 5)?.length, read(700_001, 5), read(-1, 5)],
    [0, undefined, undefined],
  );
  assert.deepEqual(Buffer.from(read(5, 3) as Uint8Array), LARGE.subarray(5, 8));
});

test("text is read as its bytes, and a piece is memory of its own", (t) => {
  const store = new StoreUnderTest(t);
  const reader = new PayloadReader(store.db, () => store.now);
  const rowId = store.enqueue({ payload: "räksmörgås" });

  const piece = reader.read({ rowId, generation: 0, offset: 1, length: 2, tag: 1 });

  assert.equal(Buffer.from(piece as Uint8Array).toString(), "ä");
  assert.equal(piece?.buffer.byteLength, 2);
});

test("a row that is gone, final or another by now has no bytes, also when they were kept", (t) => {
  const harms = [
    "DELETE FROM outbound_messages",
    "UPDATE outbound_messages SET state = 'send_failed'",
    "UPDATE outbound_messages SET payload = 'another'",
    "UPDATE outbound_messages SET dst_addr = '192.0.2.77'",
  ];
  for (const harm of harms) {
    const store = new StoreUnderTest(t);
    const reader = new PayloadReader(store.db, () => store.now);
    const rowId = store.enqueue({ message_id: idOf(1), payload: LARGE });
    const order = { rowId, generation: 0, offset: 0, length: 10, tag: 1 };
    assert.equal(reader.read(order)?.length, 10);

    store.outside.exec(harm);

    assert.equal(reader.read(order), undefined, harm);
    assert.equal(reader.read({ ...order, rowId: rowId + 1 }), undefined);
  }
});

test("a redriven row is read under its new generation", (t) => {
  const store = new StoreUnderTest(t);
  const reader = new PayloadReader(store.db, () => store.now);
  const rowId = store.enqueue({ message_id: idOf(1), payload: LARGE });
  const order = { rowId, offset: 0, length: 4, tag: 1 };
  reader.read({ ...order, generation: 0 });
  store.outside.exec("UPDATE outbound_messages SET payload = x'01020304'");

  assert.equal(reader.read({ ...order, generation: 0 }), undefined);
  assert.deepEqual(reader.read({ ...order, generation: 1 }), Uint8Array.of(1, 2, 3, 4));
});

test("so many bytes of large payloads are kept while pieces of them are asked for, and none for long", (t) => {
  const store = new StoreUnderTest(t);
  const reader = new PayloadReader(store.db, () => store.now, 2 * LARGE.length);
  const ids = [1, 2, 3].map((n) => store.enqueue({ message_id: idOf(n), payload: LARGE }));
  const read = (n: number) =>
    reader.read({ rowId: ids[n] as number, generation: 0, offset: 0, length: 9, tag: 1 });

  for (const n of [0, 1, 2]) assert.equal(read(n)?.length, 9);
  assert.equal(reader.keptBytes, 2 * LARGE.length);

  store.now += PAYLOAD_IDLE_MS - 1;
  assert.equal(read(2)?.length, 9);
  store.now += 2;
  reader.tend();
  assert.equal(reader.keptBytes, LARGE.length);
  store.outside.exec("DELETE FROM outbound_messages");
  assert.equal(read(2), undefined);
  assert.equal(reader.keptBytes, 0);
});
