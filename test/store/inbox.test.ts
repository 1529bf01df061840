// The dedupe rule of wire.md's table, row by row, and what may be acknowledged.

import assert from "node:assert/strict";
import { test } from "node:test";
import { STORED } from "../../src/shared/runtime/inbound-batch.js";
import { Retention } from "../../src/workers/retention.js";
import { DAY_MS, idOf, payloadOf, StoreUnderTest } from "./fixture.js";

const { inserted, known, conflict, reflected, quota } = STORED;
const ID = idOf(0xa1);

test("a message is stored byte for byte, and marked as acknowledged by its commit", (t) => {
  const store = new StoreUnderTest(t);
  const payload = `{ "message_id" : "${ID}",\n  "text": "räksmörgås \\ud83d\\ude00" }`;

  const outcomes = store.store([{ id: ID, payload }]);

  assert.deepEqual(outcomes, [inserted]);
  const row = store.outside.prepare("SELECT * FROM inbound_messages").get();
  const {
    payload: stored,
    state,
    ack_sent,
    read_count,
    src_addr,
    src_port,
    peer,
  } = row as Record<string, unknown>;
  assert.equal(stored, payload);
  assert.deepEqual([state, ack_sent, read_count], ["ack_sent", 1, 0]);
  assert.deepEqual([src_addr, src_port, peer], ["192.0.2.9", 5_001, "alice"]);
  assert.equal(store.read("SELECT typeof(payload) FROM inbound_messages"), "text");
});

test("the sender's stamp is kept to the nanosecond", (t) => {
  const store = new StoreUnderTest(t);
  store.now = Date.UTC(2026, 10, 22, 10, 11, 12, 345);

  store.store([{ id: ID }]);

  const stamp = store.read("SELECT crypto_timestamp FROM inbound_messages");
  assert.equal(stamp, "2026-11-22T10:11:12.345123456");
});

test("a retransmission of a stored message is known, also within one batch", (t) => {
  const store = new StoreUnderTest(t);

  assert.deepEqual(store.store([{ id: ID }, { id: ID }]), [inserted, known]);
  assert.deepEqual(store.store([{ id: ID }]), [known]);
  assert.equal(store.read("SELECT count(*) FROM inbound_messages"), 1);
});

test("other white space is the same message, and the first bytes stay", (t) => {
  const store = new StoreUnderTest(t);
  const first = `{"message_id":"${ID}","n":1}`;

  const outcomes = store.store([
    { id: ID, payload: first },
    { id: ID, payload: `{ "message_id": "${ID}", "n": 1 }` },
  ]);

  assert.deepEqual(outcomes, [inserted, known]);
  assert.equal(store.read("SELECT payload FROM inbound_messages"), first);
});

test("another message under an id of the same peer is refused and reported, the rest goes on", (t) => {
  const store = new StoreUnderTest(t);
  store.store([{ id: ID }]);

  const outcomes = store.store([{ id: ID, payload: payloadOf(ID, "other") }, { id: idOf(0xa2) }]);

  assert.deepEqual(outcomes, [conflict, inserted]);
  assert.match(store.reports.join(), /alice sent another message under id/);
});

test("no peer can squat the id of another", (t) => {
  const store = new StoreUnderTest(t);

  const outcomes = store.store([
    { id: ID, scope: "mallory", payload: payloadOf(ID, "squatted") },
    { id: ID, scope: "alice", payload: payloadOf(ID, "real") },
    { id: ID, scope: "", payload: payloadOf(ID, "shared") },
  ]);

  assert.deepEqual(outcomes, [inserted, inserted, inserted]);
  assert.equal(store.reports.length, 0);
});

test("under the shared secret another message with the same id is a row of its own, reported", (t) => {
  const store = new StoreUnderTest(t);

  const outcomes = store.store([
    { id: ID, scope: "", payload: payloadOf(ID, "one") },
    { id: ID, scope: "", payload: payloadOf(ID, "two") },
    { id: ID, scope: "", payload: payloadOf(ID, "one") },
    { id: ID, scope: "", payload: payloadOf(ID, "two") },
  ]);

  assert.deepEqual(outcomes, [inserted, inserted, known, known]);
  assert.match(store.reports.join(), /two messages with id/);
});

test("what another process deleted is known, and not stored again", (t) => {
  const store = new StoreUnderTest(t);
  for (const scope of ["alice", ""]) {
    store.store([{ id: ID, scope }]);
    store.outside.exec("DELETE FROM inbound_messages");

    assert.deepEqual(store.store([{ id: ID, scope }]), [known], `scope "${scope}"`);
    assert.equal(store.read("SELECT count(*) FROM inbound_messages"), 0);
  }
});

test("other content under a deleted id is refused for a peer and stored under the shared secret", (t) => {
  const store = new StoreUnderTest(t);
  store.store([{ id: ID }, { id: ID, scope: "" }]);
  store.outside.exec("DELETE FROM inbound_messages");
  const payload = payloadOf(ID, "other");

  const outcomes = store.store([
    { id: ID, payload },
    { id: ID, scope: "", payload },
  ]);

  assert.deepEqual(outcomes, [conflict, inserted]);
});

test("tombstones go after eight days, and not before", (t) => {
  const store = new StoreUnderTest(t);
  store.store([{ id: ID }]);
  store.outside.exec("DELETE FROM inbound_messages");
  while (store.retention.step(100));

  pass(store, 8 * DAY_MS - 1_000);
  while (store.retention.step(100));
  assert.equal(store.read("SELECT count(*) FROM tombstones"), 1);
  pass(store, 2_000);
  while (store.retention.step(100));

  assert.equal(store.read("SELECT count(*) FROM tombstones"), 0);
  assert.deepEqual(store.store([{ id: ID }]), [inserted]);
});

