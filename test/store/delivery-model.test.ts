// Deliveries against a model of a few lines: whatever senders repeat, settle and restart, and readers
// delete, a message is stored once while its sender may still send it, another one under its id never,
// and tombstones go when they are settled and not before. A failure prints the seed and the shortest
// sequence of actions.

import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { DELIVERED } from "../../src/shared/protocol/session/ports.js";
import { idOf, temporaryFolder } from "./fixture.js";
import { type Handed, PEERS, SessionStoreUnderTest } from "./session-fixture.js";

const RUNS = Number(process.env.RUNS ?? 150);
const { inserted, known, conflict, busy, pending } = DELIVERED;

interface Entry {
  readonly text: string;
  boot: number;
  number: number;
  deleted: boolean;
}

/** What a receiver must know: per peer and id, one message and its newest number. */
class Model {
  readonly entries = new Map<string, Entry>();
  /** Highest `below` of each peer, for its newest boot: later deletions are covered by it, in time. */
  readonly settled = new Map<number, { boot: number; below: number }>();

  message(peer: number, id: number, text: string, boot: number, number: number): number {
    const key = `${peer}/${id}`;
    const entry = this.entries.get(key);
    if (entry === undefined) {
      this.entries.set(key, { text, boot, number, deleted: false });
      return inserted;
    }
    if (entry.text !== text) return conflict;
    if (entry.boot !== boot) Object.assign(entry, { boot, number });
    else entry.number = Math.max(entry.number, number);
    return known;
  }

  forget(peer: number, boot: number, below: number): void {
    for (const [key, entry] of this.entries) {
      const isCovered = key.startsWith(`${peer}/`) && entry.boot === boot && entry.number < below;
      if (entry.deleted && isCovered) this.entries.delete(key);
    }
  }
}

interface Context {
  readonly model: Model;
  store: SessionStoreUnderTest;
  readonly reopen: () => SessionStoreUnderTest;
}
type Action = (context: Context) => void;

interface Record {
  readonly settles: boolean;
  readonly peer: number;
  readonly id: number;
  readonly text: number;
  readonly boot: number;
  readonly number: number;
}

const toHanded = ({ settles, peer, id, text, boot, number }: Record): Handed => {
  const bootId = Buffer.alloc(8, boot + 1);
  return settles
    ? { kind: "settled", peer, boot: bootId, below: number }
    : { id: idOf(id), peer, boot: bootId, number, payload: `text ${text}` };
};

/** Without settled numbers, which draw no answer and of which several may become one record. */
const answersOf = (outcomes: readonly number[]): readonly number[] =>
  outcomes.filter((outcome) => outcome !== pending);

function deliver(records: readonly Record[]): Action {
  return ({ model, store }) => {
    const expected = records.flatMap(({ settles, peer, id, text, boot, number }) => {
      if (!settles) return [model.message(peer, id, `text ${text}`, boot, number)];
      const before = model.settled.get(peer);
      if (before?.boot !== boot || before.below < number) {
        model.settled.set(peer, { boot, below: number });
      }
      return [];
    });
    // Behind all messages of the transaction.
    for (const { settles, peer, boot, number } of records) {
      if (settles) model.forget(peer, boot, number);
    }

    assert.deepEqual(answersOf(store.deliver(records.map(toHanded))), expected);
  };
}

/** Another process has the lock: nothing may change. */
function deliverInVain(records: readonly Record[]): Action {
  return ({ store }) => {
    store.outside.exec("BEGIN IMMEDIATE");
    const outcomes = store.deliver(records.map(toHanded), 0);
    store.outside.exec("ROLLBACK");
    const messages = records.filter(({ settles }) => !settles);
    assert.deepEqual(answersOf(outcomes), Array(messages.length).fill(busy));
  };
}

function purge(id: number | undefined): Action {
  return ({ model, store }) => {
    const where = id === undefined ? "" : `WHERE message_id = '${idOf(id)}'`;
    store.outside.exec(`DELETE FROM inbound_messages ${where}`);
    for (const [key, entry] of model.entries) {
      if (id === undefined || key.endsWith(`/${id}`)) entry.deleted = true;
    }
  };
}

