// One daemon and 1 to 1,000 peers, a session with each: what it sends to them, and what it stores of
// theirs. The others are played by one process (bench/crowd-child), since no machine holds a thousand
// daemons; the one that is measured, and whoever inserts its rows, are what they always are.

import { type ChildProcess, fork } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newPrivateKey, publicKeyOf } from "../src/main/identity.js";
import { base64Text } from "../src/main/secrets.js";
import { openDatabase } from "../src/shared/store/open.js";
import { runChild } from "./child.js";
import { forget, inFolder, remember } from "./children.js";
import type { CrowdAnswer, CrowdOrder } from "./crowd-child.js";
import { BACKLOG_ROWS, WARM_UP_ROWS } from "./end-to-end.js";
import { freePort, Host, LOOPBACK } from "./hosts.js";
import { BYTES, ROWS_PER_TRANSACTION } from "./load-suite.js";
import { fileSystemOf } from "./machine.js";
import { spentByName, statusField, type ThreadTimes, threadTimes } from "./proc.js";
import type { Produced, ProducerOptions } from "./producer.js";
import { interleaved, median, spread } from "./statistics.js";
import type { Report, Suite } from "./suite.js";

const ROUNDS = 3;
const SECONDS = 5;
const PEERS = [1, 10, 100, 1_000];
const WAYS = ["out", "in"] as const;
const SHARE_OF_ONE_MIN = 0.9;
const END_SECONDS_MAX = 120;
const CONFIG = "securedgram.toml";
const PRODUCER = new URL("./producer.js", import.meta.url);
const CROWD = new URL("./crowd-child.js", import.meta.url);

interface Case {
  readonly way: (typeof WAYS)[number];
  readonly peers: number;
}

interface Measured {
  readonly perSecond: number;
  /** CPU us a message of the daemon's threads, and of the crowd. */
  readonly costs: Readonly<Record<"main" | "db" | "crypto" | "others" | "crowd", number>>;
  readonly rssMb: number;
}

export const suite: Suite = {
  title: "crowd: one daemon, one to a thousand sessions",
  async run({ rounds = ROUNDS, seconds = SECONDS, say }) {
    const cases = WAYS.flatMap((way) => PEERS.map((peers): Case => ({ way, peers })));
    let fileSystem = "unknown";
    const results = await interleaved(cases, rounds, (one, round) =>
      inFolder(async (folder) => {
        fileSystem = fileSystemOf(folder);
        const measured = await measure(folder, one, seconds);
        const rate = Math.round(measured.perSecond);
        say(`round ${round + 1} of ${rounds}: ${one.peers} peers, ${one.way}: ${rate}/s`);
        return measured;
      }),
    );
    return reportOf(cases, results, { "s of sending": seconds, rounds, "file system": fileSystem });
  },
};

async function measure(folder: string, { way, peers }: Case, seconds: number): Promise<Measured> {
  const crowd = new CrowdProcess();
  let host: Host | undefined;
  try {
    const { members } = await crowd.ask("made", { kind: "make", members: peers });
    const privateKey = newPrivateKey();
    const port = await freePort();
    host = new Host("daemon", configure(folder, privateKey, members), port, {
      SECUREDGRAM_CONFIG: CONFIG,
    });
    await host.start();
    await crowd.ask("up", { kind: "begin", publicKey: publicKeyOf(privateKey), port });
    const destinations = members.map((member, i) => ({ address: nameOf(i), port: member.port }));
    const measured =
      way === "out"
        ? await sendOut(host, crowd, destinations, seconds)
        : await takeIn(host, crowd, seconds);
    await host.stop();
    return measured;
  } finally {
    host?.end();
    crowd.abandon();
  }
}

