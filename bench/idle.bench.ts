// A daemon with nothing to do: what it costs a host that it runs at all.

import { setTimeout as wait } from "node:timers/promises";
import { inFolder } from "./children.js";
import { withHosts } from "./hosts.js";
import { spentByName, statusField, switchesOf, threadTimes } from "./proc.js";
import type { BenchContext, Report, Suite } from "./suite.js";

const SECONDS = 20;
const SETTLE_SECONDS = 3;
const CPU_PERCENT_MAX = 0.5;
const RSS_MB_MAX = 150;

export const suite: Suite = {
  title: "idle: a daemon with nothing to do",
  run: (context) =>
    inFolder((folder) => withHosts(folder, ["daemon"], ([host]) => measure(host.pid, context))),
};

async function measure(pid: number, context: BenchContext): Promise<Report> {
  const seconds = context.seconds ?? SECONDS;
  context.say(`${SETTLE_SECONDS} s to settle, then ${seconds} s`);
  await wait(SETTLE_SECONDS * 1_000);
  const startedAt = performance.now();
  const before = threadTimes(pid);
  const switchesBefore = switchesOf(pid);
  await wait(seconds * 1_000);
  const wallUs = (performance.now() - startedAt) * 1_000;
  const spent = spentByName(before, threadTimes(pid));
  const wakeUps = ((switchesOf(pid) - switchesBefore) * 1e6) / wallUs;
  const rssMb = statusField(pid, "VmRSS") / 1_024;
  const rows = [...spent]
    .map(([name, us]) => ({ name: threadLabel(name), percent: (100 * us) / wallUs }))
    .sort((a, b) => b.percent - a.percent);
  const percent = rows.reduce((sum, row) => sum + row.percent, 0);
  return {
    settings: { seconds, database: "empty", peers: "shared secret only" },
    tables: [
      {
        title: "CPU by thread",
        columns: [
          { key: "name", label: "thread" },
          { key: "percent", label: "% of a core", digits: 4 },
        ],
        rows: [...rows, { name: "all", percent }],
      },
      {
        title: "Process",
        columns: [
          { key: "rssMb", label: "RSS MB", digits: 1 },
          { key: "peakMb", label: "RSS MB, peak since start", digits: 1 },
          { key: "wakeUps", label: "wake-ups/s, all threads", digits: 1 },
        ],
        rows: [{ rssMb, peakMb: statusField(pid, "VmHWM") / 1_024, wakeUps }],
      },
    ],
    chart: {
      title: `Idle daemon: ${percent.toFixed(3)} % of a core, ${rssMb.toFixed(0)} MB`,
      axis: "% of a core",
      scale: "linear",
      series: ["% of a core"],
      groups: rows.map((row) => ({ label: row.name, values: [row.percent] })),
      mark: { value: CPU_PERCENT_MAX, label: `target ${CPU_PERCENT_MAX} %, all threads` },
    },
    targets: [
      { what: "CPU", wanted: { atMost: CPU_PERCENT_MAX }, measured: percent, unit: "% of a core" },
      { what: "RSS", wanted: { atMost: RSS_MB_MAX }, measured: rssMb, unit: "MB" },
    ],
    notes: ["CPU times and wake-ups (voluntary context switches) are the kernel's, of all threads"],
  };
}

const threadLabel = (name: string): string =>
  ["main", "crypto", "db"].includes(name) ? name : `V8 and libuv (${name})`;
