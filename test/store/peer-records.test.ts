// What the store keeps of session peers: stamps that never fall, sessions that were confirmed, and ids
// that stay known when a peer gets a public key or another one.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { PeerEntry } from "../../src/shared/protocol/session/peer-table.js";
import { DELIVERED } from "../../src/shared/protocol/session/ports.js";
import { STORED } from "../../src/shared/runtime/inbound-batch.js";
import { writeFailure } from "../../src/shared/store/sqlite-error.js";
import { timeText } from "../../src/shared/store/text-time.js";
import { PeerRecords } from "../../src/workers/peer-records.js";
import { recover } from "../../src/workers/recover.js";
import { Stamps } from "../../src/workers/stamps.js";
import { idOf, payloadOf } from "./fixture.js";
import { ALICE, BOB, SessionStoreUnderTest } from "./session-fixture.js";

const CAROL = Buffer.alloc(32, 0xca).toString("base64");
const entry = (name: string, publicKey: string | undefined): PeerEntry => ({
  name,
  publicKey,
  mode: "auto",
  addresses: [],
  sessionSince: false,
});

function recordsOf(store: SessionStoreUnderTest, ...entries: readonly PeerEntry[]): PeerRecords {
  const records = new PeerRecords(
    store.db,
    () => store.now,
    (sentence) => store.reports.push(sentence),
  );
  records.adopt(entries);
  records.settle(100);
  return records;
}

const usage = (store: SessionStoreUnderTest): unknown =>
  store.outside
    .prepare("SELECT peer, rows, bytes, tombstones FROM inbound_usage ORDER BY peer")
    .raw()
    .all();

/** Rows and tombstones of a classic peer known by its name. */
function classicPeer(t: TestContext, rows = 600, deleted = 300): SessionStoreUnderTest {
  const store = new SessionStoreUnderTest(t);
  const ids = Array.from({ length: rows }, (_, i) => ({ id: idOf(i), scope: "alice" }));
  store.store(ids);
  store.outside.exec(`DELETE FROM inbound_messages WHERE id <= ${deleted}`);
  return store;
}

// --- Stamps ---------------------------------------------------------------------------------------

test("stamps rise and never fall, each on its own, over a restart too", (t) => {
  const store = new SessionStoreUnderTest(t);
  const stamps = new Stamps(store.db);
  const raise = (sent: bigint, accepted: bigint) =>
    stamps.raise([{ peer: ALICE, sent, accepted }], 100)[0];

  assert.deepEqual(raise(5n, 0n), { peer: ALICE, sent: 5n, accepted: 0n });
  assert.deepEqual(raise(4n, 7n), { peer: ALICE, sent: 5n, accepted: 7n });
  assert.deepEqual(raise(0n, 6n), { peer: ALICE, sent: 5n, accepted: 7n });
  store.db.close();

  const after = new SessionStoreUnderTest(t, { path: store.path });
  assert.deepEqual(new Stamps(after.db).all(), [{ peer: ALICE, sent: 5n, accepted: 7n }]);
});

test("stamps are kept to the nanosecond; one that no column holds is not reached", (t) => {
  const stamps = new Stamps(new SessionStoreUnderTest(t).db);
  const now = 1_795_392_672_345_123_457n;

  const [kept, beyond] = stamps.raise(
    [
      { peer: ALICE, sent: now, accepted: 2n ** 63n - 1n },
      { peer: BOB, sent: 1n, accepted: 2n ** 64n - 1n },
    ],
    100,
  );

  assert.deepEqual([kept?.sent, kept?.accepted], [now, 2n ** 63n - 1n]);
  assert.equal(beyond?.accepted, 2n ** 63n - 1n);
});

test("what a thief of a key did to its stamps does not bind the key that takes its place", (t) => {
  const store = new SessionStoreUnderTest(t);
  const stamps = new Stamps(store.db);
  recordsOf(store, entry("alice", ALICE));
  stamps.raise([{ peer: ALICE, sent: 5n, accepted: 2n ** 63n - 1n }], 100);

  recordsOf(store, entry("alice", BOB));

  const inherited = stamps.all().find(({ peer }) => peer === BOB);
  assert.deepEqual(inherited, { peer: BOB, sent: 5n, accepted: 2n ** 62n });
});

test("stamps that meet a lock are not raised", (t) => {
  const store = new SessionStoreUnderTest(t);
  const stamps = new Stamps(store.db);
  store.outside.exec("BEGIN IMMEDIATE");

  assert.throws(
    () => stamps.raise([{ peer: ALICE, sent: 5n, accepted: 5n }], 10),
    (thrown) => writeFailure(thrown) === "busy",
  );

  store.outside.exec("ROLLBACK");
  assert.deepEqual(stamps.all(), []);
});

