// What went wrong with a socket, as the operator hears it: the same words whichever socket it is.

import { DaemonError, reasonOf } from "../../shared/base/errors.js";

/** Why a socket could not be bound, and what to do. */
export function bindError(
  error: NodeJS.ErrnoException,
  address: string,
  port: number,
): DaemonError {
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

/** A socket that worked and does not any more. */
export const socketError = (error: Error): DaemonError =>
  new DaemonError(
    "ERR_SOCKET",
    `the UDP socket failed: ${reasonOf(error)}`,
    "look at the network of this host, then start again",
    error,
  );
