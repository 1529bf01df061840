// What daemons allocate on their main threads while they are measured: asked for by a signal, written by
// heap-sample.ts inside of them.

import { existsSync, readFileSync } from "node:fs";
import { setTimeout as nap } from "node:timers/promises";
import type { Host } from "./hosts.js";

const SWITCH = new URL("./heap-sample.js", import.meta.url).href;
const WRITTEN_MS_MAX = 30_000;
const LOOK_MS = 50;

export interface HeapSample {
  /** Bytes allocated by function and file, garbage included. */
  readonly byFunction: readonly (readonly [name: string, bytes: number])[];
}

/** Switch of Node for daemons that are to be asked. */
export const HEAP_SWITCH = `--import=${SWITCH}`;

/** Begins the sample of each daemon, and at the second call ends it. */
export function toggleSamples(hosts: readonly Host[]): void {
  for (const { pid } of hosts) process.kill(pid, "SIGUSR2");
}

/** What the daemons wrote at the end of their samples. */
export async function samplesOf(hosts: readonly Host[]): Promise<readonly HeapSample[]> {
  const end = performance.now() + WRITTEN_MS_MAX;
  const paths = hosts.map(({ database }) => `${database}.heap`);
  while (!paths.every((path) => existsSync(path))) {
    if (performance.now() > end) throw new Error("a daemon wrote nothing of its heap");
    await nap(LOOK_MS);
  }
  return paths.map((path) => JSON.parse(readFileSync(path, "utf8")) as HeapSample);
}
