// CPU time and memory of processes and their threads, read from Linux's /proc.

import { readdirSync, readFileSync } from "node:fs";

const TICKS_PER_SECOND = 100;
const US_PER_TICK = 1e6 / TICKS_PER_SECOND;

/** CPU time of the calling thread since it started, us. */
export const threadCpuUs = (): number => cpuUsOf("/proc/thread-self");

/** CPU time of a thread, us: exact from schedstat, in ticks of 10 ms where the kernel has none. */
function cpuUsOf(folder: string): number {
  const [onCpuNs] = readFileSync(`${folder}/schedstat`, "utf8").split(" ");
  const us = Number(onCpuNs) / 1_000;
  if (us > 0) return us;
  const stat = readFileSync(`${folder}/stat`, "utf8");
  // The name stands in brackets and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * US_PER_TICK;
}

/** CPU time by thread id. */
export type ThreadTimes = ReadonlyMap<number, { readonly name: string; readonly us: number }>;

export function threadTimes(pid: number): ThreadTimes {
  const times = new Map<number, { readonly name: string; readonly us: number }>();
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    const folder = `/proc/${pid}/task/${tid}`;
    try {
      const name = readFileSync(`${folder}/comm`, "utf8").trim();
      times.set(Number(tid), { name, us: cpuUsOf(folder) });
    } catch {
      // The thread ended between the two looks.
    }
  }
  return times;
}

/** CPU time between two looks by kind of thread: threads of one name are added up. */
export function spentByName(before: ThreadTimes, after: ThreadTimes): ReadonlyMap<string, number> {
  const spent = new Map<string, number>();
  for (const [tid, { name, us }] of after) {
    const delta = us - (before.get(tid)?.us ?? 0);
    spent.set(name, (spent.get(name) ?? 0) + delta);
  }
  return spent;
}

/** A field of /proc/<pid>/status, such as VmRSS (kB) or voluntary_ctxt_switches. */
export function statusField(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? Number.NaN);
}

/** Times that the threads of a process gave up the core by themselves, since they started. */
export function switchesOf(pid: number): number {
  let switches = 0;
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${tid}/status`, "utf8");
    switches += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  }
  return switches;
}

/** UDP datagrams over IPv4 that this machine's kernel sent since it started. */
export function datagramsSent(): number {
  const udp = readFileSync("/proc/net/snmp", "utf8")
    .split("\n")
    .filter((line) => line.startsWith("Udp:"))
    .map((line) => line.split(" "));
  const column = udp[0]?.indexOf("OutDatagrams") ?? -1;
  return Number(udp[1]?.[column] ?? Number.NaN);
}
