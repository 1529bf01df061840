// One chart as a self-contained SVG: horizontal bars in groups, every value printed at its bar.

import type { Machine } from "./machine.js";
import type { Chart } from "./suite.js";

const WIDTH = 960;
const PLOT_RIGHT = 850;
const TOP = 92;
const BAR = 15;
const GROUP_GAP = 9;
const CHARACTER = 6.4;
const COLOURS = ["#2a6f97", "#e07a1f", "#5a9e6f", "#a8447a", "#777777"];

/** The file's text. `date` and `machine` stand under the title. */
export function chartSvg(chart: Chart, machine: Machine, date: string): string {
  const left = 24 + CHARACTER * Math.max(...chart.groups.map(({ label }) => label.length), 8);
  const step = chart.series.length * BAR + GROUP_GAP;
  const bottom = TOP + chart.groups.length * step;
  const height = bottom + 62;
  const x = scaleOf(chart, left);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222">`,
    `<title>${escaped(chart.title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    text(24, 28, chart.title, 'font-size="17" font-weight="bold"'),
    text(24, 47, `${date}, Node ${machine.node}, ${machine.cores} x ${machine.cpu}`, 'fill="#666"'),
    ...legend(chart),
    ...ticks(chart).map(
      (value) =>
        `<line x1="${x(value)}" x2="${x(value)}" y1="${TOP - 6}" y2="${bottom}" stroke="#ddd"/>` +
        text(x(value), bottom + 16, short(value), 'text-anchor="middle" fill="#555"'),
    ),
    `<line x1="${left}" x2="${left}" y1="${TOP - 6}" y2="${bottom}" stroke="#555"/>`,
    text((left + PLOT_RIGHT) / 2, bottom + 40, axisOf(chart), 'text-anchor="middle"'),
    ...chart.groups.flatMap((group, i) => bars(chart, group, TOP + i * step, left, x)),
    ...mark(chart, x, bottom),
    "</svg>",
  ];
  return `${parts.join("\n")}\n`;
}

const axisOf = ({ axis, scale }: Chart): string =>
  scale === "logarithmic" ? `${axis} (logarithmic)` : axis;

function bars(
  chart: Chart,
  group: Chart["groups"][number],
  top: number,
  left: number,
  x: (value: number) => number,
): string[] {
  const middle = top + (chart.series.length * BAR) / 2 + 4;
  const drawn = [text(left - 8, middle, group.label, 'text-anchor="end"')];
  group.values.forEach((value, i) => {
    if (!isDrawn(value)) return;
    const y = top + i * BAR;
    const width = Math.max(1, x(value) - left);
    const colour = COLOURS[i % COLOURS.length];
    drawn.push(
      `<rect x="${left}" y="${y}" width="${width}" height="${BAR - 2}" fill="${colour}"/>`,
    );
    drawn.push(text(left + width + 5, y + BAR - 4, short(value), 'font-size="11"'));
  });
  return drawn;
}

function legend({ series }: Chart): string[] {
  let at = 24;
  return series.flatMap((name, i) => {
    const here = at;
    at += 30 + CHARACTER * name.length;
    const colour = COLOURS[i % COLOURS.length];
    return [
      `<rect x="${here}" y="59" width="12" height="12" fill="${colour}"/>`,
      text(here + 17, 69.5, name, ""),
    ];
  });
}

function mark({ mark: line }: Chart, x: (value: number) => number, bottom: number): string[] {
  if (line === undefined) return [];
  const at = x(line.value);
  return [
    `<line x1="${at}" x2="${at}" y1="${TOP - 10}" y2="${bottom}" stroke="#b00020" stroke-dasharray="5 3"/>`,
    text(at, TOP - 13, line.label, 'text-anchor="middle" fill="#b00020"'),
  ];
}

function range({ groups, mark: line }: Chart): { readonly least: number; readonly most: number } {
  const values = groups.flatMap(({ values }) => values.filter(isDrawn));
  const all = [...values, ...(line === undefined ? [] : [line.value])].filter((value) => value > 0);
  return { least: Math.min(...all, 1e9), most: Math.max(...all, 1e-9) };
}

function scaleOf(chart: Chart, left: number): (value: number) => number {
  const { least, most } = range(chart);
  const span = PLOT_RIGHT - left;
  const rounded = (value: number): number => Math.round(value * 10) / 10;
  if (chart.scale === "linear") return (value) => rounded(left + (value / most) * span);
  const from = Math.floor(Math.log10(least));
  const decades = Math.max(1, Math.log10(most) - from);
  return (value) =>
    rounded(left + (Math.max(0, Math.log10(Math.max(value, 1e-12)) - from) / decades) * span);
}

function ticks(chart: Chart): readonly number[] {
  const { least, most } = range(chart);
  if (chart.scale === "logarithmic") {
    const from = Math.floor(Math.log10(least));
    const to = Math.floor(Math.log10(most));
    return Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i));
  }
  const raw = most / 6;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw) ?? raw;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

/** Three significant digits, thousands set apart. */
const short = (value: number): string =>
  Math.abs(value) >= 1_000
    ? Math.round(value).toLocaleString("en-US")
    : String(Number(value.toPrecision(3)));

const text = (x: number, y: number, content: string, attributes: string): string =>
  `<text x="${x}" y="${y}" ${attributes}>${escaped(content)}</text>`;

/** Text as it may stand in SVG and HTML, in an attribute too. */
export const escaped = (content: string): string =>
  content
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");

/** A bar that was left out is undefined; read from JSON, it is null. */
const isDrawn = (value: number | null | undefined): value is number => Number.isFinite(value);
