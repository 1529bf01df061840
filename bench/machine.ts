// The machine that a figure was measured on; a figure without it says nothing.

import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly kernel: string;
  readonly node: string;
  readonly v8: string;
  /** Processes that wanted a core in the last minute: above 0 somebody else was at work. */
  readonly load: number;
}

export const thisMachine = (): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? "unknown CPU",
  cores: availableParallelism(),
  memoryGb: Math.round(totalmem() / 2 ** 30),
  kernel: `${type()} ${release()}`,
  node: process.versions.node,
  v8: process.versions.v8,
  load: loadavg()[0],
});

/** Kind of the file system that `path` lies on: what a sync costs depends on it. */
export function fileSystemOf(path: string): string {
  try {
    const mounts = readFileSync("/proc/mounts", "utf8")
      .split("\n")
      .map((line) => line.split(" "));
    const above = mounts.filter(([, point]) => point !== undefined && isBelow(path, point));
    above.sort((a, b) => b[1].length - a[1].length);
    return above[0]?.[2] ?? "unknown";
  } catch {
    return "unknown";
  }
}

const isBelow = (path: string, point: string): boolean =>
  path === point || path.startsWith(point.endsWith("/") ? point : `${point}/`);
