// What the daemon needs of a UDP socket, whichever way datagrams travel behind it.

import type { DaemonError } from "../../shared/base/errors.js";

/** Called with memory that is valid until the call returns. `address` is canonical text. */
export type DatagramHandler = (datagram: Uint8Array, address: string, port: number) => void;

export interface DatagramSocket {
  /** Binds. Rejects with a DaemonError that says what to do. */
  start(address: string, port: number): Promise<void>;
  /** From now on datagrams are handed over. */
  receive(handler: DatagramHandler): void;
  /**
   * Sends `bytes[at .. at + length)`. The memory must not change until `done` was called, once, with
   * the system's error code if the datagram could not be handed to the kernel.
   */
  send(
    bytes: Uint8Array,
    at: number,
    length: number,
    address: string,
    port: number,
    done: (code: string | undefined) => void,
  ): void;
  stop(): Promise<void>;
  readonly port: number;
  readonly family: 4 | 6;
  /** What the kernel gave us of the buffer we asked for, bytes (Linux reports the double). */
  readonly receiveBufferBytes: number;
  /** A fault of the socket itself, after start: the daemon stops. */
  onError: (error: DaemonError) => void;
}
