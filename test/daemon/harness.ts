// Real daemons for tests: child processes on loopback, each in a folder of its own with a database of
// its own. Readiness and results are waited for by condition; whatever a test leaves is taken away.

import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as nap } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { SOCKET_WISHES, type SocketWish } from "../../src/main/socket/datagram-socket.js";
import { DgramSocket } from "../../src/main/socket/dgram.js";
import { writeTransaction } from "../../src/shared/store/busy.js";
import type { Connection, Statement } from "../../src/shared/store/driver.js";
import { openDatabase } from "../../src/shared/store/open.js";
import { HOST_VARIABLE, type HostOptions } from "./host.js";

export const LOOPBACK = "127.0.0.1";
export const CLI = fileURLToPath(new URL("../../src/main/cli.js", import.meta.url));
const HOST = fileURLToPath(new URL("./host.js", import.meta.url));
/** Which socket all daemons use: as `--socket`, from the environment of the test. */
export const SOCKET: SocketWish =
  SOCKET_WISHES.find((each) => each === process.env["SECUREDGRAM_TEST_SOCKET"]) ?? "auto";
const LOOK_MS = 5;
const WAIT_MS = 30_000;
/**
 * Below the range that the kernel gives away by itself, so that a restart finds its port free; a block for
 * each process, so that no other test takes the port of a daemon that is down for a moment.
 */
const PORT_FIRST = 20_000;
const PORTS_OF_BLOCK = 500;
const BLOCKS = 24;
const block = PORT_FIRST + (process.pid % BLOCKS) * PORTS_OF_BLOCK;
let portsTaken = randomInt(PORTS_OF_BLOCK);

/** Whoever says when a test is over: a TestContext. */
export interface Scope {
  after(work: () => Promise<void>): void;
}

/** A private folder, and what lives in it; last started is first ended, then the folder goes. */
export class Place {
  readonly path: string;
  readonly #work: (() => void | Promise<void>)[] = [];

  /** Ends with the scope; without one the caller calls `end`. */
  constructor(scope?: Scope) {
    this.path = realpathSync(mkdtempSync(join(tmpdir(), "securedgram-test-")));
    scope?.after(() => this.end());
  }

  after(work: () => void | Promise<void>): void {
    this.#work.push(work);
  }

  async end(): Promise<void> {
    for (const work of this.#work.splice(0).reverse()) await work();
    rmSync(this.path, { recursive: true, force: true, maxRetries: 3 });
  }
}

export interface DaemonOptions {
  readonly name: string;
  /** 64 hex digits. */
  readonly secret: string;
  /** More flags of `securedgram run`. */
  readonly flags?: readonly string[];
  /** Serve with host.ts, and these options, in place of the command. */
  readonly host?: Omit<HostOptions, "port" | "database">;
  /** Address that the command binds; loopback by default. */
  readonly address?: string;
  /** Words in front of the program, as of strace. */
  readonly wrapper?: readonly string[];
  /** False: the secret comes from a file that the flags name. */
  readonly secretInEnvironment?: boolean;
}

/** One side: its folder, its process, and an outside look at its tables. */
export class TestDaemon {
  readonly directory: string;
  /** Path of its database; may be changed before a start. */
  database: string;
  readonly port: number;
  readonly #options: DaemonOptions;
  #child: ChildProcess | undefined;
  #db: Connection | undefined;
  #insert: Statement | undefined;
  #exited: Promise<unknown> = Promise.resolve();
  #buffer = "";
  /** Lines before this one are of earlier lives. */
  #logStart = 0;
  /** Lines of its log, of all its lives. */
  readonly log: string[] = [];
  /** What it wrote to stderr. */
  said = "";
  logBytes = 0;
  /** Wrapper of the next start. */
  wrapper: readonly string[];
  /** Replaces the host options at the next start. */
  host: DaemonOptions["host"];

  private constructor(directory: string, port: number, options: DaemonOptions) {
    this.directory = directory;
    this.database = join(directory, "securedgram.db");
    this.port = port;
    this.#options = options;
    this.wrapper = options.wrapper ?? [];
    this.host = options.host;
  }

