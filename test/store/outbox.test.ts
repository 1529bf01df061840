// Leasing: which rows leave, in what order, with which id, and what never stops the queue.

import assert from "node:assert/strict";
import { test } from "node:test";
import { messageIdFromHex } from "../../src/shared/protocol/message-id.js";
import { connect } from "../../src/shared/store/driver.js";
import { idOf, LIFE_SECONDS, payloadOf, readLeased, StoreUnderTest } from "./fixture.js";

const ID = idOf(0xb1);

test("a row without an id gets one of 24 digits, in the row and in the payload", (t) => {
  const store = new StoreUnderTest(t);
  store.now = 0x0193_aabb_ccdd;
  const id = store.enqueue({ payload: '{"text":"hello"}' });

  const { rows } = store.lease();

  const row = store.row(id);
  assert.equal(rows.length, 1);
  assert.match(String(row.message_id), /^0193aabbccdd[0-9a-f]{12}$/);
  assert.equal(row.payload, `{"text":"hello","message_id":"${row.message_id}"}`);
  assert.equal(rows[0].messageId, row.message_id);
  assert.equal(rows[0].payload, row.payload);
  assert.equal(row.state, "pending");
  assert.equal(row.generation, 0);
});

test("an empty id counts as none, and an id of the payload becomes the row's", (t) => {
  const store = new StoreUnderTest(t);
  const empty = store.enqueue({ message_id: "" });
  const own = store.enqueue({ payload: payloadOf(ID) });

  assert.equal(store.lease().rows.length, 2);

  assert.match(String(store.row(empty).message_id), /^[0-9a-f]{24}$/);
  assert.equal(store.row(own).message_id, ID);
  assert.equal(store.row(own).payload, payloadOf(ID));
});

test("a payload that lacks the id of its row gets it, and the lease carries what is stored", (t) => {
  const store = new StoreUnderTest(t);
  const id = store.enqueue({ message_id: ID, payload: '{"n":1}' });

  const { rows } = store.lease();

  assert.equal(rows[0].payload, `{"n":1,"message_id":"${ID}"}`);
  assert.equal(store.row(id).payload, rows[0].payload);
  assert.equal(store.row(id).generation, rows[0].generation);
});

test("a row that needs no id is leased without a write", (t) => {
  const store = new StoreUnderTest(t);
  const id = store.enqueue({ message_id: ID, payload: payloadOf(ID) });
  const before = store.row(id);
  store.outside.exec("BEGIN IMMEDIATE");

  assert.equal(store.lease().rows.length, 1);

  store.outside.exec("COMMIT");
  assert.deepEqual(store.row(id), before);
});

const BAD_ROWS: readonly (readonly [string, Readonly<Record<string, unknown>>, RegExp])[] = [
  ["payload that is no JSON", { payload: "hello" }, /not a JSON object/],
  ["payload that is an array", { payload: "[1]" }, /not a JSON object/],
  ["payload cut short", { payload: '{"a":' }, /not valid JSON/],
  ["payload with a NUL", { payload: '{"a":"\0"}' }, /not valid JSON/],
  ["payload that is a BLOB of nonsense", { payload: Buffer.from([0xff, 0, 1]) }, /not a JSON/],
  [
    "payload with a lone surrogate",
    { payload: Buffer.from('{"a":"\xed\xa0\x80"}', "latin1") },
    /UTF-8/,
  ],
  ["payload with a number's type", { payload: 12.5 }, /not a JSON object/],
  ["payload that claims to be an ACK", { payload: '{"type":"ACK"}' }, /"type":"ACK"/],
  ["payload that is too large", { payload: `{"a":"${"x".repeat(70_000)}"}` }, /bytes/],
  ["payload with another id", { message_id: ID, payload: payloadOf(idOf(1)) }, /does not match/],
  ["payload with a bad id", { payload: '{"message_id":"XYZ"}' }, /message_id is not/],
  ["id in upper case", { message_id: "A".repeat(24) }, /message_id is not 24/],
  ["id that is a BLOB", { message_id: messageIdFromHex(ID) }, /message_id is not 24/],
  ["empty address", { dst_addr: "" }, /dst_addr or dst_port/],
  ["address with a NUL", { dst_addr: "192.0.2.1\0x" }, /dst_addr or dst_port/],
  ["address that is a BLOB", { dst_addr: Buffer.from([0xc0, 0xff]) }, /dst_addr or dst_port/],
  ["port 0", { dst_port: 0 }, /dst_addr or dst_port/],
  ["port 65536", { dst_port: 65_536 }, /dst_addr or dst_port/],
  ["port near 2^63", { dst_port: 9_223_372_036_854_775_807n }, /dst_addr or dst_port/],
  ["port that is text", { dst_port: "http" }, /dst_addr or dst_port/],
  ["port that is a fraction", { dst_port: 50.5 }, /dst_addr or dst_port/],
  ["generation below 0", { generation: -1 }, /generation/],
  ["generation that is text", { generation: "x" }, /generation/],
];

