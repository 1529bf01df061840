// Folders, files and processes of the tests in this room; all gone when a test ends, however it
// ends.

import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { DaemonError, type DaemonErrorCode } from "../../src/shared/base/errors.js";

export const isRoot = process.geteuid?.() === 0;
export const SECRET = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
export const OTHER_SECRET = SECRET.replace("0011", "1100");

/** A private folder that is removed after the test. */
export function makeFolder(t: TestContext): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "securedgram-test-")));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes a file with a mode, whatever the umask; returns its path. */
export function put(folder: string, name: string, content: string, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
  return path;
}

/** Checks of assert.throws: a refusal with this code, of one line each, that names `pattern`. */
export const refusal =
  (code: DaemonErrorCode, pattern: RegExp) =>
  (error: unknown): boolean =>
    error instanceof DaemonError &&
    error.code === code &&
    !/[\n\r]/.test(error.message + error.next) &&
    error.next !== "" &&
    pattern.test(`${error.message} ${error.next}`);

export interface Child {
  readonly process: ChildProcess;
  readonly pid: number;
  /** The next line of stdout; rejects when the child ends first. */
  line(): Promise<string>;
  /** Exit code or signal. */
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly errors: () => string;
}

const LINE_DEADLINE_MS = 15_000;
const CHILD = fileURLToPath(new URL("./child.js", import.meta.url));

/** Starts child.ts in a role; it is killed after the test. */
export function startChild(
  t: TestContext,
  words: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly switches?: readonly string[] } = {},
): Child {
  const argv = [...(options.switches ?? []), CHILD, ...words, "securedgram-test"];
  const child = spawn(process.execPath, argv, {
    env: options.env ?? process.env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    errors += chunk;
  });
  const ended = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once("close", (code, signal) => resolve(signal ?? code ?? -1));
  });
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const line = async (): Promise<string> => {
    await until(() => text.includes("\n") || child.exitCode !== null, `a line; ${words.join(" ")}`);
    const end = text.indexOf("\n");
    if (end < 0) throw new Error(`child ended: ${errors}`);
    const first = text.slice(0, end);
    text = text.slice(end + 1);
    return first;
  };
  return { process: child, pid: child.pid ?? 0, line, ended, errors: () => errors };
}

/** Waits for a condition, 15 s at most. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + LINE_DEADLINE_MS;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
