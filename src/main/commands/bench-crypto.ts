// The first half of `securedgram bench`: how fast the crypto pool seals on this machine by its number of
// threads, and what that leaves to the main thread. In this process, no socket, no file.

import { randomBytes } from "node:crypto";
import { setTimeout as nap } from "node:timers/promises";
import { DaemonError } from "../../shared/base/errors.js";
import { OUTCOME, wordOf } from "../../shared/runtime/slab.js";
import { CryptoPool, type PooledSlab } from "../crypto-pool.js";

/** Payload of a packet. */
export const SEALED_BYTES = 1_200;
const SLAB_PACKETS = 32;
/** For each worker: one is worked on, the others wait or come back. */
const SLABS_UNDER_WAY = 4;
const WARM_UP_MS = 100;
const ADDRESS = "192.0.2.7";
const PORT = 7_777;

export interface SealRate {
  /** Payload that was sealed, MB/s. */
  readonly mbPerSecond: number;
  /** Share of its time in which the main thread was busy, 0 to 1. */
  readonly mainBusy: number;
}

/** Seals for `measureMs` with so many workers; 0 does it on this thread. */
export async function measureSealing(workers: number, measureMs: number): Promise<SealRate> {
  const payload = Buffer.from(JSON.stringify({ text: "x".repeat(SEALED_BYTES - 11) }));
  let packets = 0;
  let isOver = false;
  let failure: DaemonError | undefined;
  const fill = (lane: number): void => {
    const wallNs = Date.now() * 1e6;
    for (let i = 0; i < SLAB_PACKETS; i++) {
      if (!pool.room(lane, payload.length)) return;
      pool.bytes.set(payload, pool.bodyAt);
      pool.seal(0, wallNs, i, ADDRESS, PORT);
    }
  };
  const pool: CryptoPool = new CryptoPool({
    onReturned: (slab) => {
      packets += sealedIn(slab);
      pool.release(slab);
      if (!isOver) fill(slab.lane);
      pool.flush();
    },
    onLost: (error) => {
      failure ??= error;
    },
  });
  await pool.start(workers);
  try {
    const current = Uint8Array.from(randomBytes(32));
    const ring = { current, previous: undefined, next: undefined, pairInfo: undefined };
    await pool.installRings([ring], 0);
    for (let slab = 0; slab < SLABS_UNDER_WAY * Math.max(1, workers); slab++) {
      fill(slab % Math.max(1, workers));
      pool.flush();
    }
    await nap(WARM_UP_MS);
    const before = { packets, at: performance.now(), elu: performance.eventLoopUtilization() };
    await nap(measureMs);
    const ms = performance.now() - before.at;
    const { utilization } = performance.eventLoopUtilization(before.elu);
    const mbPerSecond = ((packets - before.packets) * SEALED_BYTES) / ms / 1_000;
    isOver = true;
    while (pool.busy > 0 && failure === undefined) await nap(1);
    if (failure !== undefined) throw failure;
    return { mbPerSecond, mainBusy: utilization };
  } finally {
    isOver = true;
    await pool.stop();
  }
}

function sealedIn({ table }: PooledSlab): number {
  for (let i = 0; i < table.entries; i++) {
    if (table.words[wordOf(i)] === OUTCOME.sealed) continue;
    throw new DaemonError(
      "ERR_WORKER",
      "a packet was not sealed",
      "see with `securedgram doctor` whether this host is in order",
    );
  }
  return table.entries;
}