test("a row that cannot be sent fails with the reason, and the queue goes on", (t) => {
  const store = new StoreUnderTest(t);
  for (const [name, columns, reason] of BAD_ROWS) {
    const bad = store.enqueue(columns);
    const good = store.enqueue({ payload: '{"text":"after"}' });

    const rows = store.leaseAll();

    assert.deepEqual(
      rows.map((row) => row.id),
      [good],
      name,
    );
    for (let looks = 0; store.row(bad).state === "pending" && looks < 100; looks++) store.lease();
    assert.equal(store.row(bad).state, "send_failed", name);
    assert.match(String(store.row(bad).last_error), reason, name);
    assert.doesNotMatch(String(store.row(bad).last_error), /\n/, name);
  }
});

test("bad rows that were there before the start are found by the walk", (t) => {
  const first = new StoreUnderTest(t);
  const bad = BAD_ROWS.map(([, columns]) => first.enqueue(columns));
  const good = first.enqueue();
  first.close();

  const store = new StoreUnderTest(t, { path: first.path });

  assert.deepEqual(
    store.leaseAll().map((row) => row.id),
    [good],
  );
  for (let looks = 0; looks < 50; looks++) store.lease();
  for (const id of bad) assert.equal(store.row(id).state, "send_failed", String(store.row(id)));
});

test("hostile values of other columns count as absent or are brought into range", (t) => {
  const store = new StoreUnderTest(t);
  const rows = [
    { created_at: "yesterday" },
    { expires_at: "soon" },
    { expires_at: "" },
    { not_before: "x" },
    { not_before: "3000 tomorrow" },
    { not_before: "" },
    { redriven_at: "\0" },
    { retry_count: -5 },
    { retry_count: "many" },
    { retry_count: 9_223_372_036_854_775_807n },
    { priority: 99 },
    { priority: -99 },
    { priority: "high" },
    { priority: 9_223_372_036_854_775_807n },
    { sent_at: Buffer.from([0xff]) },
    { stream: "\0", sequence: "x", boot: 1, number: "n", digest: 5 },
  ].map((columns) => store.enqueue(columns));

  const leased = store.leaseAll();

  assert.deepEqual(
    leased.map((row) => row.id).sort((a, b) => a - b),
    rows,
  );
  for (const row of leased) assert.ok(row.priority >= 0 && row.priority <= 3);
});