  /** A daemon that is not started yet; ends with its place. */
  static async make(place: Place, options: DaemonOptions): Promise<TestDaemon> {
    const directory = join(place.path, options.name);
    mkdirSync(directory, { mode: 0o700 });
    const daemon = new TestDaemon(directory, await freePort(), options);
    place.after(() => daemon.#end());
    return daemon;
  }

  get name(): string {
    return this.#options.name;
  }

  /** Starts it and waits until it is ready; throws with what it said when it ends before. */
  async start(): Promise<void> {
    this.spawn();
    await until(() => this.ready || !this.running, `${this.name} to be ready`);
    if (this.ready) return;
    throw new Error(`${this.name} ended with ${await this.ended()}: ${this.said}`);
  }

  /** Whether this life of it has said so. */
  get ready(): boolean {
    return this.log.slice(this.#logStart).some((line) => line.includes('"msg":"ready"'));
  }

  /** Starts it and does not wait. */
  spawn(): void {
    const [command = process.execPath, ...words] = [
      ...this.wrapper,
      process.execPath,
      ...this.#line(),
    ];
    const child = spawn(command, words, {
      cwd: this.directory,
      env: this.#environment(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    this.#exited = once(child, "close");
    this.#buffer = "";
    this.#logStart = this.log.length;
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      this.logBytes += chunk.length;
      const lines = (this.#buffer + chunk).split("\n");
      this.#buffer = lines.pop() ?? "";
      this.log.push(...lines);
    });
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      this.said = (this.said + chunk).slice(-4_000);
    });
  }

  #line(): readonly string[] {
    if (this.host !== undefined) return [HOST];
    const { flags = [], address = LOOPBACK } = this.#options;
    const own = ["--bind", address, "--port", String(this.port), "--db", this.database];
    const rest = ["--log", "stdout", "--verbose", "--user", userInfo().username];
    return [CLI, "run", ...own, ...rest, "--socket", SOCKET, ...flags];
  }

  #environment(): NodeJS.ProcessEnv {
    const { secret, secretInEnvironment = true } = this.#options;
    const { port, database } = this;
    const options: HostOptions = { port, database, ...this.host };
    return {
      PATH: process.env["PATH"],
      SECUREDGRAM_TEST_SOCKET: SOCKET,
      HOME: this.directory,
      ...(secretInEnvironment ? { SECUREDGRAM_SECRET: secret } : {}),
      ...(this.host === undefined ? {} : { [HOST_VARIABLE]: JSON.stringify(options) }),
    };
  }

  /** Its process; under a wrapper, the wrapper's. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.name} was not started`);
    return pid;
  }

  get running(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null;
  }

  /** Exit code once it has ended by itself; null after a signal. */
  async ended(waitMs: number = WAIT_MS): Promise<number | null> {
    await until(() => !this.running, `the end of ${this.name}`, waitMs);
    await this.#exited;
    return this.#child?.exitCode ?? null;
  }

  signal(name: NodeJS.Signals): void {
    if (this.running) this.#child?.kill(name);
  }

  /** SIGTERM; returns the exit code. */
  async stop(): Promise<number | null> {
    this.signal("SIGTERM");
    const late = setTimeout(() => this.signal("SIGKILL"), WAIT_MS);
    const code = await this.ended();
    clearTimeout(late);
    return code;
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#exited;
  }

  /** Resident memory, bytes; 0 where the system does not say. */
  get residentBytes(): number {
    try {
      const status = readFileSync(`/proc/${this.pid}/status`, "latin1");
      return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1_024;
    } catch {
      return 0;
    }
  }

  /** A client's connection to its tables; stays open across restarts. */
  get db(): Connection {
    this.#db ??= openDatabase(this.database, { role: "client", create: false });
    return this.#db;
  }

  /** Ends the client's connection, as before the file is looked at or taken away. */
  closeDb(): void {
    this.#db?.close();
    this.#db = undefined;
    this.#insert = undefined;
  }

