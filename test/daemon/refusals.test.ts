// What keeps a daemon from starting: each refusal is one line that says what is wrong and what to do,
// with its exit code, and with the remedy applied the same start succeeds.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DgramSocket } from "../../src/main/socket/dgram.js";
import { EXIT } from "../../src/shared/base/errors.js";
import { connect } from "../../src/shared/store/driver.js";
import { SCHEMA_VERSION } from "../../src/shared/store/schema.js";
import { preload, preloadFileSystem } from "../preload.js";
import { CLI, LOOPBACK, makeSecret, Place, type Scope, TestDaemon } from "./harness.js";

const IS_ROOT = process.geteuid?.() === 0;
const NOBODY_ID = Number(spawnSync("id", ["-u", "nobody"], { encoding: "utf8" }).stdout);
const END_MS_MAX = 15_000;

interface Trial {
  readonly place: Place;
  readonly daemon: TestDaemon;
}

interface Refusal {
  readonly name: string;
  /** Spoils what a start needs; may return other words for the start, and their environment. */
  readonly spoil: (trial: Trial) => Spoilt | undefined | Promise<Spoilt | undefined>;
  readonly code: number;
  /** What is wrong, and what to do. */
  readonly says: readonly [RegExp, RegExp];
  /** Does what the line says; the daemon must then start. */
  readonly remedy?: (trial: Trial) => void | Promise<void>;
}

interface Spoilt {
  /** Flags of `run` behind the usual ones. */
  readonly flags?: readonly string[];
  readonly secret?: string | undefined;
  /** Switches of Node. */
  readonly switches?: readonly string[];
  readonly command?: readonly string[];
}

/** A daemon ran here once and left its database. */
async function ran({ daemon }: Trial): Promise<void> {
  await daemon.start();
  await daemon.stop();
}

const FOLDERS_DO_NOT_SYNC = preloadFileSystem(
  `const fsyncSync = fs.fsyncSync;
   fs.fsyncSync = (file) => {
     if (fs.fstatSync(file).isDirectory()) throw failure("EIO");
     fsyncSync(file);
   };`,
);

/** This Node, saying that it is another. */
const nodeOf = (version: string): readonly string[] =>
  preload(
    `const versions = { ...process.versions, node: "${version}" };
     Object.defineProperty(process, "versions", { value: versions });`,
  );

