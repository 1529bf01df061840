// The client library against SQL that somebody wrote by hand, in batches, each on a file of its own and
// in turn: what a row costs until its commit is synced. And what a message costs a consumer.

import { join } from "node:path";
import { Mailbox, type OutgoingMessage } from "../src/client/mailbox.js";
import { freshMessageId } from "../src/client/message-ids.js";
import type { Connection, Statement } from "../src/shared/store/driver.js";
import { openDatabase } from "../src/shared/store/open.js";
import { timeText } from "../src/shared/store/text-time.js";
import { inFolder } from "./children.js";
import { fileSystemOf } from "./machine.js";
import { textMessage } from "./payload.js";
import { interleaved, median, spread } from "./statistics.js";
import type { BenchContext, Report, Suite } from "./suite.js";

const BATCH = 512;
const BYTES = 200;
const ROUNDS = 7;
/** Rows of a case and round. */
const ROUND_ROWS = 16_384;
const ADDRESS = "192.0.2.7";
const PORT = 7_777;
/** The library may cost as much more than SQL written by hand as shall pass for the same class. */
const RATIO_MAX = 1.25;

interface Cost {
  readonly wallUs: number;
  readonly cpuUs: number;
}

interface Case {
  readonly name: string;
  /** Handles `rows` rows. */
  readonly run: (rows: number) => Promise<void>;
}

const BY_HAND = "by hand: INSERT, row by row";
const BY_HAND_ADVISED = "by hand: INSERT OR FAIL with times, row by row";
const SEND_BATCH = `sendBatch(${BATCH})`;
const SENDS = `send, ${BATCH} at a time`;
const INBOX = "inbox, batch 512, done";

export const suite: Suite = {
  title: "mailbox: the client library against SQL by hand, FULL, this thread",
  run: (context) =>
    inFolder(async (folder) => {
      const cases = new Cases(folder);
      try {
        return await measureAll(cases, context, fileSystemOf(folder));
      } finally {
        await cases.close();
      }
    }),
};

async function measureAll(cases: Cases, context: BenchContext, fileSystem: string) {
  const rounds = context.seconds === undefined ? ROUNDS : Math.max(1, Math.round(context.seconds));
  const all = await cases.make();
  for (const each of all) await each.run(2 * BATCH);
  context.say(`${rounds} rounds of ${ROUND_ROWS} rows a case`);
  const costs = await interleaved(all, rounds, (each) => costOf(each, ROUND_ROWS));
  return reportOf(all, costs, rounds, fileSystem);
}

async function costOf(each: Case, rows: number): Promise<Cost> {
  const cpuBefore = process.cpuUsage();
  const before = performance.now();
  await each.run(rows);
  const wallMs = performance.now() - before;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { wallUs: (wallMs * 1_000) / rows, cpuUs: (user + system) / rows };
}

function reportOf(
  cases: readonly Case[],
  costs: readonly (readonly Cost[])[],
  rounds: number,
  fileSystem: string,
): Report {
  const rows = cases.map(({ name }, i) => {
    const wallUs = costs[i].map((cost) => cost.wallUs);
    const middle = median(wallUs);
    const cpuUs = median(costs[i].map((cost) => cost.cpuUs));
    return { name, rate: 1e6 / middle, wallUs: middle, rounds: spread(wallUs, 1), cpuUs };
  });
  const at = (name: string): number => cases.findIndex((each) => each.name === name);
  const ratio = (value: (cost: Cost) => number): number =>
    median(costs[at(SEND_BATCH)].map((cost, i) => value(cost) / value(costs[at(BY_HAND)][i])));
  return {
    settings: {
      payload: `${BYTES} B`,
      synchronous: "FULL",
      rounds: `${rounds} x ${ROUND_ROWS} rows a case, interleaved`,
      "file system": fileSystem,
    },
    tables: [
      {
        title: "a row, its commit included",
        columns: [
          { key: "name", label: "how" },
          { key: "rate", label: "rows/s", digits: 0 },
          { key: "wallUs", label: "us/row", digits: 2 },
          { key: "rounds", label: "rounds" },
          { key: "cpuUs", label: "CPU us/row", digits: 2 },
        ],
        rows,
      },
    ],
    chart: {
      title: "Client library: cost of a row",
      axis: "microseconds a row",
      scale: "linear",
      series: ["wall time with its commit", "CPU"],
      groups: rows.map(({ name, wallUs, cpuUs }) => ({ label: name, values: [wallUs, cpuUs] })),
    },
    targets: [
      target(
        "wall time",
        ratio((cost) => cost.wallUs),
      ),
      target(
        "CPU",
        ratio((cost) => cost.cpuUs),
      ),
    ],
    notes: [
      `${BATCH} rows a transaction everywhere; ratios are medians of the ratios of each round`,
      "ids and texts of the rows by hand are made in the measured time, as the library makes its ids",
      "CPU is that of the process, V8's helper threads included",
    ],
  };
}

