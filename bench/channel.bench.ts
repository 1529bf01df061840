// What a packet costs MAIN on its way to a crypto worker and back, through the real pool. The cost is
// wall time x event loop utilisation of this thread, as house.md's table has it, and beside it the
// thread's CPU time, which does not grow when another thread takes the core away.

import { MessageChannel, Worker } from "node:worker_threads";
import { CryptoPool, type PooledSlab } from "../src/main/crypto-pool.js";
import { ENVELOPE_OVERHEAD_BYTES } from "../src/shared/protocol/constants.js";
import { OUTCOME, wordOf } from "../src/shared/runtime/slab.js";
import { randomBytes } from "../src/workers/aead.js";
import { message } from "./payload.js";
import { threadCpuUs } from "./proc.js";
import { interleaved, median, spread } from "./statistics.js";
import type { BenchContext, Report, Suite } from "./suite.js";

const ROUNDS = 5;
const MEASURE_MS = 300;
const WARM_UP_MS = 80;
/** Slabs, or objects times 32, under way for each worker. */
const SLABS_UNDER_WAY = 4;
const OBJECTS_UNDER_WAY = 128;
const TARGET_PACKETS = 32;
const TARGET_US = 0.3;
const ADDRESS = "192.0.2.7";
const PORT = 7_777;
const OBJECT_WORKER = new URL("./object.worker.js", import.meta.url);

/** One way for a packet to travel. `run` keeps packets under way until `isOver`, and counts them. */
interface Case {
  readonly name: string;
  readonly workers: number;
  /** Packets of one post; 0 for one object a packet. */
  readonly packets: number;
  readonly bytes: number;
}

interface Cost {
  readonly mainUs: number;
  readonly handlingUs: number;
  readonly cpuUs: number;
  readonly packetsPerSecond: number;
}

const slabCases = (workers: number, bytes: number): readonly Case[] =>
  [1, 8, 32, 128].map((packets) => ({ name: `slab of ${packets}`, workers, packets, bytes }));
const CASES: readonly Case[] = [
  ...slabCases(1, 1_200),
  ...slabCases(2, 1_200),
  ...slabCases(1, 200),
  ...[1, 2].map((workers) => ({ name: "object a packet", workers, packets: 0, bytes: 1_200 })),
  { name: "on main, slab of 32", workers: 0, packets: 32, bytes: 1_200 },
];

export const suite: Suite = {
  title: "channel: what a packet costs main on its way to a crypto worker and back",
  run: measureAll,
};

async function measureAll({ seconds, say }: BenchContext): Promise<Report> {
  const measureMs = seconds === undefined ? MEASURE_MS : (seconds * 1_000) / ROUNDS;
  const roundsOf = await interleaved(CASES, ROUNDS, (one, round) => {
    if (one === CASES[0]) say(`round ${round + 1} of ${ROUNDS}`);
    return one.packets === 0 ? measureObjects(one, measureMs) : measureSlabs(one, measureMs);
  });
  const rows = CASES.map((one, i) => rowOf(one, roundsOf[i]));
  const targets = rows.filter(({ packets, workers }) => packets === TARGET_PACKETS && workers > 0);
  return {
    settings: {
      rounds: ROUNDS,
      "ms a round": measureMs,
      "slabs under way": `${SLABS_UNDER_WAY} a worker`,
    },
    tables: [
      {
        title: "Sealing, by way of travel",
        columns: [
          { key: "name", label: "way" },
          { key: "workers", label: "workers", digits: 0 },
          { key: "bytes", label: "B", digits: 0 },
          { key: "mainUs", label: "main us/packet (wall x ELU)", digits: 3 },
          { key: "rounds", label: "rounds" },
          { key: "handlingUs", label: "of it handling", digits: 3 },
          { key: "hopUs", label: "of it the hop", digits: 3 },
          { key: "cpuUs", label: "main CPU us/packet", digits: 3 },
          { key: "packetsPerSecond", label: "packets/s", digits: 0 },
        ],
        rows,
      },
    ],
    chart: {
      title: "Main's cost of a packet to a crypto worker and back",
      axis: "microseconds of main a packet",
      scale: "logarithmic",
      series: ["wall x event loop utilisation", "CPU time of the thread"],
      groups: rows.map((row) => ({
        label: `${row.name}, ${row.workers} w, ${row.bytes} B`,
        values: [row.mainUs, row.cpuUs],
      })),
      mark: { value: TARGET_US, label: `target ${TARGET_US} us at ${TARGET_PACKETS} a slab` },
    },
    targets: targets.map(({ workers, bytes, mainUs }) => ({
      what: `hop at ${TARGET_PACKETS} a slab, ${workers} worker${workers === 1 ? "" : "s"}, ${bytes} B`,
      wanted: { atMost: TARGET_US },
      measured: mainUs,
      unit: "us of main a packet",
    })),
    notes: [
      "medians over interleaved rounds; through CryptoPool as the scheduler uses it: room, the copy of the " +
        "body, seal, flush, a look at every outcome, release (which wipes the slab); no socket, no core",
      "`handling` is the part that needs no other thread (room, copy, seal, outcomes, release), `the hop` the rest: " +
        "posting, receiving, the event loop; for `object a packet` the hop is all, for `on main` the cipher too",
      "`object a packet`: one object and one ArrayBuffer a post, transferred there and back, body copied too",
      "wall x ELU counts time in which another thread had the core; with 2 workers three threads share the cores",
    ],
  };
}

