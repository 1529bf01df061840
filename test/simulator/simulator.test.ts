// Seeds: hosts with the real core in a world where everything goes wrong that can, and the oracle that
// watches them. SEEDS=n for more, FROM=s to begin elsewhere; a failure says how to replay it.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Scenario, Setting } from "./scenario.js";
import { adapterOf, plantOf, playSeed, SeedThreads } from "./seeds.js";
import { shrink } from "./shrink.js";
import { type RunResult, run, scenarioOf } from "./simulation.js";
import { HAPPENS } from "./tally.js";

const SEEDS = Number(process.env.SEEDS ?? 2_000);
const FROM = Number(process.env.FROM ?? 1);
const THREADS = 2;
/** Fewer seeds need not contain everything. */
const SEEDS_WITH_ALL = 2_000;
const SAME_SEEDS = { classic: 100, session: 40 };
const CIPHER_SEEDS = { classic: 20, session: 10 };
const PROTOCOLS = ["classic", "session"] as const;
const threads = new SeedThreads(THREADS);

after(() => threads.close());

for (const protocol of PROTOCOLS) {
  test(`${SEEDS} seeds of ${protocol}: nothing acknowledged is missing, nothing is there twice, all gets through`, async (t) => {
    const report = await threads.play({ from: FROM, count: SEEDS, stopsAtFirst: false, protocol });

    t.diagnostic(
      `${report.steps} events, ${report.acknowledged} acknowledged, ${report.stored} stored, ` +
        `${report.expired} expired, ${report.datagrams} datagrams, ${report.crashes} crashes`,
    );
    const failures = report.failed.map(
      ({ seed, profile, message, tail }) =>
        `SIM_SEED=${seed} SIM_PROFILE=${profile}: ${message}\n${tail.join("\n")}\n` +
        `replay: npm run sim -- --seed ${seed} --protocol ${protocol} --verbose`,
    );
    assert.deepEqual(failures, []);
    assert.equal(report.seeds, SEEDS);
    assert.ok(report.acknowledged > SEEDS, "the runs are about something");
    const missing = HAPPENS[protocol].filter((kind) => (report.happened[kind] ?? 0) === 0);
    if (SEEDS >= SEEDS_WITH_ALL) assert.deepEqual(missing, [], "everything happens that can");
  });

  test(`a seed of ${protocol} is one run: played twice, and replayed from what was decided`, () => {
    for (let seed = FROM; seed < FROM + SAME_SEEDS[protocol]; seed++) {
      const first = playSeed(seed, undefined, protocol);
      const replayed = replay({ ...first.scenario, decisions: first.decisions });

      assert.equal(playSeed(seed, undefined, protocol).hash, first.hash, `seed ${seed} once more`);
      assert.equal(replayed.hash, first.hash, `seed ${seed} from its decisions`);
      assert.ok(first.steps > 0);
    }
  });
}

test("a run with real ciphers is the run with symbolic ones", () => {
  for (let seed = FROM; seed < FROM + CIPHER_SEEDS.classic; seed++) {
    const [real, symbolic] = withBoth(seed, "classic");

    assert.equal(real.violation, undefined, `seed ${seed}`);
    assert.equal(real.hash, symbolic.hash, `seed ${seed}`);
  }
});

test("sessions keep their promises with real ciphers, too", () => {
  for (let seed = FROM; seed < FROM + CIPHER_SEEDS.session; seed++) {
    const [real, symbolic] = withBoth(seed, "session");

    assert.equal(real.violation, undefined, `seed ${seed}`);
    assert.equal(real.acknowledged > 0, symbolic.acknowledged > 0, `seed ${seed}`);
  }
});

for (const [protocol, name] of [
  ["classic", "no dedupe"],
  ["session", "no session dedupe"],
] as const) {
  test(`a failing run of ${protocol} shrinks to the few decisions and steps that it takes`, () => {
    const plant = plantOf(name);
    const failed = firstFailing(name, protocol);
    const again = (scenario: Scenario): RunResult =>
      run(scenario, { adapter: adapterOf(protocol, plant), ...(plant && { plant }) });

    const short = shrink(failed, again, 500);

    assert.ok(short !== undefined);
    assert.equal(short.violation.name, failed.violation?.name);
    assert.ok(short.scenario.steps.length <= 3, `${short.scenario.steps.length} steps`);
    assert.ok((short.scenario.decisions?.length ?? 0) <= 5);
  });
}

const replay = (scenario: Scenario): RunResult =>
  run(scenario, { adapter: adapterOf(scenario.setting.protocol) });

function withBoth(seed: number, protocol: Setting["protocol"]): [RunResult, RunResult] {
  const { setting, ...scenario } = scenarioOf(seed, protocol);
  const played = (crypto: Setting["crypto"]): RunResult =>
    replay({ ...scenario, setting: { ...setting, crypto } });
  return [played("real"), played("symbolic")];
}

function firstFailing(plantName: string, protocol: Setting["protocol"]): RunResult {
  for (let seed = 1; seed < 2_000; seed++) {
    const result = playSeed(seed, plantOf(plantName), protocol);
    if (result.violation !== undefined) return result;
  }
  assert.fail(`nobody notices "${plantName}"`);
}
