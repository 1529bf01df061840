// The way into the background: `start` starts this program again as a session of its own and waits
// on a pipe until that says it is ready, or why it is not. So `start` fails loudly, and returns
// only when datagrams are being taken.

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, fstatSync, writeSync } from "node:fs";
import type { Readable } from "node:stream";
import {
  DaemonError,
  daemonError,
  type ErrorData,
  errorData,
  reasonOf,
} from "../shared/base/errors.js";

export interface DetachOptions {
  /** Entry file of the program, for Node. */
  readonly entry: string;
  /** Words behind it. A secret among them is taken out and handed over in the environment. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** How long the daemon may take until it is ready, or says that it is busy, ms. */
  readonly deadlineMs?: number;
  /** Called with what it is busy with, each time it says so. */
  readonly onBusy?: (sentence: string) => void;
}

export interface Started {
  readonly pid: number;
  /** What the daemon had to say while it started. */
  readonly warnings: readonly string[];
}

const READY_FD = 3;
const READY_VARIABLE = "SECUREDGRAM_READY_FD";
const READY_LINE = "ready";
const READY_DEADLINE_MS = 30_000;
const READY_BYTES_MAX = 65_536;

/**
 * Starts the daemon in the background. Resolves when it is ready; rejects with its error, or ours.
 */
export async function startDetached(options: DetachOptions): Promise<Started> {
  const { argv, secret } = withoutSecret(options.argv);
  const env = { ...options.env, [READY_VARIABLE]: String(READY_FD) };
  const words = [...nodeSwitches(), options.entry, ...argv];
  // A dump of memory would have the keys in it; Node itself cannot set the limit.
  const script = 'ulimit -c 0; exec "$0" "$@"';
  const child = spawn("/bin/sh", ["-c", script, process.execPath, ...words], {
    cwd: options.cwd,
    detached: true,
    env: secret === undefined ? env : { ...env, SECUREDGRAM_SECRET: secret },
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  try {
    return await readiness(child, options);
  } catch (error) {
    child.kill("SIGTERM");
    throw error;
  } finally {
    child.stdio[READY_FD]?.destroy();
    child.unref();
  }
}

/** Whether this process was started by {@link startDetached} and has not answered yet. */
export const isDetached = (): boolean => pipeFd() !== undefined;

/** Says to whoever started us that the daemon serves. Nothing when we were not detached. */
export function reportReady(warnings: readonly string[] = []): void {
  const lines = warnings.map((warning) => JSON.stringify({ warning }));
  answer([...lines, READY_LINE]);
}

/** Says to whoever started us that this takes its time, but goes on. Nothing when nobody waits. */
export function reportBusy(sentence: string): void {
  const pipe = pipeFd();
  if (pipe === undefined) return;
  try {
    writeSync(pipe, `${JSON.stringify({ busy: sentence })}\n`);
  } catch {
    // The starter is gone; the daemon goes on without it.
  }
}

/**
 * Says to whoever started us why the daemon does not serve. False: nobody listens, say it yourself.
 */
export function reportFailure(error: unknown): boolean {
  const data =
    error instanceof DaemonError
      ? errorData(error)
      : { code: "ERR_WORKER", message: reasonOf(error), next: "Run it with `run --debug`." };
  return answer([JSON.stringify({ error: data })]);
}

/** Takes `--secret X`, `--secret=X`, `-s X` and `-sX` out of a line: other users can read it. */
export function withoutSecret(line: readonly string[]): {
  readonly argv: readonly string[];
  readonly secret: string | undefined;
} {
  const argv: string[] = [];
  let secret: string | undefined;
  for (let i = 0; i < line.length; i++) {
    const word = line[i];
    if (word === "--secret" || word === "-s") secret = line[++i];
    else if (word.startsWith("--secret=")) secret = word.slice("--secret=".length);
    else if (/^-s[0-9A-Fa-f=]/.test(word)) secret = word.slice(2).replace(/^=/, "");
    else argv.push(word);
  }
  return { argv, secret };
}

// --- Parent ------------------------------------------------------------------------------------

/** Where Node has it, SIGUSR1 is closed even before our first line runs. */
const nodeSwitches = (): readonly string[] =>
  process.allowedNodeEnvironmentFlags.has("--disable-sigusr1") ? ["--disable-sigusr1"] : [];

function readiness(child: ChildProcess, options: DetachOptions): Promise<Started> {
  const { deadlineMs = READY_DEADLINE_MS, onBusy } = options;
  const pipe = child.stdio[READY_FD] as Readable;
  const warnings: string[] = [];
  let text = "";
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(tooLate(deadlineMs)), deadlineMs);
    let isSettled = false;
    const settle = (act: () => void): void => {
      isSettled = true;
      clearTimeout(timer);
      act();
    };
    const fail = (error: DaemonError): void => settle(() => reject(error));
    pipe.setEncoding("utf8");
    pipe.on("data", (chunk: string) => {
      text += chunk;
      if (text.length > READY_BYTES_MAX) fail(endedEarly("it said too much"));
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        const said = readLine(line);
        if (said.kind === "warning") warnings.push(said.warning);
        else if (said.kind === "busy") {
          if (!isSettled) timer.refresh();
          onBusy?.(said.busy);
        } else if (said.kind === "error") fail(daemonError(said.error));
        else settle(() => resolve({ pid: child.pid ?? 0, warnings }));
      }
    });
    // What the child wrote before it ended arrives first: the pipe ends behind its last byte.
    pipe.once("end", () => {
      if (child.exitCode !== null || child.signalCode !== null) {
        fail(endedEarly(endOf(child)));
      } else {
        child.once("exit", () => fail(endedEarly(endOf(child))));
      }
    });
    pipe.once("error", (error) => fail(endedEarly(reasonOf(error))));
    child.once("error", (error) => fail(endedEarly(reasonOf(error))));
  });
}

