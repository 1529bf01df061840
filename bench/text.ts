// A report as text: aligned columns, figures with their verdicts.

import type { Machine } from "./machine.js";
import { type Cell, type Column, type Report, reached, type Table, type Target } from "./suite.js";

const DIGITS_DEFAULT = 2;

export const number = (value: number, digits: number = DIGITS_DEFAULT): string =>
  Number.isFinite(value)
    ? value.toLocaleString("en-US", {
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
      })
    : "-";

/** A cell as a table shows it. JSON has no NaN: null stands for it in results that were read. */
export const shown = (cell: Cell | null | undefined, column: Column): string =>
  typeof cell === "number" ? number(cell, column.digits) : (cell ?? "");

/** A table with its title, one line a row. Text stands left, numbers right. */
export function tableText({ title, columns, rows }: Table): string {
  const cells = rows.map((row) => columns.map((column) => shown(row[column.key], column)));
  const right = columns.map((column) => rows.some((row) => typeof row[column.key] === "number"));
  const widths = columns.map((column, i) =>
    Math.max(column.label.length, ...cells.map((row) => row[i].length)),
  );
  const line = (texts: readonly string[]): string =>
    texts
      .map((text, i) => (right[i] ? text.padStart(widths[i]) : text.padEnd(widths[i])))
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return [title, line(columns.map((column) => column.label)), rule, ...cells.map(line)].join("\n");
}

/** One line: the verdict first. */
export function targetText(target: Target): string {
  const { what, wanted, measured, unit } = target;
  const bound =
    "atMost" in wanted ? `<= ${wanted.atMost}` : `>= ${wanted.atLeast.toLocaleString("en-US")}`;
  const digits = Math.abs(measured) >= 100 ? 0 : 3;
  const verdict = reached(target) ? "reached" : "MISSED ";
  return `${verdict}  ${what}: ${number(measured, digits)} ${unit} (wanted ${bound})`;
}

export function reportText(title: string, report: Report, machine: Machine, date: string): string {
  const settings = Object.entries(report.settings).map(([name, value]) => `${name} ${value}`);
  return [
    `== ${title} ==`,
    `${date}; Node ${machine.node}; ${machine.cores} x ${machine.cpu}; ${machine.memoryGb} GB; ${machine.kernel}; load ${machine.load.toFixed(1)} before`,
    `settings: ${settings.join("; ")}`,
    "",
    ...report.tables.flatMap((table) => [tableText(table), ""]),
    ...report.targets.map(targetText),
    ...report.notes.map((note) => `* ${note}`),
    "",
  ].join("\n");
}
