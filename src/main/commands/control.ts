// `start`, `stop`, `restart`, `status` and `poll`: the daemon in the background, found by the lock that
// the kernel keeps for it.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { DaemonError, EXIT, type ExitCode } from "../../shared/base/errors.js";
import type { Connection } from "../../shared/store/driver.js";
import { openDatabase } from "../../shared/store/open.js";
import { parseTime } from "../../shared/store/text-time.js";
import { type PeerRow, readPeerRows } from "../client/peer-rows.js";
import { type SpoolContent, spoolContent, spoolSentence } from "../client/spool-folder.js";
import { type ConfigInput, loadConfig, loadPlaces, type Places, wipeSecrets } from "../config.js";
import { startDetached } from "../detach.js";
import { type DaemonPlace, findDaemon, pollDaemon, stopDaemon } from "../instance.js";
import { type Arguments, defineCommand, type OptionTable } from "./command.js";
import { DAEMON_OPTIONS, daemonCommand } from "./daemon-options.js";
import type { Io } from "./io.js";

const ENTRY = fileURLToPath(new URL("../cli.js", import.meta.url));
/** Longer than the longest drain, ms. */
const STOP_DEADLINE_MS = 60_000;

const inputOf = (options: ConfigInput["flags"], io: Io): ConfigInput => ({
  flags: options,
  env: io.environment,
  cwd: io.directory,
});

const placeOf = ({ db, pidFile }: Places): DaemonPlace => ({ db, pidFile });

/** The options as words for the daemon that is started with them. */
function wordsOf(options: Readonly<Record<string, unknown>>): readonly string[] {
  const words: string[] = [];
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(DAEMON_OPTIONS, name)) continue;
    if (value === true) words.push(`--${name}`);
    else if (typeof value === "string") words.push(`--${name}=${value}`);
  }
  return words;
}

async function start(options: ConfigInput["flags"], io: Io): Promise<ExitCode> {
  const { pid, warnings } = await startDetached({
    entry: ENTRY,
    argv: ["run", ...wordsOf(options)],
    env: io.environment,
    cwd: io.directory,
    onBusy: (sentence) => io.say(`${io.program}: ${sentence}`),
  });
  for (const warning of warnings) io.say(`${io.program}: warning: ${warning}`);
  io.say(`${io.program}: started, process ${pid}`);
  return EXIT.done;
}

async function stop(options: ConfigInput["flags"], io: Io): Promise<void> {
  const place = placeOf(loadPlaces(inputOf(options, io)));
  const { pid } = await stopDaemon({ ...place, deadlineMs: STOP_DEADLINE_MS });
  io.say(`${io.program}: stopped, process ${pid}`);
}

export const startCommand = daemonCommand("start", "start the daemon in the background", start);

export const stopCommand = daemonCommand("stop", "stop the daemon", async (options, io) => {
  await stop(options, io);
  return EXIT.done;
});

export const restartCommand = daemonCommand(
  "restart",
  "stop the daemon if it runs, and start it",
  async (options, io) => {
    // What would keep it from starting again must not stop it: keys are read, too.
    wipeSecrets(loadConfig(inputOf(options, io)));
    try {
      await stop(options, io);
    } catch (error) {
      if (!(error instanceof DaemonError) || error.code !== "ERR_NOT_RUNNING") throw error;
    }
    return await start(options, io);
  },
);

export const pollCommand = daemonCommand(
  "poll",
  "wait until the daemon has ended",
  async (options, io) => {
    const holder = await pollDaemon(placeOf(loadPlaces(inputOf(options, io))));
    io.say(
      holder === undefined
        ? `${io.program}: no daemon runs`
        : `${io.program}: process ${holder.pid} has ended`,
    );
    return EXIT.done;
  },
);

const STATUS_OPTIONS = {
  ...DAEMON_OPTIONS,
  json: { kind: "flag", summary: "print as JSON" },
} as const satisfies OptionTable;

export const statusCommand = defineCommand({
  name: "status",
  summary: "say whether the daemon runs, and what waits",
  usage: "[options]",
  options: STATUS_OPTIONS,
  positionals: [0, 0],
  run: (args, io) => status(args, io),
});

async function status({ options }: Arguments<typeof STATUS_OPTIONS>, io: Io): Promise<ExitCode> {
  const places = loadPlaces(inputOf(options, io));
  const holder = findDaemon(placeOf(places));
  const { queue, peers, fault } = insideOf(places.db, holder !== undefined);
  const spool = spoolOf(places.db);
  if (options.json) {
    const since =
      holder?.startedAtMs === undefined ? null : new Date(holder.startedAtMs).toISOString();
    const daemon = holder === undefined ? null : { pid: holder.pid, since };
    const found = { v: 1, running: holder !== undefined, daemon, database: places.db };
    const wrong = fault === undefined ? {} : { fault: fault.message };
    const waits = { queue: queue ?? null, spool: spool ?? null, peers, ...wrong };
    await io.write(`${JSON.stringify({ ...found, ...waits }, undefined, 2)}\n`);
  } else {
    await io.write(`${runningLine(holder)}\n`);
    if (fault !== undefined) await io.write("what waits is not known\n");
    else if (queue === undefined) await io.write(`no database at ${places.db} yet\n`);
    else for (const line of queueLines(queue)) await io.write(`${line}\n`);
    if (spool !== undefined && spool.files > 0) await io.write(`spool: ${spoolSentence(spool)}\n`);
    for (const peer of peers) await io.write(`${peerLine(peer, Date.now())}\n`);
  }
  if (fault !== undefined) throw fault;
  return holder === undefined ? EXIT.unreachable : EXIT.done;
}

