// Many seeds: each in a run of its own, each run on one thread, ranges of seeds over a few threads.

import { Worker } from "node:worker_threads";
import { ClassicAdapter } from "./classic-host.js";
import { PLANTS, type Plant } from "./plants.js";
import type { ProtocolAdapter } from "./protocol-adapter.js";
import type { Setting } from "./scenario.js";
import { SessionAdapter } from "./session-adapter.js";
import { type RunResult, run, scenarioOf } from "./simulation.js";
import { type Counts, sumOf } from "./tally.js";

export interface SeedOrder {
  readonly from: number;
  readonly count: number;
  readonly stopsAtFirst: boolean;
  readonly protocol: Setting["protocol"];
  /** Name of a bug to plant. */
  readonly plant?: string | undefined;
}

export interface FailedSeed {
  readonly seed: number;
  readonly profile: string;
  readonly message: string;
  readonly tail: readonly string[];
}

export interface SeedReport {
  readonly seeds: number;
  readonly steps: number;
  readonly stored: number;
  readonly acknowledged: number;
  readonly expired: number;
  readonly datagrams: number;
  readonly crashes: number;
  readonly happened: Counts;
  readonly failed: readonly FailedSeed[];
}

const WORKER_URL = new URL("./seeds.worker.js", import.meta.url);
/** Seeds that a thread is given at once. */
const CHUNK_SEEDS = 10;
const EMPTY: SeedReport = {
  seeds: 0,
  steps: 0,
  stored: 0,
  acknowledged: 0,
  expired: 0,
  datagrams: 0,
  crashes: 0,
  happened: {},
  failed: [],
};

export function plantOf(name: string | undefined): Plant | undefined {
  if (name === undefined) return undefined;
  const plant = PLANTS.find((each) => each.name === name);
  if (plant === undefined) throw new Error(`no plant is called "${name}"`);
  return plant;
}

export const adapterOf = (protocol: Setting["protocol"], plant?: Plant): ProtocolAdapter =>
  protocol === "classic" ? new ClassicAdapter(plant) : new SessionAdapter(plant);

/** One seed, as it is or with a bug planted. */
export function playSeed(
  seed: number,
  plant?: Plant,
  protocol: Setting["protocol"] = "classic",
): RunResult {
  const adapter = adapterOf(protocol, plant);
  return run(scenarioOf(seed, protocol), { adapter, ...(plant === undefined ? {} : { plant }) });
}

/** A range of seeds on this thread. */
export function playSeeds(order: SeedOrder): SeedReport {
  const { from, count, stopsAtFirst, protocol } = order;
  const plant = plantOf(order.plant);
  let report = EMPTY;
  for (let seed = from; seed < from + count; seed++) {
    const result = playSeed(seed, plant, protocol);
    report = sum(report, { ...result, seeds: 1, failed: failureOf(seed, result) });
    if (stopsAtFirst && report.failed.length > 0) break;
  }
  return report;
}

const failureOf = (seed: number, { violation, scenario, tail }: RunResult): FailedSeed[] =>
  violation === undefined
    ? []
    : [{ seed, profile: scenario.setting.name, message: violation.message, tail }];

function sum(a: SeedReport, b: SeedReport): SeedReport {
  return {
    seeds: a.seeds + b.seeds,
    steps: a.steps + b.steps,
    stored: a.stored + b.stored,
    acknowledged: a.acknowledged + b.acknowledged,
    expired: a.expired + b.expired,
    datagrams: a.datagrams + b.datagrams,
    crashes: a.crashes + b.crashes,
    happened: sumOf(a.happened, b.happened),
    failed: [...a.failed, ...b.failed],
  };
}

/** Threads that play seeds. Warm ones are several times as fast as new ones: they stay until closed. */
export class SeedThreads {
  readonly #workers: readonly Worker[];

  constructor(threads: number) {
    this.#workers = Array.from({ length: threads }, () => new Worker(WORKER_URL, { execArgv: [] }));
  }

  /** A range of seeds over all threads. */
  async play(order: SeedOrder, onProgress?: (report: SeedReport) => void): Promise<SeedReport> {
    const end = order.from + order.count;
    let next = order.from;
    let report = EMPTY;
    const isOver = (): boolean => next >= end || (order.stopsAtFirst && report.failed.length > 0);
    const serve = async (worker: Worker): Promise<void> => {
      while (!isOver()) {
        const from = next;
        next = Math.min(end, from + CHUNK_SEEDS);
        const played = await playIn(worker, { ...order, from, count: next - from });
        report = sum(report, played);
        onProgress?.(report);
      }
    };
    await Promise.all(this.#workers.map(serve));
    return { ...report, failed: report.failed.toSorted((a, b) => a.seed - b.seed) };
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

function playIn(worker: Worker, order: SeedOrder): Promise<SeedReport> {
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.once("message", (report: SeedReport) => {
      worker.off("error", reject);
      resolve(report);
    });
    worker.postMessage(order);
  });
}
