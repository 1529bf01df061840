// What a benchmark is: a suite runs, and gives back tables, a chart and how its targets came out.
// Numbers stay numbers until they are printed, so that the JSON holds what was measured.

export type Cell = number | string;

export interface Column {
  readonly key: string;
  readonly label: string;
  /** Digits behind the point of a number; default 2. */
  readonly digits?: number;
}

export interface Table {
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly Readonly<Record<string, Cell>>[];
}

/** A figure that was asked for. */
export interface Target {
  readonly what: string;
  readonly wanted: { readonly atMost: number } | { readonly atLeast: number };
  readonly measured: number;
  readonly unit: string;
}

export const reached = ({ wanted, measured }: Target): boolean =>
  "atMost" in wanted ? measured <= wanted.atMost : measured >= wanted.atLeast;

/** Horizontal bars: one group a label, one bar a series. */
export interface Chart {
  readonly title: string;
  readonly axis: string;
  readonly scale: "linear" | "logarithmic";
  readonly series: readonly string[];
  /** `values[i]` belongs to `series[i]`; undefined leaves the bar out. */
  readonly groups: readonly {
    readonly label: string;
    readonly values: readonly (number | undefined)[];
  }[];
  /** A line across the bars. */
  readonly mark?: { readonly value: number; readonly label: string };
}

export interface Report {
  readonly settings: Readonly<Record<string, Cell>>;
  readonly tables: readonly Table[];
  readonly chart: Chart;
  readonly targets: readonly Target[];
  /** How it was measured, and what to be careful about: a sentence each. */
  readonly notes: readonly string[];
}

export const PROTOCOLS = ["classic", "session"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export interface BenchContext {
  /** Length of one measurement, s; undefined leaves it to the suite. */
  readonly seconds: number | undefined;
  /** Interleaved rounds; undefined leaves it to the suite. */
  readonly rounds: number | undefined;
  /** Rows that lie in a large database; undefined leaves it to the suite. */
  readonly rows: number | undefined;
  /** What daemons speak with each other, in suites that can be told. */
  readonly protocol: Protocol;
  /** Progress for a person. */
  readonly say: (line: string) => void;
}

export interface Suite {
  readonly title: string;
  /** Throws when it could not measure, or found that what it measured was wrong. */
  run(context: BenchContext): Promise<Report>;
}