/** What the database says; a fault of it must not hide whether the daemon runs. */
function insideOf(
  database: string,
  served: boolean,
): {
  readonly queue: Queue | undefined;
  readonly peers: readonly SessionLine[];
  readonly fault: DaemonError | undefined;
} {
  try {
    const queue = existsSync(database) ? queueOf(database) : undefined;
    return { queue, peers: peersOf(database, served), fault: undefined };
  } catch (error) {
    if (!(error instanceof DaemonError)) throw error;
    return { queue: undefined, peers: [], fault: error };
  }
}

/** What `doctor` finds wrong with the folder is not for here. */
function spoolOf(database: string): SpoolContent | undefined {
  try {
    return spoolContent(database, Date.now());
  } catch (error) {
    if (error instanceof DaemonError) return undefined;
    throw error;
  }
}

interface SessionLine {
  readonly name: string;
  readonly sessionSince: string;
  /** Start of the session that is up. */
  readonly upSince: string | null;
  readonly lastHandshakeAt: string | null;
  readonly endpoint: string | null;
  readonly skewMs: number | null;
}

/**
 * Peers with which there was a session, as the daemon noted them; `peer status` says more. `served`: it
 * runs; without it no session is up, whatever it wrote.
 */
function peersOf(database: string, served: boolean): readonly SessionLine[] {
  const line = (row: PeerRow): readonly SessionLine[] => {
    const { name, sessionSince, lastHandshakeAt, endpoint, skewMs } = row;
    if (name === undefined || sessionSince === undefined) return [];
    return [
      {
        name,
        sessionSince,
        upSince: (served ? row.upSince : undefined) ?? null,
        lastHandshakeAt: lastHandshakeAt ?? null,
        endpoint: endpoint ?? null,
        skewMs: skewMs ?? null,
      },
    ];
  };
  return [...readPeerRows(database).values()].flatMap(line);
}

function peerLine({ name, upSince, ...last }: SessionLine, wallMs: number): string {
  const { lastHandshakeAt, endpoint } = last;
  const at = parseTime(lastHandshakeAt);
  const handshake =
    at === undefined
      ? "no handshake noted"
      : `last handshake ${Math.max(0, Math.round((wallMs - at) / 1_000))} s ago`;
  const up = upSince === null ? "" : `up since ${upSince}, `;
  return `peer ${name}: ${up}${handshake}${endpoint === null ? "" : `, at ${endpoint}`}`;
}

function runningLine(holder: ReturnType<typeof findDaemon>): string {
  if (holder === undefined) return "no daemon runs";
  const { pid, startedAtMs } = holder;
  const since = startedAtMs === undefined ? "" : ` since ${new Date(startedAtMs).toISOString()}`;
  return `the daemon runs, process ${pid}${since}`;
}

interface Queue {
  /** Rows of the outbound table that are worked on, by state. */
  readonly outbound: Readonly<Record<string, number>>;
  /** Age of the oldest of them, s. */
  readonly oldestSeconds: number | null;
  readonly unread: number;
}

/** Counts through partial indexes: quick, however long the history is. */
function queueOf(database: string): Queue {
  const db = openDatabase(database, { role: "client", create: false });
  try {
    const waiting = "FROM outbound_messages WHERE state IN ('pending','sending','sent')";
    const states = db.prepare(`SELECT state, count(*) AS n ${waiting} GROUP BY state`).all() as {
      state: string;
      n: number;
    }[];
    return {
      outbound: Object.fromEntries(states.map(({ state, n }) => [state, n])),
      oldestSeconds: seconds(db, waiting),
      unread: Number(
        db.prepare("SELECT count(*) FROM inbound_messages WHERE read_count = 0").pluck().get(),
      ),
    };
  } finally {
    db.close();
  }
}

function seconds(db: Connection, waiting: string): number | null {
  const sql = `SELECT (julianday('now') - julianday(min(created_at))) * 86400 ${waiting}`;
  const age = db.prepare(sql).pluck().get();
  return typeof age === "number" ? Math.max(0, Math.round(age)) : null;
}

function queueLines({ outbound, oldestSeconds, unread }: Queue): readonly string[] {
  const states = Object.entries(outbound).map(([state, n]) => `${n} ${state}`);
  const oldest = oldestSeconds === null ? "" : `, the oldest ${oldestSeconds} s old`;
  return [
    states.length === 0 ? "outbound: nothing waits" : `outbound: ${states.join(", ")}${oldest}`,
    `inbound: ${unread} unread`,
  ];
}
