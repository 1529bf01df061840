// A server that others wrote, as a child of a suite: started on loopback with a folder of its own, ready
// when its port takes connections, ended by its process id.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { connect, createServer } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout as nap } from "node:timers/promises";
import { forget, remember } from "./children.js";
import { LOOPBACK } from "./hosts.js";

const READY_MS_MAX = 10_000;
const STOP_MS_MAX = 5_000;
const LOOK_MS = 20;
const SAID_CHARACTERS_MAX = 1_000;
const OPENSSL_MS_MAX = 20_000;
/** Where distributions keep servers, whether or not they are on a user's PATH. */
const MORE_FOLDERS = ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"];

/** The program's path, or undefined when it is not installed. */
export function programOf(name: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), ...MORE_FOLDERS];
  return folders
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Certificate of a key of its own, for loopback and two days; both as files in the folder. */
export function makeCertificate(
  openssl: string,
  folder: string,
): { readonly certificate: string; readonly key: string } {
  const [certificate, key] = [join(folder, "certificate.pem"), join(folder, "key.pem")];
  execFileSync(
    openssl,
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-days", "2", "-subj", "/CN=localhost"],
      ...["-addext", `subjectAltName=DNS:localhost,IP:${LOOPBACK}`],
      ...["-keyout", key, "-out", certificate],
    ],
    { stdio: ["ignore", "ignore", "pipe"], timeout: OPENSSL_MS_MAX },
  );
  return { certificate, key };
}

/** A TCP port that was free a moment ago. */
export async function freeTcpPort(): Promise<number> {
  const server = createServer();
  server.listen(0, LOOPBACK);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port is free");
  return address.port;
}

export class PeerServer {
  readonly #child: ChildProcess;
  #said = "";

  private constructor(program: string, args: readonly string[], folder: string) {
    this.#child = spawn(program, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.#said = `${this.#said}${chunk.toString()}`.slice(-SAID_CHARACTERS_MAX);
      });
    }
    this.#child.on("error", (error) => {
      this.#said = error.message;
    });
  }

  static async start(
    program: string,
    args: readonly string[],
    place: { readonly folder: string; readonly port: number },
  ): Promise<PeerServer> {
    const server = new PeerServer(program, args, place.folder);
    remember(server);
    try {
      await server.#ready(program, place.port);
      return server;
    } catch (error) {
      server.abandon();
      forget(server);
      throw error;
    }
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`the server did not start: ${this.#said}`);
    return pid;
  }

  async stop(): Promise<void> {
    const timer = setTimeout(() => this.abandon(), STOP_MS_MAX);
    const isOver = this.#child.exitCode !== null || this.#child.signalCode !== null;
    this.#child.kill("SIGTERM");
    if (!isOver) await once(this.#child, "exit");
    clearTimeout(timer);
    forget(this);
  }

  abandon(): void {
    this.#child.kill("SIGKILL");
  }

  async #ready(program: string, port: number): Promise<void> {
    const end = performance.now() + READY_MS_MAX;
    while (!(await connects(port))) {
      if (this.#child.exitCode !== null || this.#child.pid === undefined) {
        throw new Error(`${program} ended at once: ${this.#said.trim()}`);
      }
      if (performance.now() > end) {
        throw new Error(
          `${program} took no connection in ${READY_MS_MAX / 1_000} s: ${this.#said}`,
        );
      }
      await nap(LOOK_MS);
    }
  }
}

const connects = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, LOOPBACK);
    const end = (is: boolean): void => {
      socket.destroy();
      resolve(is);
    };
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
  });
