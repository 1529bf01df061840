// Loaded into daemons whose event loop is measured, before their own code: writes beside the database,
// once a minute, how late the timers of the main thread were in that minute and since the start.

import { renameSync, writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";
import type { LoopDelay } from "./soak-report.js";

/** Distance of the timers, ms; the histogram holds it in every value. */
const RESOLUTION_MS = 10;
const EVERY_MS = 60_000;
const NS_PER_MS = 1e6;

const path = process.argv[process.argv.indexOf("--db") + 1];
if (isMainThread && path !== undefined && process.argv.includes("run")) {
  const minute = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  const all = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  minute.enable();
  all.enable();
  const late = (ns: number): number => Math.max(0, ns / NS_PER_MS - RESOLUTION_MS);
  setInterval(() => {
    const said: LoopDelay = {
      minuteP99Ms: late(minute.percentile(99)),
      minuteMaxMs: late(minute.max),
      p50Ms: late(all.percentile(50)),
      p99Ms: late(all.percentile(99)),
      maxMs: late(all.max),
    };
    minute.reset();
    writeFileSync(`${path}.loop.part`, JSON.stringify(said));
    renameSync(`${path}.loop.part`, `${path}.loop`);
  }, EVERY_MS).unref();
}
