// The whole: a producer process, two daemons on loopback, each with a file of its own; from the first
// insert to the last row that the sender's table calls acknowledged. CPU time by thread beside it.

import { runChild } from "./child.js";
import { inFolder } from "./children.js";
import { type Host, LOOPBACK, withHosts } from "./hosts.js";
import { fileSystemOf } from "./machine.js";
import { datagramsSent, spentByName, statusField, type ThreadTimes, threadTimes } from "./proc.js";
import type { Produced, ProducerOptions } from "./producer.js";
import { median } from "./statistics.js";
import type { BenchContext, Protocol, Report, Suite } from "./suite.js";
import { type Delivery, verifyDelivery } from "./verify.js";

const ROUNDS = 3;
const SECONDS = 10;
const BYTES = 200;
const ROWS_PER_TRANSACTION = 512;
const BACKLOG_ROWS = 32_768;
const WARM_UP_ROWS = 20_480;
const TARGET_PER_SECOND = 25_000;
const PRODUCER = new URL("./producer.js", import.meta.url);

/** CPU us a message by "process thread". */
type Costs = ReadonlyMap<string, number>;

interface Round {
  readonly produced: Produced;
  readonly delivery: Delivery;
  readonly perSecond: number;
  readonly storedPerSecond: number;
  readonly costs: Costs;
  readonly rssMb: readonly number[];
  /** Sent on this machine meanwhile, ACKs included: 2 a message by classic when none is sent twice. */
  readonly datagrams: number;
}

export const suite: Suite = {
  title: "pipeline: 200 B messages between two daemons, durable on both sides",
  async run(context) {
    const seconds = context.seconds ?? SECONDS;
    const rounds: Round[] = [];
    let fileSystem = "unknown";
    for (let i = 0; i < ROUNDS; i++) {
      context.say(`round ${i + 1} of ${ROUNDS}, ${seconds} s`);
      rounds.push(
        await inFolder(async (folder) => {
          fileSystem = fileSystemOf(folder);
          return await measure(folder, seconds, context);
        }),
      );
    }
    return reportOf(rounds, { seconds, fileSystem, protocol: context.protocol });
  },
};

async function measure(
  folder: string,
  seconds: number,
  { say, protocol }: BenchContext,
): Promise<Round> {
  let files: readonly string[] = [];
  const measured = await withHosts(
    folder,
    ["sender", "receiver"],
    async (hosts) => {
      files = hosts.map(({ database }) => database);
      return await produce(hosts, seconds, protocol);
    },
    protocol,
  );
  const { produced } = measured;
  const delivery = verifyDelivery(files[0], files[1], produced.firstRow);
  if (delivery.sent !== produced.rows + produced.warmUpRows) {
    throw new Error(
      `${produced.rows + produced.warmUpRows} rows were inserted, ${delivery.sent} found`,
    );
  }
  const perSecond = (produced.rows * 1_000) / produced.elapsedMs;
  say(`${Math.round(perSecond)} messages/s, all ${delivery.sent} found at the receiver, once each`);
  return {
    ...measured,
    delivery,
    perSecond,
    storedPerSecond: (produced.rows * 1_000) / delivery.storedMs,
  };
}

async function produce(hosts: readonly Host[], seconds: number, protocol: Protocol) {
  const [sender, receiver] = hosts;
  const options: ProducerOptions = {
    database: sender.database,
    address: protocol === "session" ? receiver.name : LOOPBACK,
    port: receiver.port,
    bytes: BYTES,
    rowsPerTransaction: ROWS_PER_TRANSACTION,
    backlogRows: BACKLOG_ROWS,
    warmUpRows: WARM_UP_ROWS,
    seconds,
  };
  const before = new Map<string, ThreadTimes>();
  const spent = new Map<string, number>();
  let rssMb: readonly number[] = [];
  let datagrams = 0;
  const processes = (producerPid: number): readonly (readonly [string, number])[] => [
    ["producer", producerPid],
    ["sender", sender.pid],
    ["receiver", receiver.pid],
  ];
  const produced = await runChild<ProducerOptions, Produced>(PRODUCER, options, {
    onStart: (producerPid) => {
      datagrams = -datagramsSent();
      for (const [name, pid] of processes(producerPid)) before.set(name, threadTimes(pid));
    },
    onFinish: (producerPid) => {
      datagrams += datagramsSent();
      for (const [name, pid] of processes(producerPid)) {
        const all = spentByName(before.get(name) ?? new Map(), threadTimes(pid));
        for (const [thread, us] of all) spent.set(`${name} ${threadLabel(name, thread)}`, us);
      }
      rssMb = hosts.map(({ pid }) => statusField(pid, "VmHWM") / 1_024);
    },
    deadlineMs: (seconds + 120) * 1_000,
  });
  const costs = new Map([...spent].map(([name, us]) => [name, us / produced.rows]));
  return { produced, costs, rssMb, datagrams };
}

