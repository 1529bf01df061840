import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type Nanoseconds,
  NS_PER_MS,
  NS_PER_SECOND,
  seconds,
} from "../../src/shared/base/units.js";
import {
  CpuBudget,
  KNOWN_SOURCES_MAX,
  SourceBudgets,
} from "../../src/shared/protocol/cpu-budget.js";

const SEEDS = [3, 5] as const;
const BYTES = 200;
/** What one datagram of 200 bytes is charged with. */
const COST_NS = 1_000 + 1.5 * BYTES;
/** Datagrams that a full bucket of each kind admits: share x 250 ms. */
const KNOWN_BURST = Math.floor((0.5 * 250 * NS_PER_MS) / COST_NS);
const STRANGER_BURST = Math.floor((0.05 * 250 * NS_PER_MS) / COST_NS);
const STRANGERS_BURST = Math.floor((0.25 * 250 * NS_PER_MS) / COST_NS);

test("a bucket of a tenth of a core, step by step", () => {
  const budget = new CpuBudget({ share: 0.1, depthNs: 1_000 });
  const rows: [number, number, number, boolean][] = [
    // number, at ns, cost ns, spent?
    [1, 0, 60, true],
    [2, 0, 40, true],
    [3, 0, 1, false],
    [4, 99, 10, false],
    [5, 100, 10, true],
    [6, 5_000, 101, false],
    [7, 5_000, 100, true],
    [8, 5_000, 1, false],
  ];
  for (const [number, at, cost, spent] of rows) {
    assert.equal(budget.spend(ns(at), cost), spent, `row ${number}`);
  }
});

test("a refund is spent once more, and never fills a bucket above its depth", () => {
  const budget = new CpuBudget({ share: 0.5, depthNs: 200, buckets: 2 });

  assert.equal(budget.spend(ns(0), 100, 1), true);
  budget.refund(100, 1);
  assert.equal(budget.spend(ns(0), 100, 1), true);
  assert.equal(budget.spend(ns(0), 1, 1), false);
  for (let i = 0; i < 10; i++) budget.refund(100, 1);
  assert.equal(budget.spend(ns(0), 101, 1), false);
  assert.equal(budget.spend(ns(0), 100, 1), true);
  assert.equal(budget.spend(ns(0), 100, 0), true, "its neighbour is untouched");
});

test("over any run a bucket gives its share and its depth, no more", () => {
  const step = fc.tuple(fc.nat(2_000), fc.integer({ min: 1, max: 500 }));
  fc.assert(
    fc.property(
      fc.constantFrom(0.05, 0.25, 0.5, 1),
      fc.array(step, { maxLength: 300, size: "max" }),
      (share, steps) => {
        const depthNs = 10_000;
        const budget = new CpuBudget({ share, depthNs });
        let now = 0;
        let spent = 0;
        for (const [passes, cost] of steps) {
          now += passes;
          if (budget.spend(ns(now), cost)) spent += cost;
          assert.ok(spent <= share * (now + depthNs) + 1e-6);
        }
      },
    ),
  );
});

test("one stranger's burst ends at its own budget, and the next stranger is admitted", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });

  assert.equal(admitted(budgets, seconds(0), "192.0.2.1", 20_000), STRANGER_BURST);
  assert.equal(budgets.admit(seconds(0), "192.0.2.1", BYTES), "source_budget");
  assert.equal(budgets.admit(seconds(0), "192.0.2.2", BYTES), "admitted");
});

test("an IPv6 stranger is its /64; another /64 is another stranger", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });
  let spent = 0;
  for (let i = 1; i <= 20_000; i++) {
    if (budgets.admit(seconds(0), `2001:db8::${i.toString(16)}`, BYTES) === "admitted") spent += 1;
  }

  assert.equal(spent, STRANGER_BURST);
  assert.equal(budgets.admit(seconds(0), "2001:db8::ffff:1", BYTES), "source_budget");
  assert.equal(budgets.admit(seconds(0), "2001:db8:0:1::1", BYTES), "admitted");
});

test("an IPv4 stranger has one budget however it is spelled", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });
  admitted(budgets, seconds(0), "192.0.2.1", 20_000);

  assert.equal(budgets.admit(seconds(0), "::ffff:192.0.2.1", BYTES), "source_budget");
  assert.equal(budgets.admit(seconds(0), "::ffff:192.0.2.2", BYTES), "admitted");
});

test("a million strangers share the strangers' budget, and known sources do not notice", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });
  budgets.configure(["198.51.100.1", "2001:db8::5", "peer.example"]);
  let spent = 0;
  for (let i = 0; i < 1_000_000; i++) {
    const source = `10.${i & 255}.${(i >> 8) & 255}.${i >> 16}`;
    if (budgets.admit(seconds(0), source, BYTES) === "admitted") spent += 1;
  }

  assert.equal(spent, STRANGERS_BURST);
  assert.equal(budgets.admit(seconds(0), "192.0.2.200", BYTES), "stranger_budget");
  assert.equal(admitted(budgets, seconds(0), "198.51.100.1", 200_000), KNOWN_BURST);
  assert.equal(budgets.admit(seconds(0), "198.51.100.1", BYTES), "source_budget");
  assert.equal(budgets.admit(seconds(0), "2001:db8::5", BYTES), "admitted");
});