const target = (what: string, measured: number) => ({
  what: `${SEND_BATCH} against SQL by hand, ${what}`,
  wanted: { atMost: RATIO_MAX },
  measured,
  unit: "x",
});

/** Every case with a database of its own. */
class Cases {
  readonly #folder: string;
  readonly #connections: Connection[] = [];
  readonly #mailboxes: Mailbox[] = [];
  #n = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async make(): Promise<readonly Case[]> {
    return [
      this.#byHand(
        BY_HAND,
        "INSERT INTO outbound_messages(message_id, dst_addr, dst_port, payload) VALUES (?, ?, ?, ?)",
        () => [],
      ),
      this.#byHand(
        BY_HAND_ADVISED,
        `INSERT OR FAIL INTO outbound_messages(message_id, dst_addr, dst_port, payload, created_at,
           updated_at) VALUES (?, ?, ?, ?, ?, ?)`,
        () => {
          const now = timeText(Date.now());
          return [now, now];
        },
      ),
      await this.#batches(),
      await this.#sends(),
      await this.#inbox(),
    ];
  }

  async close(): Promise<void> {
    for (const mailbox of this.#mailboxes) await mailbox.close();
    for (const db of this.#connections) db.close();
  }

  #byHand(name: string, sql: string, more: () => readonly string[]): Case {
    const db = this.#connect(`by-hand-${sql.length}`);
    const insert = db.prepare(sql);
    return {
      name,
      run: async (rows) => {
        for (let from = 0; from < rows; from += BATCH) this.#insertByHand(db, insert, more());
      },
    };
  }

  #insertByHand(db: Connection, insert: Statement, more: readonly string[]): void {
    const rows = Array.from({ length: BATCH }, () => ({
      id: freshMessageId(),
      payload: this.#text(),
    }));
    db.exec("BEGIN IMMEDIATE");
    for (const { id, payload } of rows) insert.run(id, ADDRESS, PORT, payload, ...more);
    db.exec("COMMIT");
  }

  async #batches(): Promise<Case> {
    const mailbox = await this.#open("batches");
    return {
      name: SEND_BATCH,
      run: async (rows) => {
        for (let from = 0; from < rows; from += BATCH) await mailbox.sendBatch(this.#messages());
      },
    };
  }

  async #sends(): Promise<Case> {
    const mailbox = await this.#open("sends");
    return {
      name: SENDS,
      run: async (rows) => {
        for (let from = 0; from < rows; from += BATCH) {
          await Promise.all(this.#messages().map((each) => mailbox.send(each)));
        }
      },
    };
  }

  /** Rows are inserted before each run, in its measured time: subtracted by nobody, so few columns. */
  async #inbox(): Promise<Case> {
    const mailbox = await this.#open("inbox");
    const db = this.#connect("inbox");
    const insert = db.prepare(
      `INSERT INTO inbound_messages(message_id, src_addr, src_port, crypto_timestamp, state, payload)
       VALUES (?, '192.0.2.8', 7777, '2026-01-01T00:00:00.000000001', 'ack_sent', ?)`,
    );
    return {
      name: INBOX,
      run: async (rows) => {
        db.exec("BEGIN IMMEDIATE");
        for (let i = 0; i < rows; i++) insert.run(freshMessageId(), this.#text());
        db.exec("COMMIT");
        let got = 0;
        for await (const each of mailbox.inbox({ batch: BATCH })) {
          got += each.payload.length > 0 ? 1 : 0;
          each.done();
          if (got === rows) break;
        }
      },
    };
  }

  #text(): string {
    return textMessage(this.#n++, BYTES).text;
  }

  #messages(): readonly OutgoingMessage[] {
    return Array.from({ length: BATCH }, () => ({
      to: ADDRESS,
      port: PORT,
      payload: this.#text(),
    }));
  }

  /** The daemon's connection makes the file, and stays open: it keeps the log. */
  #connect(name: string): Connection {
    const path = join(this.#folder, `${name}.db`);
    this.#connections.push(openDatabase(path, { role: "daemon", create: true }));
    const db = openDatabase(path, { role: "client", create: false });
    this.#connections.push(db);
    return db;
  }

  async #open(name: string): Promise<Mailbox> {
    this.#connect(name);
    const database = join(this.#folder, `${name}.db`);
    const mailbox = await Mailbox.open({ database, outboxMessagesMax: Infinity });
    this.#mailboxes.push(mailbox);
    return mailbox;
  }
}
