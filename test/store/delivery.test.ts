// What a session peer handed over is stored once, whatever came back how often and by which protocol,
// and nothing draws a receipt that a synced commit does not cover.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DELIVERED } from "../../src/shared/protocol/session/ports.js";
import { STORED } from "../../src/shared/runtime/inbound-batch.js";
import { STREAM_GAPS_MAX } from "../../src/workers/stream-gaps.js";
import { idOf, payloadOf } from "./fixture.js";
import {
  ALICE,
  BOB,
  BOOT,
  BOOT_2,
  deliveryBatch,
  digestOf,
  digestsOf,
  FLAG,
  SessionStoreUnderTest,
  textOf,
} from "./session-fixture.js";

const { inserted, known, conflict, quota, busy, full, held } = DELIVERED;
const ID = idOf(0xa1);
const OTHER = idOf(0xa2);
/** Outcome of a record that wants none. */
const none = DELIVERED.pending;

test("a message becomes a row with all that is known of it", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.now = Date.UTC(2026, 10, 22, 10, 11, 12, 345);
  const message = {
    id: ID,
    flags: FLAG.ordered | FLAG.reply,
    stream: "orders",
    sequence: 7,
    number: 42,
    inReplyTo: OTHER,
  };

  assert.deepEqual(store.deliver([message]), [inserted]);

  const row = store.outside.prepare("SELECT * FROM inbound_messages").get();
  assert.deepEqual(row, {
    id: 1,
    message_id: ID,
    src_addr: "192.0.2.9",
    src_port: 5_001,
    crypto_timestamp: "2026-11-22T10:11:12.345000000",
    state: "ack_sent",
    ack_sent: 1,
    received_at: "2026-11-22T10:11:12.345",
    ack_sent_at: "2026-11-22T10:11:12.345",
    updated_at: "2026-11-22T10:11:12.345",
    read_count: 0,
    peer: ALICE,
    stream: "orders",
    sequence: 7,
    boot: BOOT,
    number: 42,
    in_reply_to: OTHER,
    digest: digestOf(message),
    payload: textOf(ID),
  });
});

test("text is TEXT; bytes, and text that is not well-formed, are a BLOB, all byte for byte", (t) => {
  const store = new SessionStoreUnderTest(t);
  const cases = [
    { payload: Buffer.from("räksmörgås \0 \u{1f600}"), flags: 0, type: "text" },
    { payload: Buffer.from("plain"), flags: FLAG.bytes, type: "blob" },
    { payload: Buffer.from([0xed, 0xa0, 0x80]), flags: 0, type: "blob" },
    { payload: Buffer.alloc(0), flags: 0, type: "text" },
    { payload: Buffer.alloc(0), flags: FLAG.bytes, type: "blob" },
  ];

  store.deliver(cases.map((each, i) => ({ ...each, id: idOf(i), number: i + 1 })));

  assert.deepEqual(
    store.rows("typeof(payload), CAST(payload AS BLOB)"),
    cases.map(({ type, payload }) => [type, payload]),
  );
});

test("a clock that says anything leaves a text that is a time", (t) => {
  const store = new SessionStoreUnderTest(t);
  const clocks = [Number.NaN, -1, 2 ** 63, Number.POSITIVE_INFINITY, 5];

  store.deliver(clocks.map((sentWallNs, i) => ({ id: idOf(i), sentWallNs })));

  const stamps = store.rows("crypto_timestamp").flat() as string[];
  assert.ok(stamps.every((text) => /^1970-01-01T00:00:00\.00000000[05]$/.test(text)));
});

test("every message comes back with its digest, whatever its outcome", (t) => {
  const store = new SessionStoreUnderTest(t);
  const messages = [{ id: ID }, { id: ID }, { id: ID, payload: "other" }];
  const batch = deliveryBatch(messages);

  assert.equal(store.delivery.apply(batch, 100), undefined);

  const expected = messages.map((message) => digestOf(message).toString("hex", 0, 8));
  assert.deepEqual(digestsOf(batch), expected);
});

