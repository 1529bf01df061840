// The handle on a flooder: what it is to send, from where, and how much has left.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Place } from "../daemon/harness.js";

/** Tag of the envelope and hint: the end of a handshake datagram. */
export const HINT_TAIL_BYTES = 24;

interface Source {
  readonly address: string;
  /** 0: any. */
  readonly port: number;
}

/** What a child is told once it runs. */
export interface FloodOrder {
  readonly target: Source;
  readonly sources: readonly Source[];
  /** Recorded datagrams, base64. */
  readonly handshakes: readonly string[];
  readonly packets: readonly string[];
  readonly seed: number;
}

const CHILD = fileURLToPath(new URL("./flooder.js", import.meta.url));

export class FloodProcess {
  readonly #child: ChildProcess;
  /** Datagrams that left, a quarter of a second ago or less. */
  sent = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", (sent: number) => {
      this.sent = sent;
    });
  }

  /** Resolves when it sends. `wrapper`: words in front of the program. */
  static async start(
    place: Place,
    order: FloodOrder,
    wrapper: readonly string[] = [],
  ): Promise<FloodProcess> {
    const [command = "", ...words] = [...wrapper, process.execPath, CHILD];
    const child = spawn(command, words, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const flood = new FloodProcess(child);
    child.send(order);
    place.after(() => flood.end());
    const died = once(child, "exit").then(([code]) => {
      throw new Error(`the flooder ended with ${code}`);
    });
    died.catch(() => {});
    await Promise.race([once(child, "message"), died]);
    return flood;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
  }
}
