// What a message costs while the tables grow from nothing: one long run, cut into pieces of half a
// million messages, with the CPU time of each thread in each piece.

import { openDatabase } from "../src/shared/store/open.js";
import { runChild } from "./child.js";
import { inFolder } from "./children.js";
import { BACKLOG_ROWS, threadLabel, WARM_UP_ROWS } from "./end-to-end.js";
import { type Host, withHosts } from "./hosts.js";
import { BYTES, cpuTable, ROWS_PER_TRANSACTION } from "./load-suite.js";
import { fileSystemOf } from "./machine.js";
import { spentByName, type ThreadTimes, threadTimes } from "./proc.js";
import type { Produced, ProducerOptions } from "./producer.js";
import { interleaved, median, spread } from "./statistics.js";
import type { Report, Suite } from "./suite.js";
import { oldestWaiting } from "./waiting.js";

const ROUNDS = 3;
const SECONDS = 90;
const PIECE_ROWS = 500_000;
const SAMPLE_MS = 250;
const END_SECONDS_MAX = 120;
const PRODUCER = new URL("./producer.js", import.meta.url);

/** What was done until a moment. */
interface Sample {
  /** Acknowledged, from the first measured row on. */
  readonly rows: number;
  readonly ms: number;
  /** CPU us by "process thread". */
  readonly spent: ReadonlyMap<string, number>;
}

interface Piece {
  readonly perSecond: number;
  /** CPU us a message by "process thread". */
  readonly costs: ReadonlyMap<string, number>;
}

export const suite: Suite = {
  title: "growth: what a message costs while the tables grow",
  async run({ rounds = ROUNDS, seconds = SECONDS, say }) {
    let fileSystem = "unknown";
    const [results] = await interleaved(["from nothing"], rounds, (_, round) =>
      inFolder(async (folder) => {
        fileSystem = fileSystemOf(folder);
        const samples = await withHosts(
          folder,
          ["sender", "receiver"],
          (hosts) => grow(hosts, seconds),
          {
            protocol: "session",
          },
        );
        const { rows, ms } = samples[samples.length - 1];
        say(`round ${round + 1} of ${rounds}: ${rows} messages in ${Math.round(ms / 1_000)} s`);
        return piecesOf(samples);
      }),
    );
    return reportOf(results, { "s of inserting": seconds, rounds, "file system": fileSystem });
  },
};

/** Inserts for so long, and looks now and then how far it came and what that took. */
async function grow(
  [sender, receiver]: readonly Host[],
  seconds: number,
): Promise<readonly Sample[]> {
  const to = { address: receiver.name, port: receiver.port };
  const options: ProducerOptions = {
    database: sender.database,
    destinations: [to],
    bytes: BYTES,
    rowsPerTransaction: ROWS_PER_TRANSACTION,
    backlogRows: BACKLOG_ROWS,
    warmUpRows: WARM_UP_ROWS,
    seconds,
    kind: "client",
    endMark: false,
  };
  const db = openDatabase(sender.database, { role: "client", create: false });
  const oldest = oldestWaiting(db);
  const newest = db.prepare("SELECT max(id) FROM outbound_messages").pluck();
  const settled = (): number => (oldest(to) ?? (newest.get() as number) + 1) - 1;
  const samples: Sample[] = [];
  let timer: NodeJS.Timeout | undefined;
  try {
    await runChild<ProducerOptions, Produced>(PRODUCER, options, {
      onStart: (producerPid) => {
        const meter = new Meter([
          ["producer", producerPid],
          ["sender", sender.pid],
          ["receiver", receiver.pid],
        ]);
        const [before, startedAt] = [settled(), performance.now()];
        const look = (): void => {
          const [rows, ms] = [settled() - before, performance.now() - startedAt];
          samples.push({ rows, ms, spent: meter.spent() });
        };
        look();
        timer = setInterval(look, SAMPLE_MS);
      },
      onFinish: () => clearInterval(timer),
      deadlineMs: (seconds + END_SECONDS_MAX) * 1_000,
    });
  } finally {
    clearInterval(timer);
    db.close();
  }
  return samples;
}

/** CPU time of the threads of some processes since it was made. */
class Meter {
  readonly #processes: readonly (readonly [name: string, pid: number])[];
  readonly #before: readonly ThreadTimes[];

  constructor(processes: readonly (readonly [name: string, pid: number])[]) {
    this.#processes = processes;
    this.#before = processes.map(([, pid]) => threadTimes(pid));
  }

  spent(): ReadonlyMap<string, number> {
    const all = new Map<string, number>();
    for (const [i, [name, pid]] of this.#processes.entries()) {
      for (const [thread, us] of spentByName(this.#before[i], threadTimes(pid))) {
        const label = `${name} ${threadLabel(name, thread)}`;
        all.set(label, (all.get(label) ?? 0) + us);
      }
    }
    return all;
  }
}

/** From the first look at or behind each half million to the next such look. */
function piecesOf(samples: readonly Sample[]): readonly Piece[] {
  const pieces: Piece[] = [];
  let from = samples[0];
  for (const sample of samples) {
    if (sample.rows < (pieces.length + 1) * PIECE_ROWS) continue;
    const rows = sample.rows - from.rows;
    const { spent } = from;
    const costs = new Map(
      [...sample.spent].map(([name, us]) => [name, (us - (spent.get(name) ?? 0)) / rows]),
    );
    pieces.push({ perSecond: (rows * 1_000) / (sample.ms - from.ms), costs });
    from = sample;
  }
  return pieces;
}

function reportOf(
  rounds: readonly (readonly Piece[])[],
  settings: Readonly<Record<string, number | string>>,
): Report {
  // What all rounds reached.
  const count = Math.min(...rounds.map(({ length }) => length));
  if (count === 0) throw new Error(`no round came to ${PIECE_ROWS} messages`);
  const pieces = Array.from({ length: count }, (_, i) => ({
    name: `${(((i + 1) * PIECE_ROWS) / 1e6).toFixed(1)} million`,
    measured: rounds.map((round) => round[i]),
  }));
  const rows = pieces.map(({ name, measured }) => {
    const rates = measured.map(({ perSecond }) => perSecond);
    return { name, perSecond: median(rates), rounds: spread(rates, 0) };
  });
  const results = pieces.map(({ measured }) => measured);
  return {
    settings: { payload: `${BYTES} B`, synchronous: "FULL", ...settings },
    tables: [
      {
        title: "Messages a second",
        columns: [
          { key: "name", label: "until" },
          { key: "perSecond", label: "messages/s", digits: 0 },
          { key: "rounds", label: "rounds" },
        ],
        rows,
      },
      cpuTable("until", pieces, results),
    ],
    chart: {
      title: "Messages a second, by how many there were before",
      axis: "messages a second",
      scale: "linear",
      series: ["messages/s"],
      groups: rows.map(({ name, perSecond }) => ({ label: name, values: [perSecond] })),
    },
    targets: [],
    notes: [
      `${ROWS_PER_TRANSACTION} rows a transaction, sessions, defaults of the daemons; medians over rounds, each with fresh ` +
        "daemons and files",
    ],
  };
}