test("a message that comes again is known; another one under its id is refused and reported", (t) => {
  const store = new SessionStoreUnderTest(t);

  assert.deepEqual(store.deliver([{ id: ID }, { id: ID, number: 2 }]), [inserted, known]);
  const outcomes = store.deliver([
    { id: ID, payload: "other" },
    { id: ID, flags: FLAG.bytes },
    { id: ID, flags: FLAG.ordered, stream: "s", sequence: 1 },
    { id: OTHER },
    { id: ID, peer: 1 },
  ]);

  assert.deepEqual(outcomes, [conflict, conflict, conflict, inserted, inserted]);
  assert.match(store.reports.join(), /alice sent another message under id/);
});

test("what another process deleted is known, and its content still counts", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.deliver([{ id: ID }]);
  store.outside.exec("DELETE FROM inbound_messages");

  assert.deepEqual(store.deliver([{ id: ID }, { id: ID, payload: "x" }]), [known, conflict]);
  assert.deepEqual(store.rows("id"), []);
});

test("settled numbers take their tombstones along, behind all else of their transaction", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.deliver([1, 2, 3].map((number) => ({ id: idOf(number), number })));
  store.outside.exec("DELETE FROM inbound_messages");

  const outcomes = store.deliver([
    { id: idOf(1), number: 1 },
    { kind: "settled", below: 3 },
    { id: idOf(1), number: 4 },
    { id: idOf(3), number: 3 },
  ]);

  assert.deepEqual(outcomes, [known, none, known, known]);
  assert.equal(store.read("SELECT group_concat(number ORDER BY number) FROM tombstones"), "3,4");
  assert.equal(store.read("SELECT tombstones FROM inbound_usage"), 2);
  assert.deepEqual(store.deliver([{ id: idOf(2), number: 5 }]), [inserted]);
});

test("settled counts for its boot and its peer alone", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.deliver([{ id: ID }, { id: ID, peer: 1 }, { id: OTHER, boot: BOOT_2 }]);
  store.outside.exec("DELETE FROM inbound_messages");

  store.deliver([{ kind: "settled", boot: BOOT_2, below: 9 }]);

  assert.deepEqual(store.deliver([{ id: ID }, { id: ID, peer: 1 }]), [known, known]);
  assert.equal(store.read("SELECT count(*) FROM tombstones"), 2);
});

test("what is known again has the newest number, stored or deleted, so settled covers it", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.deliver([
    { id: ID, number: 5 },
    { id: OTHER, number: 6 },
  ]);
  store.outside.exec(`DELETE FROM inbound_messages WHERE message_id = '${ID}'`);

  // Numbered anew, the way of a row that its owner sent again, and after a restart of the sender.
  store.deliver([
    { id: ID, number: 9 },
    { id: ID, number: 8 },
    { kind: "settled", below: 9 },
  ]);
  assert.deepEqual(store.deliver([{ id: ID, number: 9 }]), [known]);
  store.deliver([
    { id: ID, boot: BOOT_2, number: 1 },
    { id: OTHER, boot: BOOT_2, number: 2 },
  ]);
  store.outside.exec("DELETE FROM inbound_messages");
  store.deliver([{ kind: "settled", below: 100 }]);
  assert.equal(store.read("SELECT count(*) FROM tombstones"), 2);
  store.deliver([{ kind: "settled", boot: BOOT_2, below: 3 }]);

  assert.equal(store.read("SELECT count(*) FROM tombstones"), 0);
});

test("a row that is deleted after it was settled leaves no tombstone for long", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.deliver([
    { id: ID, number: 1 },
    { id: OTHER, number: 2 },
    { kind: "settled", below: 2 },
  ]);
  store.outside.exec("DELETE FROM inbound_messages");

  while (store.settled.tend(100));

  assert.equal(store.read("SELECT group_concat(number) FROM tombstones"), "2");
});

