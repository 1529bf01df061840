// What the suites of whole loads share: cases that differ in one thing, measured from end to end in
// interleaved rounds, with a row of figures and the CPU time by thread for each.

import { inFolder } from "./children.js";
import { type Load, type Measured, measureLoad } from "./end-to-end.js";
import { fileSystemOf } from "./machine.js";
import { interleaved, median, percentile, spread } from "./statistics.js";
import type { BenchContext, Cell, Report, Suite, Table, Target } from "./suite.js";

const ROUNDS = 3;
const SECONDS = 5;
export const BYTES = 200;
export const ROWS_PER_TRANSACTION = 512;

/** One case: what it changes of the usual load. */
export interface LoadCase {
  readonly name: string;
  readonly load: Partial<Omit<Load, "seconds">>;
}

export interface LoadSuite {
  readonly title: string;
  /** What the cases differ in, as the head of their column. */
  readonly differs: string;
  readonly cases: (context: BenchContext) => readonly LoadCase[];
  /** Default 3 and 5 s. */
  readonly rounds?: number;
  readonly seconds?: number;
  /** Of the medians, by the cases' names. */
  readonly targets?: (perSecond: ReadonlyMap<string, number>) => readonly Target[];
  readonly notes?: readonly string[];
}

/** Rows of the CPU table, and which threads are added up in each. */
const THREADS: Readonly<Record<string, (name: string) => boolean>> = {
  producer: (name) => name.startsWith("producer"),
  senderMain: (name) => name === "sender main",
  senderDb: (name) => name === "sender db",
  senderCrypto: (name) => name === "sender crypto",
  receiverMain: (name) => name === "receiver main",
  receiverDb: (name) => name === "receiver db",
  receiverCrypto: (name) => name === "receiver crypto",
  others: (name) => name.endsWith("V8 and libuv"),
};

/** A suite out of its cases. Sessions unless a case, or the command line, says otherwise. */
export const loadSuite = (options: LoadSuite): Suite => ({
  title: options.title,
  async run(context) {
    const {
      rounds = options.rounds ?? ROUNDS,
      seconds = options.seconds ?? SECONDS,
      say,
    } = context;
    const cases = options.cases(context);
    let fileSystem = "unknown";
    const results = await interleaved(cases, rounds, ({ name, load }, round) =>
      inFolder(async (folder) => {
        fileSystem = fileSystemOf(folder);
        const measured = await measureLoad(folder, { ...USUAL, ...load, seconds });
        say(`round ${round + 1} of ${rounds}: ${name}: ${Math.round(measured.perSecond)}/s`);
        return measured;
      }),
    );
    const settings = { "s of inserting": seconds, rounds, "file system": fileSystem };
    return reportOf(options, cases, results, settings);
  },
});

const USUAL = {
  protocol: "session",
  bytes: BYTES,
  rowsPerTransaction: ROWS_PER_TRANSACTION,
  kind: "client",
} as const;

function reportOf(
  { title, differs, targets, notes = [] }: LoadSuite,
  cases: readonly LoadCase[],
  results: readonly (readonly Measured[])[],
  settings: Readonly<Record<string, Cell>>,
): Report {
  const middle = cases.map(({ name }, i) => [name, perSecond(results[i])] as const);
  return {
    settings: { synchronous: "FULL", ...settings },
    tables: [ratesTable(differs, cases, results), cpuTable(differs, cases, results)],
    chart: {
      title,
      axis: "messages a second",
      scale: "linear",
      series: ["messages/s"],
      groups: middle.map(([label, value]) => ({ label, values: [value] })),
    },
    targets: targets?.(new Map(middle)) ?? [],
    notes: [
      "first insert to last row acknowledged, medians over interleaved rounds with fresh files; after each, both tables " +
        "are compared row by row",
      `unless said otherwise: sessions, ${BYTES} B, ${ROWS_PER_TRANSACTION} rows a transaction by the client library, ` +
        "defaults of the daemons",
      "`sends/message`: what the kernel counts as sent, receipts included; datagrams that the Linux socket hands over " +
        "together count once",
      ...notes,
    ],
  };
}

const perSecond = (rounds: readonly Measured[]): number =>
  median(rounds.map((round) => round.perSecond));

function ratesTable(
  differs: string,
  cases: readonly LoadCase[],
  results: readonly (readonly Measured[])[],
): Table {
  return {
    title: "Messages a second",
    columns: [
      { key: "name", label: differs },
      { key: "perSecond", label: "messages/s", digits: 0 },
      { key: "rounds", label: "rounds" },
      { key: "ratio", label: "x the first" },
      { key: "mbPerSecond", label: "MB/s", digits: 1 },
      { key: "datagrams", label: "sends/message", digits: 3 },
      { key: "rssMb", label: "RSS MB, most", digits: 0 },
    ],
    rows: cases.map(({ name, load }, i) => {
      const rates = results[i].map((round) => round.perSecond);
      const ratios = results[i].map((round, n) => round.perSecond / results[0][n].perSecond);
      return {
        name,
        perSecond: median(rates),
        rounds: spread(rates, 0),
        ratio: median(ratios),
        mbPerSecond: (median(rates) * (load.bytes ?? BYTES)) / 1e6,
        datagrams: median(results[i].map((round) => round.datagrams / round.produced.rows)),
        rssMb: percentile(
          results[i].flatMap((round) => round.rssMb),
          1,
        ),
      };
    }),
  };
}

/** Medians over rounds, a row for each case. */
export function cpuTable(
  differs: string,
  cases: readonly { readonly name: string }[],
  results: readonly (readonly Pick<Measured, "costs">[])[],
): Table {
  const sum = ({ costs }: Pick<Measured, "costs">, isOne: (name: string) => boolean): number =>
    [...costs].reduce((all, [name, us]) => all + (isOne(name) ? us : 0), 0);
  return {
    title: "CPU us a message, by thread",
    columns: [
      { key: "name", label: differs },
      { key: "all", label: "all", digits: 1 },
      { key: "producer", label: "producer", digits: 1 },
      { key: "senderMain", label: "sender main", digits: 1 },
      { key: "senderDb", label: "db", digits: 1 },
      { key: "senderCrypto", label: "crypto", digits: 1 },
      { key: "receiverMain", label: "receiver main", digits: 1 },
      { key: "receiverDb", label: "db", digits: 1 },
      { key: "receiverCrypto", label: "crypto", digits: 1 },
      { key: "others", label: "V8, libuv", digits: 1 },
    ],
    rows: cases.map(({ name }, i) => {
      const threads = Object.entries(THREADS).map(([key, isOne]) => [
        key,
        median(results[i].map((round) => sum(round, isOne))),
      ]);
      const all = median(results[i].map((round) => sum(round, () => true)));
      return { name, all, ...(Object.fromEntries(threads) as Record<string, number>) };
    }),
  };
}
