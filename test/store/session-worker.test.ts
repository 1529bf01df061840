// Session jobs through the real worker thread: each has its answer, and the answer says what is durable.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import type { PeerEntry } from "../../src/shared/protocol/session/peer-table.js";
import { DELIVERED } from "../../src/shared/protocol/session/ports.js";
import { connect } from "../../src/shared/store/driver.js";
import { spoolFolder } from "../../src/workers/spool.js";
import { idOf, inboundBatch, payloadOf } from "./fixture.js";
import { RunningStore } from "./running-store.js";
import {
  ALICE,
  BOB,
  deliveredOf,
  deliveryBatch,
  type Handed,
  largePayload,
  piecesOf,
} from "./session-fixture.js";

const PEERS: readonly PeerEntry[] = [
  { name: "alice", publicKey: ALICE, mode: "session", addresses: [], sessionSince: false },
];
const { inserted, known, spooled, busy } = DELIVERED;

function deliver(store: RunningStore, handed: readonly Handed[]): void {
  const batch = deliveryBatch(handed);
  store.send({ kind: "deliver", batch }, [batch.bytes]);
}

test("a delivered batch comes back with its outcomes; peers take their scope along first", async (t) => {
  const store = new RunningStore(t);
  const { stamps, spools, sessionSince } = await store.opened();
  assert.deepEqual([stamps, spools, sessionSince], [[], [], []]);
  const outside = connect(store.path, { timeout: 5_000 });
  t.after(() => outside.close());
  outside.exec(`INSERT INTO inbound_messages(message_id, src_addr, src_port, crypto_timestamp, peer,
    payload) VALUES ('${idOf(1)}', 'a', 1, 'x', 'alice', '{}');
    INSERT INTO inbound_usage VALUES ('alice', 1, 2, 0)`);

  store.send({ kind: "peers", peers: PEERS });
  deliver(store, [{ id: idOf(1), payload: "{}" }, { id: idOf(2) }]);

  const { batch, failure } = await store.next("delivered");
  assert.deepEqual([deliveredOf(batch), failure], [[known, inserted], undefined]);
});

test("what was gathered under an older scope of a peer is known under the one it has by now", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  const late = (id: string): void => {
    const batch = inboundBatch([{ id, scope: "alice", payload: payloadOf(id) }], Date.now());
    store.send({ kind: "store", batch }, [batch.bytes]);
  };
  const again = async (id: string, peer: 0 | 1): Promise<readonly number[]> => {
    deliver(store, [{ id, peer, payload: payloadOf(id) }]);
    return deliveredOf((await store.next("delivered")).batch);
  };
  late(idOf(1));
  await store.next("stored");
  store.send({ kind: "peers", peers: PEERS });
  late(idOf(2));
  await store.next("stored");
  assert.deepEqual(await again(idOf(1), 0), [known]);
  assert.deepEqual(await again(idOf(2), 0), [known]);
  assert.deepEqual(await again(idOf(3), 0), [inserted]);

  // The peer got another key; a batch in a session of the one before is still on its way.
  store.send({ kind: "peers", peers: [{ ...(PEERS[0] as PeerEntry), publicKey: BOB }] });
  assert.deepEqual(await again(idOf(4), 0), [inserted]);
  late(idOf(5));
  await store.next("stored");
  for (let id = 1; id <= 5; id++) assert.deepEqual(await again(idOf(id), 1), [known], `${id}`);
  const scopes = connect(store.path, { timeout: 5_000 });
  assert.deepEqual(scopes.prepare("SELECT DISTINCT peer FROM inbound_messages").pluck().all(), [
    BOB,
  ]);
  scopes.close();
});

test("a scope that could not move for a lock moves before anything is stored", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  const outside = connect(store.path, { timeout: 5_000 });
  t.after(() => outside.close());
  outside.exec(`INSERT INTO inbound_messages(message_id, src_addr, src_port, crypto_timestamp, peer,
    payload) VALUES ('${idOf(1)}', 'a', 1, 'x', 'alice', '{}');
    INSERT INTO inbound_usage VALUES ('alice', 1, 2, 0)`);
  outside.exec("BEGIN IMMEDIATE");
  store.send({ kind: "peers", peers: PEERS });
  store.send({ kind: "stamp", peer: ALICE, sent: 1n, accepted: 0n });
  assert.equal((await store.next("stamped")).failure, "busy");
  outside.exec("ROLLBACK");

  deliver(store, [{ id: idOf(1), payload: "{}" }]);

  assert.deepEqual(deliveredOf((await store.next("delivered")).batch), [known]);
});

test("a batch that meets a lock comes back, and so do stamps and confirmations", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  store.send({ kind: "peers", peers: PEERS });
  store.send({ kind: "confirm", peer: ALICE });
  await store.next("confirmed");
  const outside = connect(store.path, { timeout: 5_000 });
  t.after(() => outside.close());
  outside.exec("BEGIN IMMEDIATE");

  deliver(store, [{ id: idOf(1) }]);
  store.send({ kind: "confirm", peer: BOB });
  store.send({ kind: "stamp", peer: ALICE, sent: 5n, accepted: 0n });

  const { batch, failure } = await store.next("delivered");
  assert.deepEqual([deliveredOf(batch), failure], [[busy], "busy"]);
  assert.equal((await store.next("confirmed")).failure, "busy");
  assert.equal((await store.next("stamped")).failure, "busy");

  outside.exec("ROLLBACK");
  deliver(store, [{ id: idOf(1) }]);
  assert.deepEqual(deliveredOf((await store.next("delivered")).batch), [inserted]);
});