const REFUSALS: readonly Refusal[] = [
  {
    name: "an unknown flag",
    spoil: () => ({ flags: ["--prot", "1"] }),
    code: EXIT.usage,
    says: [/--prot/, /--port|--help/],
  },
  {
    name: "an unknown command",
    spoil: () => ({ command: ["sart"] }),
    code: EXIT.usage,
    says: [/sart/, /start|--help/],
  },
  {
    name: "a port that is none",
    spoil: () => ({ flags: ["--port", "99999"] }),
    code: EXIT.configuration,
    says: [/--port.*99999/, /0 to 65535/],
  },
  {
    name: "a secret that is not hex",
    spoil: () => ({ secret: `${makeSecret().slice(1)}g` }),
    code: EXIT.configuration,
    says: [/SECUREDGRAM_SECRET.*place 64/, /openssl rand -hex 32/],
  },
  {
    name: "a short secret",
    spoil: () => ({ secret: makeSecret().slice(2) }),
    code: EXIT.configuration,
    says: [/SECUREDGRAM_SECRET.*62/, /openssl rand -hex 32/],
  },
  {
    name: "no secret",
    spoil: () => ({ secret: undefined }),
    code: EXIT.configuration,
    says: [/no secret/, /openssl rand -hex 32/],
  },
  {
    name: "a secret file that others can read",
    spoil: ({ daemon: { directory } }) => {
      writeFileSync(join(directory, "secret"), makeSecret(), { mode: 0o600 });
      chmodSync(join(directory, "secret"), 0o644);
      const config = 'secret_file = "secret"\n';
      writeFileSync(join(directory, "x.toml"), config, { mode: 0o600 });
      return { secret: undefined, flags: ["--config", "x.toml"] };
    },
    code: EXIT.permission,
    says: [/secret/, /chmod 0?600/],
  },
  {
    name: "a setting that nobody knows",
    spoil: ({ daemon: { directory } }) => {
      writeFileSync(join(directory, "x.toml"), "prot = 1\n", { mode: 0o600 });
      return { flags: ["--config", "x.toml"] };
    },
    code: EXIT.configuration,
    says: [/prot/, /port/],
  },
  {
    name: "an address of another host",
    spoil: () => ({ flags: ["--bind", "192.0.2.1"] }),
    code: EXIT.configuration,
    says: [/192\.0\.2\.1/, /--bind/],
  },
  {
    name: "a folder that is not there",
    spoil: ({ daemon: { directory } }) => ({ flags: ["--db", join(directory, "no", "x.db")] }),
    code: EXIT.failed,
    says: [/bob\/no .*does not exist/, /make it/i],
  },
  {
    name: "a folder without permission",
    spoil: ({ place, daemon: { directory } }) => {
      const closed = join(directory, "closed");
      mkdirSync(closed, { mode: IS_ROOT ? 0o700 : 0o500 });
      for (const open of [place.path, directory]) chmodSync(open, 0o755);
      const user = IS_ROOT ? ["--user", "nobody"] : [];
      return { flags: [...user, "--db", join(closed, "x.db")] };
    },
    code: EXIT.permission,
    says: [/closed/, /user|grant/i],
  },
  {
    name: "a database of a newer schema",
    spoil: async (trial) => {
      await ran(trial);
      setVersion(trial, 999);
      return undefined;
    },
    code: EXIT.configuration,
    says: [/schema version 999/, /newer program/],
    remedy: (trial) => setVersion(trial, SCHEMA_VERSION),
  },
  {
    name: "a database with damage in its pages",
    spoil: async (trial) => {
      await ran(trial);
      const bytes = readFileSync(trial.daemon.database);
      bytes.fill(0xa5, 100, 8_192);
      writeFileSync(trial.daemon.database, bytes);
      return undefined;
    },
    code: EXIT.failed,
    says: [/damaged|malformed/, /restore/],
  },
  {
    name: "a database that was cut",
    spoil: async (trial) => {
      await ran(trial);
      truncateSync(trial.daemon.database, 40_000);
      return undefined;
    },
    code: EXIT.failed,
    says: [/damaged.*40000/, /restore/],
  },
  {
    name: "an empty file beside a log",
    spoil: async (trial) => {
      const { daemon } = trial;
      await daemon.start();
      daemon.insert(daemon.port + 1, "{}");
      await daemon.kill();
      daemon.closeDb();
      truncateSync(daemon.database, 0);
      return undefined;
    },
    code: EXIT.failed,
    says: [/empty/, /restore.*-wal/],
  },
  {
    name: "a file that is no database",
    spoil: ({ daemon: { database } }) => {
      writeFileSync(database, "mail\n".repeat(1_000), { mode: 0o600 });
      return undefined;
    },
    code: EXIT.failed,
    says: [/no SQLite database/, /restore|move/],
  },
  {
    name: "a database that is a folder",
    spoil: ({ daemon: { database } }) => {
      mkdirSync(database);
      return undefined;
    },
    code: EXIT.permission,
    says: [/no regular file/, /name the database/],
  },
  {
    name: "a database that others can read",
    spoil: async (trial) => {
      await ran(trial);
      chmodSync(trial.daemon.database, 0o644);
      return undefined;
    },
    code: EXIT.permission,
    says: [/mode 0644/, /chmod 0600/],
    remedy: ({ daemon }) => chmodSync(daemon.database, 0o600),
  },
  {
    name: "a new database in a folder that does not sync",
    spoil: () => ({ switches: FOLDERS_DO_NOT_SYNC }),
    code: EXIT.failed,
    says: [/failed to sync the folder .*EIO/, /check the disk/],
    remedy: () => undefined,
  },
  {
    name: "a database whose new log's folder does not sync",
    spoil: async (trial) => {
      await ran(trial);
      return { switches: FOLDERS_DO_NOT_SYNC };
    },
    code: EXIT.failed,
    says: [/failed to sync the folder .*EIO/, /check the disk/],
    remedy: () => undefined,
  },
  {
    name: "a debugger's switch",
    spoil: () => ({ switches: ["--report-on-signal"] }),
    code: EXIT.configuration,
    says: [/--report-on-signal/, /NODE_OPTIONS|without/],
  },
  {
    name: "a Node that is too old",
    spoil: () => ({ switches: nodeOf("20.10.0") }),
    code: EXIT.failed,
    says: [/Node 20\.10\.0/, /20\.19/],
  },
  {
    name: "a Node that our packages do not know any more",
    spoil: () => ({ switches: nodeOf("18.20.0") }),
    code: EXIT.failed,
    says: [/Node 18\.20\.0/, /20\.19/],
  },
  {
    name: "a native module that does not load",
    spoil: () => ({
      switches: preload(
        `import Module from "node:module";
         const resolve = Module._resolveFilename;
         Module._resolveFilename = function (name, ...rest) {
           if (name.startsWith("better-sqlite3")) throw new Error("no such module");
           return resolve.call(this, name, ...rest);
         };`,
      ),
    }),
    code: EXIT.failed,
    says: [/better-sqlite3.*no such module/, /npm (rebuild|ci)/],
  },
];

