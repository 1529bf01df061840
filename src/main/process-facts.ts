// What the system says about a process: whose it is, when it began, what it was called with. Pids
// are used again; pid and start together are not.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";

export interface ProcessFacts {
  readonly pid: number;
  /** Effective user id. */
  readonly uid: number;
  /** Differs between two processes that had the same pid. */
  readonly startKey: string;
  /** Wall clock, ms since the epoch, to a second or so. */
  readonly startedAtMs: number;
  /** Program and arguments, separated by blanks; whatever the process made of it. */
  readonly command: string;
}

/** Clock ticks a second in /proc, on every Linux that Node runs on. Source: proc(5), sysconf(3). */
const TICKS_PER_SECOND = 100;
/** Fields of /proc/PID/stat behind the name in parentheses, counted from 0. Source: proc(5). */
const STATE_FIELD = 0;
const START_FIELD = 19;
const PS_DEADLINE_MS = 2_000;

/** True where /proc tells about processes and locks. */
export const hasProc = (): boolean => existsSync("/proc/self/stat");

/** Facts about a process, or undefined when there is none, or only its remains. */
export function processFacts(pid: number): ProcessFacts | undefined {
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  return hasProc() ? factsOfProc(pid) : factsOfPs(pid);
}

/** True while the very process that the facts are about still runs. */
export const isAlive = (facts: ProcessFacts): boolean =>
  processFacts(facts.pid)?.startKey === facts.startKey;

/** Not by the owner of /proc/PID: after a change of user that is root, whoever the process is. */
function factsOfProc(pid: number): ProcessFacts | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
    if (fields[STATE_FIELD] === "Z" || fields[STATE_FIELD] === "X" || uid === undefined) {
      return undefined;
    }
    const ticks = fields[START_FIELD];
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
    const startedAtMs = bootedAtMs() + (Number(ticks) / TICKS_PER_SECOND) * 1_000;
    return { pid, uid: Number(uid), startKey: ticks, startedAtMs, command };
  } catch {
    return undefined;
  }
}

const bootedAtMs = (): number =>
  Number(/^btime (\d+)/m.exec(readFileSync("/proc/stat", "latin1"))?.[1] ?? 0) * 1_000;

/** For systems without /proc. */
export function factsOfPs(pid: number): ProcessFacts | undefined {
  const { stdout } = spawnSync(
    "/bin/ps",
    ["-o", "uid=,stat=,lstart=,command=", "-p", String(pid)],
    {
      encoding: "utf8",
      env: { LC_ALL: "C" },
      timeout: PS_DEADLINE_MS,
    },
  );
  const match = /^\s*(\d+)\s+(\S+)\s+(\S+\s+\S+\s+\d+\s+[\d:]+\s+\d+)\s+(.*)$/m.exec(stdout ?? "");
  if (match === null || match[2].startsWith("Z")) return undefined;
  const [, uid, , start, command] = match;
  return { pid, uid: Number(uid), startKey: start, startedAtMs: Date.parse(start), command };
}
