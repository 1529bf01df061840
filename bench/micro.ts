// The parts, each alone on this thread. Only importer of tinybench.
// A call of under a microsecond is shorter than what reading the clock costs, so a sample is a batch of
// calls: p50 and p99 are of batches, divided by the calls in one.

import { Bench } from "tinybench";
import { interleaved, median } from "./statistics.js";

/** A batch lasts about this long, us: a hundred times the reading of the clock. */
const BATCH_US = 25;
const CALLS_MAX = 1_024;
const ROUNDS = 3;
const MEASURE_MS = 400;
const WARM_UP_MS = 60;

export interface Part {
  readonly name: string;
  /** One call of what is measured. */
  readonly run: () => void;
  /** Packets that one call handles; default 1. */
  readonly packets?: number;
  /** Payload bytes that one call handles, for MB/s. */
  readonly bytes?: number;
}

/** Of one part: medians over the rounds. Times are us a call. */
export interface PartResult {
  readonly name: string;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly meanUs: number;
  readonly callsPerSecond: number;
  readonly usPerPacket: number;
  readonly mbPerSecond: number;
  readonly callsPerSample: number;
  readonly samples: number;
}

/** Measures parts in interleaved rounds. `seconds`: for each part and round. */
export async function measureParts(
  parts: readonly Part[],
  seconds: number | undefined,
): Promise<readonly PartResult[]> {
  const timeMs = seconds === undefined ? MEASURE_MS : (seconds * 1_000) / ROUNDS;
  const calls = parts.map((part) => callsPerBatch(part));
  const indexes = parts.map((_, i) => i);
  const rounds = await interleaved(indexes, ROUNDS, (i) => once(parts[i], calls[i], timeMs));
  return parts.map((part, i) => summary(part, calls[i], rounds[i]));
}

interface Round {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly meanUs: number;
  readonly samples: number;
}

async function once(part: Part, calls: number, timeMs: number): Promise<Round> {
  const bench = new Bench({
    name: part.name,
    time: timeMs,
    warmupTime: WARM_UP_MS,
    throws: true,
  });
  const { run } = part;
  bench.add(
    part.name,
    () => {
      for (let i = 0; i < calls; i++) run();
    },
    { async: false },
  );
  await bench.run();
  const result = bench.tasks[0]?.result;
  if (result?.state !== "completed") throw new Error(`${part.name} did not run to its end`);
  const { p50, p99, mean, samplesCount } = result.latency;
  const us = (ms: number): number => (ms * 1_000) / calls;
  return { p50Us: us(p50), p99Us: us(p99), meanUs: us(mean), samples: samplesCount };
}

function summary(part: Part, calls: number, rounds: readonly Round[]): PartResult {
  const of = (value: (round: Round) => number): number => median(rounds.map(value));
  const p50Us = of((round) => round.p50Us);
  return {
    name: part.name,
    p50Us,
    p99Us: of((round) => round.p99Us),
    meanUs: of((round) => round.meanUs),
    callsPerSecond: 1e6 / p50Us,
    usPerPacket: p50Us / (part.packets ?? 1),
    mbPerSecond: (part.bytes ?? Number.NaN) / p50Us,
    callsPerSample: calls,
    samples: rounds.reduce((sum, round) => sum + round.samples, 0),
  };
}

/** Calls whose batch lasts BATCH_US, found by trying; runs the part until it is compiled. */
function callsPerBatch({ run }: Part): number {
  let calls = 1;
  const until = performance.now() + WARM_UP_MS;
  while (performance.now() < until) {
    const before = performance.now();
    for (let i = 0; i < calls; i++) run();
    const us = (performance.now() - before) * 1_000;
    if (us < BATCH_US && calls < CALLS_MAX) calls *= 2;
    else if (us > BATCH_US * 4 && calls > 1) calls /= 2;
  }
  return calls;
}

/** How a table of parts was made. */
export const PARTS_NOTE =
  `medians over ${ROUNDS} interleaved rounds; a sample is a batch of calls ("calls a sample"), so p99 is of ` +
  "batches and hides what hits a single call; ops/s and us a packet are of the p50";
