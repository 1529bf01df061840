// Rows of one stream are handed out in the order of their ids, whatever their priorities, whoever
// inserted them when, and however little room there is; rows of none go by priority.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { idOf, type LeasedRow } from "./fixture.js";
import { ALICE, SessionStoreUnderTest } from "./session-fixture.js";

const peerOf = (address: string): string | undefined => (address === "alice" ? ALICE : undefined);
const PORT = 5_000;
const [BULK, NORMAL, HIGH, URGENT] = [0, 1, 2, 3] as const;

const enqueue = (store: SessionStoreUnderTest, columns: object = {}): number =>
  store.enqueue({ dst_addr: "alice", dst_port: PORT, ...columns });

const idsOf = (rows: readonly LeasedRow[]): readonly number[] => rows.map(({ id }) => id);

const acknowledge = (store: SessionStoreUnderTest, rows: readonly LeasedRow[]): void => {
  store.settle({ acknowledged: rows });
};

test("an urgent row of a stream takes what is in front of it in the stream along", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  const first = enqueue(store, { stream: "s", priority: BULK });
  const plain = enqueue(store, { priority: URGENT, message_id: idOf(1) });
  const second = enqueue(store, { stream: "s", priority: NORMAL });
  const third = enqueue(store, { stream: "s", priority: URGENT });
  const other = enqueue(store, { stream: "o", priority: HIGH });

  assert.deepEqual(idsOf(store.leaseAll()), [plain, first, second, third, other]);
});

test("one that lies deep in a backlog is found, and nothing is handed out twice", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  store.outbox.limit("alice", PORT, 1_000);
  const bulk = Array.from({ length: 300 }, (_, n) =>
    enqueue(store, { priority: BULK, message_id: idOf(n) }),
  );
  const deep = enqueue(store, { stream: "s", priority: BULK });
  bulk.push(...Array.from({ length: 300 }, () => enqueue(store, { priority: BULK })));
  const urgent = enqueue(store, { stream: "s", priority: URGENT });

  const ids = idsOf(store.leaseAll());

  assert.ok(ids.indexOf(deep) < ids.indexOf(urgent), "in the order of their ids");
  assert.ok(ids.indexOf(urgent) < ids.indexOf(bulk.at(-1) ?? 0), "in front of the backlog's end");
  assert.deepEqual(
    ids.filter((id) => id !== deep && id !== urgent),
    bulk,
  );
});

test("with room for one row at a time the order is the same", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  store.outbox.limit("alice", PORT, 1);
  const ids = [BULK, NORMAL, HIGH, URGENT, BULK].map((priority) =>
    enqueue(store, { stream: "s", priority }),
  );
  const handed: number[] = [];
  for (let n = 0; n < ids.length; n++) {
    const { rows } = store.lease();
    assert.equal(rows.length, 1);
    handed.push(...idsOf(rows));
    acknowledge(store, rows);
  }

  assert.deepEqual(handed, ids);
});

test("what is in front and cannot go fails, and what waits for its time is not waited for", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  const wrong = enqueue(store, { stream: "s", priority: BULK, message_id: "no id" });
  const later = enqueue(store, { stream: "s", priority: BULK, not_before: "2999-01-01T00:00:00" });
  const good = enqueue(store, { stream: "s", priority: URGENT });

  assert.deepEqual(idsOf(store.leaseAll()), [good]);
  assert.equal(store.row(wrong)["state"], "send_failed");
  assert.equal(store.row(later)["state"], "pending");
});

test("rows that came back to the table go in their order again", (t) => {
  const store = new SessionStoreUnderTest(t, { peerOf });
  const priorities = [URGENT, BULK, HIGH, NORMAL, URGENT];
  const ids = priorities.map((priority) => enqueue(store, { stream: "s", priority }));
  const rows = store.leaseAll();
  assert.deepEqual(idsOf(rows), ids);

  const back = rows.map(({ id, generation }) => ({ rowId: id, generation }));
  store.outbox.takeBack(back.toReversed());
  const last = enqueue(store, { stream: "s", priority: URGENT });

  assert.deepEqual(idsOf(store.leaseAll()), [...ids, last]);
});

const step = fc.oneof(
  fc.record({
    kind: fc.constant("insert" as const),
    stream: fc.constantFrom(null, "a", "a", "b"),
    priority: fc.integer({ min: 0, max: 3 }),
    named: fc.boolean(),
    rows: fc.integer({ min: 1, max: 90 }),
  }),
  fc.record({ kind: fc.constant("lease" as const), rows: fc.integer({ min: 1, max: 100 }) }),
  fc.record({ kind: fc.constant("acknowledge" as const), rows: fc.integer({ min: 1, max: 50 }) }),
  fc.record({ kind: fc.constant("limit" as const), rows: fc.integer({ min: 1, max: 60 }) }),
);

test("in any order of inserts, leases and receipts each stream is in order, each row there once", (t) => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 25 }), (steps) => {
      const store = new SessionStoreUnderTest(t, { peerOf });
      const streamOf = new Map<number, string | null>();
      const handed: LeasedRow[] = [];
      const out: LeasedRow[] = [];
      const take = (rows: readonly LeasedRow[]): void => {
        handed.push(...rows);
        out.push(...rows);
      };
      for (const each of steps) {
        if (each.kind === "insert") {
          store.outside.exec("BEGIN");
          for (let n = 0; n < each.rows; n++) {
            const { stream, priority, named } = each;
            const message_id = named ? idOf(streamOf.size) : null;
            streamOf.set(enqueue(store, { stream, priority, message_id }), stream);
          }
          store.outside.exec("COMMIT");
        } else if (each.kind === "lease") take(store.lease(each.rows).rows);
        else if (each.kind === "limit") store.outbox.limit("alice", PORT, each.rows);
        else acknowledge(store, out.splice(0, each.rows));
      }
      for (let idle = 0; idle < 2; ) {
        const { rows } = store.lease();
        take(rows);
        idle = rows.length === 0 && out.length === 0 ? idle + 1 : 0;
        acknowledge(store, out.splice(0));
      }
      store.close();

      assert.equal(handed.length, streamOf.size);
      assert.equal(new Set(idsOf(handed)).size, streamOf.size);
      for (const stream of ["a", "b"]) {
        const ids = idsOf(handed).filter((id) => streamOf.get(id) === stream);
        assert.deepEqual(
          ids,
          ids.toSorted((a, b) => a - b),
        );
      }
    }),
    { numRuns: 40 },
  );
});
