// The handle on a relay-child: where it listens, what its path is like, what it carried.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Place } from "../daemon/harness.js";

export type Side = "toAlice" | "toBob";

/** What a path does to each datagram, each way. */
export interface Shape {
  /** 0 to 1. */
  readonly lossShare: number;
  readonly delayMs: number;
  /** Up to so much longer, so that datagrams overtake each other. */
  readonly jitterMs: number;
  /** Largest UDP payload that passes. */
  readonly bytesMax: number;
}

export interface Carried {
  toAlice: number;
  toBob: number;
  lost: number;
  tooLong: number;
}

/** A copy of a datagram that came. */
export interface Kept {
  readonly direction: Side;
  /** When it came, ms of the relay's clock. */
  readonly atMs: number;
  readonly datagram: Buffer;
}

/** The same between processes. */
export type KeptText = Omit<Kept, "datagram"> & { readonly base64: string };

interface Host {
  readonly address: string;
  readonly port: number;
}

/** What a child is told as it starts. */
export interface Order {
  /** Addresses of its own, towards each host. */
  readonly sides: Readonly<Record<"alice" | "bob", string>>;
  readonly hosts: Readonly<Record<Side, Host>>;
  readonly shape: Shape;
  readonly seed: number;
}

const CHILD = fileURLToPath(new URL("./relay-child.js", import.meta.url));

export class RelayProcess {
  readonly #child: ChildProcess;
  /** Ports that stand for bob, at alice's side, and for alice. */
  readonly ports: Readonly<Record<Side, number>>;

  private constructor(child: ChildProcess, ports: RelayProcess["ports"]) {
    this.#child = child;
    this.ports = ports;
  }

  /** `wrapper`: words in front of the program, as of a network namespace. */
  static async start(
    place: Place,
    order: Order,
    wrapper: readonly string[] = [],
  ): Promise<RelayProcess> {
    const [command = "", ...words] = [...wrapper, process.execPath, CHILD, JSON.stringify(order)];
    const child = spawn(command, words, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    place.after(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    });
    const died = once(child, "exit").then(([code]) => {
      throw new Error(`the relay ended with ${code}`);
    });
    died.catch(() => {});
    const [{ ports }] = (await Promise.race([once(child, "message"), died])) as [
      Pick<RelayProcess, "ports">,
    ];
    return new RelayProcess(child, ports);
  }

  set shape(shape: Shape) {
    this.#child.send(shape);
  }

  /** Keeps copies of the next datagrams, both ways. */
  keep(datagrams: number): void {
    this.#child.send({ keep: datagrams });
  }

  /** What it carried so far, and what it kept since the last report. */
  async report(): Promise<{ readonly carried: Carried; readonly kept: readonly Kept[] }> {
    const answer = once(this.#child, "message");
    this.#child.send("report");
    const [{ carried, kept }] = (await answer) as [
      { readonly carried: Carried; readonly kept: readonly KeptText[] },
    ];
    return {
      carried,
      kept: kept.map(({ base64, ...kept }) => ({
        ...kept,
        datagram: Buffer.from(base64, "base64"),
      })),
    };
  }
}
