// Latency while the daemons work: first what they can, then messages at drawn times at a share of it.
// Latency counts from the drawn time, so that a row which had to wait for its turn is not left out.

import { runChild } from "./child.js";
import { inFolder } from "./children.js";
import { measureLoad } from "./end-to-end.js";
import { withHosts } from "./hosts.js";
import type { Latencies, LatencyOptions } from "./latency-producer.js";
import { BYTES, ROWS_PER_TRANSACTION } from "./load-suite.js";
import { fileSystemOf } from "./machine.js";
import { interleaved, percentile } from "./statistics.js";
import type { BenchContext, Report, Suite } from "./suite.js";

const ROUNDS = 3;
const SECONDS = 5;
const CAPACITY_SECONDS = 5;
const WARM_UP_SECONDS = 1;
const SHARES = [0.01, 0.05, 0.2, 0.5, 0.8];
const PRODUCER = new URL("./latency-producer.js", import.meta.url);

export const suite: Suite = {
  title: "load: insert to acknowledged at 1 to 80 % of what the daemons can",
  async run(context) {
    const { say, rounds = ROUNDS, seconds = SECONDS } = context;
    const { perSecond: capacity } = await inFolder((folder) =>
      measureLoad(folder, {
        protocol: "session",
        bytes: BYTES,
        rowsPerTransaction: ROWS_PER_TRANSACTION,
        kind: "client",
        seconds: Math.min(seconds, CAPACITY_SECONDS),
      }),
    );
    say(`${Math.round(capacity)} messages/s at full load`);
    return inFolder(async (folder) => {
      const measured = await withHosts(
        folder,
        ["sender", "receiver"],
        ([sender, receiver]) =>
          interleaved(SHARES, rounds, (share, round) =>
            measure(
              {
                database: sender.database,
                address: receiver.name,
                port: receiver.port,
                bytes: BYTES,
                kind: "client",
                rowsPerTransactionMax: ROWS_PER_TRANSACTION,
                perSecond: Math.max(1, Math.round(share * capacity)),
                warmUpSeconds: WARM_UP_SECONDS,
                seconds,
                seed: 1_000 * (round + 1),
              },
              context,
            ),
          ),
        { protocol: "session" },
      );
      const settings = { seconds, rounds, fileSystem: fileSystemOf(folder) };
      return reportOf(capacity, measured, settings);
    });
  },
};

function measure(options: LatencyOptions, { say }: BenchContext): Promise<Latencies> {
  say(`${options.perSecond}/s, ${options.seconds} s`);
  return runChild<LatencyOptions, Latencies>(PRODUCER, options, {
    deadlineMs: (options.seconds + 60) * 1_000,
  });
}

function reportOf(
  capacity: number,
  results: readonly (readonly Latencies[])[],
  settings: { readonly seconds: number; readonly rounds: number; readonly fileSystem: string },
): Report {
  const rows = SHARES.map((share, i) => {
    const all = results[i].flatMap(({ acknowledgedMs }) => acknowledgedMs);
    const inserted = results[i].flatMap(({ insertedMs }) => insertedMs);
    const missing = inserted.length - all.length;
    if (missing !== 0) throw new Error(`${missing} rows were not acknowledged`);
    const at = (p: number): number => percentile(all, p);
    return {
      load: `${100 * share} %`,
      perSecond: share * capacity,
      samples: all.length,
      insertP50: percentile(inserted, 0.5),
      ...{ p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1) },
    };
  });
  return {
    settings: {
      payload: `${BYTES} B`,
      "messages/s at full load": Math.round(capacity),
      arrivals: "Poisson, seeded",
      rounds: `${settings.rounds} x ${settings.seconds} s, interleaved, pooled`,
      synchronous: "FULL",
      "file system": settings.fileSystem,
    },
    tables: [
      {
        title: "ms from the intended time of the insert",
        columns: [
          { key: "load", label: "load" },
          { key: "perSecond", label: "messages/s", digits: 0 },
          { key: "samples", label: "samples", digits: 0 },
          { key: "insertP50", label: "committed p50" },
          { key: "p50", label: "acknowledged p50" },
          { key: "p90", label: "p90" },
          { key: "p99", label: "p99" },
          { key: "p999", label: "p99.9" },
          { key: "max", label: "max" },
        ],
        rows,
      },
    ],
    chart: {
      title: "Insert to acknowledged, by load",
      axis: "milliseconds",
      scale: "logarithmic",
      series: ["p50", "p90", "p99", "max"],
      groups: rows.map(({ load, p50, p90, p99, max }) => ({
        label: load,
        values: [p50, p90, p99, max],
      })),
    },
    targets: [],
    notes: [
      "open loop: each message has a time drawn beforehand, whatever became of those before it; latency counts from that " +
        `time. Rows whose time has come share a transaction, ${ROWS_PER_TRANSACTION} at most, as a client would do it`,
      "a row counts as acknowledged at the look that finds it and all before it acknowledged: never too short",
      "the share is of the rate at full load, measured just before; the tables grow from round to round",
    ],
  };
}
