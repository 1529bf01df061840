// One end of bench/goodput, a process of its own: seals full datagrams and sends them, or opens them and
// throws them away; of ours through the daemon's pool and socket, of the other system by its stream.

import { setTimeout as nap } from "node:timers/promises";
import type { PooledSlab } from "../src/main/crypto-pool.js";
import { chooseSocket } from "../src/main/socket/choose-socket.js";
import type { DatagramSocket } from "../src/main/socket/datagram-socket.js";
import { PACKET_OVERHEAD_BYTES } from "../src/shared/protocol/session/packet.js";
import { SessionCursor } from "../src/shared/runtime/session-slab.js";
import { optionsOf, tell } from "./child.js";
import { CryptoEnd, eachSealed } from "./crypto-end.js";
import { openUdx } from "./peer-udx.js";

export interface GoodputOptions {
  readonly role: "send" | "receive";
  readonly kind: "dgram" | "linux" | "udx";
  readonly workers: number;
  readonly datagramBytes: number;
  /** Written to the stream of the other system at once. */
  readonly chunkBytes: number;
  readonly port: number;
  readonly otherPort: number;
  /** base64, made for this run. */
  readonly privateKey: string;
  readonly peerPrivateKey: string;
  readonly measureMs: number;
}

/** Of the receiver; of the sender only `cpuUs`. */
export interface GoodputResult {
  readonly bytes: number;
  readonly seconds: number;
  /** CPU time of the whole process meanwhile, us. */
  readonly cpuUs: number;
}

const LOOPBACK = "127.0.0.1";
const WARM_UP_MS = 500;
/** Datagrams without credit at most: the receive buffer and the slabs hold them. */
const WINDOW_DATAGRAMS = 512;
const CREDIT_DATAGRAMS = 64;
/** Without credit for so long, what is under way is given up: it was lost. */
const LOST_MS = 50;
const AGAIN_MS = 200;

async function measured(measureMs: number, bytes: () => number): Promise<GoodputResult> {
  await nap(WARM_UP_MS);
  const before = { bytes: bytes(), cpu: process.cpuUsage(), at: performance.now() };
  await nap(measureMs);
  const { user, system } = process.cpuUsage(before.cpu);
  const seconds = (performance.now() - before.at) / 1_000;
  return { bytes: bytes() - before.bytes, seconds, cpuUs: user + system };
}

const fail = (error: Error): never => {
  throw error;
};

async function socketOf(options: GoodputOptions): Promise<DatagramSocket> {
  const socket = chooseSocket(options.kind === "udx" ? "auto" : options.kind).make();
  await socket.start(LOOPBACK, options.port);
  return socket;
}

const keysOf = (options: GoodputOptions) => ({
  privateKey: Uint8Array.from(Buffer.from(options.privateKey, "base64")),
  peerPrivateKey: Uint8Array.from(Buffer.from(options.peerPrivateKey, "base64")),
});

async function receive(options: GoodputOptions): Promise<GoodputResult> {
  const socket = await socketOf(options);
  const place = { address: LOOPBACK, port: options.otherPort };
  const credit = new Uint8Array(new SharedArrayBuffer(1));
  let [bytes, uncredited, dropped] = [0, 0, 0];
  let first: () => void = () => {};
  const began = new Promise<void>((resolve) => {
    first = resolve;
  });
  const end = await CryptoEnd.start({
    place,
    workers: options.workers,
    ...keysOf(options),
    events: {
      onHandshake: (message) =>
        socket.send(message, 0, message.length, place.address, place.port, () => {}),
      onSealed: () => fail(new Error("the sink seals nothing")),
      onOpened: (packets, opened) => {
        first();
        bytes += opened;
        uncredited += packets;
        for (; uncredited >= CREDIT_DATAGRAMS; uncredited -= CREDIT_DATAGRAMS) {
          socket.send(credit, 0, 1, place.address, place.port, () => {});
        }
      },
      onSession: () => {},
      onLost: fail,
    },
  });
  let isFlushing = false;
  const flush = (): void => {
    isFlushing = false;
    end.flush();
  };
  socket.receive((datagram) => {
    if (!end.take(datagram)) dropped += 1;
    if (!isFlushing) setImmediate(flush);
    isFlushing = true;
  });
  await tell({ kind: "started" });
  await began;
  const result = await measured(options.measureMs, () => bytes);
  if (dropped > 0) console.error(`  ${dropped} datagrams found no slab`);
  return result;
}