test("an id far above the sequence is refused, and inserts go on", (t) => {
  const store = new StoreUnderTest(t);
  for (const id of [9_223_372_036_854_775_807n, 2n ** 53n, 2_000_000n, -2n, -(2n ** 62n)]) {
    assert.throws(() => store.enqueue({ id }), /far above the sequence/, String(id));
  }
  const first = store.enqueue();
  assert.throws(
    () => store.outside.exec(`UPDATE outbound_messages SET id = 9223372036854775807`),
    /far above the sequence/,
  );

  assert.equal(store.enqueue({ id: 1_000_000 }), 1_000_000);
  assert.equal(store.enqueue(), 1_000_001);
  assert.equal(store.leaseAll().length, 3);
  assert.equal(store.row(first).state, "pending");
});

test("ids near 2^63 that got in with the triggers off are brought down at the next start", (t) => {
  const first = new StoreUnderTest(t);
  const trigger = first.read("SELECT sql FROM sqlite_schema WHERE name = 'outbound_far_id'");
  first.outside.exec("DROP TRIGGER outbound_far_id");
  first.enqueue({ id: 9_223_372_036_854_775_807n });
  first.outside.exec(String(trigger));
  assert.throws(() => first.enqueue(), /full/);
  first.close();

  const store = new StoreUnderTest(t, { path: first.path });
  const second = store.enqueue();

  assert.deepEqual(
    store.leaseAll().map((row) => row.id),
    [1, second],
  );
});

test("rows leave in the order of their ids, higher priorities first", (t) => {
  const store = new StoreUnderTest(t);
  const ids = [1, 0, 3, 1, 2, 3].map((priority) => store.enqueue({ priority }));

  const leased = store.leaseAll().map((row) => row.id);

  assert.deepEqual(leased, [ids[2], ids[5], ids[4], ids[0], ids[3], ids[1]]);
});

test("an urgent row overtakes a backlog of its destination", (t) => {
  const store = new StoreUnderTest(t);
  for (let i = 0; i < 300; i++) store.enqueue();
  store.lease(64);
  const urgent = store.enqueue({ priority: 3 });

  const { rows } = store.lease(64);

  assert.ok(rows.some((row) => row.id === urgent));
});

test("destinations take turns", (t) => {
  const store = new StoreUnderTest(t);
  for (let i = 0; i < 500; i++) store.enqueue({ dst_addr: "192.0.2.1" });
  for (let i = 0; i < 10; i++) store.enqueue({ dst_addr: "192.0.2.2" });

  const { rows } = store.lease(128);

  assert.equal(rows.filter((row) => row.to.startsWith("192.0.2.2")).length, 10);
});

test("a destination has no more rows out than its limit; 0 leaves all in the table", (t) => {
  const store = new StoreUnderTest(t);
  store.outbox.limit("192.0.2.1", 5_000, 3);
  store.outbox.limit("192.0.2.2", 5_000, 0);
  for (let i = 0; i < 10; i++) {
    store.enqueue({ dst_addr: "192.0.2.1" });
    store.enqueue({ dst_addr: "192.0.2.2" });
  }

  const first = store.leaseAll();
  assert.equal(first.length, 3);
  store.settle({ acknowledged: first.slice(0, 2) });
  assert.equal(store.leaseAll().length, 2);
  store.outbox.limit("192.0.2.2", 5_000, 4);
  assert.equal(store.leaseAll().length, 4);
  store.outbox.limit("192.0.2.1", 5_000, 100);
  assert.equal(store.leaseAll().length, 5);
});

test("100,000 rows of a dead destination do not delay the one row of a live one", (t) => {
  const store = new StoreUnderTest(t);
  store.outbox.limit("192.0.2.66", 5_000, 1);
  store.outside.exec(`
    BEGIN;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    INSERT OR FAIL INTO outbound_messages(message_id, dst_addr, dst_port, payload)
    SELECT printf('%024x', i), '192.0.2.66', 5000,
      printf('{"message_id":"%024x"}', i) FROM n;
    COMMIT`);
  assert.equal(store.leaseAll().length, 1);
  for (const address of ["192.0.2.1", "192.0.2.99"]) {
    const live = store.enqueue({ dst_addr: address });

    const startedAt = performance.now();
    const { rows } = store.lease();

    const tookMs = performance.now() - startedAt;
    assert.deepEqual(
      rows.map((row) => row.id),
      [live],
    );
    assert.ok(tookMs < 250, `${tookMs} ms`);
  }
});

