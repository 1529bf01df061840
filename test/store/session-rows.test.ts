// Rows for session peers: any text and any bytes go as they stand, with the digest that the receiver
// will compute, and what cannot go says why at once.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DELIVERED } from "../../src/shared/protocol/session/ports.js";
import { OutboundBatchReader } from "../../src/shared/runtime/outbound-batch.js";
import { PayloadReader } from "../../src/workers/payload-reader.js";
import { idOf } from "./fixture.js";
import {
  ALICE,
  bytesOf,
  digestOf,
  FLAG,
  largePayload,
  SessionStoreUnderTest,
} from "./session-fixture.js";

const ID = idOf(0xa1);
const OTHER = idOf(0xa2);
const peerOf = (address: string): string | undefined => (address === "alice" ? ALICE : undefined);

interface SessionRowRead {
  readonly id: number;
  readonly peer: string | undefined;
  readonly messageId: string;
  readonly flags: number;
  readonly stream: string;
  readonly total: number;
  readonly inBatch: boolean;
  readonly inReplyTo: string;
  readonly digest: Buffer;
  readonly payload: Buffer;
}

function leaseAll(store: SessionStoreUnderTest): readonly SessionRowRead[] {
  const rows: SessionRowRead[] = [];
  for (;;) {
    const leased = store.leaseBatch();
    if (leased === undefined) return rows.sort((one, other) => one.id - other.id);
    const reader = new OutboundBatchReader(structuredClone(leased.batch));
    const bytes = Buffer.from(reader.bytes);
    const slice = (at: number, length: number): Buffer => bytes.subarray(at, at + length);
    while (reader.next()) {
      rows.push({
        id: reader.rowId,
        peer: reader.destination.peer,
        messageId: slice(reader.messageIdAt, 12).toString("hex"),
        flags: reader.flags,
        stream: reader.stream,
        total: reader.total,
        inBatch: reader.inBatch,
        inReplyTo: slice(reader.inReplyToAt, 12).toString("hex"),
        digest: slice(reader.digestAt, 32),
        payload: slice(reader.payloadAt, reader.payloadLength),
      });
    }
  }
}

const enqueue = (store: SessionStoreUnderTest, columns: object = {}): number =>
  store.enqueue({ dst_addr: "alice", ...columns });

test("any text and any bytes go as they stand, and the receiver finds the same digest", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  const cases = [
    { payload: "no JSON, räksmörgås", flags: 0 },
    { payload: "", flags: 0 },
    { payload: Buffer.alloc(0), flags: FLAG.bytes },
    { payload: Buffer.from([0, 255, 1]), flags: FLAG.bytes },
    { payload: '{"type":"ACK"}', flags: 0 },
    { payload: "s", flags: FLAG.ordered, stream: "orders" },
    { payload: "r", flags: FLAG.reply, in_reply_to: OTHER },
    { payload: "e", flags: 0, stream: "", in_reply_to: "" },
    {
      payload: Buffer.from([9]),
      flags: FLAG.ordered | FLAG.reply | FLAG.bytes,
      stream: "ä".repeat(32),
      in_reply_to: OTHER,
    },
  ];
  for (const [i, { flags, ...columns }] of cases.entries()) {
    enqueue(store, { message_id: idOf(i), ...columns });
  }

  const rows = leaseAll(store);

  assert.equal(rows.length, cases.length);
  const handed = rows.map((row, i) => {
    const { payload, flags, stream = "", in_reply_to = "" } = cases[i] as (typeof cases)[0];
    const inReplyTo = in_reply_to === "" ? idOf(0) : in_reply_to;
    const message = { id: idOf(i), payload, flags, stream, inReplyTo, number: i + 1 };
    const { peer, messageId, total, inBatch } = row;
    assert.deepEqual([peer, messageId, inBatch], [ALICE, idOf(i), true]);
    assert.deepEqual([row.flags, row.stream, row.inReplyTo], [flags, stream, inReplyTo]);
    assert.ok(row.payload.equals(Buffer.from(payload as string)) && total === row.payload.length);
    assert.ok(row.digest.equals(digestOf(message)), `${i}`);
    return { ...message, resume: true, sequence: i };
  });
  assert.deepEqual(store.deliver(handed), Array(cases.length).fill(DELIVERED.inserted));
});