  async #end(): Promise<void> {
    this.closeDb();
    if (this.running && this.wrapper.length > 0) await this.stop();
    await this.kill();
  }

  // --- Tables -----------------------------------------------------------------------------------

  /** Runs `work` as one transaction of a client. */
  write<T>(work: () => T): T {
    return this.db.inTransaction
      ? work()
      : writeTransaction(this.db, work, { deadlineMs: WAIT_MS });
  }

  /** A row as any program writes it; returns its id. */
  insert(to: number, payload: string | Uint8Array, messageId: string | null = null): number {
    this.#insert ??= this.db.prepare(
      "INSERT INTO outbound_messages(message_id, dst_addr, dst_port, payload) VALUES (?, ?, ?, ?)",
    );
    const insert = this.#insert;
    return Number(this.write(() => insert.run(messageId, LOOPBACK, to, payload).lastInsertRowid));
  }

  /** Rows above an id, in order. */
  outbound(above = 0): readonly OutboundRow[] {
    return this.db
      .prepare(
        `SELECT id, message_id AS messageId, CAST(payload AS BLOB) AS payload, state,
           retry_count AS retries, last_error AS lastError, dst_port AS port
         FROM outbound_messages WHERE id > ? ORDER BY id`,
      )
      .all(above) as OutboundRow[];
  }

  inbound(above = 0): readonly InboundRow[] {
    return this.db
      .prepare(
        `SELECT id, message_id AS messageId, CAST(payload AS BLOB) AS payload, state,
           src_port AS port FROM inbound_messages WHERE id > ? ORDER BY id`,
      )
      .all(above) as InboundRow[];
  }

  count(table: "inbound" | "outbound", condition: string = "1"): number {
    const sql = `SELECT count(*) FROM ${table}_messages WHERE ${condition}`;
    return Number(this.db.prepare(sql).pluck().get());
  }

  /** Greatest id of the inbound table. */
  get inboundId(): number {
    return Number(this.db.prepare("SELECT max(id) FROM inbound_messages").pluck().get() ?? 0);
  }

  state(id: number): string {
    const sql = "SELECT state FROM outbound_messages WHERE id = ?";
    return String(this.db.prepare(sql).pluck().get(id));
  }

  /** Waits until every outbound row is acknowledged. */
  async settled(waitMs = WAIT_MS): Promise<void> {
    const isSettled = () => this.count("outbound", "state <> 'acknowledged'") === 0;
    await until(isSettled, `all rows of ${this.name} to be acknowledged`, waitMs);
  }
}

export interface OutboundRow {
  readonly id: number;
  readonly messageId: string;
  readonly payload: Buffer;
  readonly state: string;
  readonly retries: number;
  readonly lastError: string | null;
  readonly port: number;
}

export interface InboundRow {
  readonly id: number;
  readonly messageId: string;
  readonly payload: Buffer;
  readonly state: string;
  readonly port: number;
}

export const makeSecret = (): string => randomBytes(32).toString("hex");

/** A message id: 24 hex digits. */
export const makeId = (): string => randomBytes(12).toString("hex");

/** A UDP port of loopback that nobody has, and that this process did not have for long. */
export async function freePort(): Promise<number> {
  for (;;) {
    const socket = new DgramSocket();
    try {
      portsTaken += 1;
      await socket.start(LOOPBACK, block + (portsTaken % PORTS_OF_BLOCK));
      return socket.port;
    } catch {
      // Somebody has it: another one.
    } finally {
      await socket.stop();
    }
  }
}

/** Waits for a condition; throws when it does not come true in time. */
export async function until(
  condition: () => boolean,
  what: string,
  waitMs: number = WAIT_MS,
): Promise<void> {
  const end = performance.now() + waitMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited ${waitMs} ms in vain for ${what}`);
    await nap(LOOK_MS);
  }
}

/** Two daemons that share a secret, started. */
export async function makePair(
  place: Place,
  options: Partial<DaemonOptions> = {},
): Promise<readonly [TestDaemon, TestDaemon]> {
  const secret = makeSecret();
  const alice = await TestDaemon.make(place, { secret, ...options, name: "alice" });
  const bob = await TestDaemon.make(place, { secret, ...options, name: "bob" });
  await Promise.all([alice.start(), bob.start()]);
  return [alice, bob];
}
