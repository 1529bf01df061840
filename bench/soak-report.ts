// What a soak shows: a row a sample, the slope of each daemon's memory, and how the targets came out.

import { median, percentile } from "./statistics.js";
import type { Report, Table } from "./suite.js";

/** What bench/loop-delay writes: how late timers of a main thread were, ms. */
export interface LoopDelay {
  readonly minuteP99Ms: number;
  readonly minuteMaxMs: number;
  /** Since the daemon's start. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface Sample {
  /** Since the first insert. */
  readonly seconds: number;
  /** Resident memory of sender and receiver, MB of 10^6 bytes. */
  readonly rssMb: readonly [number, number];
  /** Length of each `-wal` file, MB. */
  readonly walMb: readonly [number, number];
  readonly databaseMb: readonly [number, number];
  readonly loops: readonly (LoopDelay | undefined)[];
}

export interface Soaked {
  readonly capacity: number;
  readonly perSecond: number;
  readonly rows: number;
  readonly behindMax: number;
  readonly drainMs: number;
  readonly deleted: { readonly outbound: number; readonly inbound: number };
  readonly samples: readonly Sample[];
}

const HOSTS = ["sender", "receiver"] as const;
const RSS_SLOPE_MAX = 1;
const LOOP_MS_MAX = 20;
const WARM_SECONDS = 600;
const ROWS_SHOWN = 13;
const SECONDS_PER_HOUR = 3_600;

/** Least squares, MB an hour. NaN of fewer than two samples. */
export function slopeMbPerHour(
  points: readonly (readonly [seconds: number, mb: number])[],
): number {
  const mean = (at: 0 | 1): number => points.reduce((sum, p) => sum + p[at], 0) / points.length;
  const [x0, y0] = [mean(0), mean(1)];
  const above = points.reduce((sum, [x, y]) => sum + (x - x0) * (y - y0), 0);
  const below = points.reduce((sum, [x]) => sum + (x - x0) ** 2, 0);
  return (above / below) * SECONDS_PER_HOUR;
}

export function soakReport(soaked: Soaked, fileSystem: string): Report {
  const { samples, capacity, perSecond, rows, behindMax, drainMs, deleted } = soaked;
  const length = samples[samples.length - 1]?.seconds ?? 0;
  // A short trial has no ten minutes to leave out.
  const from = Math.min(WARM_SECONDS, length / 2);
  const late = samples.filter(({ seconds }) => seconds >= from);
  const slopes = HOSTS.map((_, host) =>
    slopeMbPerHour(late.map(({ seconds, rssMb }) => [seconds, rssMb[host]] as const)),
  );
  const lastLoops = [...samples].reverse().find(({ loops }) => loops.every((loop) => loop))?.loops;
  const step = Math.max(1, Math.ceil(samples.length / ROWS_SHOWN));
  return {
    settings: {
      payload: "200 B, 512 rows a transaction at most",
      "messages/s at full load": Math.round(capacity),
      "messages/s here": perSecond,
      s: Math.round(length),
      synchronous: "FULL",
      "file system": fileSystem,
    },
    tables: [hostsTable(soaked, slopes, from, lastLoops ?? []), wayTable(samples, step)],
    chart: {
      title: "Resident memory, one group a sample",
      axis: "MB",
      scale: "linear",
      series: HOSTS,
      groups: samples
        .filter((_, i) => i % step === 0)
        .map(({ seconds, rssMb }) => ({
          label: `${(seconds / 60).toFixed(0)} min`,
          values: rssMb,
        })),
    },
    targets: [
      ...HOSTS.map((host, i) => ({
        what: `RSS of the ${host}, slope after ${(from / 60).toFixed(0)} min`,
        wanted: { atMost: RSS_SLOPE_MAX },
        measured: slopes[i],
        unit: "MB/h",
      })),
      ...HOSTS.map((host, i) => ({
        what: `event loop delay of the ${host}'s main, p99`,
        wanted: { atMost: LOOP_MS_MAX },
        measured: lastLoops?.[i]?.p99Ms ?? Number.NaN,
        unit: "ms",
      })),
    ],
    notes: [
      `${rows} messages, each acknowledged and stored once: ${deleted.outbound} and ${deleted.inbound} rows were deleted ` +
        "meanwhile, the rest found at the end",
      `the producer was ${behindMax} rows behind its plan at most; the last row was acknowledged ${drainMs.toFixed(0)} ms ` +
        "behind the last insert",
      "rows that are done with are deleted after half a minute, by two processes of their own, as `securedgram clean` does; so it " +
        "is at full load, which counts until the last row is deleted",
      "event loop delay: how late a timer of 10 ms is",
    ],
  };
}

function wayTable(samples: readonly Sample[], step: number): Table {
  return {
    title: "On the way",
    columns: [
      { key: "minutes", label: "min", digits: 1 },
      ...HOSTS.flatMap((host, i) => [
        { key: `rss${i}`, label: `${host} RSS MB`, digits: 1 },
        { key: `wal${i}`, label: "WAL MB", digits: 1 },
        { key: `db${i}`, label: "file MB", digits: 0 },
        { key: `loop${i}`, label: "loop p99 ms" },
      ]),
    ],
    rows: samples
      .filter((_, i) => i % step === 0 || i === samples.length - 1)
      .map(({ seconds, rssMb, walMb, databaseMb, loops }) =>
        Object.fromEntries([
          ["minutes", seconds / 60],
          ...HOSTS.flatMap((_, i): [string, number | string][] => [
            [`rss${i}`, rssMb[i]],
            [`wal${i}`, walMb[i]],
            [`db${i}`, databaseMb[i]],
            [`loop${i}`, loops[i]?.minuteP99Ms ?? "-"],
          ]),
        ]),
      ),
  };
}

function hostsTable(
  { samples }: Soaked,
  slopes: readonly number[],
  from: number,
  loops: readonly (LoopDelay | undefined)[],
): Table {
  const late = samples.filter(({ seconds }) => seconds >= from);
  return {
    title: `From ${(from / 60).toFixed(0)} min on; event loop since the start`,
    columns: [
      { key: "host", label: "daemon" },
      { key: "slope", label: "RSS slope MB/h" },
      { key: "rss", label: "RSS MB, median", digits: 1 },
      { key: "rssMax", label: "most", digits: 1 },
      { key: "walMax", label: "WAL MB, most", digits: 1 },
      { key: "p50", label: "loop delay p50 ms" },
      { key: "p99", label: "p99" },
      { key: "max", label: "max" },
    ],
    rows: HOSTS.map((host, i) => ({
      host,
      slope: slopes[i],
      rss: median(late.map(({ rssMb }) => rssMb[i])),
      rssMax: percentile(
        late.map(({ rssMb }) => rssMb[i]),
        1,
      ),
      walMax: percentile(
        samples.map(({ walMb }) => walMb[i]),
        1,
      ),
      p50: loops[i]?.p50Ms ?? Number.NaN,
      p99: loops[i]?.p99Ms ?? Number.NaN,
      max: loops[i]?.maxMs ?? Number.NaN,
    })),
  };
}
