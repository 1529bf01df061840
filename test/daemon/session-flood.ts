// A daemon with two peers under hostile datagrams of both kinds: copies and mutations of true ones, from
// strangers and under a peer's address, and garbage that a peer with a true identity seals. The other
// peer must not notice.

import assert from "node:assert/strict";
import { setTimeout as nap } from "node:timers/promises";
import { ClassicPeer } from "./classic-peer.js";
import { makeSecret, type Place, TestDaemon, until } from "./harness.js";
import { HostileDatagrams } from "./hostile-datagrams.js";
import { requireIntegrity } from "./ledger.js";
import { RogueFrames } from "./rogue-frames.js";
import { RoguePeer } from "./rogue-peer.js";
import {
  CONFIG_NAME,
  makeIdentity,
  type PeerTable,
  sendAll,
  sumOf,
  writeConfig,
} from "./session-hosts.js";

export interface FloodOptions {
  readonly keyless: number;
  readonly keyed: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface FloodReport {
  readonly keyless: number;
  readonly keyed: number;
  /** Sessions of the rogue. */
  readonly handshakes: number;
  /** Datagrams that the daemon read: the kernel drops what it cannot keep up with. */
  readonly seen: number;
  /** Of the rogue's packets, those that a session took. */
  readonly opened: number;
  readonly growthBytes: number;
  readonly honestMs: readonly number[];
  readonly logLines: number;
  readonly seconds: number;
}

const BURST_DATAGRAMS = 50;
/** Packets of the rogue between two looks at what came back. */
const PACKETS_AT_ONCE = 8;
const SESSION_PACKETS_MAX = 200;
const WARM_UP_SHARE = 0.2;

/** Throws where a promise is broken. */
export async function flood(place: Place, options: FloodOptions): Promise<FloodReport> {
  const { random } = options;
  const { alice, bob, rogue } = await cast(place);
  const strangers = [
    await ClassicPeer.make(place, makeSecret(), bob.port),
    await ClassicPeer.make(place, makeSecret(), bob.port, "127.0.0.2"),
  ];
  const startedAt = performance.now();
  const honestMs: number[] = [];
  const honest = async (): Promise<void> => {
    const sentAt = performance.now();
    const [row = 0] = sendAll(alice, "bob", [{ payload: "honest", stream: "honest" }]);
    await until(() => alice.state(row) === "acknowledged", "an honest message");
    honestMs.push(performance.now() - sentAt);
  };
  await honest();
  const linesBefore = bob.log.length;

  await rogue.shake();
  await rogue.send(rogue.packet(Uint8Array.of(1)));
  const captured = [...rogue.sent];
  const hostile = new HostileDatagrams(captured, random);
  const every = Math.ceil(options.keyless / 10);
  for (let n = 0; n < options.keyless; n += BURST_DATAGRAMS) {
    await Promise.all(
      Array.from({ length: BURST_DATAGRAMS }, (_, i) => {
        const sender = random() < 0.3 ? rogue : strangers[i % 2];
        return sender?.send(hostile.next());
      }),
    );
    if (n % every < BURST_DATAGRAMS) await honest();
    if (n % (10 * BURST_DATAGRAMS) === 0) rogue.sent.length = 0;
  }
  const heard = strangers.map(({ received }) => received.length);
  assert.deepEqual(heard, [0, 0], "strangers hear nothing");

  rogue.keeps = false;
  const frames = new RogueFrames(random);
  let [inSession, warmBytes] = [SESSION_PACKETS_MAX, 0];
  const honestEvery = Math.ceil(options.keyed / 10);
  for (let n = 0; n < options.keyed; n++) {
    if (inSession >= SESSION_PACKETS_MAX || rogue.isClosed) {
      await rogue.shake();
      inSession = 0;
    }
    await rogue.send(rogue.packet(frames.next(), random() < 0.01 ? 3 : 0));
    inSession += 1;
    // Time to hear that the session is over: packets behind its end are nobody's.
    if (n % PACKETS_AT_ONCE === 0) await nap(1);
    if (n % honestEvery === 0) await honest();
    if (n === Math.floor(options.keyed * WARM_UP_SHARE)) warmBytes = bob.residentBytes;
  }
  await honest();
  const growthBytes = bob.residentBytes - warmBytes;
  assert.ok(bob.running, bob.said);
  const seconds = (performance.now() - startedAt) / 1_000;
  const logLines = bob.log.length - linesBefore;
  assert.deepEqual(
    bob.log.filter((line) => line.includes('"level":"error"')),
    [],
  );
  requireIntegrity(bob);
  assert.equal(await bob.stop(), 0);
  return {
    keyless: options.keyless,
    keyed: options.keyed,
    handshakes: rogue.handshakes,
    seen: sumOf(bob, "datagrams_received"),
    opened: sumOf(bob, "packets_opened"),
    growthBytes,
    honestMs,
    logLines,
    seconds,
  };
}

/** A daemon, an honest peer of it and another one, which is no daemon. */
async function cast(place: Place) {
  const identities = { alice: makeIdentity(), bob: makeIdentity(), rogue: makeIdentity() };
  const make = (name: string): Promise<TestDaemon> =>
    TestDaemon.make(place, {
      name,
      secret: "",
      secretInEnvironment: false,
      flags: ["--config", CONFIG_NAME],
    });
  const [alice, bob] = [await make("alice"), await make("bob")];
  const secret = makeSecret();
  const table = (name: "alice" | "bob" | "rogue", port: number): PeerTable => ({
    name,
    publicKey: identities[name].publicKey,
    port,
    secret: name === "rogue" ? "" : secret,
  });
  writeConfig(alice, { identity: identities.alice.privateKey, peers: [table("bob", bob.port)] });
  writeConfig(bob, {
    identity: identities.bob.privateKey,
    peers: [table("alice", alice.port), table("rogue", 0)],
  });
  await Promise.all([alice.start(), bob.start()]);
  const rogue = await RoguePeer.make(place, {
    identity: identities.rogue,
    publicKey: identities.bob.publicKey,
    secret: "",
    port: bob.port,
  });
  return { alice, bob, rogue };
}
