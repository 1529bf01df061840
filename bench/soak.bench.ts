// An hour at half of what the daemons can: whether their memory grows, their write-ahead logs stay
// bounded, and their event loops in time. Rows that are done with are deleted meanwhile, since no disk
// holds them all. What can be had with that is measured first, in the same run.

import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, statSync } from "node:fs";
import { openDatabase } from "../src/shared/store/open.js";
import { runChild } from "./child.js";
import { forget, inFolder, remember } from "./children.js";
import { type Host, withHosts } from "./hosts.js";
import { BYTES } from "./load-suite.js";
import { fileSystemOf } from "./machine.js";
import { statusField } from "./proc.js";
import type { Cleaned, SoakCleanerOptions } from "./soak-cleaner.js";
import type { SoakProduced, SoakProducerOptions } from "./soak-producer.js";
import { type LoopDelay, type Sample, type Soaked, soakReport } from "./soak-report.js";
import type { BenchContext, Suite } from "./suite.js";

const SECONDS = 3_600;
const CAPACITY_SECONDS = 30;
/** More than any machine: what there is room for. */
const UNBOUNDED_PER_SECOND = 1e7;
const CAPACITY_KEPT_MS = 2_000;
const KEPT_MS = 30_000;
const SHARE = 0.5;
const SAMPLE_MS = 10_000;
const SAMPLES_SHOWN_EVERY = 30;
const END_SECONDS_MAX = 120;
const KIB = 1_024;
const MB = 1e6;
const PRODUCER = new URL("./soak-producer.js", import.meta.url);
const CLEANER = new URL("./soak-cleaner.js", import.meta.url);
const LOOP_SWITCH = `--import=${new URL("./loop-delay.js", import.meta.url).href}`;

export const suite: Suite = {
  title: "soak: an hour at half load",
  async run({ seconds = SECONDS, say }) {
    const full = await inDaemons({
      perSecond: UNBOUNDED_PER_SECOND,
      seconds: Math.min(seconds, CAPACITY_SECONDS),
      keptMs: CAPACITY_KEPT_MS,
      say,
    });
    const capacity = (full.rows * 1_000) / full.tookMs;
    const perSecond = Math.round(SHARE * capacity);
    say(`${Math.round(capacity)} messages/s at full load; ${perSecond} for ${seconds} s`);
    const { fileSystem, ...soaked } = await inDaemons({ perSecond, seconds, keptMs: KEPT_MS, say });
    return soakReport({ ...soaked, capacity, perSecond }, fileSystem);
  },
};

interface Soaking {
  readonly perSecond: number;
  readonly seconds: number;
  readonly keptMs: number;
  readonly say: BenchContext["say"];
}

interface Measured extends Omit<Soaked, "capacity" | "perSecond"> {
  /** Until all rows were acknowledged, and all deleted. */
  readonly tookMs: number;
}

/** Between two fresh daemons; every row is looked for afterwards. */
function inDaemons(options: Soaking): Promise<Measured & { readonly fileSystem: string }> {
  return inFolder(async (folder) => {
    let hosts: readonly Host[] = [];
    const measured = await withHosts(
      folder,
      ["sender", "receiver"],
      (both) => {
        hosts = both;
        return soak(both, options);
      },
      { protocol: "session", switches: [LOOP_SWITCH] },
    );
    checkRows(hosts, measured);
    return { ...measured, fileSystem: fileSystemOf(folder) };
  });
}

async function soak(hosts: readonly Host[], options: Soaking): Promise<Measured> {
  const { perSecond, seconds, keptMs, say } = options;
  const [{ database }, receiver] = hosts;
  const cleaners = [
    new Cleaner({ database, direction: "outbound", keptMs }),
    new Cleaner({ database: receiver.database, direction: "inbound", keptMs }),
  ];
  const samples: Sample[] = [];
  const startedAt = performance.now();
  const timer = setInterval(() => {
    const sample = sampleOf(hosts, (performance.now() - startedAt) / 1_000);
    samples.push(sample);
    if (samples.length % SAMPLES_SHOWN_EVERY === 0) say(JSON.stringify(sample));
  }, SAMPLE_MS);
  try {
    const { name: address, port } = receiver;
    const produced = await runChild<SoakProducerOptions, SoakProduced>(
      PRODUCER,
      { database, address, port, bytes: BYTES, perSecond, seconds },
      { deadlineMs: (seconds + END_SECONDS_MAX) * 1_000 },
    );
    const { rows, behindMax, drainMs } = produced;
    const [outbound, inbound] = await Promise.all(cleaners.map((cleaner) => cleaner.finish()));
    const tookMs = performance.now() - startedAt;
    return { rows, behindMax, drainMs, deleted: { outbound, inbound }, samples, tookMs };
  } finally {
    clearInterval(timer);
    for (const cleaner of cleaners) cleaner.abandon();
  }
}

/** A process that deletes. */
class Cleaner {
  readonly #child;
  #rows = 0;

  constructor(options: SoakCleanerOptions) {
    this.#child = fork(CLEANER, [JSON.stringify(options)]);
    remember(this);
    this.#child.on("message", ({ rows }: Cleaned) => {
      this.#rows = rows;
    });
  }

  /** Rows that it deleted, with one turn more; rejects when it failed meanwhile. */
  async finish(): Promise<number> {
    const { exitCode } = this.#child;
    if (exitCode !== null) throw new Error(`the cleaner ended with code ${exitCode}`);
    this.#child.send("last");
    const [code] = (await once(this.#child, "exit")) as [number | null];
    if (code !== 0) throw new Error(`the cleaner ended with code ${code}`);
    return this.#rows;
  }

  abandon(): void {
    this.#child.kill("SIGKILL");
    forget(this);
  }
}

function sampleOf(hosts: readonly Host[], seconds: number): Sample {
  const both = <T>(of: (host: Host) => T): readonly [T, T] => [of(hosts[0]), of(hosts[1])];
  const sizeMb = (path: string): number => (existsSync(path) ? statSync(path).size / MB : 0);
  return {
    seconds,
    rssMb: both(({ pid }) => (statusField(pid, "VmRSS") * KIB) / MB),
    walMb: both(({ database }) => sizeMb(`${database}-wal`)),
    databaseMb: both(({ database }) => sizeMb(database)),
    loops: both(({ database }) =>
      existsSync(`${database}.loop`)
        ? (JSON.parse(readFileSync(`${database}.loop`, "utf8")) as LoopDelay)
        : undefined,
    ),
  };
}

/** Every message is a row of each side, deleted or there, and acknowledged: none more, none less. */
function checkRows([sender, receiver]: readonly Host[], { rows, deleted }: Measured): void {
  const count = (path: string, table: string, where: string): number => {
    const db = openDatabase(path, { role: "client", create: false });
    try {
      return db.prepare(`SELECT count(*) FROM ${table} ${where}`).pluck().get() as number;
    } finally {
      db.close();
    }
  };
  const acknowledged = "WHERE state = 'acknowledged'";
  const sent = deleted.outbound + count(sender.database, "outbound_messages", acknowledged);
  const stored = deleted.inbound + count(receiver.database, "inbound_messages", "");
  if (sent !== rows) throw new Error(`${rows} rows were inserted, ${sent} acknowledged`);
  if (stored !== rows) throw new Error(`${rows} rows were inserted, ${stored} stored`);
}
