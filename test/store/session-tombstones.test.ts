// How long a message that came in a session and was deleted stays known: until its number is settled,
// however long its sender is silent; and where its sender was started anew, a life more.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { PeerEntry } from "../../src/shared/protocol/session/peer-table.js";
import { DELIVERED } from "../../src/shared/protocol/session/ports.js";
import { timeText } from "../../src/shared/store/text-time.js";
import { PeerRecords } from "../../src/workers/peer-records.js";
import { DAY_MS, idOf } from "./fixture.js";
import { ALICE, BOB, BOOT, BOOT_2, SessionStoreUnderTest } from "./session-fixture.js";

const ID = idOf(0xa1);
const OTHER = idOf(0xa2);
const { inserted, known } = DELIVERED;
const entry = (publicKey: string): PeerEntry => ({
  name: "alice",
  publicKey,
  mode: "session",
  addresses: [],
  sessionSince: true,
});

function recordsOf(store: SessionStoreUnderTest, publicKey = ALICE): PeerRecords {
  const records = new PeerRecords(
    store.db,
    () => store.now,
    (sentence) => store.reports.push(sentence),
  );
  records.adopt([entry(publicKey)]);
  records.settle(100);
  return records;
}

const bootBegins = (records: PeerRecords, boot: Uint8Array): void =>
  records.note([{ peer: ALICE, boot }], 100);

/** Days go by, and whatever time may free is freed. */
function pass(store: SessionStoreUnderTest, ms: number): void {
  while (store.retention.step(100));
  store.now += ms;
  store.monotonic += ms;
  while (store.retention.step(100));
}

const tombstones = (store: SessionStoreUnderTest): unknown =>
  store.outside.prepare("SELECT message_id FROM tombstones ORDER BY 1").pluck().all();

test("time frees nothing of a boot that may still send it again, settlement does", (t) => {
  const store = new SessionStoreUnderTest(t);
  bootBegins(recordsOf(store), BOOT);
  assert.deepEqual(store.deliver([{ id: ID, number: 7 }]), [inserted]);
  store.store([{ id: OTHER, scope: ALICE }]);
  store.outside.exec("DELETE FROM inbound_messages");

  pass(store, 400 * DAY_MS);

  assert.deepEqual(tombstones(store), [ID], "what came by classic is as old as it can get");
  assert.deepEqual(store.deliver([{ id: ID, number: 7 }]), [known]);
  assert.deepEqual(store.deliver([{ id: OTHER, number: 8 }]), [inserted]);
  store.deliver([{ kind: "settled", below: 8 }]);
  assert.deepEqual(tombstones(store), []);
});

test("a sender that was off for weeks and is started anew finds what it sent known", (t) => {
  const store = new SessionStoreUnderTest(t);
  const records = recordsOf(store);
  bootBegins(records, BOOT);
  store.deliver([
    { id: ID, number: 7 },
    { id: OTHER, number: 8 },
  ]);
  store.outside.exec("DELETE FROM inbound_messages");
  pass(store, 30 * DAY_MS);

  bootBegins(records, BOOT_2);
  pass(store, 8 * DAY_MS - 1_000);
  assert.deepEqual(store.deliver([{ id: ID, number: 1, boot: BOOT_2 }]), [known]);
  pass(store, 2_000);

  assert.deepEqual(tombstones(store), [ID], "of the older boot nothing came for a life");
  pass(store, 30 * DAY_MS);
  assert.deepEqual(store.deliver([{ id: ID, number: 1, boot: BOOT_2 }]), [known]);
  store.deliver([{ kind: "settled", boot: BOOT_2, below: 2 }]);
  assert.deepEqual(tombstones(store), []);
});

test("what was deleted long after its boot ended lives as long as of classic", (t) => {
  const store = new SessionStoreUnderTest(t);
  const records = recordsOf(store);
  bootBegins(records, BOOT);
  store.deliver([{ id: ID, number: 7 }]);
  bootBegins(records, BOOT_2);
  store.outside.exec("DELETE FROM inbound_messages");

  pass(store, 8 * DAY_MS - 1_000);
  assert.deepEqual(tombstones(store), [ID]);
  pass(store, 2_000);

  assert.deepEqual(tombstones(store), []);
});

test("a boot that ends again and again is looked through once an hour", (t) => {
  const store = new SessionStoreUnderTest(t);
  const records = recordsOf(store);
  bootBegins(records, BOOT);
  store.deliver([{ id: ID, number: 7 }]);
  store.outside.exec("DELETE FROM inbound_messages");
  const old = timeText(store.now - 2 * DAY_MS);
  const dateBehindAnotherEnd = (): unknown => {
    store.outside.prepare("UPDATE tombstones SET deleted_at = ?").run(old);
    bootBegins(records, BOOT_2);
    bootBegins(records, BOOT);
    return store.read("SELECT deleted_at FROM tombstones");
  };

  assert.equal(dateBehindAnotherEnd(), timeText(store.now));
  store.now += 1_800_000;
  assert.equal(dateBehindAnotherEnd(), old);
  store.now += 1_900_000;
  assert.equal(dateBehindAnotherEnd(), timeText(store.now));
});

test("the same boot under another identity of the sender is not another boot", (t) => {
  const store = new SessionStoreUnderTest(t);
  bootBegins(recordsOf(store), BOOT);
  store.deliver([{ id: ID, number: 7 }]);
  store.outside.exec("DELETE FROM inbound_messages");

  recordsOf(store, BOB);
  pass(store, 30 * DAY_MS);

  assert.equal(store.read("SELECT peer FROM tombstones"), BOB);
  assert.deepEqual(store.deliver([{ id: ID, number: 7, peer: 1 }]), [known]);
});

test("old ones that must stay hide none that may go, and their number is right", (t) => {
  const store = new SessionStoreUnderTest(t);
  bootBegins(recordsOf(store), BOOT);
  store.deliver(Array.from({ length: 600 }, (_, n) => ({ id: idOf(n), number: n + 1 })));
  store.outside.exec("DELETE FROM inbound_messages");
  store.store(Array.from({ length: 300 }, (_, n) => ({ id: idOf(1_000 + n), scope: ALICE })));
  store.outside.exec("DELETE FROM inbound_messages");

  pass(store, 9 * DAY_MS);

  assert.equal(store.read("SELECT count(*) FROM tombstones"), 600);
  assert.equal(store.read("SELECT count(*) FROM tombstones WHERE boot IS NULL"), 0);
  assert.equal(store.read("SELECT tombstones FROM inbound_usage WHERE peer = ?", ALICE), 600);
  assert.equal(store.retention.evicted, 0);
});
