// The report that all suites of parts share: one table, one chart of microseconds.

import { measureParts, PARTS_NOTE, type Part, type PartResult } from "./micro.js";
import type { BenchContext, Cell, Chart, Report, Table } from "./suite.js";

export interface PartsOptions {
  readonly title: string;
  readonly parts: readonly Part[];
  readonly settings: Readonly<Record<string, Cell>>;
  readonly notes: readonly string[];
  /** What the chart compares; "packet" where a call handles several. */
  readonly per: "call" | "packet";
}

export async function partsReport(options: PartsOptions, context: BenchContext): Promise<Report> {
  context.say(`${options.parts.length} parts`);
  const results = await measureParts(options.parts, context.seconds);
  return {
    settings: options.settings,
    tables: [partsTable(options.title, options.parts, results)],
    chart: partsChart(options, results),
    targets: [],
    notes: [PARTS_NOTE, ...options.notes],
  };
}

function partsTable(title: string, parts: readonly Part[], results: readonly PartResult[]): Table {
  const inPackets = parts.some((part) => part.packets !== undefined);
  const inBytes = parts.some((part) => part.bytes !== undefined);
  return {
    title,
    columns: [
      { key: "name", label: "part" },
      { key: "p50Us", label: "p50 us", digits: 3 },
      { key: "p99Us", label: "p99 us", digits: 3 },
      { key: "meanUs", label: "mean us", digits: 3 },
      { key: "callsPerSecond", label: "ops/s", digits: 0 },
      ...(inPackets ? [{ key: "usPerPacket", label: "us/packet", digits: 3 }] : []),
      ...(inBytes ? [{ key: "mbPerSecond", label: "MB/s", digits: 0 }] : []),
      { key: "callsPerSample", label: "calls a sample", digits: 0 },
      { key: "samples", label: "samples", digits: 0 },
    ],
    rows: results.map((result) => ({ ...result })),
  };
}

const partsChart = ({ title, per }: PartsOptions, results: readonly PartResult[]): Chart => ({
  title,
  axis: `microseconds a ${per}, p50`,
  scale: "linear",
  series: [`us a ${per}`],
  groups: results.map(({ name, p50Us, usPerPacket }) => ({
    label: name,
    values: [per === "packet" ? usPerPacket : p50Us],
  })),
});