// --- Peers ----------------------------------------------------------------------------------------

test("a confirmed session is confirmed for good, with its first time", (t) => {
  const store = new SessionStoreUnderTest(t);
  const records = recordsOf(store, entry("alice", ALICE), entry("bob", BOB));
  assert.deepEqual(records.sessionSince(), []);

  store.now = Date.UTC(2026, 0, 1);
  records.confirm(ALICE, 100);
  store.now += 1_000;
  records.confirm(ALICE, 100);

  assert.deepEqual(records.sessionSince(), [ALICE]);
  const since = store.read("SELECT session_since FROM peers WHERE name = 'alice'");
  assert.equal(since, "2026-01-01T00:00:00.000");
});

test("a session is up from its note on, until it is lost, its peer is gone, or the daemon", (t) => {
  const store = new SessionStoreUnderTest(t);
  const records = recordsOf(store, entry("alice", ALICE), entry("bob", BOB));
  const up = (): unknown =>
    store.outside.prepare("SELECT name, session_up_since FROM peers ORDER BY name").raw().all();
  const [since, later] = ["1970-01-01T00:00:01.500", "1970-01-01T00:00:02.000"];

  records.note([{ peer: ALICE, sessionUpSince: 1_500 }], 100);
  records.note([{ peer: BOB, sessionUpSince: 2_000 }], 100);
  records.note([{ peer: ALICE, handshakesUnanswered: 1 }], 100);
  const both = [
    ["alice", since],
    ["bob", later],
  ];
  assert.deepEqual(up(), both);
  records.note([{ peer: ALICE, sessionUpSince: null }], 100);
  assert.deepEqual(up(), [
    ["alice", null],
    ["bob", later],
  ]);
  records.note([{ peer: ALICE, sessionUpSince: 1_500 }], 100);

  records.adopt([entry("alice", ALICE), entry("bob", BOB)]);
  records.settle(100);
  assert.deepEqual(up(), both, "the same peers again");
  records.adopt([entry("alice", CAROL)]);
  records.settle(100);
  assert.deepEqual(up(), [
    [null, null],
    ["alice", since],
    ["bob", null],
  ]);
  recover(store.db, store.now, 100);
  assert.deepEqual(store.outside.prepare("SELECT session_up_since FROM peers").pluck().all(), [
    null,
    null,
    null,
  ]);
});

test("a peer of which two processes take turns is named, one that restarts is not", (t) => {
  const store = new SessionStoreUnderTest(t);
  const records = recordsOf(store, entry("alice", ALICE), entry("bob", BOB));
  const begin = (peer: string, ...boots: readonly number[]): number => {
    const before = store.reports.length;
    for (const boot of boots) records.note([{ peer, boot: new Uint8Array(8).fill(boot) }], 100);
    return store.reports.length - before;
  };

  assert.equal(begin(ALICE, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11), 0);
  assert.equal(begin(BOB, 11, 12), 0);
  assert.equal(begin(BOB, 11), 1);
  assert.match(store.reports.at(-1) ?? "", /^peer bob runs twice: .*securedgram key new/);
  assert.equal(begin(BOB, 12, 11, 12), 0, "told once in a while");
  store.now += 600_000;
  assert.equal(begin(BOB, 11, 12), 1);
  assert.equal(begin(ALICE, 1), 0, "too long ago to be remembered");
});

test("a note changes what it says, and leaves the rest", (t) => {
  const store = new SessionStoreUnderTest(t);
  const records = recordsOf(store, entry("alice", ALICE));
  const boot = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

  records.note([{ peer: ALICE, boot, lastHandshakeAt: 0, skewMs: -3.4, endpoint: "a:1" }], 100);
  records.note([{ peer: ALICE, handshakesUnanswered: 2 }, { peer: BOB }], 100);

  const row = store.outside.prepare("SELECT * FROM peers").raw().all();
  assert.deepEqual(row, [
    [
      Buffer.from(ALICE, "base64"),
      "alice",
      null,
      null,
      Buffer.from(boot),
      "1970-01-01T00:00:00.000",
      -3,
      "a:1",
      null,
      timeText(store.now),
      2,
    ],
  ]);
});

test("a peer that gets a public key takes what it sent along: rows, tombstones, quota", (t) => {
  const store = classicPeer(t);
  const [[, rows, bytes, tombstones]] = usage(store) as [[string, number, number, number]];

  recordsOf(store, entry("alice", ALICE));

  assert.deepEqual(usage(store), [[ALICE, rows, bytes, tombstones]]);
  assert.equal(store.read("SELECT count(*) FROM inbound_messages WHERE peer = 'alice'"), 0);
  const copies = [5, 305].map((n) => ({ id: idOf(n), payload: payloadOf(idOf(n)) }));
  assert.deepEqual(store.deliver(copies), [DELIVERED.known, DELIVERED.known]);
  const classic = copies.map((copy) => ({ ...copy, scope: ALICE }));
  assert.deepEqual(store.store(classic.slice(1)), [STORED.known]);
});

