// Which socket the daemon uses, and why: `--socket auto`, `dgram` or `linux`.

import { constants } from "node:os";
import { getSystemErrorName } from "node:util";
import { DaemonError } from "../../shared/base/errors.js";
import type { DatagramSocket, SocketKind, SocketWish } from "./datagram-socket.js";
import { DgramSocket } from "./dgram.js";
import { type Libc, loadLibc } from "./libc.js";
import { LINUX } from "./linux-abi.js";
import { LinuxSocket } from "./linux-socket.js";

export interface SocketChoice {
  readonly kind: SocketKind;
  /** Half a sentence: behind "because", as it were. */
  readonly why: string;
  /** A new socket of this kind, not started. */
  readonly make: () => DatagramSocket;
}

/** Chooses; throws a DaemonError when what was asked for does not work here. */
export function chooseSocket(wish: SocketWish, load: () => Libc | string = loadLibc): SocketChoice {
  if (wish === "dgram") return dgram("it was asked for");
  const libc = load();
  const obstacle = typeof libc === "string" ? libc : trial(libc);
  if (typeof libc !== "string" && obstacle === undefined) {
    const why = wish === "linux" ? "it was asked for" : "it is the fastest, and works here";
    return { kind: "linux", why, make: () => new LinuxSocket(libc) };
  }
  if (wish === "auto") return dgram(`the Linux socket does not work here: ${obstacle}`);
  throw new DaemonError(
    "ERR_SOCKET",
    `the Linux socket does not work here: ${obstacle}`,
    "use --socket auto or dgram, or see to what is missing",
  );
}

const dgram = (why: string): SocketChoice => ({
  kind: "dgram",
  why,
  make: () => new DgramSocket(),
});

/** What a sandbox forbids is found out before anything depends on it. */
function trial(libc: Libc): string | undefined {
  const event = libc.eventfd(0, LINUX.SOCK_NONBLOCK | LINUX.SOCK_CLOEXEC);
  if (event < 0) return `eventfd: ${getSystemErrorName(-(libc.errno() || constants.errno.EPERM))}`;
  libc.close(event);
  return undefined;
}