for (const { name, spoil, code, says, remedy } of REFUSALS) {
  test(`${name} is refused in one line that says what to do`, async (t) => {
    const trial = await make(t);

    const said = await run(trial, await spoil(trial));

    check(said, code, says);
    if (remedy === undefined) return;
    await remedy(trial);
    await trial.daemon.start();
    assert.equal(await trial.daemon.stop(), 0);
  });
}

test("a port in use is refused, and taken when it is free", async (t) => {
  const trial = await make(t);
  const other = new DgramSocket();
  await other.start(LOOPBACK, trial.daemon.port);

  const said = await run(trial, undefined);
  await other.stop();

  check(said, EXIT.failed, [/port \d+ is in use/, /--port/]);
  await trial.daemon.start();
  assert.equal(await trial.daemon.stop(), 0);
});

test("a second daemon on one database is refused, and the first does not notice", async (t) => {
  const trial = await make(t);
  await trial.daemon.start();

  const said = await run(trial, { flags: ["--port", "0"] });

  check(said, EXIT.failed, [new RegExp(`process ${trial.daemon.pid}`), /securedgram stop/]);
  assert.ok(trial.daemon.running);
  assert.equal(await trial.daemon.stop(), 0);
});

test("a daemon that gave up root's rights stops cleanly, though its pid file's folder is closed to it", async (t) => {
  if (!IS_ROOT) return t.diagnostic("NOT RUN: needs root to give something up");
  const { place, daemon } = await make(t, ["--user", "nobody"]);
  chmodSync(place.path, 0o711);
  const state = join(place.path, "state");
  mkdirSync(state, { mode: 0o700 });
  chownSync(state, NOBODY_ID, NOBODY_ID);
  daemon.database = join(state, "x.db");

  await daemon.start();

  assert.equal(await daemon.stop(), 0, daemon.said);
  assert.match(daemon.log.at(-1) ?? "", /"msg":"stopped"/);
});

test("what none of these spoils starts, and ends with 0", async (t) => {
  const trial = await make(t);

  await trial.daemon.start();

  assert.equal(await trial.daemon.stop(), 0);
  assert.deepEqual(linesOf(trial.daemon.said), []);
});

async function make(scope: Scope, flags: readonly string[] = []): Promise<Trial> {
  const place = new Place(scope);
  const options = { name: "bob", secret: makeSecret(), flags };
  return { place, daemon: await TestDaemon.make(place, options) };
}

interface Said {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts the command in the daemon's folder and waits for its end. */
async function run({ place, daemon }: Trial, spoilt: Spoilt = {}): Promise<Said> {
  const { flags = [], switches = [], command } = spoilt;
  const secret = "secret" in spoilt ? spoilt.secret : makeSecret();
  const words = ["--bind", LOOPBACK, "--port", String(daemon.port), "--db", daemon.database];
  const user = IS_ROOT ? ["--user", "root"] : [];
  const line = command ?? ["run", "--log", "stdout", ...words, ...user, ...flags];
  const child = spawn(process.execPath, [...switches, CLI, ...line], {
    cwd: daemon.directory,
    env: {
      PATH: process.env["PATH"],
      HOME: daemon.directory,
      ...(secret === undefined ? {} : { SECUREDGRAM_SECRET: secret }),
    },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: END_MS_MAX,
    killSignal: "SIGKILL",
  });
  place.after(() => {
    child.kill("SIGKILL");
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, stdout, stderr };
}

function check(said: Said, code: number, says: Refusal["says"]): void {
  const lines = linesOf(said.stderr);
  assert.equal(lines.length, 1, `one line: ${said.stderr}`);
  const [line = ""] = lines;
  for (const pattern of says) assert.match(line, pattern);
  assert.equal(said.code, code, line);
  assert.doesNotMatch(said.stdout, /"msg":"ready"/);
  assert.doesNotMatch(said.stderr, /^\s+at /m, "no stack trace");
}

/** Lines that are no warning: as root, one says so. */
const linesOf = (text: string): readonly string[] =>
  text.split("\n").filter((line) => line !== "" && !line.includes(": warning: "));

function setVersion({ daemon }: Trial, version: number): void {
  const db = connect(daemon.database, { timeout: 5_000 });
  db.pragma(`user_version = ${version}`);
  db.close();
}
