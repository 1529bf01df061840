// Loaded into the daemons that are measured, before their own code, on every thread: writes into the
// kernel's table which thread is which, since Node 20 calls them all "node". Nothing else changes.

import { readlinkSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { isMainThread } from "node:worker_threads";

/** crypto.worker.js is "crypto"; the daemon's first thread is "main". */
const name = isMainThread ? "main" : basename(process.argv[1] ?? "worker").split(".")[0];

try {
  writeFileSync(`/proc/${readlinkSync("/proc/thread-self")}/comm`, name);
} catch {
  // Without names the CPU times are added up under "node".
}
