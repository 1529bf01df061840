// Loaded into daemons whose allocation is measured, before their own code: SIGUSR2 begins and ends a
// sample of what the main thread allocates, garbage included, written beside the database.

import { renameSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector";
import { isMainThread } from "node:worker_threads";
import type { HeapSample } from "./heap.js";

/** Mean distance of samples, bytes: one in some hundred objects, so that the rate stays what it is. */
const INTERVAL_BYTES = 16_384;

interface ProfileNode {
  readonly callFrame: { readonly functionName: string; readonly url: string };
  readonly selfSize: number;
  readonly children: readonly ProfileNode[];
}

function sampleOf(head: ProfileNode): HeapSample {
  const byFunction = new Map<string, number>();
  const open = [head];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    const { functionName, url } = node.callFrame;
    const file = url.split("/").slice(-2).join("/");
    const name = `${functionName || "(anonymous)"} ${file}`.trim();
    byFunction.set(name, (byFunction.get(name) ?? 0) + node.selfSize);
    open.push(...node.children);
  }
  return { byFunction: [...byFunction] };
}

const path = process.argv[process.argv.indexOf("--db") + 1];
if (isMainThread && path !== undefined && process.argv.includes("run")) {
  const session = new Session();
  session.connect();
  let samples = false;
  process.on("SIGUSR2", () => {
    if (samples) {
      session.post("HeapProfiler.stopSampling", (error, result) => {
        if (error !== null) throw error;
        writeFileSync(`${path}.part`, JSON.stringify(sampleOf(result.profile.head)));
        renameSync(`${path}.part`, `${path}.heap`);
      });
      return;
    }
    samples = true;
    session.post("HeapProfiler.startSampling", {
      samplingInterval: INTERVAL_BYTES,
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true,
    });
  });
}
