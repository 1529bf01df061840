// Daemons on loopback as a suite uses them: the program that people run, each with a folder and a
// database of its own, one secret, no setting but those.

import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { ChildDaemon } from "../src/main/client/child-daemon.js";
import { DgramSocket } from "../src/main/socket/dgram.js";
import { forget, remember } from "./children.js";

export const LOOPBACK = "127.0.0.1";
const THREAD_NAMES = new URL("./thread-names.js", import.meta.url).href;

export class Host {
  readonly name: string;
  readonly port: number;
  readonly database: string;
  readonly #daemon: ChildDaemon;

  constructor(name: string, folder: string, port: number, secret: string) {
    mkdirSync(folder, { mode: 0o700 });
    this.name = name;
    this.port = port;
    this.database = join(folder, "securedgram.db");
    this.#daemon = new ChildDaemon({
      directory: folder,
      environment: { SECUREDGRAM_SECRET: secret },
      flags: [
        ...["--bind", LOOPBACK, "--port", `${port}`, "--db", this.database],
        ...["--log", "stdout", "--user", userInfo().username],
      ],
      switches: [`--import=${THREAD_NAMES}`],
    });
  }

  get pid(): number {
    const { pid } = this.#daemon;
    if (pid === undefined) throw new Error(`${this.name} does not run`);
    return pid;
  }

  async start(): Promise<void> {
    remember(this.#daemon);
    await this.#daemon.start();
  }

  /** A clean end: fails when the daemon's exit code is not 0. */
  async stop(): Promise<void> {
    await this.#daemon.stop();
    forget(this.#daemon);
  }

  end(): void {
    this.#daemon.abandon();
    forget(this.#daemon);
  }
}

/** Starts a daemon for each name, gives them to `work`, and stops them whatever it does. */
export async function withHosts<T>(
  folder: string,
  names: readonly string[],
  work: (hosts: readonly Host[]) => Promise<T>,
): Promise<T> {
  const secret = randomBytes(32).toString("hex");
  const hosts: Host[] = [];
  try {
    for (const name of names) {
      const host = new Host(name, join(folder, name), await freePort(), secret);
      hosts.push(host);
      await host.start();
    }
    const result = await work(hosts);
    for (const host of hosts) await host.stop();
    return result;
  } finally {
    for (const host of hosts) host.end();
  }
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const socket = new DgramSocket();
  await socket.start(LOOPBACK, 0);
  const { port } = socket;
  await socket.stop();
  return port;
}
