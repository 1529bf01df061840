// npm run sim -- --seeds N [--from S] [--threads T] [--plant NAME]   many seeds
//             -- --seed X [--verbose] [--shrink] [--plant NAME]       one of them, closely
//             --protocol session: hosts that speak sessions; classic is the default. --plants: their names

import { parseArgs } from "node:util";
import { PLANTS } from "./plants.js";
import { adapterOf, plantOf, type SeedReport, SeedThreads } from "./seeds.js";
import { shrink } from "./shrink.js";
import { type RunResult, run, scenarioOf } from "./simulation.js";

const PROGRESS_SEEDS = 500;
const SHRINK_RUNS_MAX = 2_000;
const FAILURES_SHOWN = 10;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "2000" },
    from: { type: "string", default: "1" },
    threads: { type: "string", default: "2" },
    seed: { type: "string" },
    protocol: { type: "string", default: "classic" },
    plant: { type: "string" },
    verbose: { type: "boolean", default: false },
    shrink: { type: "boolean", default: false },
    plants: { type: "boolean", default: false },
  },
});

const protocol = values.protocol === "session" ? "session" : "classic";

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

if (values.plants) for (const { name, protocol: of } of PLANTS) say(`${of}: ${name}`);
else if (values.seed === undefined) await many();
else one(Number(values.seed));

async function many(): Promise<void> {
  const startedAt = performance.now();
  let shown = 0;
  let told = 0;
  const threads = new SeedThreads(Number(values.threads));
  const order = { from: Number(values.from), count: Number(values.seeds), stopsAtFirst: false };
  const report = await threads.play({ ...order, protocol, plant: values.plant }, (soFar) => {
    if (soFar.seeds < shown + PROGRESS_SEEDS) return;
    shown = soFar.seeds;
    say(lineOf(soFar, startedAt));
    for (const { seed, message } of soFar.failed.slice(told)) say(`seed ${seed}: ${message}`);
    told = soFar.failed.length;
  });
  await threads.close();
  say(lineOf(report, startedAt));
  for (const [kind, times] of Object.entries(report.happened).sort()) say(`  ${kind}: ${times}`);
  for (const { seed, profile, message, tail } of report.failed.slice(0, FAILURES_SHOWN)) {
    say(`\nSIM_SEED=${seed} SIM_PROFILE=${profile}: ${message}`);
    for (const line of tail) say(line);
    say(`replay: npm run sim -- --seed ${seed}${options()} --verbose`);
  }
  process.exitCode = report.failed.length === 0 ? 0 : 1;
}

function lineOf(report: SeedReport, startedAt: number): string {
  const seconds = (performance.now() - startedAt) / 1_000;
  return (
    `${report.seeds} seeds, ${(report.seeds / seconds).toFixed(1)} a second; ` +
    `${report.steps} events, ${Math.round(report.steps / seconds)} a second; ` +
    `${report.acknowledged} acknowledged, ${report.stored} stored, ${report.expired} expired, ` +
    `${report.datagrams} datagrams, ${report.crashes} crashes; ${report.failed.length} failed`
  );
}

function one(seed: number): void {
  const result = play(seed, values.verbose ? say : undefined);
  const { setting } = result.scenario;
  say(JSON.stringify(setting));
  say(`${result.steps} events, hash ${result.hash}, ${(result.spanNs / 1e9).toFixed(1)} s`);
  say(`dropped: ${JSON.stringify(result.drops)}`);
  if (result.violation === undefined) {
    say("all went as it should");
    return;
  }
  process.exitCode = 1;
  for (const line of result.tail) say(line);
  say(`SIM_SEED=${seed} SIM_PROFILE=${setting.name} at event ${result.steps}`);
  say(result.violation.message);
  if (!values.shrink) {
    say(`shorter: npm run sim -- --seed ${seed}${options()} --shrink`);
    return;
  }
  const plant = plantOf(values.plant);
  const short = shrink(
    result,
    (scenario) =>
      run(scenario, {
        adapter: adapterOf(protocol, plant),
        ...(plant === undefined ? {} : { plant }),
      }),
    SHRINK_RUNS_MAX,
  );
  if (short === undefined) return say("it does not fail when it is replayed from its decisions");
  say(`after ${short.runs} runs: ${short.violation.message}`);
  for (const decision of short.scenario.decisions ?? []) say(JSON.stringify(decision));
  for (const step of short.scenario.steps) say(JSON.stringify(step));
}

function play(seed: number, onEvent: ((line: string) => void) | undefined): RunResult {
  const plant = plantOf(values.plant);
  return run(scenarioOf(seed, protocol), {
    adapter: adapterOf(protocol, plant),
    ...(plant === undefined ? {} : { plant }),
    ...(onEvent === undefined ? {} : { onEvent }),
  });
}

/** What else a replay has to say. */
function options(): string {
  const plant = values.plant === undefined ? "" : ` --plant "${values.plant}"`;
  return `${protocol === "classic" ? "" : ` --protocol ${protocol}`}${plant}`;
}
