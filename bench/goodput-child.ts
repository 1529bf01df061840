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
const WINDOW_DATAGRAMS_MAX = 512;
const WINDOW_DATAGRAMS_MIN = 128;
/** What the kernel counts of a receive buffer for a full datagram, about. */
const BUFFERED_BYTES = 2_560;
const CREDIT_DATAGRAMS = 32;
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
    if (!end.take(datagram)) {
      dropped += 1;
      // It is gone, and the source need not wait for it.
      uncredited += 1;
    }
    if (!isFlushing) setImmediate(flush);
    isFlushing = true;
  });
  await tell({ kind: "started" });
  await began;
  const result = await measured(options.measureMs, () => bytes);
  if (dropped > 0) console.error(`  ${dropped} datagrams found no slab`);
  return result;
}

/** Keeps a window of sealed datagrams under way. */
class Source {
  readonly #socket: DatagramSocket;
  readonly #place: { readonly address: string; readonly port: number };
  readonly #payload: Uint8Array;
  readonly #windowDatagrams: number;
  #end: CryptoEnd | undefined;
  #cursor: SessionCursor | undefined;
  #isAwake = false;
  #sealed = 0;
  #credited = 0;
  #creditedAt = 0;
  bytes = 0;

  constructor(socket: DatagramSocket, options: GoodputOptions) {
    this.#socket = socket;
    this.#place = { address: LOOPBACK, port: options.otherPort };
    this.#payload = new Uint8Array(options.datagramBytes - PACKET_OVERHEAD_BYTES).fill(0x61);
    // The other end runs on the same kernel, and got as much.
    this.#windowDatagrams = Math.max(
      WINDOW_DATAGRAMS_MIN,
      Math.min(WINDOW_DATAGRAMS_MAX, Math.floor(socket.receiveBufferBytes / BUFFERED_BYTES)),
    );
  }

  /** Makes the session, and begins. */
  async start(options: GoodputOptions): Promise<void> {
    const { address, port } = this.#place;
    let isOpen: () => void = () => {};
    const opened = new Promise<void>((resolve) => {
      isOpen = resolve;
    });
    const end = await CryptoEnd.start({
      place: this.#place,
      workers: options.workers,
      ...keysOf(options),
      events: {
        onHandshake: (message) =>
          this.#socket.send(message, 0, message.length, address, port, () => {}),
        onSealed: (slab, packets) => this.#transmit(slab, packets),
        onOpened: () => fail(new Error("the source opens nothing")),
        onSession: () => isOpen(),
        onLost: fail,
      },
    });
    this.#end = end;
    this.#socket.receive((datagram) => this.#take(datagram, end));
    end.shake();
    const again = setInterval(() => end.shake(), AGAIN_MS);
    await opened;
    clearInterval(again);
    setInterval(() => {
      if (performance.now() - this.#creditedAt < LOST_MS) return;
      this.#credited = this.#sealed;
      this.#wake();
    }, LOST_MS);
    this.#wake();
  }

  #take(datagram: Uint8Array, end: CryptoEnd): void {
    if (datagram.length === 1) {
      this.#credited += CREDIT_DATAGRAMS;
      this.#creditedAt = performance.now();
      this.#wake();
    } else if (!end.hasSession) {
      end.take(datagram);
      end.flush();
    }
  }

  /** Seals more at the end of this turn of the event loop: without credit there is nothing to do. */
  #wake(): void {
    if (this.#isAwake) return;
    this.#isAwake = true;
    setImmediate(() => {
      this.#isAwake = false;
      const end = this.#end;
      if (end === undefined) return;
      while (this.#sealed - this.#credited < this.#windowDatagrams && end.seal(this.#payload)) {
        this.#sealed += 1;
      }
      end.flush();
    });
  }

  #transmit(slab: PooledSlab, packets: number): void {
    const { address, port } = this.#place;
    this.#cursor ??= new SessionCursor(slab.table, slab.routes);
    slab.outstanding = packets;
    slab.done ??= (code) => {
      if (code !== undefined) fail(new Error(`a send failed: ${code}`));
      slab.outstanding -= 1;
      if (slab.outstanding > 0) return;
      this.#end?.release(slab);
      this.#wake();
    };
    const { done } = slab;
    eachSealed(slab, this.#cursor, (memory, at, length) => {
      this.bytes += length - PACKET_OVERHEAD_BYTES;
      this.#socket.send(memory, at, length, address, port, done);
    });
  }
}

async function send(options: GoodputOptions): Promise<GoodputResult> {
  const source = new Source(await socketOf(options), options);
  await source.start(options);
  return measured(options.measureMs, () => source.bytes);
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
