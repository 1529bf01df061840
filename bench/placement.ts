// Which cores processes may run on, by util-linux' taskset: how a machine with fewer cores, or a host of
// one's own for each end, is looked at from this one.

import { execFileSync } from "node:child_process";
import { programOf } from "./peer-server.js";

const TASKSET_MS_MAX = 5_000;

/** Cores by role, as taskset spells lists. */
export interface Placement {
  readonly sender: string;
  readonly receiver: string;
  readonly producer: string;
}

export const canPlace = (): boolean => programOf("taskset") !== undefined;

/** Moves all threads of a process, and those that it will make. */
export function place(pid: number, cores: string): void {
  const program = programOf("taskset");
  if (program === undefined) throw new Error("there is no taskset");
  execFileSync(program, ["-a", "-p", "-c", cores, `${pid}`], {
    stdio: ["ignore", "ignore", "pipe"],
    timeout: TASKSET_MS_MAX,
  });
}
