// The whole: a producer process, two daemons on loopback, each with a file of its own; from the first
// insert to the last row that the sender's table calls acknowledged. CPU time by thread beside it.

import { inFolder } from "./children.js";
import { BACKLOG_ROWS, type Measured, measureLoad } from "./end-to-end.js";
import { fileSystemOf } from "./machine.js";
import { median } from "./statistics.js";
import type { BenchContext, Protocol, Report, Suite } from "./suite.js";

const ROUNDS = 3;
const SECONDS = 10;
const BYTES = 200;
const ROWS_PER_TRANSACTION = 512;
const PER_SECOND_MIN: Readonly<Record<Protocol, number>> = { classic: 25_000, session: 100_000 };

export const suite: Suite = {
  title: "pipeline: 200 B messages between two daemons, durable on both sides",
  async run(context) {
    const seconds = context.seconds ?? SECONDS;
    const rounds: Measured[] = [];
    let fileSystem = "unknown";
    const roundsAsked = context.rounds ?? ROUNDS;
    for (let i = 0; i < roundsAsked; i++) {
      context.say(`round ${i + 1} of ${roundsAsked}, ${seconds} s`);
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
): Promise<Measured> {
  const measured = await measureLoad(folder, {
    protocol,
    bytes: BYTES,
    rowsPerTransaction: ROWS_PER_TRANSACTION,
    kind: "client",
    seconds,
  });
  const { perSecond, delivery } = measured;
  say(`${Math.round(perSecond)} messages/s, all ${delivery.sent} found at the receiver, once each`);
  return measured;
}

function reportOf(
  rounds: readonly Measured[],
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
    targets: [
      {
        what: "first insert to last row acknowledged, median round",
        wanted: { atLeast: PER_SECOND_MIN[settings.protocol] },
        measured: perSecond,
        unit: "messages/s",
      },
    ],
    notes: [
      "every round checks, both daemons stopped, that each acknowledged row is in the receiver's table " +
        "exactly once with the same payload, and that none was left; otherwise the suite fails",
      "`stored/s`: to the last row in the receiver's table, by the times in the tables (ms)",
      "the producer holds back while the oldest row without acknowledgement is as many rows back as the " +
        "backlog has; `held back` is the share of that; `tail`: from the end of inserting to the last " +
        "acknowledgement",
      "`datagrams/message`: what the kernel sent, ACKs included: 2 by classic when nothing is sent twice, less " +
        "in sessions, whose packets carry several; datagrams that the Linux socket hands over together count once " +
        "(other traffic of the machine counts as well)",
      "CPU times are the kernel's, of the measured span, medians of the rounds",
    ],
  };
}

const roundsTable = (rounds: readonly Measured[]) => ({
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
