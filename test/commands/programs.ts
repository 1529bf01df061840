// Runs the built programs as people do, as child processes, on databases in folders of their own.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { whenFree } from "../../src/shared/store/busy.js";
import type { Connection } from "../../src/shared/store/driver.js";
import { openDatabase } from "../../src/shared/store/open.js";

export type Program = "cli" | "sg-send" | "sg-recv" | "sg-clean";

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly directory: string;
  /** Undefined closes stdin at once. */
  readonly stdin?: string | Uint8Array;
  readonly environment?: Readonly<Record<string, string>>;
}

/** No command of these tests takes longer than this, ms. */
const RUN_DEADLINE_MS = 20_000;
const LOCK_DEADLINE_MS = 5_000;
const CONDITION_DEADLINE_MS = 10_000;

export const entryOf = (program: Program): string =>
  fileURLToPath(new URL(`../../src/main/${program}.js`, import.meta.url));

/** A private folder, removed after the test. */
export function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "securedgram-commands-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A new database `securedgram.db` in the folder, open until the test ends. */
export function database(t: TestContext, directory: string, name = "securedgram.db"): Connection {
  const db = openDatabase(join(directory, name), { role: "daemon", create: true });
  t.after(() => db.close());
  return db;
}

/** Starts a program; it is killed when the test ends, if it still runs. */
export function start(
  t: TestContext,
  program: Program,
  line: readonly string[],
  options: RunOptions,
): ChildProcess {
  const child = spawn(process.execPath, [entryOf(program), ...line], {
    cwd: options.directory,
    env: { PATH: process.env.PATH ?? "", ...options.environment },
    stdio: "pipe",
    timeout: RUN_DEADLINE_MS,
    killSignal: "SIGKILL",
  });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

/** Runs a program to its end. */
export async function run(
  t: TestContext,
  program: Program,
  line: readonly string[],
  options: RunOptions,
): Promise<Ended> {
  const child = start(t, program, line, options);
  const ended = endOf(child);
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(options.stdin ?? "");
  return await ended;
}

/** What a child said until it ended. */
export function endOf(child: ChildProcess): Promise<Ended> {
  const said = { stdout: "", stderr: "" };
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (said.stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (said.stderr += text));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, ...said }));
  });
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + CONDITION_DEADLINE_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await delay(2);
  }
}

export const idOf = (number: number): string => number.toString(16).padStart(24, "0");

export interface InboundRow {
  readonly number: number;
  readonly payload?: string | Uint8Array;
  readonly from?: string;
  readonly state?: string;
  readonly readCount?: number;
  readonly updatedAt?: string;
}

/** Inserts a row as the daemon does; waits for the write lock. */
export function insertInbound(db: Connection, row: InboundRow): void {
  const insert = db.prepare(
    `INSERT INTO inbound_messages
      (message_id, src_addr, src_port, crypto_timestamp, state, ack_sent, read_count, updated_at,
       peer, digest, payload)
     VALUES (?, ?, 61773, '2026-01-02T03:04:05.000000006', ?, 1, ?, ?, '', randomblob(32), ?)`,
  );
  const values = [
    idOf(row.number),
    row.from ?? "10.0.0.1",
    row.state ?? "ack_sent",
    row.readCount ?? 0,
    row.updatedAt ?? "2026-01-02T03:04:05.678",
    row.payload ?? JSON.stringify({ message_id: idOf(row.number), n: row.number }),
  ];
  whenFree(() => insert.run(...values), LOCK_DEADLINE_MS);
}