test("a peer that changes its public key takes everything along, its session too", (t) => {
  const store = new SessionStoreUnderTest(t);
  recordsOf(store, entry("alice", ALICE)).confirm(ALICE, 100);
  const gap = { flags: 1, stream: "s", sequence: 3, gap: [1, 2] as const };
  store.deliver([
    { id: idOf(1), number: 1, ...gap },
    { id: idOf(2), number: 2 },
  ]);
  store.outside.exec(`DELETE FROM inbound_messages WHERE message_id = '${idOf(2)}'`);

  const records = recordsOf(store, entry("alice", BOB));

  assert.deepEqual(new Set(records.sessionSince()), new Set([ALICE, BOB]));
  assert.equal(store.read("SELECT peer FROM stream_gaps"), BOB);
  const again = [
    { id: idOf(1), peer: 1, ...gap },
    { id: idOf(2), peer: 1 },
  ];
  assert.deepEqual(store.deliver(again), [DELIVERED.known, DELIVERED.known]);
  assert.equal(store.read("SELECT name FROM peers WHERE public_key = ?", keyOf(ALICE)), null);
});

const keyOf = (peer: string): Buffer => Buffer.from(peer, "base64");

test("peers that exchange their names keep what is theirs", (t) => {
  const store = new SessionStoreUnderTest(t);
  recordsOf(store, entry("alice", ALICE), entry("bob", BOB)).confirm(ALICE, 100);
  store.deliver([{ id: idOf(1) }]);

  const records = recordsOf(store, entry("alice", BOB), entry("bob", ALICE));

  assert.deepEqual(records.sessionSince(), [ALICE]);
  assert.deepEqual([records.nameOf(ALICE), records.nameOf(CAROL)], ["bob", CAROL]);
  assert.equal(store.read("SELECT peer FROM inbound_messages"), ALICE);
  const names = store.outside.prepare("SELECT public_key, name FROM peers ORDER BY name").raw();
  assert.deepEqual(names.all(), [
    [keyOf(BOB), "alice"],
    [keyOf(ALICE), "bob"],
  ]);
});

test("an id that both scopes have stays known, and a peer without a key keeps its scope", (t) => {
  const store = new SessionStoreUnderTest(t);
  const payload = payloadOf(idOf(1));
  store.store([
    { id: idOf(1), scope: "alice" },
    { id: idOf(2), scope: "alice" },
    { id: idOf(1), scope: ALICE },
    { id: idOf(1), scope: "carol" },
  ]);
  const entries = [entry("alice", ALICE), entry("carol", undefined)];

  for (let times = 0; times < 2; times++) recordsOf(store, ...entries);

  assert.deepEqual(
    usage(store),
    [
      ["alice", 1, payload.length, 0],
      ["carol", 1, payload.length, 0],
      [ALICE, 2, 2 * payload.length, 0],
    ].sort(),
  );
  assert.deepEqual(store.deliver([{ id: idOf(1), payload }]), [DELIVERED.known]);
});

test("a move that a lock ends half way goes on where it was", (t) => {
  const store = classicPeer(t, 900, 300);
  const records = new PeerRecords(
    store.db,
    () => store.now,
    (sentence) => store.reports.push(sentence),
  );
  records.adopt([entry("alice", ALICE)]);
  // Another process takes the lock behind the first transaction of the move.
  let commits = 0;
  const prepare = store.db.prepare.bind(store.db);
  store.db.function("counted", () => ++commits);
  prepare(
    "CREATE TEMP TRIGGER moved AFTER UPDATE OF peer ON inbound_messages BEGIN SELECT CASE WHEN counted() = 400 THEN RAISE(ABORT, 'half way') END; END",
  ).run();

  assert.throws(() => records.settle(100), /half way/);
  const moved = Number(store.read("SELECT count(*) FROM inbound_messages WHERE peer = ?", ALICE));
  assert.equal(moved, 256);
  prepare("DROP TRIGGER moved").run();
  records.settle(100);

  const [[peer, rows, , tombstones]] = usage(store) as [[string, number, number, number]];
  assert.deepEqual([peer, rows, tombstones], [ALICE, 600, 300]);
  assert.equal(store.read("SELECT count(*) FROM tombstones WHERE peer = ?", ALICE), 300);
});
