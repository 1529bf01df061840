// UDP through node:dgram: one system call a datagram, everywhere. Only importer of node:dgram.

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import type { DaemonError } from "../../shared/base/errors.js";
import { canonicalAddress } from "../../shared/protocol/address.js";
import {
  type DatagramHandler,
  type DatagramSocket,
  type SendDone,
  SOCKET_BUFFER_BYTES,
} from "./datagram-socket.js";
import { bindError, socketError } from "./socket-errors.js";

/** Only literals reach the socket; dgram would hand even those to the resolver, a tick later. */
const literalLookup = (
  host: string,
  _options: unknown,
  callback: (error: null, address: string, family: number) => void,
): void => callback(null, host, host.includes(":") ? 6 : 4);

export class DgramSocket implements DatagramSocket {
  readonly kind = "dgram";
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
    done: SendDone,
  ): void {
    const to = this.family === 6 && !address.includes(":") ? `::ffff:${address}` : address;
    this.#socket?.send(bytes, at, length, port, to, (error) => {
      done(error === null ? undefined : ((error as NodeJS.ErrnoException).code ?? "UNKNOWN"), at);
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
