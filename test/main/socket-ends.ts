// Sockets for tests, of either kind, on loopback: what arrives is kept as copies, and all are closed
// when the test ends. The Linux socket is tested where it works; elsewhere, that it is refused.

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { chooseSocket } from "../../src/main/socket/choose-socket.js";
import type { DatagramSocket, SocketKind } from "../../src/main/socket/datagram-socket.js";
import { DgramSocket } from "../../src/main/socket/dgram.js";
import { type Libc, loadLibc } from "../../src/main/socket/libc.js";
import { LinuxSocket } from "../../src/main/socket/linux-socket.js";
import { until } from "../daemon/harness.js";

export const LOOPBACK = "127.0.0.1";
const WAIT_MS = 10_000;

export interface Arrival {
  readonly bytes: Uint8Array;
  readonly address: string;
  readonly port: number;
}

/** A socket that is open, and what came of it. */
export class End {
  readonly socket: DatagramSocket;
  readonly arrivals: Arrival[] = [];
  readonly errors: string[] = [];
  /** Outcome of each send, in the order in which they were told. */
  readonly outcomes: { readonly code: string | undefined; readonly at: number }[] = [];

  private constructor(socket: DatagramSocket) {
    this.socket = socket;
  }

  static async open(
    t: TestContext,
    socket: DatagramSocket,
    address: string = LOOPBACK,
  ): Promise<End> {
    const end = new End(socket);
    t.after(() => socket.stop());
    await socket.start(address, 0);
    socket.onError = (error) => end.errors.push(error.message);
    return end;
  }

  /** Keeps what arrives. */
  listen(): this {
    this.socket.receive((bytes, address, port) => {
      this.arrivals.push({ bytes: Uint8Array.from(bytes), address, port });
    });
    return this;
  }

  send(
    bytes: Uint8Array,
    to: End | number,
    options: {
      readonly at?: number;
      readonly length?: number;
      readonly address?: string;
      readonly whole?: boolean;
    } = {},
  ): void {
    const { at = 0, address = LOOPBACK, whole = false } = options;
    const { length = bytes.length - at } = options;
    const port = typeof to === "number" ? to : to.socket.port;
    const keep = (code: string | undefined, from: number) => this.outcomes.push({ code, at: from });
    this.socket.send(bytes, at, length, address, port, keep, whole);
  }

  arrived(count: number): Promise<void> {
    const what = `${count} datagrams (there are ${this.arrivals.length})`;
    return until(() => this.arrivals.length >= count, what, WAIT_MS);
  }

  told(count: number): Promise<void> {
    return until(() => this.outcomes.length >= count, `${count} outcomes`, WAIT_MS);
  }

  get codes(): readonly (string | undefined)[] {
    return this.outcomes.map(({ code }) => code);
  }
  get lengths(): readonly number[] {
    return this.arrivals.map(({ bytes }) => bytes.length);
  }
}

/** Memory as slabs have it. */
export const shared = (length: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(length));

/** Bytes that tell which datagram they are, and that all of it is there. */
export function pattern(into: Uint8Array, at: number, length: number, seed: number): void {
  for (let i = 0; i < length; i++) into[at + i] = (seed * 31 + i * 7 + (i >> 8)) & 255;
}

export function assertPattern(bytes: Uint8Array, seed: number): void {
  const expected = new Uint8Array(bytes.length);
  pattern(expected, 0, bytes.length, seed);
  assert.ok(Buffer.compare(bytes, expected) === 0, `datagram ${seed} is what was sent`);
}

/** Runs `work` with the C library; where there is none, looks that the socket is refused. */
export async function onLinux(work: (libc: Libc) => void | Promise<void>): Promise<void> {
  const libc = loadLibc();
  if (typeof libc === "string") assert.throws(() => chooseSocket("linux"), /does not work here/);
  else await work(libc);
}

/** The kinds of socket that there are on this machine. */
export function makers(): ReadonlyMap<SocketKind, () => DatagramSocket> {
  const libc = loadLibc();
  const all = new Map<SocketKind, () => DatagramSocket>([["dgram", () => new DgramSocket()]]);
  if (typeof libc !== "string") all.set("linux", () => new LinuxSocket(libc));
  return all;
}
