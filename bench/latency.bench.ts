// From insert to acknowledged at low load: the commit of the insert, waking the daemon, the way there
// and back, the receiver's synced commit, the sender's commit of the acknowledgement, seeing it.

import { runChild } from "./child.js";
import { inFolder } from "./children.js";
import { type Host, LOOPBACK, withHosts } from "./hosts.js";
import type { Latencies, LatencyOptions } from "./latency-producer.js";
import { fileSystemOf } from "./machine.js";
import type { ProducerKind } from "./producer.js";
import { interleaved, percentile } from "./statistics.js";
import type { BenchContext, Protocol, Report, Suite } from "./suite.js";

const ROUNDS = 3;
const SECONDS = 5;
const WARM_UP_SECONDS = 1;
const BYTES = 1_000;
const KINDS: readonly ProducerKind[] = ["client", "foreign", "foreign without id"];
const RATES_PER_SECOND = [50, 500];
const P50_MS_MAX = 5;
const P99_MS_MAX = 25;
/** Of sessions, at this rate. */
const SESSION_PER_SECOND = 500;
const SESSION_MS_MAX: Readonly<
  Record<ProducerKind, { readonly p50: number; readonly p99: number }>
> = {
  client: { p50: 1.5, p99: 8 },
  foreign: { p50: 2, p99: 8 },
  "foreign without id": { p50: 2, p99: 8 },
};
const PRODUCER = new URL("./latency-producer.js", import.meta.url);

interface Case {
  readonly kind: ProducerKind;
  readonly perSecond: number;
}
const CASES: readonly Case[] = RATES_PER_SECOND.flatMap((perSecond) =>
  KINDS.map((kind) => ({ kind, perSecond })),
);

export const suite: Suite = {
  title: "latency: 1 kB messages at low load, insert to acknowledged",
  run: (context) =>
    inFolder((folder) => {
      const { protocol, seconds = SECONDS, rounds = ROUNDS } = context;
      const settings = { protocol, seconds, rounds, fileSystem: fileSystemOf(folder) };
      const measureAll = async ([sender, receiver]: readonly Host[]): Promise<Report> => {
        const options = {
          database: sender.database,
          address: protocol === "session" ? receiver.name : LOOPBACK,
          port: receiver.port,
          bytes: BYTES,
          rowsPerTransactionMax: 1,
          warmUpSeconds: WARM_UP_SECONDS,
          seconds,
        };
        const results = await interleaved(CASES, rounds, (one, round) =>
          measure({ ...options, ...one, seed: 1_000 * (round + 1) + one.perSecond }, context),
        );
        return reportOf(results, settings);
      };
      return withHosts(folder, ["sender", "receiver"], measureAll, { protocol });
    }),
};

function measure(options: LatencyOptions, { say }: BenchContext): Promise<Latencies> {
  say(`${options.kind}, ${options.perSecond}/s, ${options.seconds} s`);
  return runChild<LatencyOptions, Latencies>(PRODUCER, options, {
    deadlineMs: (options.seconds + 60) * 1_000,
  });
}

function reportOf(
  results: readonly (readonly Latencies[])[],
  settings: {
    readonly protocol: Protocol;
    readonly seconds: number;
    readonly rounds: number;
    readonly fileSystem: string;
  },
): Report {
  const rows = CASES.map((one, i) => rowOf(one, results[i]));
  const looks = results.flat().flatMap(({ looksMs }) => looksMs);
  return {
    settings: {
      payload: `${BYTES} B`,
      arrivals: "Poisson, seeded",
      protocol: settings.protocol,
      rounds: `${settings.rounds} x ${settings.seconds} s, interleaved, pooled`,
      synchronous: "FULL",
      "file system": settings.fileSystem,
    },
    tables: [
      {
        title: "ms from the intended time of the insert",
        columns: [
          { key: "kind", label: "producer" },
          { key: "perSecond", label: "messages/s", digits: 0 },
          { key: "samples", label: "samples", digits: 0 },
          { key: "insertP50", label: "committed p50" },
          { key: "p50", label: "acknowledged p50" },
          { key: "p90", label: "p90" },
          { key: "p99", label: "p99" },
          { key: "max", label: "max" },
        ],
        rows,
      },
    ],
    chart: {
      title: "Insert to acknowledged, 1 kB messages",
      axis: "milliseconds",
      scale: "logarithmic",
      series: ["p50", "p90", "p99", "max"],
      groups: rows.map((row) => ({
        label: `${row.kind}, ${row.perSecond}/s`,
        values: [row.p50, row.p90, row.p99, row.max],
      })),
    },
    targets: rows.flatMap(({ kind, perSecond, p50, p99 }) => {
      const isSession = settings.protocol === "session";
      if (isSession && perSecond < SESSION_PER_SECOND) return [];
      const most = isSession ? SESSION_MS_MAX[kind] : { p50: P50_MS_MAX, p99: P99_MS_MAX };
      return [
        targetOf(`${kind}, ${perSecond}/s, p50`, p50, most.p50),
        targetOf(`${kind}, ${perSecond}/s, p99`, p99, most.p99),
      ];
    }),
    notes: [
      "open loop: a row is inserted at its drawn time or as soon after it as the producer can, and its latency " +
        "counts from the drawn time; one row a transaction",
      "acknowledged means: the producer's own connection sees the row's state committed. It looks at PRAGMA " +
        `data_version every 0.2 ms (looks were ${percentile(looks, 0.5).toFixed(2)} ms apart at p50, ` +
        `${percentile(looks, 0.99).toFixed(2)} at p99), so figures are too long by at most that, never too short`,
      "client: ids made by the producer, doorbell rung after the commit. foreign: the same row, no doorbell. " +
        "foreign without id: no message_id, so the daemon writes one into the row before it sends",
    ],
  };
}

function rowOf({ kind, perSecond }: Case, rounds: readonly Latencies[]) {
  const all = rounds.flatMap(({ acknowledgedMs }) => acknowledgedMs);
  const inserted = rounds.flatMap(({ insertedMs }) => insertedMs);
  if (all.length !== inserted.length || all.length === 0) {
    throw new Error(`${inserted.length} rows were inserted, ${all.length} acknowledged`);
  }
  return {
    kind,
    perSecond,
    samples: all.length,
    insertP50: percentile(inserted, 0.5),
    p50: percentile(all, 0.5),
    p90: percentile(all, 0.9),
    p99: percentile(all, 0.99),
    max: percentile(all, 1),
  };
}

const targetOf = (what: string, measured: number, atMost: number) => ({
  what,
  wanted: { atMost },
  measured,
  unit: "ms",
});
