// `securedgram doctor`: looks at everything that the daemon depends on and names a remedy for each
// finding. Changes nothing, needs no daemon, and may run beside one.

import { existsSync, readFileSync } from "node:fs";
import { DaemonError, EXIT, type ExitCode, reasonOf } from "../../shared/base/errors.js";
import { sqliteVersion } from "../../shared/store/driver.js";
import { integrityFindings, openDatabase } from "../../shared/store/open.js";
import { spoolContent, spoolFolder, spoolSentence } from "../client/spool-folder.js";
import { type Config, loadConfig } from "../config.js";
import { lockHolder } from "../instance.js";
import { checkNodeVersion } from "../process.js";
import { chooseSocket } from "../socket/choose-socket.js";
import { SOCKET_BUFFER_BYTES } from "../socket/datagram-socket.js";
import { DgramSocket } from "../socket/dgram.js";
import { defineCommand } from "./command.js";
import { DAEMON_OPTIONS } from "./daemon-options.js";
import { keyFindings } from "./doctor-keys.js";
import type { Io } from "./io.js";
import { quoted } from "./printable.js";

type Verdict = "ok" | "note" | "trouble";

interface Finding {
  readonly about: string;
  readonly verdict: Verdict;
  readonly found: string;
  /** What to do; absent when nothing is to be done. */
  readonly remedy?: string;
}

const SELF_TEST_URL = new URL("../../workers/self-test.js", import.meta.url);
const YEAR_MIN = 2_026;
const NODE_RECOMMENDED = [22, 14] as const;

export const doctorCommand = defineCommand({
  name: "doctor",
  summary:
    "check this host: Node, modules, files, keys, peers, socket, port, clock, buffers, database",
  usage: "",
  options: { ...DAEMON_OPTIONS, json: { kind: "flag", summary: "print the findings as JSON" } },
  positionals: [0, 0],
  async run({ options }, io): Promise<ExitCode> {
    const findings = await examine(options, io);
    if (options.json) {
      await io.write(`${JSON.stringify({ v: 1, findings }, undefined, 2)}\n`);
    } else {
      for (const finding of findings) await io.write(`${line(finding)}\n`);
    }
    return findings.some(({ verdict }) => verdict === "trouble") ? EXIT.failed : EXIT.done;
  },
});

async function examine(
  flags: Readonly<Record<string, string | boolean | undefined>>,
  io: Io,
): Promise<readonly Finding[]> {
  const findings = [node(), await cipher(), sqlite()];
  let config: Config | undefined;
  try {
    config = loadConfig({ flags, env: io.environment, cwd: io.directory });
    findings.push({
      about: "configuration",
      verdict: "ok",
      found: "is in order, secrets are private",
    });
    for (const found of config.warnings) {
      findings.push({ about: "configuration", verdict: "note", found });
    }
  } catch (error) {
    findings.push(trouble("configuration", error));
  }
  if (config !== undefined) {
    findings.push(
      socket(config),
      await port(config),
      database(config),
      ...spool(config),
      ...keyFindings(config, lockHolder(config.db) !== undefined),
    );
  }
  findings.push(await buffers(), clock(), memoryLock());
  return findings;
}

function node(): Finding {
  const about = "Node";
  try {
    checkNodeVersion();
  } catch (error) {
    return trouble(about, error);
  }
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const [wantedMajor, wantedMinor] = NODE_RECOMMENDED;
  const found = process.version;
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) {
    return { about, verdict: "ok", found };
  }
  const remedy = `works; Node ${wantedMajor}.${wantedMinor} or later is recommended`;
  return { about, verdict: "note", found, remedy };
}

async function cipher(): Promise<Finding> {
  const about = "libsodium";
  try {
    const { cipherFault } = (await import(SELF_TEST_URL.href)) as {
      cipherFault: () => string | undefined;
    };
    const fault = cipherFault();
    if (fault === undefined) return { about, verdict: "ok", found: "seals and opens" };
    return { about, verdict: "trouble", found: fault, remedy: "npm rebuild sodium-native" };
  } catch (error) {
    const remedy = "npm ci (there is no prebuilt libsodium for musl: use a glibc system)";
    return { about, verdict: "trouble", found: reasonOf(error), remedy };
  }
}

function sqlite(): Finding {
  try {
    return { about: "SQLite", verdict: "ok", found: sqliteVersion() };
  } catch (error) {
    return trouble("SQLite", error);
  }
}

