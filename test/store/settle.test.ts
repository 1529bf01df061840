// Settling, and what owners do to rows meanwhile: redrive, re-address, cancel, delete.

import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { test } from "node:test";
import { timeText } from "../../src/shared/store/text-time.js";
import { idOf, payloadOf, StoreUnderTest } from "./fixture.js";

test("acknowledged rows are final, in whatever order the ACKs came", (t) => {
  const store = new StoreUnderTest(t);
  for (let i = 0; i < 100; i++) store.enqueue();
  const rows = [...store.leaseAll()];

  const changed = store.settle({ acknowledged: rows.reverse().filter((row) => row.id % 3 > 0) });

  assert.equal(changed, 67);
  assert.equal(store.read("SELECT count(*) FROM outbound_messages WHERE state = 'pending'"), 33);
  const row = store.row(1);
  assert.deepEqual(
    [row.state, row.ack_received_at, row.sent_at, row.updated_at],
    ["acknowledged", timeText(store.now), timeText(store.now), timeText(store.now)],
  );
  assert.equal(store.row(3).state, "pending");
});

test("a row that waits shows its attempts, and keeps the time of its last send when acknowledged", (t) => {
  const store = new StoreUnderTest(t);
  store.enqueue();
  const [row] = store.leaseAll();
  const sentAt = timeText(store.now);

  store.settle({ waiting: [{ ...row, attempts: 2 }] });

  const waiting = store.row(row.id);
  assert.deepEqual(
    [waiting.state, waiting.retry_count, waiting.sent_at, waiting.next_attempt_at],
    ["sent", 2, sentAt, timeText(store.now + 5_000)],
  );
  store.now += 1_000;
  store.settle({ acknowledged: [row] });
  const final = store.row(row.id);
  assert.deepEqual(
    [final.state, final.sent_at, final.next_attempt_at, final.retry_count],
    ["acknowledged", sentAt, null, 2],
  );
});

test("a large row is written in place when it is sent, sent again and acknowledged", (t) => {
  const store = new StoreUnderTest(t);
  const id = idOf(1);
  store.enqueue({ message_id: id, payload: payloadOf(id, "x".repeat(60_000)) });
  const [row] = store.leaseAll();
  const written = (settle: () => void): number => {
    store.db.pragma("wal_checkpoint(TRUNCATE)");
    settle();
    return statSync(`${store.path}-wal`).size;
  };

  const sizes = [
    written(() => store.settle({ waiting: [{ ...row, attempts: 1 }] })),
    written(() => store.settle({ waiting: [{ ...row, attempts: 2 }] })),
    written(() => store.settle({ acknowledged: [row] })),
  ];

  assert.equal(store.row(row.id).state, "acknowledged");
  for (const size of sizes) assert.ok(size > 0 && size < 40_000, `${size} bytes of log`);
  const longer = "UPDATE outbound_messages SET last_error = 'is longer now' WHERE id = ?";
  const anew = written(() => void store.outside.prepare(longer).run(row.id));
  assert.ok(anew > 60_000, `a row that gets longer is written anew: ${anew} bytes`);
});

test("a failed row says why, and frees its place", (t) => {
  const store = new StoreUnderTest(t);
  store.outbox.limit("192.0.2.1", 5_000, 1);
  store.enqueue();
  const second = store.enqueue();
  const [row] = store.leaseAll();

  store.settle({ failed: [{ ...row, why: "no route to it" }] });

  assert.equal(store.row(row.id).state, "send_failed");
  assert.equal(store.row(row.id).last_error, "no route to it");
  assert.deepEqual(
    store.leaseAll().map((each) => each.id),
    [second],
  );
});

test("settling a row that is gone, cancelled or final changes nothing and is no error", (t) => {
  const store = new StoreUnderTest(t);
  for (let i = 0; i < 4; i++) store.enqueue();
  const rows = store.leaseAll();
  store.outside.exec("DELETE FROM outbound_messages WHERE id = 1");
  store.outside.exec("UPDATE outbound_messages SET state = 'send_failed' WHERE id = 2");

  assert.equal(store.settle({ acknowledged: rows.slice(0, 3) }), 1);
  assert.equal(store.settle({ acknowledged: rows.slice(0, 3) }), 0);

  assert.equal(store.row(2).state, "send_failed");
  assert.equal(store.row(3).state, "acknowledged");
  assert.deepEqual(store.leaseAll(), []);
});

