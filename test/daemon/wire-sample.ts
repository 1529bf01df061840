// Datagrams as they leave real daemons, for statistics: handshakes, by the hundred, small and large
// messages, acknowledgements. What is known to repeat, session ids, is counted apart.

import { randomBytes } from "node:crypto";
import { type Place, type TestDaemon, until } from "./harness.js";
import type { Passed } from "./relay.js";
import { RoguePeer } from "./rogue-peer.js";
import { type Identity, makeIdentity, SessionPair, sendAll, writeConfig } from "./session-hosts.js";

export interface WireSample {
  /** Packets and handshakes, as they were on the wire, in their order. */
  readonly datagrams: readonly Buffer[];
  /** Of those, handshakes: as many of message 1 as of message 2, or a few more. */
  readonly handshakes: number;
  /** The first datagram of each first four bytes: the handshakes, and one packet of each session. */
  readonly firsts: readonly Buffer[];
}

export interface SampleWanted {
  readonly datagrams: number;
  /** How many times further hosts shake hands: two datagrams each. */
  readonly handshakes: number;
}

/** For half a megabyte, on a machine with much other work. */
const SETTLED_MS_MAX = 120_000;
/** A host may shake hands so often without a pause. */
const HANDSHAKES_PER_HOST = 12;

/** Throws when two daemons do not exchange all they were given. */
export async function sampleWire(place: Place, wanted: SampleWanted): Promise<WireSample> {
  const pair = await SessionPair.make(place, { relayed: true });
  const { alice, bob, relay } = pair;
  const hosts = Array.from(
    { length: Math.ceil(wanted.handshakes / HANDSHAKES_PER_HOST) },
    makeIdentity,
  );
  writeConfig(bob, {
    identity: pair.identities.bob.privateKey,
    peers: [
      {
        name: "alice",
        publicKey: pair.identities.alice.publicKey,
        port: pair.toAlice,
        secret: pair.secret,
      },
      ...hosts.map(({ publicKey }, n) => ({ name: `host${n}`, publicKey, port: 0, secret: "" })),
    ],
  });
  const kept: Passed[] = [];
  relay.kept = kept;
  await pair.start();
  const shaken: Buffer[] = [];
  for (const host of hosts) {
    const left = wanted.handshakes - shaken.length / 2;
    shaken.push(...(await shake(place, pair, host, Math.min(left, HANDSHAKES_PER_HOST))));
  }
  while (kept.length + shaken.length < wanted.datagrams) {
    // Content that is far from random: what shows through would show.
    const small = Array.from({ length: 100 }, (_, n) => ({ payload: `${n}`.padEnd(n * 10, "0") }));
    const toBob = sendAll(alice, "bob", [...small, { payload: new Uint8Array(400_000) }]);
    const toAlice = sendAll(bob, "alice", small);
    // Only the newest rows are looked at: the relay lives in this process, and must not wait.
    const isOpen = (daemon: TestDaemon, [first = 0]: readonly number[]): boolean =>
      daemon.count("outbound", `id >= ${first} AND state <> 'acknowledged'`) > 0;
    const isSettled = (): boolean => !isOpen(alice, toBob) && !isOpen(bob, toAlice);
    await until(isSettled, "all of it to be acknowledged", SETTLED_MS_MAX);
  }
  const datagrams = [...shaken, ...kept.map(({ bytes }) => bytes)];
  const seen = new Set<number>();
  const firsts = datagrams.filter((datagram) => {
    const id = datagram.readUInt32BE(0);
    return !seen.has(id) && seen.add(id) !== undefined;
  });
  return { datagrams, handshakes: shaken.length, firsts };
}

/** Handshakes of a host with bob, with the same cryptography, and what he answered. */
async function shake(
  place: Place,
  { identities, bob }: SessionPair,
  identity: Identity,
  times: number,
): Promise<readonly Buffer[]> {
  const { publicKey } = identities.bob;
  const rogue = await RoguePeer.make(place, { identity, publicKey, secret: "", port: bob.port });
  rogue.keepsAnswers = true;
  for (let n = 0; n < times; n++) await rogue.shake();
  return [...rogue.sent, ...rogue.answers];
}

/** As many random datagrams of the same lengths. */
export const randomLike = (datagrams: readonly Uint8Array[]): readonly Buffer[] =>
  datagrams.map(({ length }) => randomBytes(length));
