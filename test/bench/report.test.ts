// The page of all results, as bench/run writes it.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { chartSvg } from "../../bench/chart.js";
import { type Result, reportPage, writeReport } from "../../bench/web-report.js";

const MACHINE = {
  ...{ cpu: "a <fast> CPU", cores: 2, memoryGb: 8, kernel: "Linux 6", node: "20.19.0" },
  ...{ v8: "11", load: 0.1 },
};
const RESULT: Result = {
  name: "sizes",
  title: 'sizes: "small" & large',
  machine: MACHINE,
  date: "2025-01-01T12:00:00.000Z",
  settings: { rounds: 3 },
  tables: [
    {
      title: "Messages a second",
      columns: [
        { key: "name", label: "payload" },
        { key: "perSecond", label: "messages/s", digits: 0 },
      ],
      rows: [{ name: "<64 B>", perSecond: 12_345.6 }],
    },
  ],
  chart: {
    title: "rates",
    axis: "messages a second",
    scale: "linear",
    series: ["messages/s"],
    groups: [
      { label: "64 B", values: [12_345.6] },
      { label: "nothing", values: [undefined] },
    ],
  },
  targets: [
    { what: "fast", wanted: { atLeast: 10_000 }, measured: 12_345.6, unit: "messages/s" },
    { what: "quick", wanted: { atMost: 1 }, measured: 2, unit: "ms" },
  ],
  notes: ["measured & counted"],
};

test("the page holds tables, charts and verdicts, and needs nothing from elsewhere", () => {
  const page = reportPage([RESULT]);

  assert.match(page, /<td class="number">12,346<\/td>/);
  assert.match(page, /<svg [\s\S]*12,346[\s\S]*<\/svg>/);
  assert.match(page, /<td class="reached">reached<\/td>[\s\S]*fast: 12,346 messages\/s/);
  assert.match(page, /<td class="missed">missed<\/td>[\s\S]*quick: 2\.000 ms/);
  assert.match(page, /measured &amp; counted/);
  assert.doesNotMatch(page, /<script|<link|<img|src=|@import|url\(/);
  assert.doesNotMatch(page.replaceAll("http://www.w3.org/2000/svg", ""), /https?:/);
});

test("text of a result cannot become markup", () => {
  const page = reportPage([RESULT]);

  assert.match(page, /&lt;64 B&gt;/);
  assert.match(page, /sizes: &quot;small&quot; &amp; large/);
  assert.doesNotMatch(page, /<64 B>|<fast>/);
});

test("a result read from its file makes the same page as before it was written", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "securedgram-test-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const twin: Result = { ...RESULT, name: "workers" };
  for (const result of [twin, RESULT]) {
    writeFileSync(join(folder, `${result.name}.json`), JSON.stringify(result));
  }

  assert.match(writeReport(folder), /^2 results in /);

  assert.equal(readFileSync(join(folder, "report.html"), "utf8"), reportPage([RESULT, twin]));
});

test("without results the report says so", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "securedgram-test-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));

  assert.throws(() => writeReport(folder), /there are no results yet/);
});

test("a chart leaves a bar out whose value is missing, and draws the others", () => {
  const bars = (text: string): number => (text.match(/<rect [^>]*height="13"/g) ?? []).length;
  const svg = chartSvg(RESULT.chart, MACHINE, RESULT.date);
  const full = { ...RESULT.chart, groups: RESULT.chart.groups.slice(0, 1) };

  assert.equal(bars(svg), 1);
  assert.equal(bars(chartSvg(full, MACHINE, RESULT.date)), 1);
  assert.doesNotMatch(svg, /NaN|undefined|null/);
});
