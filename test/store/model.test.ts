// The store against a model of a few lines: whatever owners, peers and the daemon do in whatever
// order, each row that is work is out exactly once, a settlement counts only for what was sent, and a
// message is stored once. A failure prints the seed and the shortest sequence of actions.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { STORED } from "../../src/shared/runtime/inbound-batch.js";
import { idOf, type LeasedRow, payloadOf, StoreUnderTest, temporaryFolder } from "./fixture.js";

const RUNS = Number(process.env.RUNS ?? 100);
const ADDRESSES = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
const SCOPES = ["", "alice", "bob"];

interface Row {
  address: string;
  state: "pending" | "sent" | "acknowledged" | "send_failed";
  generation: number;
}

/** What main holds: the row as it was leased. */
type InFlight = Map<number, LeasedRow>;

class Model {
  readonly rows = new Map<number, Row>();
  readonly inFlight: InFlight = new Map();
  /** Settlements that main may still send twice. */
  readonly old: LeasedRow[] = [];
  /** scope, id and text of what was ever stored. */
  readonly stored = new Set<string>();
  /** scope and id of it. */
  readonly taken = new Set<string>();
}

interface Context {
  readonly model: Model;
  store: StoreUnderTest;
  readonly reopen: () => StoreUnderTest;
}
type Action = (context: Context) => void;

const isWork = (row: Row): boolean => row.state === "pending" || row.state === "sent";
const pick = <T>(list: readonly T[], n: number): T | undefined => list[n % list.length];

function enqueue(address: number, priority: number): Action {
  return ({ model, store }) => {
    const dst_addr = ADDRESSES[address % ADDRESSES.length] as string;
    const id = store.enqueue({ dst_addr, priority });
    model.rows.set(id, { address: dst_addr, state: "pending", generation: 0 });
  };
}

/** An owner's statement on one row, and what it means. */
function own(n: number, sql: string, change: (row: Row) => void): Action {
  return ({ model, store }) => {
    const id = pick([...model.rows.keys()], n);
    if (id === undefined) return;
    store.outside.prepare(`UPDATE outbound_messages SET ${sql} WHERE id = ?`).run(id);
    change(model.rows.get(id) as Row);
  };
}

const redrive = (n: number): Action =>
  own(n, "state = 'pending'", (row) => {
    if (!isWork(row)) row.generation += 1;
    row.state = "pending";
  });

const cancel = (n: number): Action =>
  own(n, "state = 'send_failed'", (row) => {
    row.state = "send_failed";
  });

function readdress(n: number, address: number): Action {
  const to = ADDRESSES[address % ADDRESSES.length] as string;
  return (context) => {
    const id = pick([...context.model.rows.keys()], n);
    if (id === undefined) return;
    // Before the first lease a row has no id, so nothing of it was sent.
    const wasLeased = context.store.row(id).message_id !== null;
    own(n, `dst_addr = '${to}'`, (row) => {
      if (wasLeased && row.address !== to) {
        row.generation += 1;
        if (row.state === "sent") row.state = "pending";
      }
      row.address = to;
    })(context);
  };
}

function remove(n: number): Action {
  return ({ model, store }) => {
    const id = pick([...model.rows.keys()], n);
    if (id === undefined) return;
    store.outside.prepare("DELETE FROM outbound_messages WHERE id = ?").run(id);
    model.rows.delete(id);
  };
}

function take({ model }: Context, leased: readonly LeasedRow[]): void {
  for (const row of leased) {
    const expected = model.rows.get(row.id);
    assert.ok(expected !== undefined && isWork(expected), `row ${row.id} is work`);
    assert.equal(row.generation, expected.generation, `generation of row ${row.id}`);
    assert.equal(row.to, `${expected.address}:5000`);
    const before = model.inFlight.get(row.id);
    assert.notEqual(before?.generation, row.generation, `row ${row.id} is out once`);
    if (before !== undefined) model.old.push(before);
    model.inFlight.set(row.id, row);
  }
}

/** All there is, after which nothing that is work may be missing. */
const leaseAll: Action = (context) => {
  const { model, store } = context;
  for (let steps = 0; steps < 4; steps++) store.outbox.tend();
  take(context, store.leaseAll());
  for (const [id, row] of model.rows) {
    if (!isWork(row)) continue;
    assert.equal(model.inFlight.get(id)?.generation, row.generation, `row ${id} was leased`);
  }
};

const leaseFew =
  (rows: number): Action =>
  (context) =>
    take(context, context.store.lease(rows).rows);