test("a clock that was years behind and is set right makes no tombstone old, a restart later neither", (t) => {
  const store = new StoreUnderTest(t);
  store.store([{ id: ID }]);
  store.outside.exec("DELETE FROM inbound_messages");
  store.outside.exec("UPDATE tombstones SET deleted_at = '1970-01-01T00:00:09.000'");
  const rightNow = store.now;
  store.now = 10_000;
  let retention = newRetention(store);

  store.now = rightNow;
  while (retention.step(100));
  pass(store, 8 * DAY_MS - 1_000);
  retention = newRetention(store);
  while (retention.step(100));
  assert.deepEqual(store.store([{ id: ID }]), [known]);
  pass(store, 2_000);
  while (retention.step(100));

  assert.equal(store.read("SELECT count(*) FROM tombstones"), 0);
});

test("a clock that ran years ahead for a while does not keep tombstones for years", (t) => {
  const store = new StoreUnderTest(t);
  store.store([{ id: ID }]);
  store.outside.exec("DELETE FROM inbound_messages");
  const retention = newRetention(store);
  store.now += 3_650 * DAY_MS;
  while (retention.step(100));
  assert.equal(store.read("SELECT count(*) FROM tombstones"), 1);

  store.now -= 3_650 * DAY_MS;
  while (retention.step(100));
  for (let lives = 0; lives < 2; lives++) {
    assert.equal(store.read("SELECT count(*) FROM tombstones"), 1);
    pass(store, 8 * DAY_MS + 1_000);
    while (retention.step(100));
  }

  assert.equal(store.read("SELECT count(*) FROM tombstones"), 0);
});

test("too many tombstones of one peer cost its oldest, counted and reported once", (t) => {
  const store = new StoreUnderTest(t, { tombstonesMax: 1_000 });
  const ids = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ id: idOf(from + i) }));
  store.store([...ids(0, 1_300), { id: idOf(1), scope: "bob" }]);
  store.outside.exec("DELETE FROM inbound_messages");
  store.outside.exec(
    "UPDATE tombstones SET deleted_at = '2026-01-01T00:00:00.' || substr(message_id, -3) WHERE peer = 'alice'",
  );
  store.now = Date.UTC(2026, 0, 2);

  while (store.retention.step(100));

  assert.equal(store.read("SELECT count(*) FROM tombstones WHERE peer = 'alice'"), 1_000);
  assert.equal(store.read("SELECT count(*) FROM tombstones WHERE peer = 'bob'"), 1);
  assert.equal(store.retention.evicted, 300);
  assert.equal(store.reports.length, 1);
});

test("our own message of an earlier run, thrown back, is not stored; an echo of its id is", (t) => {
  const store = new StoreUnderTest(t);
  const payload = payloadOf(ID, "ours");
  store.enqueue({ message_id: ID, payload });

  const outcomes = store.store([
    { id: ID, payload: payload.replace(":", ": "), suspect: true },
    { id: ID, payload: payloadOf(ID, "echo"), suspect: true },
    { id: idOf(0xa3), suspect: true },
  ]);

  assert.deepEqual(outcomes, [reflected, inserted, inserted]);
});

test("a forwarded message of ours is stored when its stamp is a fresh one", (t) => {
  const store = new StoreUnderTest(t);
  const payload = payloadOf(ID, "ours");
  store.enqueue({ message_id: ID, payload });

  assert.deepEqual(store.store([{ id: ID, payload }]), [inserted]);
});

test("a peer over its quota gets no new rows, but its retransmissions are known", (t) => {
  const bytes = payloadOf(ID).length;
  const store = new StoreUnderTest(t, { quotaBytes: 2 * bytes });

  const outcomes = store.store([
    { id: ID },
    { id: idOf(0xa2) },
    { id: idOf(0xa3) },
    { id: ID },
    { id: idOf(0xa3), scope: "bob" },
  ]);

  assert.deepEqual(outcomes, [inserted, inserted, quota, known, inserted]);
  assert.match(store.reports.join(), /alice has used up the quota/);
});

test("deleting rows gives their quota back, whoever deletes", (t) => {
  const bytes = payloadOf(ID).length;
  const store = new StoreUnderTest(t, { quotaBytes: bytes });
  store.store([{ id: ID }]);
  assert.deepEqual(store.store([{ id: idOf(0xa2) }]), [quota]);

  store.outside.exec("DELETE FROM inbound_messages");

  assert.deepEqual(store.store([{ id: idOf(0xa2) }]), [inserted]);
  assert.equal(store.read("SELECT rows FROM inbound_usage WHERE peer = 'alice'"), 1);
  assert.equal(store.read("SELECT bytes FROM inbound_usage WHERE peer = 'alice'"), bytes);
});

test("hostile text in scope and source is data", (t) => {
  const store = new StoreUnderTest(t);
  const scope = "'); DROP TABLE inbound_messages; --";

  assert.deepEqual(store.store([{ id: ID, scope, source: "a'\"; --" }]), [inserted]);
  assert.equal(store.read("SELECT peer FROM inbound_messages"), scope);
});

/** Time passes, and both clocks see it. */
function pass(store: StoreUnderTest, ms: number): void {
  store.now += ms;
  store.monotonic += ms;
}

/** As a start of the daemon makes it. */
const newRetention = (store: StoreUnderTest): Retention =>
  new Retention(store.db, {
    now: () => store.now,
    monotonic: () => store.monotonic,
    report: () => {},
  });
