// Seeds: hosts with the real core in a world where everything goes wrong that can, and the oracle that
// watches them. SEEDS=n for more, FROM=s to begin elsewhere; a failure says how to replay it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ClassicAdapter } from "./classic-host.js";
import type { Scenario } from "./scenario.js";
import { plantOf, playSeed, playSeedsInThreads } from "./seeds.js";
import { shrink } from "./shrink.js";
import { type RunResult, run, scenarioOf } from "./simulation.js";

const SEEDS = Number(process.env.SEEDS ?? 2_000);
const FROM = Number(process.env.FROM ?? 1);
const THREADS = 2;
const SAME_SEEDS = 100;
const CIPHER_SEEDS = 20;

test(`${SEEDS} seeds: nothing acknowledged is missing, nothing is there twice, all gets through`, async (t) => {
  const order = { from: FROM, count: SEEDS, stopsAtFirst: false, protocol: "classic" as const };

  const report = await playSeedsInThreads(order, { threads: THREADS });

  t.diagnostic(
    `${report.steps} events, ${report.acknowledged} acknowledged, ${report.stored} stored, ` +
      `${report.expired} expired, ${report.datagrams} datagrams, ${report.crashes} crashes`,
  );
  const failures = report.failed.map(
    ({ seed, profile, message, tail }) =>
      `SIM_SEED=${seed} SIM_PROFILE=${profile}: ${message}\n${tail.join("\n")}\n` +
      `replay: npm run sim -- --seed ${seed} --verbose`,
  );
  assert.deepEqual(failures, []);
  assert.equal(report.seeds, SEEDS);
  assert.ok(report.acknowledged > SEEDS, "the runs are about something");
});

test("a seed is one run: played twice, and replayed from what was decided", () => {
  for (let seed = FROM; seed < FROM + SAME_SEEDS; seed++) {
    const first = playSeed(seed);
    const replayed = replay({ ...first.scenario, decisions: first.decisions });

    assert.equal(playSeed(seed).hash, first.hash, `seed ${seed} once more`);
    assert.equal(replayed.hash, first.hash, `seed ${seed} from its decisions`);
    assert.ok(first.steps > 0);
  }
});

test("a run with real ciphers is the run with symbolic ones", () => {
  for (let seed = FROM; seed < FROM + CIPHER_SEEDS; seed++) {
    const { setting, ...scenario } = scenarioOf(seed);
    const [real, symbolic] = (["real", "symbolic"] as const).map((crypto) =>
      replay({ ...scenario, setting: { ...setting, crypto } }),
    );

    assert.equal(real.violation, undefined, `seed ${seed}`);
    assert.equal(real.hash, symbolic.hash, `seed ${seed}`);
  }
});

test("a failing run shrinks to the few decisions and steps that it takes", () => {
  const plant = plantOf("no dedupe");
  const failed = firstFailing("no dedupe");
  const again = (scenario: Scenario): RunResult =>
    run(scenario, { adapter: new ClassicAdapter(plant), ...(plant && { plant }) });

  const short = shrink(failed, again, 500);

  assert.ok(short !== undefined);
  assert.equal(short.violation.name, failed.violation?.name);
  assert.ok(short.scenario.steps.length <= 3, `${short.scenario.steps.length} steps`);
  assert.ok((short.scenario.decisions?.length ?? 0) <= 5);
});

const replay = (scenario: Scenario): RunResult => run(scenario, { adapter: new ClassicAdapter() });

function firstFailing(plantName: string): RunResult {
  for (let seed = 1; seed < 2_000; seed++) {
    const result = playSeed(seed, plantOf(plantName));
    if (result.violation !== undefined) return result;
  }
  assert.fail(`nobody notices "${plantName}"`);
}
