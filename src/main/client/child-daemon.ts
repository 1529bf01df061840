// A daemon as a child process of this one, in the foreground: for the demonstration, for benchmarks.
// Ready when its log says so; ended by its process id, never by name.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { DaemonError } from "../../shared/base/errors.js";

const CLI = fileURLToPath(new URL("../cli.js", import.meta.url));
const READY_MS_MAX = 20_000;
const STOP_MS_MAX = 20_000;
/** `msg` of the line that a daemon logs when it takes messages. */
export const READY_MESSAGE = "ready";

export class ChildDaemon {
  readonly #directory: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #flags: readonly string[];
  readonly #switches: readonly string[];
  #child: ChildProcess | undefined;

  constructor(options: {
    /** Working directory: its `.env` counts. */
    readonly directory: string;
    readonly environment: Readonly<Record<string, string>>;
    /** Flags of `securedgram run`; the log must go to stdout. */
    readonly flags: readonly string[];
    /** Switches of Node itself, as for a profile. */
    readonly switches?: readonly string[];
  }) {
    this.#directory = options.directory;
    this.#environment = options.environment;
    this.#flags = options.flags;
    this.#switches = options.switches ?? [];
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when the daemon is ready; rejects with what it said when it ends before. */
  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      [...this.#switches, CLI, "run", "--verbose", ...this.#flags],
      {
        cwd: this.#directory,
        env: { PATH: process.env["PATH"] ?? "", HOME: this.#directory, ...this.#environment },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    this.#child = child;
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-1_000);
    });
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string) => {
        clearTimeout(timer);
        reject(new DaemonError("ERR_NOT_RUNNING", why, "look at what it said, and start it again"));
      };
      const timer = setTimeout(() => {
        child.kill("SIGKILL");
        fail(`the daemon was not ready after ${READY_MS_MAX / 1_000} s`);
      }, READY_MS_MAX);
      child.once("exit", (code) => fail(`the daemon ended with code ${code}: ${said.trim()}`));
      if (child.stdout === null) return;
      createInterface({ input: child.stdout }).on("line", (line) => {
        if (!line.includes(`"msg":"${READY_MESSAGE}"`)) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** SIGTERM, and waits for a clean end. */
  async stop(): Promise<void> {
    const code = await this.#end("SIGTERM");
    if (code !== 0 && code !== undefined) {
      throw new DaemonError("ERR_WORKER", `a daemon ended with code ${code}`, "look at its log");
    }
  }

  /** SIGKILL: what a power cord does to a process. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Makes sure that nothing is left, without waiting. */
  abandon(): void {
    if (this.#child?.exitCode === null) this.#child.kill("SIGKILL");
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<number | undefined> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null)
      return undefined;
    const exited = once(child, "exit");
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
    const [code] = (await exited) as [number | null];
    clearTimeout(timer);
    return signal === "SIGTERM" ? (code ?? -1) : undefined;
  }
}
