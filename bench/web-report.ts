// One page of all results: what bench/run wrote as JSON, as tables and charts in one HTML file that needs
// no other. Results of any age and machine may lie there; each says its own.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chartSvg, escaped } from "./chart.js";
import type { Machine } from "./machine.js";
import { type Report, reached, type Table } from "./suite.js";
import { shown, targetText } from "./text.js";

const FILE = "report.html";

/** A suite's results, as its JSON file holds them. */
export interface Result extends Report {
  readonly name: string;
  readonly title: string;
  readonly machine: Machine;
  readonly date: string;
}

/** Writes the page into the folder of results; returns a line that says where. */
export function writeReport(folder: string): string {
  const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
  if (names.length === 0) throw new Error("there are no results yet: run a suite first");
  const results = names
    .sort()
    .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as Result);
  const path = join(folder, FILE);
  writeFileSync(path, reportPage(results));
  return `${results.length} results in ${path}`;
}

/** The page: no script, nothing from elsewhere. */
export function reportPage(results: readonly Result[]): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SecureDGram benchmarks</title>
<style>${STYLE}</style>
</head>
<body>
<h1>SecureDGram benchmarks</h1>
${targetsTable(results)}
<nav><ul>
${results.map(({ name, title }) => `<li><a href="#${escaped(name)}">${escaped(title)}</a></li>`).join("\n")}
</ul></nav>
${results.map(section).join("\n")}
</body>
</html>
`;
}

const STYLE = `
body{font:15px/1.45 Helvetica,Arial,sans-serif;color:#222;max-width:1000px;margin:2em auto;padding:0 1em}
h2{margin-top:2.5em;border-top:2px solid #ddd;padding-top:.6em}
.where,.settings{color:#666;font-size:13px}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;margin:.6em 0}
caption{text-align:left;font-weight:bold;padding:.3em 0}
th,td{padding:.2em .7em;border-bottom:1px solid #e4e4e4;text-align:left;vertical-align:top}
th{border-bottom:2px solid #bbb}
.number{text-align:right;font-variant-numeric:tabular-nums}
.reached{color:#1c7a3e}
.missed{color:#b00020;font-weight:bold}
svg{max-width:100%;height:auto;border:1px solid #eee}
`;

/** Every figure that was asked for, on top. */
function targetsTable(results: readonly Result[]): string {
  const rows = results.flatMap(({ name, targets }) =>
    targets.map((target) => {
      const verdict = reached(target) ? "reached" : "missed";
      const text = targetText(target).replace(/^\S+\s+/, "");
      return `<tr><td class="${verdict}">${verdict}</td><td><a href="#${escaped(name)}">${escaped(name)}</a></td><td>${escaped(text)}</td></tr>`;
    }),
  );
  if (rows.length === 0) return "";
  return `<table><caption>Targets</caption>\n${rows.join("\n")}\n</table>`;
}

function section(result: Result): string {
  const { name, title, machine, date, settings, tables, chart, notes } = result;
  const where = `${date}; Node ${machine.node}; ${machine.cores} x ${machine.cpu}; ${machine.memoryGb} GB; ${machine.kernel}; load ${machine.load.toFixed(1)} before`;
  const set = Object.entries(settings).map(([key, value]) => `${key} ${value}`);
  return `<section id="${escaped(name)}">
<h2>${escaped(title)}</h2>
<p class="where">${escaped(where)}</p>
<p class="settings">${escaped(set.join("; "))}</p>
${chartSvg(chart, machine, date)}${tables.map(tableHtml).join("\n")}
<ul>${notes.map((note) => `<li>${escaped(note)}</li>`).join("\n")}</ul>
</section>`;
}

function tableHtml({ title, columns, rows }: Table): string {
  const isNumber = columns.map(({ key }) => rows.some((row) => typeof row[key] === "number"));
  const cell = (tag: "td" | "th", text: string, i: number): string =>
    `<${tag}${isNumber[i] ? ' class="number"' : ""}>${escaped(text)}</${tag}>`;
  const head = columns.map(({ label }, i) => cell("th", label, i)).join("");
  const body = rows.map(
    (row) =>
      `<tr>${columns.map((column, i) => cell("td", shown(row[column.key], column), i)).join("")}</tr>`,
  );
  return `<div class="wide"><table><caption>${escaped(title)}</caption>
<tr>${head}</tr>
${body.join("\n")}
</table></div>`;
}