function rowOf(one: Case, rounds: readonly Cost[]) {
  const mainUs = rounds.map((round) => round.mainUs);
  return {
    ...one,
    mainUs: median(mainUs),
    rounds: spread(mainUs, 2),
    handlingUs: median(rounds.map((round) => round.handlingUs)),
    hopUs: median(rounds.map((round) => round.mainUs - round.handlingUs)),
    cpuUs: median(rounds.map((round) => round.cpuUs)),
    packetsPerSecond: median(rounds.map((round) => round.packetsPerSecond)),
  };
}

// --- Slabs through the pool ---------------------------------------------------------------------

async function measureSlabs(one: Case, measureMs: number): Promise<Cost> {
  const { payload } = message(1, one.bytes);
  const gauge = new Gauge(measureMs);
  const pool = new CryptoPool({
    onReturned: (slab) => {
      const before = performance.now();
      gauge.packets += sealedIn(slab);
      pool.release(slab);
      if (!gauge.over) fill(pool, slab.lane, one.packets, payload);
      gauge.handlingMs += performance.now() - before;
      pool.flush();
    },
    onLost: (error) => gauge.fail(error),
  });
  await pool.start(one.workers);
  try {
    await pool.installRings([ring()], 0);
    for (let lane = 0; lane < Math.max(1, one.workers); lane++) {
      for (let i = 0; i < SLABS_UNDER_WAY; i++) {
        fill(pool, lane, one.packets, payload);
        pool.flush();
      }
    }
    const cost = await gauge.measure();
    while (pool.busy > 0) await new Promise((resolve) => setTimeout(resolve, 1));
    return cost;
  } finally {
    await pool.stop();
  }
}

function fill(pool: CryptoPool, lane: number, packets: number, payload: Uint8Array): void {
  const wallNs = Date.now() * 1e6;
  for (let i = 0; i < packets; i++) {
    if (!pool.room(lane, payload.length)) throw new Error("no credit for a packet");
    pool.bytes.set(payload, pool.bodyAt);
    pool.seal(0, wallNs, i, ADDRESS, PORT);
  }
}

function sealedIn({ table }: PooledSlab): number {
  const { entries, words } = table;
  for (let i = 0; i < entries; i++) {
    if (words[wordOf(i)] !== OUTCOME.sealed) throw new Error("a packet was not sealed");
  }
  return entries;
}

function ring() {
  const current = new Uint8Array(32);
  randomBytes(current);
  return { current, previous: undefined, next: undefined, pairInfo: undefined };
}

// --- One object a packet, for contrast ------------------------------------------------------------

async function measureObjects(one: Case, measureMs: number): Promise<Cost> {
  const { payload } = message(1, one.bytes);
  const gauge = new Gauge(measureMs);
  const workers = Array.from({ length: one.workers }, () => {
    const data = new MessageChannel();
    const worker = new Worker(OBJECT_WORKER, {
      workerData: { data: data.port2 },
      transferList: [data.port2],
    });
    return { worker, port: data.port1, underWay: 0 };
  });
  const postTo = (to: (typeof workers)[number]): void => {
    const packet = new ArrayBuffer(payload.length + ENVELOPE_OVERHEAD_BYTES);
    new Uint8Array(packet).set(payload, ENVELOPE_OVERHEAD_BYTES - 16);
    to.port.postMessage({ kind: "seal", ring: 0, address: ADDRESS, port: PORT, packet }, [packet]);
    to.underWay += 1;
  };
  try {
    for (const to of workers) {
      to.port.on("message", (result: { readonly kind: string }) => {
        if (result.kind !== "sealed") throw new Error("a packet was not sealed");
        gauge.packets += 1;
        to.underWay -= 1;
        if (!gauge.over) postTo(to);
      });
      for (let i = 0; i < OBJECTS_UNDER_WAY; i++) postTo(to);
    }
    return await gauge.measure();
  } finally {
    for (const { worker, port } of workers) {
      port.close();
      await worker.terminate();
    }
  }
}

// --- Measuring ----------------------------------------------------------------------------------

/** Counts packets between two instants, and what this thread spent meanwhile. */
class Gauge {
  packets = 0;
  /** Filling and emptying slabs, apart from posting and receiving them. */
  handlingMs = 0;
  over = false;
  readonly #measureMs: number;
  #failure: Error | undefined;

  constructor(measureMs: number) {
    this.#measureMs = measureMs;
  }

  fail(error: Error): void {
    this.#failure ??= error;
  }

  async measure(): Promise<Cost> {
    await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS));
    const packetsBefore = this.packets;
    const handlingBefore = this.handlingMs;
    const eluBefore = performance.eventLoopUtilization();
    const cpuBefore = threadCpuUs();
    const startedAt = performance.now();
    await new Promise((resolve) => setTimeout(resolve, this.#measureMs));
    const wallMs = performance.now() - startedAt;
    const cpuUs = threadCpuUs() - cpuBefore;
    const { utilization } = performance.eventLoopUtilization(eluBefore);
    const packets = this.packets - packetsBefore;
    this.over = true;
    if (this.#failure !== undefined) throw this.#failure;
    if (packets === 0) throw new Error("no packet came back");
    return {
      mainUs: (wallMs * 1_000 * utilization) / packets,
      handlingUs: ((this.handlingMs - handlingBefore) * 1_000) / packets,
      cpuUs: cpuUs / packets,
      packetsPerSecond: (packets * 1_000) / wallMs,
    };
  }
}