test("text that is not well-formed goes as bytes", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  store.outside.exec(`INSERT INTO outbound_messages(dst_addr, dst_port, payload)
    VALUES ('alice', 1, CAST(x'eda080' AS TEXT))`);

  const [row] = leaseAll(store);

  assert.equal(row?.flags, FLAG.bytes);
  assert.deepEqual(row?.payload, Buffer.from([0xed, 0xa0, 0x80]));
});

test("a row without an id gets one, and its payload stays as it was", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  const payload = '{ "text" : "hello" }';
  const id = enqueue(store, { payload });
  const bytes = enqueue(store, { payload: Buffer.from(payload) });

  const rows = leaseAll(store);

  assert.deepEqual(
    rows.map((row) => row.messageId),
    [id, bytes].map((each) => store.row(each).message_id),
  );
  assert.deepEqual([store.row(id).payload, store.row(id).generation], [payload, 0]);
  assert.deepEqual(store.row(bytes).payload, Buffer.from(payload));
});

test("a payload with an id of its own is none of the store's business", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  enqueue(store, { message_id: ID, payload: `{"message_id":"${OTHER}"}` });

  assert.deepEqual(
    leaseAll(store).map((row) => row.messageId),
    [ID],
  );
});

test("a large row goes without its payload, which is then read in pieces", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  const reader = new PayloadReader(store.db, () => 0);
  const payload = largePayload(600_000);
  const text = "ä".repeat(200_000);
  enqueue(store, { message_id: ID, payload });
  enqueue(store, { message_id: OTHER, payload: text });
  enqueue(store, { payload: Buffer.alloc(256 * 1_024) });

  const [bytes, large, fits] = leaseAll(store);

  assert.deepEqual([bytes?.inBatch, bytes?.total, bytes?.payload.length], [false, 600_000, 0]);
  assert.deepEqual([bytes?.flags, large?.flags, fits?.inBatch], [FLAG.bytes, 0, true]);
  assert.ok(bytes?.digest.equals(digestOf({ id: ID, payload, flags: FLAG.bytes })));
  assert.ok(large?.digest.equals(digestOf({ id: OTHER, payload: text })));
  const order = { rowId: bytes?.id ?? 0, generation: 0, offset: 262_144, length: 262_144, tag: 0 };
  assert.ok(payload.subarray(262_144, 524_288).equals(Buffer.from(reader.read(order) ?? [])));
});

test("what cannot go fails at once, and says why and what to do", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  const cases: readonly (readonly [object, RegExp])[] = [
    [
      { payload: Buffer.alloc(64 * 1_024 * 1_024 + 1) },
      /67108865 bytes, and a message has at most/,
    ],
    [{ stream: "x".repeat(65) }, /stream is no text of 1 to 64 bytes/],
    [{ stream: Buffer.from("x") }, /stream is no text/],
    [{ in_reply_to: "ABC" }, /in_reply_to is not 24 lower-case hex digits/],
    [{ message_id: "no id" }, /message_id is not 24 lower-case hex digits/],
    [{ generation: -1 }, /generation is no number/],
    [{ expires_at: "2020-01-01" }, /expired, not sent/],
  ];
  const ids = cases.map(([columns]) => enqueue(store, columns));
  enqueue(store, { stream: "x".repeat(64) });

  assert.equal(leaseAll(store).length, 1);

  for (const [i, [, why]] of cases.entries()) {
    const { state, last_error: error } = store.row(ids[i] as number);
    assert.equal(state, "send_failed");
    assert.match(String(error), why);
  }
});

test("rows for others go by classic as ever, beside those of a session peer", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  const classic = store.enqueue({ payload: "no JSON" });
  const good = store.enqueue({ payload: "{}" });
  const session = enqueue(store, { payload: "no JSON" });

  const rows = leaseAll(store);

  assert.deepEqual(
    rows.map(({ id, peer }) => [id, peer]),
    [
      [good, undefined],
      [session, ALICE],
    ],
  );
  assert.match(String(store.row(classic).last_error), /JSON/);
});