/** A producer inserts, the daemon sends, the crowd takes. */
async function sendOut(
  host: Host,
  crowd: CrowdProcess,
  destinations: ProducerOptions["destinations"],
  seconds: number,
): Promise<Measured> {
  const meter = new Meter(host, crowd);
  const options: ProducerOptions = {
    database: host.database,
    destinations,
    bytes: BYTES,
    rowsPerTransaction: ROWS_PER_TRANSACTION,
    backlogRows: BACKLOG_ROWS,
    warmUpRows: WARM_UP_ROWS,
    seconds,
    kind: "client",
    endMark: false,
  };
  const { rows, warmUpRows, elapsedMs } = await runChild<ProducerOptions, Produced>(
    PRODUCER,
    options,
    {
      onStart: () => meter.start(),
      onFinish: () => meter.stop(),
      deadlineMs: (seconds + END_SECONDS_MAX) * 1_000,
    },
  );
  const { received } = await crowd.ask("count", { kind: "count" });
  if (received !== rows + warmUpRows) {
    throw new Error(`${rows + warmUpRows} messages were sent, ${received} came`);
  }
  return meter.measured(rows, elapsedMs);
}

/** The crowd sends, the daemon stores. */
async function takeIn(host: Host, crowd: CrowdProcess, seconds: number): Promise<Measured> {
  const meter = new Meter(host, crowd);
  const order = { kind: "send", bytes: BYTES, batch: ROWS_PER_TRANSACTION, seconds } as const;
  const { messages, measured, elapsedMs } = await crowd.ask("sent", order, () => meter.start());
  meter.stop();
  const db = openDatabase(host.database, { role: "client", create: false });
  const stored = db.prepare("SELECT count(*) FROM inbound_messages").pluck().get();
  db.close();
  if (stored !== messages) throw new Error(`${messages} were acknowledged, ${stored} stored`);
  return meter.measured(measured, elapsedMs);
}

// --- The daemon and the crowd -----------------------------------------------------------------------

const nameOf = (i: number): string => `peer-${i}`;

/** Folder of a daemon that knows all of the crowd. */
function configure(
  folder: string,
  privateKey: Uint8Array,
  members: readonly { readonly publicKey: Uint8Array; readonly port: number }[],
): string {
  const directory = join(folder, "daemon");
  mkdirSync(directory, { mode: 0o700 });
  const write = (name: string, text: string): void =>
    writeFileSync(join(directory, name), text, { mode: 0o600 });
  write("identity", `${base64Text(privateKey)}\n`);
  const tables = members.map(
    ({ publicKey, port }, i) =>
      `[[peer]]\nname = "${nameOf(i)}"\naddress = "${LOOPBACK}:${port}"\n` +
      `public_key = "${base64Text(publicKey)}"\n`,
  );
  write(CONFIG, tables.join("\n"));
  return directory;
}

type Answer<K extends CrowdAnswer["kind"]> = Extract<CrowdAnswer, { kind: K }>;

class CrowdProcess {
  readonly #child: ChildProcess;

  constructor() {
    this.#child = fork(CROWD, [], { serialization: "advanced" });
    remember(this);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Rejects when the process ends before it answers. */
  ask<K extends CrowdAnswer["kind"]>(
    kind: K,
    order: CrowdOrder,
    onStarted: () => void = () => {},
  ): Promise<Answer<K>> {
    const child = this.#child;
    return new Promise((resolve, reject) => {
      const take = (answer: CrowdAnswer): void => {
        if (answer.kind === "started") return onStarted();
        child.off("message", take);
        child.off("exit", fail);
        if (answer.kind === kind) resolve(answer as Answer<K>);
        else reject(new Error(`the crowd answered ${answer.kind}, not ${kind}`));
      };
      const fail = (code: number | null): void => {
        child.off("message", take);
        reject(new Error(`the crowd ended with code ${code}`));
      };
      child.on("message", take);
      child.once("exit", fail);
      child.send(order);
    });
  }

  abandon(): void {
    this.#child.kill("SIGKILL");
    forget(this);
  }
}

/** CPU time by thread of the daemon, and of the crowd, between two moments. */
class Meter {
  readonly #pids: readonly [number, number];
  #before: readonly ThreadTimes[] = [];
  #spent: readonly ReadonlyMap<string, number>[] = [];
  #rssMb = 0;

  constructor(host: Host, crowd: CrowdProcess) {
    this.#pids = [host.pid, crowd.pid];
  }