test("new rows behind a backlog that is being read are found at the first look", (t) => {
  const store = new StoreUnderTest(t);
  store.outbox.limit("192.0.2.66", 5_000, 20);
  const look = (): readonly number[] => {
    const again = { rowIds: new Float64Array(0), tickets: new Uint32Array(0) };
    store.outbox.order({ kind: "lease", rowsMax: 1_024, bytesMax: 1_048_576, again });
    const batch = store.outbox.poll()?.batch;
    return batch === undefined ? [] : readLeased(batch).map(({ id }) => id);
  };
  const backlog = (from: number, to: number): void => {
    store.outside.exec(`
      BEGIN;
      WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${to})
      INSERT OR FAIL INTO outbound_messages(message_id, dst_addr, dst_port, payload)
      SELECT printf('%024x', i), '192.0.2.66', 5000, printf('{"message_id":"%024x"}', i) FROM n;
      COMMIT`);
  };
  backlog(1, 1);
  // The walk over the lanes comes with this look, and not with the next: time stands still.
  assert.equal(look().length, 1);
  backlog(2, 6_000);
  const near = store.enqueue({ dst_addr: "192.0.2.1" });
  const otherPort = store.enqueue({ dst_addr: "192.0.2.66", dst_port: 5_001 });
  const otherClass = store.enqueue({ dst_addr: "192.0.2.66", priority: 0 });
  backlog(6_001, 12_000);
  const far = store.enqueue({ dst_addr: "192.0.2.99" });

  const ids = look();

  for (const id of [near, otherPort, far]) assert.ok(ids.includes(id), `row ${id}`);
  assert.equal(ids.length, 19 + 3);
  assert.equal(store.outbox.lanes.of("192.0.2.66", 5_000)?.lanes[0].hasWork, true);
  store.outbox.limit("192.0.2.66", 5_000, 20_000);
  const rest = store.leaseAll().map(({ id }) => id);
  assert.equal(rest.length, 12_000 - 20 + 1);
  assert.equal(rest[rest.length - 1], otherClass);
});

test("a batch keeps within its bytes, but the first row always fits", (t) => {
  const store = new StoreUnderTest(t);
  const payload = `{"a":"${"x".repeat(10_000)}"}`;
  for (let i = 0; i < 10; i++) store.enqueue({ payload });

  assert.equal(store.lease(100, { bytesMax: 25_000 }).rows.length, 2);
  assert.equal(store.lease(100, { bytesMax: 100 }).rows.length, 1);
  assert.equal(store.leaseAll().length, 7);
});

test("a delayed row waits for its time, in either spelling, and its life begins then", (t) => {
  const store = new StoreUnderTest(t);
  const at = (ms: number): string => new Date(store.now + ms).toISOString().slice(0, 23);
  const delayed = store.enqueue({ not_before: at(10_000), created_at: at(-3_600_000) });
  const spaced = store.enqueue({ not_before: at(10_000).slice(0, 19).replace("T", " ") });
  const past = store.enqueue({ not_before: at(-1) });
  assert.deepEqual(
    store.leaseAll().map((row) => row.id),
    [past],
  );

  store.now += 10_001;

  const rows = store.leaseAll();
  assert.deepEqual(rows.map((row) => row.id).sort(), [delayed, spaced]);
  assert.equal(store.row(delayed).not_before, null);
  assert.equal(rows[0].expiresAt, store.now + LIFE_SECONDS * 1_000);
});

