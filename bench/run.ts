// `npm run bench [-- name-filter ...] [--seconds N] [--rounds N] [--rows N] [--protocol session]`: runs the
// suites whose name contains a filter, prints their tables, and writes bench/results/<name>.json and .svg.
// `npm run bench -- report` makes one page of what lies there. Ends with 1 when a suite could not measure;
// a figure that was missed is said, and is no failure.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chartSvg } from "./chart.js";
import { endChildren } from "./children.js";
import { thisMachine } from "./machine.js";
import { type BenchContext, PROTOCOLS, type Report, reached, type Suite } from "./suite.js";
import { reportText } from "./text.js";
import { writeReport } from "./web-report.js";

interface Entry {
  readonly name: string;
  readonly load: () => Promise<Suite>;
  /** Runs only when it is named in full: it takes other programs, or much time and disk. */
  readonly onDemand?: boolean;
}

const SUITES: readonly Entry[] = [
  { name: "aead", load: async () => (await import("./aead.bench.js")).suite },
  { name: "slab", load: async () => (await import("./slab.bench.js")).suite },
  { name: "socket", load: async () => (await import("./socket.bench.js")).suite },
  { name: "goodput", load: async () => (await import("./goodput.bench.js")).suite },
  { name: "channel", load: async () => (await import("./channel.bench.js")).suite },
  { name: "json", load: async () => (await import("./json.bench.js")).suite },
  { name: "replay", load: async () => (await import("./replay.bench.js")).suite },
  { name: "store", load: async () => (await import("./store.bench.js")).suite },
  { name: "mailbox", load: async () => (await import("./mailbox.bench.js")).suite },
  { name: "pipeline", load: async () => (await import("./pipeline.bench.js")).suite },
  { name: "allocation", load: async () => (await import("./allocation.bench.js")).suite },
  { name: "sizes", load: async () => (await import("./whole.js")).sizes },
  { name: "producers", load: async () => (await import("./whole.js")).producers },
  { name: "workers", load: async () => (await import("./whole.js")).workers },
  { name: "sockets", load: async () => (await import("./whole.js")).sockets },
  { name: "scaling", load: async () => (await import("./scaling.bench.js")).suite },
  { name: "fanout", load: async () => (await import("./whole.js")).fanout },
  { name: "crowd", load: async () => (await import("./crowd.bench.js")).suite },
  { name: "addresses", load: async () => (await import("./whole.js")).addresses },
  {
    name: "database",
    load: async () => (await import("./whole.js")).database,
    onDemand: true,
  },
  { name: "growth", load: async () => (await import("./growth.bench.js")).suite, onDemand: true },
  { name: "load", load: async () => (await import("./load.bench.js")).suite },
  { name: "latency", load: async () => (await import("./latency.bench.js")).suite },
  {
    name: "peers",
    load: async () => (await import("./peers.bench.js")).suite,
    onDemand: true,
  },
  {
    name: "soak",
    load: async () => (await import("./soak.bench.js")).suite,
    onDemand: true,
  },
  { name: "idle", load: async () => (await import("./idle.bench.js")).suite },
];
/** Beside the sources, wherever the compiled file lies. */
const RESULTS = fileURLToPath(new URL("../../bench/results/", import.meta.url));

const REPORT = "report";
const SECONDS_MAX = 3_600;
const ROUNDS_MAX = 100;
const ROWS_MAX = 100_000_000;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: "string" },
      rounds: { type: "string" },
      rows: { type: "string" },
      protocol: { type: "string", default: "classic" },
    },
  });
  const protocol = PROTOCOLS.find((each) => each === values.protocol);
  if (protocol === undefined) throw new Error(`--protocol takes ${PROTOCOLS.join(" or ")}`);
  const asked = {
    seconds: numberOf("seconds", values.seconds, SECONDS_MAX),
    rounds: numberOf("rounds", values.rounds, ROUNDS_MAX, true),
    rows: numberOf("rows", values.rows, ROWS_MAX, true),
    protocol,
  };
  if (positionals.includes(REPORT)) {
    if (positionals.length > 1) throw new Error(`${REPORT} stands alone`);
    console.log(writeReport(RESULTS));
    return 0;
  }
  const failures: string[] = [];
  for (const { name, load } of suitesOf(positionals)) {
    try {
      const say = (line: string): void => console.error(`  ${name}: ${line}`);
      await runOne(name, await load(), { ...asked, say });
    } catch (error) {
      failures.push(name);
      console.error(`FAILED ${name}:`, error);
    }
  }
  if (failures.length > 0) console.error(`failed: ${failures.join(", ")}`);
  return failures.length === 0 ? 0 : 1;
}

/** By full name, or by what is in a name that nothing is named in full. */
function suitesOf(filters: readonly string[]): readonly Entry[] {
  const wanted = ({ name, onDemand = false }: Entry): boolean => {
    if (filters.includes(name)) return true;
    if (onDemand) return false;
    const loose = filters.filter((filter) => !SUITES.some((entry) => entry.name === filter));
    return filters.length === 0 || loose.some((filter) => name.includes(filter));
  };
  const suites = SUITES.filter(wanted);
  if (suites.length > 0) return suites;
  const names = [...SUITES.map(({ name }) => name), REPORT];
  throw new Error(`no suite is named like that; there are ${names.join(", ")}`);
}

function numberOf(
  name: string,
  text: string | undefined,
  most: number,
  isWhole = false,
): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (value > 0 && value <= most && (!isWhole || Number.isInteger(value))) return value;
  throw new Error(`--${name} takes a ${isWhole ? "whole " : ""}number above 0, ${most} at most`);
}

async function runOne(suiteName: string, suite: Suite, context: BenchContext): Promise<void> {
  const { protocol } = context;
  const name = protocol === "classic" ? suiteName : `${suiteName}-${protocol}`;
  const date = new Date().toISOString();
  const machine = thisMachine();
  const report = await suite.run(context);
  console.log(reportText(suite.title, report, machine, date));
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(join(RESULTS, `${name}.json`), resultJson(name, suite, report, { machine, date }));
  writeFileSync(join(RESULTS, `${name}.svg`), chartSvg(report.chart, machine, date));
}

function resultJson(name: string, suite: Suite, report: Report, where: object): string {
  const targets = report.targets.map((target) => ({ ...target, reached: reached(target) }));
  const result = { name, title: suite.title, ...where, ...report, targets };
  return `${JSON.stringify(result, undefined, 2)}\n`;
}

process.once("exit", endChildren);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
process.exitCode = await main();