test("a message that classic stored is known by its canonical form when it comes in a session", (t) => {
  const store = new SessionStoreUnderTest(t);
  const payload = payloadOf(ID, "hello");
  for (const deleted of [false, true]) {
    store.outside.exec("DELETE FROM inbound_messages; DELETE FROM tombstones");
    store.store([{ scope: ALICE, id: ID, payload }]);
    if (deleted) store.outside.exec("DELETE FROM inbound_messages");

    assert.deepEqual(store.deliver([{ id: ID, payload: "{}" }]), [conflict]);
    assert.deepEqual(store.deliver([{ id: ID, payload: payload.replace(":", " : ") }]), [known]);
    // From now on it is known by its session digest.
    assert.deepEqual(store.deliver([{ id: ID, payload: payload.replace(":", " : ") }]), [known]);
    assert.equal(store.read("SELECT count(*) FROM inbound_messages"), deleted ? 0 : 1);
  }
});

test("the id that classic writes into a payload makes no other message of it", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.store([{ scope: ALICE, id: ID, payload: `{"text":"hello","message_id":"${ID}"}` }]);

  assert.deepEqual(store.deliver([{ id: ID, payload: '{"text":"hello"}' }]), [known]);
});

test("a message that classic stored without a digest is known too", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.outside
    .prepare(
      `INSERT INTO inbound_messages(message_id, src_addr, src_port, crypto_timestamp, peer, payload)
       VALUES (?, 'a', 1, 'x', ?, ?)`,
    )
    .run(ID, ALICE, payloadOf(ID));

  assert.deepEqual(store.deliver([{ id: ID, payload: payloadOf(ID) }]), [known]);
});

test("a peer over its quota gets no new rows, but what it sent before is known", (t) => {
  const store = new SessionStoreUnderTest(t, { quotaBytes: 2 * textOf(ID).length });

  const outcomes = store.deliver([
    { id: ID, number: 1 },
    { id: OTHER, number: 2 },
    { id: idOf(3), number: 3 },
    { id: ID, number: 1 },
    { id: idOf(3), peer: 1 },
  ]);

  assert.deepEqual(outcomes, [inserted, inserted, quota, known, inserted]);
  assert.match(store.reports.join(), /alice has used up the quota/);
});

test("a gap in a stream is noted once, with the message behind it", (t) => {
  const store = new SessionStoreUnderTest(t);
  const behind = { flags: FLAG.ordered, stream: "s", sequence: 8, gap: [5, 7] as const };

  store.deliver([{ ...behind, id: ID }]);
  store.deliver([
    { ...behind, id: ID },
    { id: OTHER, flags: FLAG.ordered, stream: "s", sequence: 9 },
  ]);

  const gaps = store.outside.prepare("SELECT peer, stream, boot, first, last FROM stream_gaps");
  assert.deepEqual(gaps.raw().all(), [[ALICE, "s", BOOT, 5, 7]]);
  assert.match(store.reports.join(), /alice left out 5 to 7 of stream "s"/);
});

test("a peer cannot fill the table of gaps", (t) => {
  const store = new SessionStoreUnderTest(t);
  const gaps = Array.from({ length: STREAM_GAPS_MAX + 300 }, (_, i) => ({
    id: idOf(i),
    number: i + 1,
    flags: FLAG.ordered,
    stream: "s",
    sequence: 2 * i + 2,
    gap: [2 * i + 1, 2 * i + 1] as const,
  }));

  store.deliver([{ ...gaps[0], peer: 1 } as (typeof gaps)[0], ...gaps]);

  const count = "SELECT count(*) FROM stream_gaps WHERE peer = ?";
  const kept = Number(store.read(count, ALICE));
  assert.ok(kept >= STREAM_GAPS_MAX && kept < STREAM_GAPS_MAX + 200, `${kept}`);
  assert.equal(store.read("SELECT max(first) FROM stream_gaps"), 2 * gaps.length - 1);
  assert.equal(store.read(count, BOB), 1);
});

test("a batch that meets another process's lock is given back whole, and nothing is stored", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.outside.exec("BEGIN IMMEDIATE");
  const batch = deliveryBatch([{ id: ID }, { kind: "settled", below: 1 }, { id: OTHER }]);

  assert.equal(store.delivery.apply(batch, 20), "busy");

  store.outside.exec("ROLLBACK");
  assert.deepEqual(store.rows("id"), []);
  assert.deepEqual(store.deliver([{ id: ID }, { id: OTHER }]), [inserted, inserted]);
  assert.equal(digestsOf(batch)[0], digestOf({ id: ID }).toString("hex", 0, 8));
});