function settle(n: number, outcome: "acknowledged" | "failed" | "waiting", again: boolean): Action {
  return ({ model, store }) => {
    const flying = [...model.inFlight.values()];
    const row = again ? pick(model.old, n) : pick(flying, n);
    if (row === undefined) return;
    const counts = model.rows.get(row.id);
    const valid = counts !== undefined && isWork(counts) && counts.generation === row.generation;

    const changed = store.settle({ [outcome]: [{ ...row, attempts: 1, why: "x" }] });

    assert.equal(changed, valid ? 1 : 0, `settling row ${row.id}`);
    if (valid) {
      counts.state =
        outcome === "acknowledged" ? "acknowledged" : outcome === "failed" ? "send_failed" : "sent";
    }
    if (outcome !== "waiting" && model.inFlight.get(row.id) === row) {
      model.inFlight.delete(row.id);
      model.old.push(row);
    }
  };
}

function readAgain(n: number): Action {
  return (context) => {
    const { model, store } = context;
    const row = pick([...model.inFlight.values()], n);
    if (row === undefined) return;
    const counts = model.rows.get(row.id);
    const valid = counts !== undefined && isWork(counts) && counts.generation === row.generation;

    const { rows, gone } = store.lease(0, { again: [[row.id, 77]] });

    assert.deepEqual(gone, valid ? [] : [77]);
    assert.deepEqual(
      rows.map((each) => [each.id, each.payload]),
      valid ? [[row.id, row.payload]] : [],
    );
    if (!valid) {
      model.inFlight.delete(row.id);
      model.old.push(row);
    }
  };
}

function receive(scope: number, id: number, text: number): Action {
  return ({ model, store }) => {
    const name = SCOPES[scope % SCOPES.length] as string;
    const messageId = idOf(id);
    const key = `${name}/${id}`;
    const payload = payloadOf(messageId, `text ${text}`);
    const expected = model.stored.has(`${key}/${text}`)
      ? STORED.known
      : name !== "" && model.taken.has(key)
        ? STORED.conflict
        : STORED.inserted;

    const outcomes = store.store([{ scope: name, id: messageId, payload }]);

    assert.deepEqual(outcomes, [expected], `${key}/${text}`);
    if (expected !== STORED.inserted) return;
    model.stored.add(`${key}/${text}`);
    model.taken.add(key);
  };
}

const purge: Action = ({ store }) => {
  store.outside.exec("DELETE FROM inbound_messages");
};

const restart: Action = (context) => {
  context.store.close();
  context.store = context.reopen();
  context.model.old.push(...context.model.inFlight.values());
  context.model.inFlight.clear();
};

const small = fc.nat({ max: 5 });
const actions: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: named(fc.tuple(small, small), "enqueue", enqueue) },
  { weight: 2, arbitrary: named(fc.tuple(small), "redrive", redrive) },
  { weight: 1, arbitrary: named(fc.tuple(small), "cancel", cancel) },
  { weight: 2, arbitrary: named(fc.tuple(small, small), "readdress", readdress) },
  { weight: 1, arbitrary: named(fc.tuple(small), "remove", remove) },
  { weight: 3, arbitrary: named(fc.tuple(), "leaseAll", () => leaseAll) },
  { weight: 2, arbitrary: named(fc.tuple(fc.integer({ min: 1, max: 3 })), "leaseFew", leaseFew) },
  {
    weight: 5,
    arbitrary: named(
      fc.tuple(
        small,
        fc.constantFrom("acknowledged" as const, "failed" as const, "waiting" as const),
        fc.boolean(),
      ),
      "settle",
      settle,
    ),
  },
  { weight: 2, arbitrary: named(fc.tuple(small), "readAgain", readAgain) },
  { weight: 4, arbitrary: named(fc.tuple(small, small, fc.nat({ max: 2 })), "receive", receive) },
  { weight: 1, arbitrary: named(fc.tuple(), "purge", () => purge) },
  { weight: 1, arbitrary: named(fc.tuple(), "restart", () => restart) },
);

/** Gives an action the text under which a failure shows it. */
function named<A extends unknown[]>(
  values: fc.Arbitrary<A>,
  name: string,
  make: (...args: A) => Action,
): fc.Arbitrary<Action> {
  return values.map((args) => {
    const action = make(...args);
    return Object.assign((context: Context) => action(context), {
      [fc.toStringMethod]: () => `${name}(${args.join(", ")})`,
    });
  });
}

function play(t: TestContext, sequence: readonly Action[]): void {
  const path = `${temporaryFolder(t)}/queue.db`;
  const reopen = (): StoreUnderTest => new StoreUnderTest(t, { path });
  const context: Context = { model: new Model(), store: reopen(), reopen };
  try {
    for (const action of sequence) action(context);
    leaseAll(context);
    for (const [id, { state, generation }] of context.model.rows) {
      const row = context.store.row(id);
      assert.deepEqual([row.state, row.generation], [state, generation], `row ${id}`);
    }
  } finally {
    context.store.close();
  }
}

test("the store does what the model says, whatever the order of things", (t) => {
  const sequences = fc.array(actions, { minLength: 5, maxLength: 40 });

  fc.assert(
    fc.property(sequences, (sequence) => play(t, sequence)),
    {
      numRuns: RUNS,
      ...(process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) }),
    },
  );
});