const tend: Action = ({ model, store }) => {
  while (store.settled.tend(100));
  for (const [peer, { boot, below }] of model.settled) model.forget(peer, boot, below);
};

/** What was settled is not remembered over a restart; the next SETTLED says it again. */
const restart: Action = (context) => {
  context.store.close();
  context.store = context.reopen();
  context.model.settled.clear();
};

/** Rows, tombstones and what is counted of them are those of the model. */
const compare: Action = ({ model, store }) => {
  const rows = { stored: [] as string[], deleted: [] as string[] };
  for (const [key, { text, boot, number, deleted }] of model.entries) {
    const [peer, id] = key.split("/") as [string, string];
    const line = `${PEERS[Number(peer)]} ${idOf(Number(id))} ${boot + 1} ${number}`;
    if (deleted) rows.deleted.push(line);
    else rows.stored.push(`${line} ${text}`);
  }
  const list = (sql: string): readonly string[] =>
    (store.outside.prepare(sql).raw().all() as [string, string, Buffer, number, string?][])
      .map(([peer, id, boot, ...rest]) => [peer, id, boot[0], ...rest].join(" "))
      .sort();
  assert.deepEqual(
    list("SELECT peer, message_id, boot, number, payload FROM inbound_messages"),
    rows.stored.sort(),
  );
  assert.deepEqual(
    list("SELECT peer, message_id, boot, number FROM tombstones"),
    rows.deleted.sort(),
  );
  for (const peer of PEERS) {
    const counted = store.outside.prepare("SELECT rows, bytes FROM inbound_usage WHERE peer = ?");
    const is = store.outside.prepare(
      `SELECT count(*), coalesce(sum(octet_length(payload)), 0) FROM inbound_messages
       WHERE peer = ? AND peer <> ''`,
    );
    assert.deepEqual(counted.raw().get(peer) ?? [0, 0], is.raw().get(peer));
  }
};

const record: fc.Arbitrary<Record> = fc.record({
  settles: fc.nat(3).map((n) => n === 0),
  peer: fc.nat(1),
  id: fc.nat(4),
  text: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(1) }),
  boot: fc.nat(1),
  number: fc.integer({ min: 1, max: 6 }),
});
const batch = fc.array(record, { minLength: 1, maxLength: 6 });

function named<Args extends readonly unknown[]>(
  parameters: fc.Arbitrary<Args>,
  name: string,
  make: (...args: Args) => Action,
): fc.Arbitrary<Action> {
  return parameters.map((args) => {
    const action = make(...args);
    return Object.assign((context: Context) => action(context), {
      [fc.toStringMethod]: () => `${name}(${JSON.stringify(args)})`,
    });
  });
}
const actions: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: named(fc.tuple(batch), "deliver", deliver) },
  { weight: 1, arbitrary: named(fc.tuple(batch), "deliver in vain", deliverInVain) },
  {
    weight: 3,
    arbitrary: named(fc.tuple(fc.option(fc.nat(4), { nil: undefined })), "purge", purge),
  },
  { weight: 1, arbitrary: named(fc.tuple(), "tend", () => tend) },
  { weight: 1, arbitrary: named(fc.tuple(), "restart", () => restart) },
);

function run(t: TestContext, sequence: readonly Action[]): void {
  const path = join(temporaryFolder(t), "queue.db");
  const reopen = () => new SessionStoreUnderTest(t, { path });
  const context: Context = { model: new Model(), store: reopen(), reopen };
  try {
    for (const action of sequence) {
      action(context);
      compare(context);
    }
  } finally {
    context.store.close();
  }
}

test("deliveries, settlements, deletions and restarts in any order keep to the model", (t) => {
  fc.assert(
    fc.property(fc.array(actions, { maxLength: 14, size: "max" }), (sequence) => {
      run(t, sequence);
    }),
    {
      numRuns: RUNS,
      ...(process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) }),
    },
  );
});
