// What the core must know of this host's network: which addresses are our own socket, and which a
// socket of one family cannot send to.

import { networkInterfaces } from "node:os";
import { canonicalAddress } from "../shared/protocol/address.js";
import type { Reach } from "../shared/protocol/destinations.js";

/** Interfaces are read again after this long, ms: addresses come and go. */
const INTERFACES_FRESH_MS = 10_000;

export function reachOf(
  bound: string,
  socket: { readonly port: number; readonly family: 4 | 6 },
): Reach {
  const anyAddress = bound === "0.0.0.0" || bound === "::";
  let own = new Set<string>();
  let readAt = Number.NEGATIVE_INFINITY;
  const ownAddresses = (): ReadonlySet<string> => {
    if (!anyAddress) return new Set([canonicalAddress(bound) ?? bound]);
    if (performance.now() - readAt > INTERFACES_FRESH_MS) {
      readAt = performance.now();
      own = new Set(
        Object.values(networkInterfaces())
          .flatMap((list) => list ?? [])
          .map(({ address }) => canonicalAddress(address) ?? address),
      );
    }
    return own;
  };
  const isLoopback = (address: string) => address.startsWith("127.") || address === "::1";
  return {
    isSelf: (address, port) =>
      port === socket.port && (ownAddresses().has(address) || (anyAddress && isLoopback(address))),
    refusal: (address) =>
      socket.family === 4 && address.includes(":")
        ? `${address} is IPv6 and the daemon listens on IPv4 only: start it with --bind ::`
        : undefined,
  };
}