function socket(config: Config): Finding {
  const about = "socket";
  try {
    const { kind, why } = chooseSocket(config.socket);
    return { about, verdict: "ok", found: `${kind}: ${why}` };
  } catch (error) {
    return trouble(about, error);
  }
}

async function port(config: Config): Promise<Finding> {
  const about = "port";
  const place = `${config.address} port ${config.port}`;
  const holder = lockHolder(config.db);
  if (holder !== undefined) {
    return { about, verdict: "ok", found: `${place}: the daemon runs (process ${holder.pid})` };
  }
  const socket = new DgramSocket();
  try {
    await socket.start(config.address, config.port);
    await socket.stop();
    return { about, verdict: "ok", found: `${place} is free; no daemon runs on this database` };
  } catch (error) {
    return trouble(about, error);
  }
}

function database(config: Config): Finding {
  const about = "database";
  if (!existsSync(config.db)) {
    return {
      about,
      verdict: "note",
      found: `${config.db} does not exist`,
      remedy: "the daemon makes it at its first start",
    };
  }
  try {
    const db = openDatabase(config.db, { role: "client", create: false });
    try {
      const faults = integrityFindings(db);
      if (faults.length === 0)
        return { about, verdict: "ok", found: `${config.db} is whole and private` };
      return {
        about,
        verdict: "trouble",
        found: faults.slice(0, 3).join("; "),
        remedy: "stop the daemon, keep a copy, and restore a backup or use sqlite3's .recover",
      };
    } finally {
      db.close();
    }
  } catch (error) {
    return trouble(about, error);
  }
}

/** Nothing where no large message ever came. */
function spool(config: Config): readonly Finding[] {
  const about = "spool";
  try {
    const content = spoolContent(config.db, Date.now());
    if (content === undefined) return [];
    const found = spoolSentence(content);
    const { strangers } = content;
    if (strangers.length === 0) return [{ about, verdict: "ok", found }];
    const named = strangers.slice(0, 3).map(quoted).join(", ");
    return [
      {
        about,
        verdict: "note",
        found: `${found}; besides, what is none of the daemon's (${strangers.length}): ${named}`,
        remedy: `look at them; ${spoolFolder(config.db)} is the daemon's alone`,
      },
    ];
  } catch (error) {
    return [trouble(about, error)];
  }
}

async function buffers(): Promise<Finding> {
  const about = "kernel buffers";
  const socket = new DgramSocket();
  try {
    await socket.start("127.0.0.1", 0);
    const bytes = socket.receiveBufferBytes;
    await socket.stop();
    if (bytes >= SOCKET_BUFFER_BYTES)
      return { about, verdict: "ok", found: `${bytes} bytes to receive` };
    return {
      about,
      verdict: "note",
      found: `${bytes} of ${SOCKET_BUFFER_BYTES} bytes to receive: bursts may be lost and sent again`,
      remedy: `sysctl -w net.core.rmem_max=${SOCKET_BUFFER_BYTES} net.core.wmem_max=${SOCKET_BUFFER_BYTES}`,
    };
  } catch (error) {
    return trouble(about, error);
  }
}

function clock(): Finding {
  const about = "clock";
  const now = new Date();
  const found = now.toISOString();
  if (now.getUTCFullYear() < YEAR_MIN) {
    return {
      about,
      verdict: "trouble",
      found: `${found} cannot be right`,
      remedy: "set the clock: classic peers refuse what differs by more than the window",
    };
  }
  return { about, verdict: "ok", found: `${found}; classic peers must agree within --window` };
}

/** Keys are locked in memory; a limit of a few pages makes that fail silently. */
function memoryLock(): Finding {
  const about = "locked memory";
  try {
    const limits = readFileSync("/proc/self/limits", "utf8");
    const limit = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1] ?? "unknown";
    const enough = limit === "unlimited" || Number(limit) >= 65_536;
    if (enough) return { about, verdict: "ok", found: `limit ${limit}` };
    return { about, verdict: "note", found: `limit ${limit} bytes`, remedy: "ulimit -l 1024" };
  } catch {
    return { about, verdict: "note", found: "the limit is not known on this system" };
  }
}

function trouble(about: string, error: unknown): Finding {
  const remedy = error instanceof DaemonError ? error.next : "run doctor with --debug";
  return { about, verdict: "trouble", found: reasonOf(error), remedy };
}

function line({ about, verdict, found, remedy }: Finding): string {
  const mark = { ok: "ok     ", note: "note   ", trouble: "TROUBLE" }[verdict];
  return `${mark} ${about}: ${found}${remedy === undefined ? "" : `\n        -> ${remedy}`}`;
}