/** Threads without a name of ours are V8's helpers (garbage, compiler) and libuv's pool. */
const threadLabel = (process: string, thread: string): string => {
  if (process === "producer") return "all threads";
  return ["main", "crypto", "db"].includes(thread) ? thread : "V8 and libuv";
};

function reportOf(
  rounds: readonly Round[],
  settings: {
    readonly seconds: number;
    readonly fileSystem: string;
    readonly protocol: Protocol;
  },
): Report {
  const perSecond = median(rounds.map((round) => round.perSecond));
  const names = [...new Set(rounds.flatMap(({ costs }) => [...costs.keys()]))].sort();
  const costs = names.map((name) => {
    const usPerMessage = median(rounds.map((round) => round.costs.get(name) ?? 0));
    return { name, usPerMessage, coreShare: (usPerMessage * perSecond) / 1e4 };
  });
  const sum = costs.reduce((all, { usPerMessage }) => all + usPerMessage, 0);
  const total = { name: "all", usPerMessage: sum, coreShare: (sum * perSecond) / 1e4 };
  return {
    settings: {
      protocol: settings.protocol,
      payload: `${BYTES} B`,
      "rows a transaction": ROWS_PER_TRANSACTION,
      "backlog at most": BACKLOG_ROWS,
      "s of inserting": settings.seconds,
      rounds: rounds.length,
      synchronous: "FULL",
      "file system": settings.fileSystem,
      "crypto workers": "default",
    },
    tables: [roundsTable(rounds), costsTable([...costs, total])],
    chart: {
      title: `${Math.round(perSecond).toLocaleString("en-US")} messages/s: where the CPU time goes`,
      axis: "microseconds of CPU a message",
      scale: "linear",
      series: ["us a message"],
      groups: costs.map(({ name, usPerMessage }) => ({ label: name, values: [usPerMessage] })),
    },
    targets:
      settings.protocol === "classic"
        ? [
            {
              what: "first insert to last row acknowledged, median round",
              wanted: { atLeast: TARGET_PER_SECOND },
              measured: perSecond,
              unit: "messages/s",
            },
          ]
        : [],
    notes: [
      "every round checks, both daemons stopped, that each acknowledged row is in the receiver's table " +
        "exactly once with the same payload, and that none was left; otherwise the suite fails",
      "`stored/s`: to the last row in the receiver's table, by the times in the tables (ms)",
      "the producer holds back while the oldest row without acknowledgement is as many rows back as the " +
        "backlog has; `held back` is the share of that; `tail`: from the end of inserting to the last " +
        "acknowledgement",
      "`datagrams/message`: what the kernel sent, ACKs included: 2 by classic when nothing is sent twice, less " +
        "in sessions, whose packets carry several (other traffic of the machine counts as well)",
      "CPU times are the kernel's, of the measured span, medians of the rounds",
    ],
  };
}

const roundsTable = (rounds: readonly Round[]) => ({
  title: "Rounds, each with fresh files",
  columns: [
    { key: "round", label: "round", digits: 0 },
    { key: "rows", label: "rows", digits: 0 },
    { key: "elapsedSeconds", label: "s", digits: 2 },
    { key: "perSecond", label: "acknowledged/s", digits: 0 },
    { key: "storedPerSecond", label: "stored/s", digits: 0 },
    { key: "heldBackPercent", label: "held back %", digits: 0 },
    { key: "tailMs", label: "tail ms", digits: 0 },
    { key: "datagramsPerMessage", label: "datagrams/message", digits: 3 },
    { key: "senderMb", label: "sender RSS MB, peak", digits: 0 },
    { key: "receiverMb", label: "receiver RSS MB, peak", digits: 0 },
  ],
  rows: rounds.map(({ produced, perSecond, storedPerSecond, rssMb, datagrams }, i) => ({
    round: i + 1,
    rows: produced.rows,
    elapsedSeconds: produced.elapsedMs / 1_000,
    perSecond,
    storedPerSecond,
    heldBackPercent: (100 * produced.waitedMs) / produced.insertingMs,
    tailMs: produced.elapsedMs - produced.insertingMs,
    datagramsPerMessage: datagrams / produced.rows,
    senderMb: rssMb[0],
    receiverMb: rssMb[1],
  })),
});

const costsTable = (rows: Report["tables"][number]["rows"]) => ({
  title: "CPU by thread",
  columns: [
    { key: "name", label: "thread" },
    { key: "usPerMessage", label: "us/message", digits: 2 },
    { key: "coreShare", label: "% of a core", digits: 0 },
  ],
  rows,
});