test("a full disk stores nothing of the batch; a quota counts from what is committed", (t) => {
  const store = new SessionStoreUnderTest(t);
  const pages = Number(store.db.pragma("page_count", { simple: true }));
  store.db.pragma(`max_page_count = ${pages + 10}`);
  const many = Array.from({ length: 100 }, (_, i) => ({
    id: idOf(i),
    number: i + 1,
    payload: "x".repeat(4_000),
  }));

  assert.deepEqual(store.deliver(many), Array(100).fill(full));
  assert.equal(store.failure, "full");
  assert.equal(store.read("SELECT count(*) FROM inbound_usage"), 0);

  store.db.pragma("max_page_count = 1000000");
  assert.deepEqual(store.deliver(many), Array(100).fill(inserted));
});

test("what classic sends under the id of a session message is known, or refused, as it is", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.deliver([{ id: ID, payload: '{"text":"hello"}' }]);

  const outcomes = store.store([
    { scope: ALICE, id: ID, payload: `{"text":"hello", "message_id":"${ID}"}` },
    { scope: ALICE, id: ID, payload: payloadOf(ID, "other") },
  ]);

  assert.deepEqual(outcomes, [STORED.known, STORED.conflict]);
});

test("an id that classic repeats after its session message was deleted is known", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.deliver([{ id: ID, payload: '{"text":"hello"}' }]);
  store.outside.exec("DELETE FROM inbound_messages");

  const outcomes = store.store([
    { scope: ALICE, id: ID, payload: `{"text":"hello","message_id":"${ID}"}` },
    { scope: "bob", id: ID },
  ]);

  assert.deepEqual(outcomes, [STORED.known, STORED.inserted]);
});

test("behind a refused message of a stream nothing of it is stored, until one says so", (t) => {
  const store = new SessionStoreUnderTest(t, { quotaBytes: 3 * textOf(ID).length });
  const of = (sequence: number, more = {}) => ({
    id: idOf(sequence),
    number: sequence,
    flags: FLAG.ordered,
    stream: "s",
    sequence,
    ...more,
  });
  const big = { payload: "x".repeat(1_000) };

  const outcomes = store.deliver([
    of(1, { resume: true }),
    of(2, big),
    of(3),
    of(1),
    { ...of(4), stream: "other", id: idOf(99) },
  ]);

  assert.deepEqual(outcomes, [inserted, quota, held, known, inserted]);
  assert.deepEqual(store.deliver([of(4)]), [held]);
  assert.deepEqual(store.deliver([of(2, { resume: true }), of(3)]), [inserted, quota]);
  assert.deepEqual(store.rows("sequence"), [[1], [4], [2]]);
});

test("a stream whose message failed with its whole batch stops too; another boot begins anew", (t) => {
  const store = new SessionStoreUnderTest(t);
  const of = (sequence: number, more = {}) => ({
    id: idOf(sequence),
    number: sequence,
    flags: FLAG.ordered,
    stream: "s",
    sequence,
    ...more,
  });
  store.outside.exec("BEGIN IMMEDIATE");
  assert.deepEqual(store.deliver([of(1, { resume: true }), of(2)], 10), [busy, busy]);
  store.outside.exec("ROLLBACK");

  assert.deepEqual(store.deliver([of(3)]), [held]);
  assert.deepEqual(store.deliver([of(1, { boot: BOOT_2, id: idOf(7), resume: true })]), [inserted]);
  assert.deepEqual(store.deliver([of(1, { resume: true }), of(2), of(3)]), [
    inserted,
    inserted,
    inserted,
  ]);
});

test("a batch is never half outcome, half pending", (t) => {
  const store = new SessionStoreUnderTest(t);

  assert.ok(!store.deliver([{ id: ID }, { id: ID }]).includes(none));
  assert.ok(![...store.deliver([{ id: OTHER }])].includes(busy));
});
