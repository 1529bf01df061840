// UDP through node:dgram: one system call a datagram, everywhere. Only importer of node:dgram.

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { DaemonError, reasonOf } from "../../shared/base/errors.js";
import { canonicalAddress } from "../../shared/protocol/address.js";
import type { DatagramHandler, DatagramSocket } from "./datagram-socket.js";

/** Asked of the kernel, bytes; it gives at most net.core.rmem_max, and `doctor` says so. */
export const SOCKET_BUFFER_BYTES = 4 * 1_024 * 1_024;

/** Only literals reach the socket; dgram would hand even those to the resolver, a tick later. */
const literalLookup = (
  host: string,
  _options: unknown,
  callback: (error: null, address: string, family: number) => void,
): void => callback(null, host, host.includes(":") ? 6 : 4);

export class DgramSocket implements DatagramSocket {
  #socket: Socket | undefined;
  family: 4 | 6 = 4;
  port = 0;
  receiveBufferBytes = 0;
  onError: (error: DaemonError) => void = () => {};
  #lastText = "";
  #lastAddress = "";

  start(address: string, port: number): Promise<void> {
    this.family = address.includes(":") ? 6 : 4;
    const socket = createSocket({
      type: this.family === 6 ? "udp6" : "udp4",
      lookup: literalLookup as never,
    });
    this.#socket = socket;
    return new Promise((resolve, reject) => {
      socket.once("error", (error) => reject(bindError(error, address, port)));
      socket.bind({ address, port, exclusive: true }, () => {
        socket.removeAllListeners("error");
        socket.on("error", (error) => this.onError(socketError(error)));
        socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
        socket.setSendBufferSize(SOCKET_BUFFER_BYTES);
        this.receiveBufferBytes = socket.getRecvBufferSize();
        this.port = socket.address().port;
        resolve();
      });
    });
  }

  receive(handler: DatagramHandler): void {
    this.#socket?.on("message", (datagram: Buffer, from: RemoteInfo) => {
      handler(datagram, this.#canonical(from.address), from.port);
    });
  }

  send(
    bytes: Uint8Array,
    at: number,
    length: number,
    address: string,
    port: number,
    done: (code: string | undefined) => void,
  ): void {
    const to = this.family === 6 && !address.includes(":") ? `::ffff:${address}` : address;
    this.#socket?.send(bytes, at, length, port, to, (error) => {
      done(error === null ? undefined : ((error as NodeJS.ErrnoException).code ?? "UNKNOWN"));
    });
  }

  stop(): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined) return Promise.resolve();
    this.#socket = undefined;
    return new Promise((resolve) => socket.close(() => resolve()));
  }

  /** IPv4 reaches a socket of both families as ::ffff:a.b.c.d; the last answer is remembered. */
  #canonical(text: string): string {
    if (this.family === 4) return text;
    if (text !== this.#lastText) {
      this.#lastText = text;
      this.#lastAddress = canonicalAddress(text) ?? text;
    }
    return this.#lastAddress;
  }
}

function bindError(error: NodeJS.ErrnoException, address: string, port: number): DaemonError {
  const place = `${address} port ${port}`;
  switch (error.code) {
    case "EADDRINUSE":
      return new DaemonError(
        "ERR_PORT_IN_USE",
        `${place} is in use by another program`,
        "stop that program or choose another port with --port",
        error,
      );
    case "EACCES":
      return new DaemonError(
        "ERR_PERMISSION",
        `no permission to bind ${place}`,
        "use a port of 1024 or more, or start as root with --user",
        error,
      );
    case "EADDRNOTAVAIL":
      return new DaemonError(
        "ERR_CONFIG",
        `${address} is not an address of this host`,
        "choose one that `ip address` lists, or 0.0.0.0 for all, with --bind",
        error,
      );
    default:
      return new DaemonError(
        "ERR_SOCKET",
        `cannot bind ${place}: ${reasonOf(error)}`,
        "check --bind and --port",
        error,
      );
  }
}

const socketError = (error: Error): DaemonError =>
  new DaemonError(
    "ERR_SOCKET",
    `the UDP socket failed: ${reasonOf(error)}`,
    "look at the network of this host, then start again",
    error,
  );