test("a second later the budgets hold what their shares earned", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });
  admitted(budgets, seconds(0), "192.0.2.1", 20_000);
  const tenth = ns(NS_PER_SECOND / 10);

  assert.equal(admitted(budgets, tenth, "192.0.2.1", 20_000), Math.floor((0.05 * tenth) / COST_NS));
});

test("a source has a budget of its own for ten minutes after it proved itself", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });
  spendStrangers(budgets, seconds(0));
  const rows: [number, number, string][] = [
    [1, 0, "admitted"],
    [2, 599, "admitted"],
    [3, 600, "admitted"],
    [4, 601, "stranger_budget"],
  ];

  budgets.authenticated(seconds(0), "192.0.2.9", BYTES);

  for (const [number, at, expected] of rows) {
    if (at > 0) spendStrangers(budgets, seconds(at));
    assert.equal(budgets.admit(seconds(at), "192.0.2.9", BYTES), expected, `row ${number}`);
  }
  budgets.authenticated(seconds(601), "192.0.2.9", BYTES);
  assert.equal(budgets.admit(seconds(601), "192.0.2.9", BYTES), "admitted");
});

test("a proof is of one address: its neighbour in the /64 stays a stranger", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });
  budgets.authenticated(seconds(0), "2001:db8::1", BYTES);
  spendStrangers(budgets, seconds(0));

  assert.equal(budgets.admit(seconds(0), "2001:db8::1", BYTES), "admitted");
  assert.equal(budgets.admit(seconds(0), "2001:db8::2", BYTES), "stranger_budget");
});

test("authentic traffic costs its source nothing", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });
  for (let i = 0; i < 5 * KNOWN_BURST; i++) {
    assert.equal(budgets.admit(seconds(0), "192.0.2.9", BYTES), "admitted", `datagram ${i}`);
    budgets.authenticated(seconds(0), "192.0.2.9", BYTES);
  }
  assert.equal(budgets.admit(seconds(0), "192.0.2.10", BYTES), "admitted");
});

test("a stranger that the others' traffic kept out has lost nothing of its own", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });
  spendStrangers(budgets, seconds(0));

  for (let i = 0; i < 2 * STRANGER_BURST; i++) {
    assert.equal(budgets.admit(seconds(0), "192.0.2.9", BYTES), "stranger_budget");
  }
});

test("first datagrams of honest hosts use up nothing of the strangers' budget", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });
  for (let i = 0; i < STRANGERS_BURST + 1_000; i++) {
    const source = `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
    assert.equal(budgets.admit(seconds(0), source, BYTES), "admitted", `host ${i}`);
    budgets.authenticated(seconds(0), source, BYTES);
  }
});

test("proven sources without room replace the oldest of them, never a configured one", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });
  budgets.configure(["198.51.100.1"]);
  for (let i = 0; i < KNOWN_SOURCES_MAX; i++) {
    budgets.authenticated(ns(i), `10.0.${i >> 8}.${i & 255}`, BYTES);
  }
  spendStrangers(budgets, seconds(0.001));
  const at = (source: string) => budgets.admit(seconds(0.001), source, BYTES);

  assert.equal(at("198.51.100.1"), "admitted");
  assert.equal(at("10.0.0.0"), "stranger_budget");
  assert.equal(at("10.0.0.1"), "admitted");
  assert.equal(at("10.0.15.255"), "admitted");
});

test("an address that left the configuration is a stranger; one that came is not", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });
  budgets.configure(["198.51.100.1"]);
  budgets.configure(["198.51.100.2"]);
  spendStrangers(budgets, seconds(0));

  assert.equal(budgets.admit(seconds(0), "198.51.100.1", BYTES), "stranger_budget");
  assert.equal(budgets.admit(seconds(0), "198.51.100.2", BYTES), "admitted");
});

test("what is no address is a stranger like any other, and proves nothing", () => {
  const budgets = new SourceBudgets({ now: seconds(0), seeds: SEEDS });

  assert.equal(budgets.admit(seconds(0), "no address", BYTES), "admitted");
  budgets.authenticated(seconds(0), "no address", BYTES);
  spendStrangers(budgets, seconds(0));
  assert.equal(budgets.admit(seconds(0), "no address", BYTES), "stranger_budget");
});

const ns = (value: number): Nanoseconds => value as Nanoseconds;

function admitted(budgets: SourceBudgets, now: Nanoseconds, source: string, tries: number): number {
  let count = 0;
  for (let i = 0; i < tries; i++) if (budgets.admit(now, source, BYTES) === "admitted") count += 1;
  return count;
}

/** Leaves nothing of what strangers have together, from sources that no test looks at. */
function spendStrangers(budgets: SourceBudgets, now: Nanoseconds): void {
  for (let i = 0; i < 1_000; i++) {
    const source = `203.0.${i >> 8}.${i & 255}`;
    while (true) {
      const admission = budgets.admit(now, source, BYTES);
      if (admission === "stranger_budget") return;
      if (admission === "source_budget") break;
    }
  }
}