type Said =
  | { readonly kind: "ready" }
  | { readonly kind: "warning"; readonly warning: string }
  | { readonly kind: "busy"; readonly busy: string }
  | { readonly kind: "error"; readonly error: ErrorData };

/** The child is our own program, so a line of another shape is a fault of ours. */
function readLine(line: string): Said {
  if (line === READY_LINE) return { kind: "ready" };
  const said = JSON.parse(line) as {
    readonly warning?: string;
    readonly busy?: string;
    readonly error?: ErrorData;
  };
  if (said.busy !== undefined) return { kind: "busy", busy: said.busy };
  if (said.error !== undefined) return { kind: "error", error: said.error };
  return { kind: "warning", warning: String(said.warning) };
}

const endOf = ({ exitCode, signalCode }: ChildProcess): string =>
  signalCode === null ? `exit code ${exitCode}` : `signal ${signalCode}`;

const endedEarly = (how: string): DaemonError =>
  new DaemonError(
    "ERR_NOT_RUNNING",
    `the daemon ended before it was ready (${how})`,
    "See why with `securedgram run --debug`.",
  );

const tooLate = (deadlineMs: number): DaemonError =>
  new DaemonError(
    "ERR_TIMEOUT",
    `the daemon was not ready in ${deadlineMs / 1_000} s and was told to end`,
    "See why with `securedgram run --debug`.",
  );

// --- Child -------------------------------------------------------------------------------------

let fd: number | undefined;

/**
 * Descriptor of the pipe, taken out of the environment at the first look: children must not see it.
 */
function pipeFd(): number | undefined {
  const word = process.env[READY_VARIABLE];
  if (word === undefined) return fd;
  delete process.env[READY_VARIABLE];
  try {
    const stats = fstatSync(Number(word));
    if (word === String(READY_FD) && (stats.isSocket() || stats.isFIFO())) fd = READY_FD;
  } catch {
    // Set by hand: there is no such pipe.
  }
  return fd;
}

function answer(lines: readonly string[]): boolean {
  const pipe = pipeFd();
  if (pipe === undefined) return false;
  fd = undefined;
  try {
    writeSync(pipe, `${lines.join("\n")}\n`);
    closeSync(pipe);
    return true;
  } catch {
    // The starter is gone; the daemon goes on without it.
    return false;
  }
}
