// `npm run bench [-- name-filter] [--seconds N] [--protocol session]`: runs the suites whose name contains
// the filter, prints their tables, and writes bench/results/<name>.json and .svg. Ends with 1 when a suite could not
// measure; a figure that was missed is said, and is no failure.

import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chartSvg } from "./chart.js";
import { endChildren } from "./children.js";
import { thisMachine } from "./machine.js";
import { PROTOCOLS, type Protocol, type Report, reached, type Suite } from "./suite.js";
import { reportText } from "./text.js";

const SUITES: readonly { readonly name: string; readonly load: () => Promise<Suite> }[] = [
  { name: "aead", load: async () => (await import("./aead.bench.js")).suite },
  { name: "slab", load: async () => (await import("./slab.bench.js")).suite },
  { name: "socket", load: async () => (await import("./socket.bench.js")).suite },
  { name: "channel", load: async () => (await import("./channel.bench.js")).suite },
  { name: "json", load: async () => (await import("./json.bench.js")).suite },
  { name: "replay", load: async () => (await import("./replay.bench.js")).suite },
  { name: "store", load: async () => (await import("./store.bench.js")).suite },
  { name: "mailbox", load: async () => (await import("./mailbox.bench.js")).suite },
  { name: "pipeline", load: async () => (await import("./pipeline.bench.js")).suite },
  { name: "latency", load: async () => (await import("./latency.bench.js")).suite },
  { name: "idle", load: async () => (await import("./idle.bench.js")).suite },
];
/** Beside the sources, wherever the compiled file lies. */
const RESULTS = fileURLToPath(new URL("../../bench/results/", import.meta.url));

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seconds: { type: "string" }, protocol: { type: "string", default: "classic" } },
  });
  const protocol = PROTOCOLS.find((each) => each === values.protocol);
  if (protocol === undefined) throw new Error(`--protocol takes ${PROTOCOLS.join(" or ")}`);
  const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
  if (seconds !== undefined && !(seconds > 0 && seconds <= 3_600)) {
    throw new Error("--seconds takes a number from 0 to 3600");
  }
  const wanted = (name: string): boolean =>
    positionals.length === 0 || positionals.some((filter) => name.includes(filter));
  const suites = SUITES.filter(({ name }) => wanted(name));
  if (suites.length === 0) {
    throw new Error(
      `no suite is named like that; there are ${SUITES.map(({ name }) => name).join(", ")}`,
    );
  }
  const failures: string[] = [];
  for (const { name, load } of suites) {
    try {
      await runOne(name, await load(), seconds, protocol);
    } catch (error) {
      failures.push(name);
      console.error(`FAILED ${name}:`, error);
    }
  }
  if (failures.length > 0) console.error(`failed: ${failures.join(", ")}`);
  return failures.length === 0 ? 0 : 1;
}

async function runOne(
  suiteName: string,
  suite: Suite,
  seconds: number | undefined,
  protocol: Protocol,
): Promise<void> {
  const name = protocol === "classic" ? suiteName : `${suiteName}-${protocol}`;
  const say = (line: string): void => console.error(`  ${name}: ${line}`);
  const date = new Date().toISOString();
  const machine = thisMachine();
  const report = await suite.run({ seconds, protocol, say });
  console.log(reportText(suite.title, report, machine, date));
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(`${RESULTS}${name}.json`, resultJson(name, suite, report, { machine, date }));
  writeFileSync(`${RESULTS}${name}.svg`, chartSvg(report.chart, machine, date));
}

function resultJson(name: string, suite: Suite, report: Report, where: object): string {
  const targets = report.targets.map((target) => ({ ...target, reached: reached(target) }));
  const result = { name, title: suite.title, ...where, ...report, targets };
  return `${JSON.stringify(result, undefined, 2)}\n`;
}

process.once("exit", endChildren);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
process.exitCode = await main();