  start(): void {
    this.#before = this.#pids.map(threadTimes);
  }
  stop(): void {
    this.#spent = this.#pids.map((pid, i) => spentByName(this.#before[i], threadTimes(pid)));
    this.#rssMb = statusField(this.#pids[0], "VmHWM") / 1_024;
  }

  measured(messages: number, elapsedMs: number): Measured {
    const [daemon, crowd] = this.#spent;
    const sum = (all: ReadonlyMap<string, number>): number =>
      [...all.values()].reduce((total, us) => total + us, 0) / messages;
    const of = (name: string): number => (daemon.get(name) ?? 0) / messages;
    const [main, db, crypto] = [of("main"), of("db"), of("crypto")];
    const others = sum(daemon) - main - db - crypto;
    return {
      perSecond: (messages * 1_000) / elapsedMs,
      costs: { main, db, crypto, others, crowd: sum(crowd) },
      rssMb: this.#rssMb,
    };
  }
}

// --- Report -------------------------------------------------------------------------------------------

function reportOf(
  cases: readonly Case[],
  results: readonly (readonly Measured[])[],
  settings: Report["settings"],
): Report {
  const ratio = (way: Case["way"], peers: number): number => {
    const roundsOf = (count: number): readonly Measured[] =>
      results[cases.findIndex((one) => one.way === way && one.peers === count)];
    const one = roundsOf(1);
    return median(roundsOf(peers).map(({ perSecond }, i) => perSecond / one[i].perSecond));
  };
  const most = PEERS[PEERS.length - 1];
  return {
    settings: { payload: `${BYTES} B`, synchronous: "FULL", ...settings },
    tables: [
      {
        title: "Messages a second; CPU us a message, by thread",
        columns: [
          { key: "way", label: "way" },
          { key: "peers", label: "peers", digits: 0 },
          { key: "perSecond", label: "messages/s", digits: 0 },
          { key: "rounds", label: "rounds" },
          { key: "ratio", label: "x one peer" },
          { key: "main", label: "main", digits: 1 },
          { key: "db", label: "db", digits: 1 },
          { key: "crypto", label: "crypto", digits: 1 },
          { key: "others", label: "V8, libuv", digits: 1 },
          { key: "crowd", label: "crowd", digits: 1 },
          { key: "rssMb", label: "RSS MB", digits: 0 },
        ],
        rows: cases.map(({ way, peers }, i) => {
          const rates = results[i].map(({ perSecond }) => perSecond);
          const cost = (key: keyof Measured["costs"]): number =>
            median(results[i].map(({ costs }) => costs[key]));
          return {
            ...{ way, peers, perSecond: median(rates), rounds: spread(rates, 0) },
            ratio: ratio(way, peers),
            ...{ main: cost("main"), db: cost("db"), crypto: cost("crypto") },
            ...{ others: cost("others"), crowd: cost("crowd") },
            rssMb: Math.max(...results[i].map(({ rssMb }) => rssMb)),
          };
        }),
      },
    ],
    chart: {
      title: "Messages a second, by peers",
      axis: "messages a second",
      scale: "linear",
      series: WAYS,
      groups: PEERS.map((peers) => ({
        label: `${peers}`,
        values: WAYS.map((way) =>
          median(
            results[cases.findIndex((one) => one.way === way && one.peers === peers)].map(
              ({ perSecond }) => perSecond,
            ),
          ),
        ),
      })),
    },
    targets: WAYS.map((way) => ({
      what: `${most.toLocaleString("en-US")} peers against 1, ${way}`,
      wanted: { atLeast: SHARE_OF_ONE_MIN },
      measured: ratio(way, most),
      unit: "x",
    })),
    notes: [
      `out: a producer commits ${ROWS_PER_TRANSACTION} rows a transaction, each transaction to the next peer; in: each peer ` +
        `sends ${ROWS_PER_TRANSACTION} messages in its turn, 16 such batches under way in all`,
      "all peers are played by one process on the same cores, with a key, a session and a socket each; it keeps what it " +
        "gets in no table, so rates are those of no other suite",
    ],
  };
}