test("a row that was leased for a session is settled, read again and taken back as any other", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  const payload = largePayload(300_000);
  const ids = [1, 2, 3].map((n) => enqueue(store, { message_id: idOf(n), payload }));
  const [first, second, third] = ids as [number, number, number];
  assert.equal(leaseAll(store).length, 3);

  assert.equal(store.settle({ acknowledged: [{ id: first, generation: 0 }] }), 1);
  assert.deepEqual(store.lease(0, { again: [[second, 7]] }).gone, []);
  store.outside.exec(`UPDATE outbound_messages SET payload = 'another' WHERE id = ${third}`);
  assert.deepEqual(store.lease(0, { again: [[third, 8]] }).gone, [8]);

  const again = leaseAll(store);
  assert.deepEqual(
    again.map((row) => [row.id, row.payload.toString()]),
    [[third, "another"]],
  );
  assert.equal(store.row(first).state, "acknowledged");
  assert.deepEqual(again[0]?.messageId, Buffer.from(bytesOf(idOf(3))).toString("hex"));
});

test("a large row is not written anew to say that it waits, a small one is", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  const large = enqueue(store, { message_id: idOf(1), payload: largePayload(300_000) });
  const small = enqueue(store, { message_id: idOf(2), payload: largePayload(3_000) });
  leaseAll(store);
  const before = store.row(large);

  const waits = (id: number, reason?: string) =>
    store.settle({ waiting: [{ id, generation: 0, attempts: 1, ...(reason && { reason }) }] });

  assert.deepEqual([waits(large), waits(small)], [0, 1]);
  assert.deepEqual(store.row(large), before);
  assert.equal(store.row(small).state, "sent");
  assert.equal(waits(large, "its quota is used up"), 1, "but for a reason to tell");
  assert.deepEqual(
    [store.row(large).state, store.row(large).last_error],
    ["sent", "its quota is used up"],
  );
  assert.equal(store.settle({ acknowledged: [{ id: large, generation: 0 }] }), 1);
  assert.equal(store.row(large).state, "acknowledged");
});

test("a large row that expired may have been delivered, whatever its state says", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  const expires_at = new Date(store.now + 1_000).toISOString();
  const [large, small] = [300_000, 3_000].map((bytes, n) =>
    enqueue(store, { message_id: idOf(n), payload: largePayload(bytes), expires_at }),
  ) as [number, number];

  store.now += 2_000;
  leaseAll(store);

  assert.equal(store.row(large).last_error, "expired, may have been delivered");
  assert.equal(store.row(small).last_error, "expired, not sent");
});

test("a large row that becomes another one while it is read goes as that one, once", (t) => {
  let asked = 0;
  const store: SessionStoreUnderTest = new SessionStoreUnderTest(t, {
    peerOf: (address) => {
      asked += 1;
      if (asked === 2) store.outside.exec("UPDATE outbound_messages SET payload = 'another'");
      return peerOf(address);
    },
  });
  enqueue(store, { message_id: ID, payload: largePayload(300_000) });

  const rows = leaseAll(store);

  assert.ok(asked > 2);
  assert.deepEqual(
    rows.map((row) => [row.payload.toString(), row.total, row.inBatch]),
    [["another", 7, true]],
  );
});

test("rows that classic gave back come once more, as rows of the session, and end once", (t) => {
  let moved = false;
  const store = new SessionStoreUnderTest(t, { peerOf: () => (moved ? ALICE : undefined) });
  const ids = Array.from({ length: 40 }, (_, n) => enqueue(store, { payload: `{"n":${n}}` }));
  const byClassic = leaseAll(store);
  assert.ok(byClassic.length > 0 && byClassic.every(({ peer }) => peer === undefined));

  moved = true;
  const back = byClassic.map(({ id }) => ({ rowId: id, generation: 0 }));
  store.outbox.takeBack(back.toReversed());
  const bySession = leaseAll(store);

  assert.deepEqual(
    bySession.map(({ id, peer }) => [id, peer]),
    ids.map((id) => [id, ALICE]),
  );
  assert.deepEqual(leaseAll(store), [], "none comes twice");
  const ended = ids.map((id) => ({ id, generation: 0 }));
  assert.equal(store.settle({ acknowledged: ended }), ids.length);
  assert.equal(store.settle({ acknowledged: ended }), 0);
  // A word about a lease that is over says nothing.
  store.outbox.takeBack(back);
  assert.deepEqual(leaseAll(store), []);
});