async function send(options: GoodputOptions): Promise<GoodputResult> {
  const socket = await socketOf(options);
  const place = { address: LOOPBACK, port: options.otherPort };
  const payload = new Uint8Array(options.datagramBytes - PACKET_OVERHEAD_BYTES).fill(0x61);
  let [sealed, credited, creditedAt, bytes] = [0, 0, performance.now(), 0];
  let isOpen: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    isOpen = resolve;
  });
  let cursor: SessionCursor | undefined;
  const transmit = (slab: PooledSlab, packets: number): void => {
    cursor ??= new SessionCursor(slab.table, slab.routes);
    slab.outstanding = packets;
    slab.done ??= (code) => {
      if (code !== undefined) fail(new Error(`a send failed: ${code}`));
      slab.outstanding -= 1;
      if (slab.outstanding === 0) end.release(slab);
    };
    const { done } = slab;
    eachSealed(slab, cursor, (memory, at, length) => {
      bytes += length - PACKET_OVERHEAD_BYTES;
      socket.send(memory, at, length, place.address, place.port, done);
    });
  };
  const end = await CryptoEnd.start({
    place,
    workers: options.workers,
    ...keysOf(options),
    events: {
      onHandshake: (message) =>
        socket.send(message, 0, message.length, place.address, place.port, () => {}),
      onSealed: transmit,
      onOpened: () => fail(new Error("the source opens nothing")),
      onSession: () => isOpen(),
      onLost: fail,
    },
  });
  socket.receive((datagram) => {
    if (datagram.length === 1) {
      credited += CREDIT_DATAGRAMS;
      creditedAt = performance.now();
    } else if (!end.hasSession) {
      end.take(datagram);
      end.flush();
    }
  });
  end.shake();
  const again = setInterval(() => end.shake(), AGAIN_MS);
  await opened;
  clearInterval(again);
  const turn = (): void => {
    setImmediate(turn);
    if (performance.now() - creditedAt > LOST_MS) {
      credited = sealed;
      creditedAt = performance.now();
    }
    while (sealed - credited < WINDOW_DATAGRAMS && end.seal(payload)) sealed += 1;
    end.flush();
  };
  turn();
  return measured(options.measureMs, () => bytes);
}

async function udx(options: GoodputOptions): Promise<GoodputResult> {
  const { role, port, otherPort, chunkBytes, measureMs } = options;
  const { stream } = await openUdx({ initiates: role === "send", port, otherPort });
  let bytes = 0;
  if (role === "receive") {
    const began = new Promise<void>((resolve) => {
      stream.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        resolve();
      });
    });
    await tell({ kind: "started" });
    await began;
    return measured(measureMs, () => bytes);
  }
  await stream.opened;
  const chunk = new Uint8Array(chunkBytes).fill(0x61);
  const write = (): void => {
    for (;;) {
      bytes += chunkBytes;
      // It encrypts in place, so each has memory of its own.
      if (!stream.write(Buffer.from(chunk))) return;
    }
  };
  stream.on("drain", write);
  write();
  return measured(measureMs, () => bytes);
}

const options = optionsOf<GoodputOptions | null>();
if (options !== null) {
  const { kind, role } = options;
  const run = kind === "udx" ? udx : role === "send" ? send : receive;
  await tell<GoodputResult>({ kind: "finished", result: await run(options) });
  process.exit(0);
}
