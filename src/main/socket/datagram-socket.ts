// What the daemon needs of a UDP socket, whichever way datagrams travel behind it: dgram.ts works
// everywhere, linux-socket.ts is faster where it works. choose-socket.ts says which of them it is.

import type { DaemonError } from "../../shared/base/errors.js";

/** Called with memory that is valid until the call returns. `address` is canonical text. */
export type DatagramHandler = (datagram: Uint8Array, address: string, port: number) => void;

/**
 * Called once for each datagram, with the `at` that it was sent with, and the system's error code if
 * it could not be handed to the kernel: EMSGSIZE when it was sent whole and the path is narrower.
 */
export type SendDone = (code: string | undefined, at: number) => void;

/** Which socket is behind the interface. */
export type SocketKind = "dgram" | "linux";

/** What an operator may ask for. */
export const SOCKET_WISHES = ["auto", "dgram", "linux"] as const;
export type SocketWish = (typeof SOCKET_WISHES)[number];

/** Asked of the kernel, bytes; it gives at most net.core.rmem_max, and `doctor` says so. */
export const SOCKET_BUFFER_BYTES = 4 * 1_024 * 1_024;

export interface DatagramSocket {
  readonly kind: SocketKind;
  /** Binds. Rejects with a DaemonError that says what to do. */
  start(address: string, port: number): Promise<void>;
  /** From now on datagrams are handed over. */
  receive(handler: DatagramHandler): void;
  /**
   * Sends `bytes[at .. at + length)`; datagrams leave in the order of the calls. The memory must not
   * change until `done` was called. `whole`: never in IP fragments, where the socket can ask for it.
   */
  send(
    bytes: Uint8Array,
    at: number,
    length: number,
    address: string,
    port: number,
    done: SendDone,
    whole?: boolean,
  ): void;
  stop(): Promise<void>;
  readonly port: number;
  readonly family: 4 | 6;
  /** What the kernel gave us of the buffer we asked for, bytes (Linux reports the double). */
  readonly receiveBufferBytes: number;
  /** A fault of the socket itself, after start: the daemon stops. */
  onError: (error: DaemonError) => void;
}