test("a row that expired where it waits fails as not sent, a released one as maybe delivered", (t) => {
  const store = new StoreUnderTest(t);
  const old = new Date(store.now - LIFE_SECONDS * 1_000 - 1_000).toISOString().slice(0, 23);
  store.outbox.limit("192.0.2.1", 5_000, 0);
  const rows = [
    store.enqueue({ created_at: old }),
    store.enqueue({ created_at: old, state: "sent" }),
    store.enqueue({ expires_at: old }),
    store.enqueue({ expires_at: old.replace("T", " ") }),
    store.enqueue({ created_at: old, redriven_at: new Date(store.now).toISOString().slice(0, 23) }),
    store.enqueue({ created_at: old, expires_at: "2999-01-01T00:00:00.000" }),
  ];
  store.lease();

  for (let ticks = 0; ticks < 4; ticks++) store.outbox.tend();

  const verdicts = rows.map((id) => store.row(id).last_error);
  assert.deepEqual(verdicts, [
    "expired, not sent",
    "expired, may have been delivered",
    "expired, not sent",
    "expired, not sent",
    null,
    null,
  ]);
});

test("an expired row is not leased", (t) => {
  const store = new StoreUnderTest(t);
  const id = store.enqueue({ expires_at: "2020-01-01T00:00:00.000" });

  assert.deepEqual(store.leaseAll(), []);
  assert.equal(store.row(id).last_error, "expired, not sent");
});

test("rows in flight are read again with their tickets; what changed since is gone", (t) => {
  const store = new StoreUnderTest(t);
  const ids = Array.from({ length: 6 }, () => store.enqueue());
  const rows = store.leaseAll();
  store.outside.exec(`DELETE FROM outbound_messages WHERE id = ${ids[1]}`);
  store.outside.exec(`UPDATE outbound_messages SET state = 'send_failed' WHERE id = ${ids[2]}`);
  store.outside.exec(`UPDATE outbound_messages SET dst_addr = '192.0.2.3' WHERE id = ${ids[3]}`);
  store.outside.exec(
    `UPDATE outbound_messages SET payload = replace(payload, 'hello', 'bye') WHERE id = ${ids[4]}`,
  );

  const { rows: again, gone } = store.lease(0, {
    again: rows.map((row, i) => [row.id, i + 10] as const),
  });

  assert.deepEqual(
    again.map((row) => [row.id, row.ticket]),
    [
      [ids[0], 10],
      [ids[5], 15],
    ],
  );
  assert.equal(again[0].payload, rows[0].payload);
  assert.deepEqual(gone, [11, 12, 13, 14]);
  const anew = store.leaseAll();
  assert.deepEqual(anew.map((row) => [row.id, row.to, row.generation]).sort(), [
    [ids[3], "192.0.2.3:5000", 1],
    [ids[4], "192.0.2.1:5000", 1],
  ]);
});

test("rows whose ids the write lock keeps away wait; the others go, and they follow", (t) => {
  const store = new StoreUnderTest(t);
  const waiting = store.enqueue({ dst_addr: "192.0.2.1" });
  const going = store.enqueue({ dst_addr: "192.0.2.2", payload: payloadOf(ID), message_id: ID });
  const other = connect(store.path, { timeout: 0 });
  t.after(() => other.close());
  other.exec("BEGIN IMMEDIATE");

  assert.deepEqual(
    store.lease().rows.map((row) => row.id),
    [going],
  );
  assert.deepEqual(store.lease().rows, []);
  other.exec("ROLLBACK");

  assert.deepEqual(
    store.lease().rows.map((row) => row.id),
    [waiting],
  );
});

test("a made id that is taken is made again", (t) => {
  const store = new StoreUnderTest(t);
  const taken = payloadOf(ID);
  store.enqueue({ message_id: ID, payload: taken });
  const clash = store.enqueue({ payload: taken });
  const free = store.enqueue();

  const leased = store.leaseAll().map((row) => row.id);

  assert.ok(!leased.includes(clash) && leased.includes(free));
  assert.match(String(store.row(clash).last_error), /id of another row/);
});