test("setting a final row back to pending sends it again, from the beginning", (t) => {
  const store = new StoreUnderTest(t);
  for (const outcome of ["acknowledged", "failed"] as const) {
    const id = store.enqueue();
    const [row] = store.leaseAll();
    store.settle({ waiting: [{ ...row, attempts: 7 }] });
    store.settle({ [outcome]: [{ ...row, why: "gave up" }] });

    store.outside.exec(`UPDATE outbound_messages SET state = 'pending' WHERE id = ${id}`);

    const back = store.row(id);
    assert.equal(back.generation, 1);
    assert.equal(back.retry_count, 0);
    assert.match(String(back.redriven_at), /^\d{4}-/);
    for (const column of ["ack_received_at", "last_error", "next_attempt_at", "sent_at"]) {
      assert.equal(back[column], null, column);
    }
    const [again] = store.leaseAll();
    assert.deepEqual(
      [again.id, again.generation, again.attempts, again.released],
      [id, 1, 0, false],
    );
    assert.equal(again.messageId, row.messageId);
    store.settle({ acknowledged: [again] });
    assert.equal(store.row(id).state, "acknowledged");
  }
});

test("an expired row that is redriven lives anew; an expiry to come stays", (t) => {
  const store = new StoreUnderTest(t);
  const past = store.enqueue({ expires_at: "2020-01-01T00:00:00.000" });
  const future = "2999-01-01T00:00:00.000";
  const later = store.enqueue({ expires_at: future });
  const [row] = store.leaseAll();
  store.settle({ failed: [{ ...row, why: "x" }] });
  assert.equal(store.row(past).state, "send_failed");

  store.outside.exec("UPDATE outbound_messages SET state = 'pending'");

  assert.equal(store.row(past).expires_at, null);
  assert.equal(store.row(later).expires_at, future);
  assert.equal(store.leaseAll().length, 2);
});

test("an ACK for what was sent before a redrive does not end the redriven row", (t) => {
  const store = new StoreUnderTest(t);
  const id = store.enqueue();
  const [first] = store.leaseAll();
  store.settle({ failed: [{ ...first, why: "x" }] });
  store.outside.exec("UPDATE outbound_messages SET state = 'pending'");
  const [second] = store.leaseAll();

  assert.equal(store.settle({ acknowledged: [first] }), 0);
  assert.equal(store.row(id).state, "pending");
  assert.deepEqual(store.leaseAll(), [], "it is still out, once");

  assert.equal(store.settle({ acknowledged: [second] }), 1);
});

test("another address for a released row is a redrive to the new one", (t) => {
  const store = new StoreUnderTest(t);
  const id = store.enqueue();
  const [row] = store.leaseAll();
  store.settle({ waiting: [{ ...row, attempts: 3 }] });

  store.outside.exec("UPDATE outbound_messages SET dst_addr = '192.0.2.7'");

  const changed = store.row(id);
  assert.deepEqual([changed.state, changed.generation, changed.retry_count], ["pending", 1, 0]);
  const [moved] = store.leaseAll();
  assert.deepEqual([moved.to, moved.generation], ["192.0.2.7:5000", 1]);
  assert.equal(store.settle({ acknowledged: [row] }), 0, "the old address's ACK is for another");
  assert.equal(store.settle({ acknowledged: [moved] }), 1);
});

test("another address for a final row does not send it; setting it to pending as well does", (t) => {
  const store = new StoreUnderTest(t);
  const id = store.enqueue();
  store.settle({ acknowledged: store.leaseAll() });

  store.outside.exec("UPDATE outbound_messages SET dst_addr = '192.0.2.7'");
  assert.equal(store.row(id).state, "acknowledged");
  assert.deepEqual(store.leaseAll(), []);

  store.outside.exec("UPDATE outbound_messages SET dst_addr = '192.0.2.8', state = 'pending'");
  assert.deepEqual(
    store.leaseAll().map((row) => row.to),
    ["192.0.2.8:5000"],
  );
});

test("an update that changes nothing of weight leaves the generation alone", (t) => {
  const store = new StoreUnderTest(t);
  const id = store.enqueue();
  store.leaseAll();

  store.outside.exec("UPDATE outbound_messages SET payload = payload, dst_addr = dst_addr");
  store.outside.exec("UPDATE outbound_messages SET priority = 3, expires_at = '2999-01-01'");

  assert.equal(store.row(id).generation, 0);
});

test("rows in hand at the end of a run are pending at the next start, released ones stay sent", (t) => {
  const first = new StoreUnderTest(t);
  first.enqueue({ state: "sending" });
  first.enqueue();
  first.enqueue();
  const [, row] = first.leaseAll();
  first.settle({ waiting: [{ ...row, attempts: 1 }] });
  first.close();

  const store = new StoreUnderTest(t, { path: first.path });

  assert.equal(store.row(1).state, "pending");
  const rows = store.leaseAll();
  assert.deepEqual(
    rows.map(({ id, released, attempts }) => [id, released, attempts]),
    [
      [1, false, 0],
      [2, row.id === 2, row.id === 2 ? 1 : 0],
      [3, row.id === 3, row.id === 3 ? 1 : 0],
    ],
  );
});
