// A daemon with nothing to do: what it costs a host that it runs at all. Two spans, because V8 tidies up
// what the start left behind once, some twenty seconds after it.

import { setTimeout as wait } from "node:timers/promises";
import { inFolder } from "./children.js";
import { withHosts } from "./hosts.js";
import { spentByName, statusField, switchesOf, threadTimes } from "./proc.js";
import type { BenchContext, Report, Suite } from "./suite.js";

const SECONDS = 20;
/** From ready to the first span, and to the second one. */
const SETTLE_SECONDS = 3;
const REST_SECONDS = 35;
const CPU_PERCENT_MAX = 0.5;
const RSS_MB_MAX = 150;
const THREADS = ["main", "crypto", "db"];
const OTHERS = "V8 and libuv";
const ALL = "all";

export const suite: Suite = {
  title: "idle: a daemon with nothing to do",
  run: (context) =>
    inFolder((folder) => withHosts(folder, ["daemon"], ([host]) => measure(host.pid, context))),
};

/** % of a core by thread, and wake-ups a second. */
interface Span {
  readonly percentOf: ReadonlyMap<string, number>;
  readonly wakeUps: number;
}

async function measure(pid: number, { seconds = SECONDS, say }: BenchContext): Promise<Report> {
  const readyAt = performance.now();
  await wait(SETTLE_SECONDS * 1_000);
  say(`${seconds} s after the start`);
  const fresh = await span(pid, seconds);
  const leftMs = REST_SECONDS * 1_000 - (performance.now() - readyAt);
  await wait(Math.max(0, leftMs));
  say(`${seconds} s at rest`);
  const resting = await span(pid, seconds);
  return reportOf(fresh, resting, seconds, {
    rssMb: statusField(pid, "VmRSS") / 1_024,
    peakMb: statusField(pid, "VmHWM") / 1_024,
  });
}

async function span(pid: number, seconds: number): Promise<Span> {
  const startedAt = performance.now();
  const before = threadTimes(pid);
  const switchesBefore = switchesOf(pid);
  await wait(seconds * 1_000);
  const wallUs = (performance.now() - startedAt) * 1_000;
  const percentOf = new Map<string, number>();
  let all = 0;
  for (const [name, us] of spentByName(before, threadTimes(pid))) {
    const thread = THREADS.includes(name) ? name : OTHERS;
    const percent = (100 * us) / wallUs;
    percentOf.set(thread, (percentOf.get(thread) ?? 0) + percent);
    all += percent;
  }
  percentOf.set(ALL, all);
  return { percentOf, wakeUps: ((switchesOf(pid) - switchesBefore) * 1e6) / wallUs };
}

function reportOf(
  fresh: Span,
  resting: Span,
  seconds: number,
  memory: { readonly rssMb: number; readonly peakMb: number },
): Report {
  const rows = [...THREADS, OTHERS, ALL].map((name) => ({
    name,
    fresh: fresh.percentOf.get(name) ?? 0,
    resting: resting.percentOf.get(name) ?? 0,
  }));
  const percent = resting.percentOf.get(ALL) ?? Number.NaN;
  return {
    settings: { seconds, database: "empty", peers: "shared secret only" },
    tables: [
      {
        title: "CPU by thread, % of a core",
        columns: [
          { key: "name", label: "thread" },
          { key: "fresh", label: `from ${SETTLE_SECONDS} s after the start`, digits: 4 },
          { key: "resting", label: "at rest", digits: 4 },
        ],
        rows: [...rows, { name: "wake-ups/s", fresh: fresh.wakeUps, resting: resting.wakeUps }],
      },
      {
        title: "Memory at the end",
        columns: [
          { key: "rssMb", label: "RSS MB", digits: 1 },
          { key: "peakMb", label: "RSS MB, peak since start", digits: 1 },
        ],
        rows: [memory],
      },
    ],
    chart: {
      title: `Idle daemon: ${percent.toFixed(3)} % of a core, ${memory.rssMb.toFixed(0)} MB`,
      axis: "% of a core",
      scale: "linear",
      series: ["after the start", "at rest"],
      groups: rows.map((row) => ({ label: row.name, values: [row.fresh, row.resting] })),
      mark: { value: CPU_PERCENT_MAX, label: `target ${CPU_PERCENT_MAX} % in all` },
    },
    targets: [
      {
        what: "CPU at rest",
        wanted: { atMost: CPU_PERCENT_MAX },
        measured: percent,
        unit: "% of a core",
      },
      { what: "RSS", wanted: { atMost: RSS_MB_MAX }, measured: memory.rssMb, unit: "MB" },
    ],
    notes: [
      "CPU times and wake-ups (voluntary context switches) are the kernel's, of all threads",
      `\`at rest\` begins ${REST_SECONDS} s after the start: before it V8 collects once what the start left behind`,
    ],
  };
}
