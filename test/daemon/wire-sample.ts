// Datagrams as they leave two real daemons, for statistics: handshakes of many starts, small and large
// messages, acknowledgements. What is known to repeat, session ids, is counted apart.

import { randomBytes } from "node:crypto";
import { until } from "./harness.js";
import type { Passed } from "./relay.js";
import { type SessionPair, sendAll } from "./session-hosts.js";

export interface WireSample {
  /** Packets and handshakes, as they were on the wire. */
  readonly datagrams: readonly Buffer[];
  /** First datagrams of their first four bytes: the handshakes, and the first packet of each session. */
  readonly firsts: readonly Buffer[];
}

/** `restarts`: how many times both ends shake hands anew. */
export async function sampleWire(
  pair: SessionPair,
  options: { readonly datagrams: number; readonly restarts: number },
): Promise<WireSample> {
  const { alice, bob, relay } = pair;
  const kept: Passed[] = [];
  relay.kept = kept;
  await pair.start();
  const perLife = Math.ceil(options.datagrams / (options.restarts + 1));
  for (let life = 0; life <= options.restarts; life++) {
    const wanted = perLife * (life + 1);
    while (kept.length < wanted) {
      // Content that is far from random: what shows through would show.
      const small = Array.from({ length: 100 }, (_, n) => ({
        payload: `${n}`.padEnd(n * 10, "0"),
      }));
      sendAll(alice, "bob", [...small, { payload: new Uint8Array(400_000) }]);
      sendAll(bob, "alice", small);
      await pair.settled();
    }
    if (life === options.restarts) break;
    const victim = life % 2 === 0 ? alice : bob;
    const before = kept.length;
    await victim.kill();
    await victim.start();
    await until(() => kept.length > before, "a handshake");
  }
  const seen = new Set<number>();
  const datagrams = kept.map(({ bytes }) => bytes);
  const firsts = datagrams.filter((datagram) => {
    const id = datagram.readUInt32BE(0);
    return !seen.has(id) && seen.add(id) !== undefined;
  });
  return { datagrams, firsts };
}

/** As many random datagrams of the same lengths. */
export const randomLike = (datagrams: readonly Uint8Array[]): readonly Buffer[] =>
  datagrams.map(({ length }) => randomBytes(length));
