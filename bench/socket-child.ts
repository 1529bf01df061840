// One end of bench/socket: sends bursts as a slab would, or receives and gives credit. Each counts what
// it did in a time of its own, and what its threads spent meanwhile.

import { setTimeout as nap } from "node:timers/promises";
import { chooseSocket } from "../src/main/socket/choose-socket.js";
import type { DatagramSocket, SocketKind } from "../src/main/socket/datagram-socket.js";
import { optionsOf, tell } from "./child.js";
import { threadCpuUs } from "./proc.js";

export interface EndOptions {
  readonly role: "send" | "receive";
  readonly kind: SocketKind;
  /** Of the receiver. */
  readonly port: number;
  readonly bytes: number;
  /** Datagrams that are handed to the socket in one turn of the event loop. */
  readonly burst: number;
  readonly measureMs: number;
}

export interface EndResult {
  readonly datagrams: number;
  readonly seconds: number;
  /** CPU time a datagram of the thread that has the socket, us. */
  readonly threadUs: number;
  /** Of the whole process. */
  readonly processUs: number;
}

const LOOPBACK = "127.0.0.1";
const WARM_UP_MS = 200;
/** Datagrams that are not credited at most: the receive buffer holds them. */
const WINDOW_DATAGRAMS = 1_024;
const CREDIT_DATAGRAMS = 128;
/** Without credit for so long, what is under way is given up: it was lost. */
const LOST_MS = 50;
/** Each datagram of a slab has room around it. */
const ROOM_BYTES = 44;

const options = optionsOf<EndOptions>();
if (options !== null) {
  const socket = chooseSocket(options.kind).make();
  const result = await (options.role === "send" ? send(socket) : receive(socket));
  await tell<EndResult>({ kind: "finished", result });
  process.exit(0);
}

/** Counts from the end of the warm-up on, for as long as it is told. */
async function measured(count: () => number): Promise<EndResult> {
  await nap(WARM_UP_MS);
  const before = { datagrams: count(), cpuUs: threadCpuUs(), process: process.cpuUsage() };
  const startedAt = performance.now();
  await nap(options.measureMs);
  const seconds = (performance.now() - startedAt) / 1_000;
  const datagrams = count() - before.datagrams;
  const { user, system } = process.cpuUsage(before.process);
  return {
    datagrams,
    seconds,
    threadUs: (threadCpuUs() - before.cpuUs) / datagrams,
    processUs: (user + system) / datagrams,
  };
}

async function receive(socket: DatagramSocket): Promise<EndResult> {
  await socket.start(LOOPBACK, options.port);
  const credit = new Uint8Array(new SharedArrayBuffer(1));
  let received = 0;
  let first: () => void = () => {};
  const began = new Promise<void>((resolve) => {
    first = resolve;
  });
  socket.receive((datagram, address, port) => {
    if (received === 0) first();
    received += 1;
    if (datagram.length !== options.bytes) throw new Error(`${datagram.length} bytes arrived`);
    if (received % CREDIT_DATAGRAMS === 0) socket.send(credit, 0, 1, address, port, () => {});
  });
  await tell({ kind: "started" });
  await began;
  return measured(() => received);
}

async function send(socket: DatagramSocket): Promise<EndResult> {
  await socket.start(LOOPBACK, 0);
  const { burst, bytes, port } = options;
  const step = bytes + ROOM_BYTES;
  const slab = new Uint8Array(new SharedArrayBuffer(burst * step));
  let sent = 0;
  let told = 0;
  let credited = 0;
  let creditedAt = performance.now();
  socket.receive(() => {
    credited += CREDIT_DATAGRAMS;
    creditedAt = performance.now();
  });
  const done = (code: string | undefined): void => {
    if (code !== undefined) throw new Error(`a send failed: ${code}`);
    told += 1;
  };
  const turn = (): void => {
    setImmediate(turn);
    if (performance.now() - creditedAt > LOST_MS) {
      credited = sent;
      creditedAt = performance.now();
    }
    if (sent - Math.min(credited, told) + burst > WINDOW_DATAGRAMS) return;
    for (let i = 0; i < burst; i++) socket.send(slab, i * step, bytes, LOOPBACK, port, done);
    sent += burst;
  };
  turn();
  return measured(() => told);
}
