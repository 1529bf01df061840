// A network between two daemons on loopback: each knows the other by one of its ports. It counts, keeps,
// holds back or drops what passes, as a test says.

import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as nap } from "node:timers/promises";
import { LOOPBACK, type Place } from "./harness.js";

export type Direction = "toAlice" | "toBob";

export interface Passed {
  readonly direction: Direction;
  readonly bytes: Buffer;
}

export class Relay {
  readonly #sockets: Readonly<Record<Direction, Socket>>;
  readonly #ports: Readonly<Record<Direction, number>>;
  /** What passed since it was set to an empty list; undefined: nothing is kept. */
  kept: Passed[] | undefined;
  /** One way delay of the next datagram, ms. */
  delayMs: () => number = () => 0;
  readonly #late = new Set<NodeJS.Timeout>();
  /** False drops a datagram. */
  passes: (datagram: Uint8Array, direction: Direction) => boolean = () => true;
  readonly datagrams = { toAlice: 0, toBob: 0 };
  readonly bytes = { toAlice: 0, toBob: 0 };

  private constructor(
    sockets: Readonly<Record<Direction, Socket>>,
    ports: Readonly<Record<Direction, number>>,
  ) {
    this.#sockets = sockets;
    this.#ports = ports;
    // What comes to the port that stands for bob goes out of the one that stands for alice.
    sockets.toBob.on("message", (datagram) => this.#pass(datagram, "toBob"));
    sockets.toAlice.on("message", (datagram) => this.#pass(datagram, "toAlice"));
  }

  /** Between daemons at these ports. */
  static async make(place: Place, alice: number, bob: number): Promise<Relay> {
    const make = async (): Promise<Socket> => {
      const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
      place.after(() => {
        socket.close();
      });
      socket.bind(0, LOOPBACK);
      await once(socket, "listening");
      return socket;
    };
    const sockets = { toAlice: await make(), toBob: await make() };
    const relay = new Relay(sockets, { toAlice: alice, toBob: bob });
    place.after(() => {
      for (const timer of relay.#late) clearTimeout(timer);
      relay.passes = () => false;
    });
    return relay;
  }

  /** Port that stands for bob, and for alice. */
  get toBob(): number {
    return this.#sockets.toBob.address().port;
  }
  get toAlice(): number {
    return this.#sockets.toAlice.address().port;
  }

  /** Sends a datagram as if it came from the other one. */
  inject(datagram: Uint8Array, direction: Direction): Promise<void> {
    const from = this.#sockets[direction === "toBob" ? "toAlice" : "toBob"];
    return new Promise((resolve) => {
      from.send(datagram, this.#ports[direction], LOOPBACK, () => resolve());
    });
  }

  /** Waits until nothing passed for a while. */
  async quiet(forMs = 100): Promise<void> {
    for (let before = -1; before !== this.#count; ) {
      before = this.#count;
      await nap(forMs);
    }
  }

  get #count(): number {
    return this.datagrams.toAlice + this.datagrams.toBob;
  }

  #pass(datagram: Buffer, direction: Direction): void {
    this.datagrams[direction] += 1;
    this.bytes[direction] += datagram.length;
    this.kept?.push({ direction, bytes: datagram });
    if (!this.passes(datagram, direction)) return;
    const delayMs = this.delayMs();
    if (delayMs === 0) void this.inject(datagram, direction);
    else {
      const timer = setTimeout(() => {
        this.#late.delete(timer);
        void this.inject(datagram, direction);
      }, delayMs);
      this.#late.add(timer);
    }
  }
}