test("stamps, confirmed sessions and spool files are there at the next start", async (t) => {
  const first = new RunningStore(t);
  await first.opened();
  first.send({ kind: "peers", peers: PEERS });
  const [piece] = piecesOf({ id: idOf(1), payload: largePayload(300_000) }, 100_000);
  assert.ok(piece !== undefined);
  deliver(first, [piece]);
  for (const sent of [5n, 9n, 7n]) first.send({ kind: "stamp", peer: ALICE, sent, accepted: 2n });
  first.send({ kind: "confirm", peer: ALICE });

  assert.deepEqual(deliveredOf((await first.next("delivered")).batch), [spooled]);
  for (const sent of [5n, 9n, 9n]) {
    const { peer, accepted, ...stamped } = await first.next("stamped");
    assert.deepEqual([peer, stamped.sent, accepted, stamped.failure], [ALICE, sent, 2n, undefined]);
  }
  assert.equal((await first.next("confirmed")).failure, undefined);
  await first.control.call("close", []);

  const second = new RunningStore(t, first.path);
  const { stamps, spools, sessionSince } = await second.opened();

  assert.deepEqual(stamps, [{ peer: ALICE, sent: 9n, accepted: 2n }]);
  assert.deepEqual(sessionSince, [ALICE]);
  assert.deepEqual(
    spools.map(({ peer, total, ranges }) => [peer, total, ranges]),
    [[ALICE, 300_000, [{ start: 0, end: 100_000 }]]],
  );
  second.send({ kind: "peers", peers: [] });
  second.send({ kind: "confirm", peer: ALICE });
  await second.next("confirmed");
  assert.equal(existsSync(spoolFolder(second.path)), true);
  await second.control.call("close", []);
  const third = new RunningStore(t, first.path);
  assert.deepEqual((await third.opened()).spools, []);
});

test("a session that was confirmed late does not undo mode classic, and does with auto", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  const outside = connect(store.path, { readonly: true });
  t.after(() => outside.close());
  const since = outside.prepare("SELECT name FROM peers WHERE session_since IS NOT NULL").pluck();
  const confirmed = async (mode: "classic" | "auto"): Promise<unknown[]> => {
    store.send({ kind: "peers", peers: PEERS.map((each) => ({ ...each, mode })) });
    store.send({ kind: "confirm", peer: ALICE });
    await store.next("confirmed");
    return since.all();
  };

  assert.deepEqual(await confirmed("auto"), ["alice"]);
  assert.deepEqual(await confirmed("classic"), []);
  assert.deepEqual(await confirmed("auto"), ["alice"]);
});

test("no session is up once the store is closed, however that came", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  store.send({ kind: "peers", peers: PEERS });
  store.send({ kind: "note", peers: [{ peer: ALICE, sessionUpSince: 1_500 }] });
  store.send({ kind: "confirm", peer: ALICE });
  await store.next("confirmed");
  const outside = connect(store.path, { readonly: true });
  t.after(() => outside.close());
  const up = outside.prepare("SELECT session_up_since FROM peers WHERE name = 'alice'").pluck();
  assert.equal(up.get(), "1970-01-01T00:00:01.500");

  await store.control.call("close", []);

  assert.equal(up.get(), null);
});

test("a payload is read in pieces, and is gone with its row", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  const outside = connect(store.path, { timeout: 5_000 });
  t.after(() => outside.close());
  outside.exec(
    "INSERT INTO outbound_messages(dst_addr, dst_port, payload) VALUES ('a', 1, 'hello')",
  );
  const order = { kind: "payload", rowId: 1, generation: 0, offset: 1, length: 3, tag: 7 } as const;

  store.send(order);
  const { bytes, ...rest } = await store.next("read");
  assert.equal(Buffer.from(bytes ?? []).toString(), "ell");
  assert.deepEqual(rest, { ...order, kind: "read" });

  outside.exec("DELETE FROM outbound_messages");
  store.send(order);
  assert.equal((await store.next("read")).bytes, undefined);
});

test("what is noted of a peer is there for whoever asks the table", async (t) => {
  const store = new RunningStore(t);
  await store.opened();
  store.send({ kind: "peers", peers: PEERS });
  store.send({ kind: "note", peers: [{ peer: ALICE, endpoint: "192.0.2.1:5000", skewMs: 3 }] });
  store.send({ kind: "confirm", peer: ALICE });
  await store.next("confirmed");

  const outside = connect(store.path, { readonly: true });
  t.after(() => outside.close());
  const row = outside.prepare("SELECT name, endpoint, skew_ms FROM peers").raw().get();
  assert.deepEqual(row, ["alice", "192.0.2.1:5000", 3]);
});
