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
  /** The most that partial messages held at once. */
  readonly reassemblyBytes: number;
  readonly honestMs: readonly number[];
  readonly logLines: number;
  readonly seconds: number;
}

const BURST_DATAGRAMS = 50;
/** So many packets for each identity that is hostile: behind a fault its daemon takes none of it. */
const PACKETS_PER_ROGUE = 20;
/** Packets of a rogue between two looks at what came back. */
const PACKETS_AT_ONCE = 8;
const SESSION_PACKETS_MAX = 40;
const WARM_UP_SHARE = 0.2;

/** Throws where a promise is broken. */
export async function flood(place: Place, options: FloodOptions): Promise<FloodReport> {
  const { random } = options;
  const crewMax = Math.min(1_024, Math.ceil(options.keyed / PACKETS_PER_ROGUE));
  const { alice, bob, crew } = await cast(place, crewMax);
  let rogue = await crew.next();
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

  crew.keeps = false;
  rogue.keeps = false;
  const frames = new RogueFrames(random);
  let [inSession, warmBytes] = [SESSION_PACKETS_MAX, 0];
  const honestEvery = Math.ceil(options.keyed / 10);
  for (let n = 0; n < options.keyed; n++) {
    if (inSession >= SESSION_PACKETS_MAX || rogue.isClosed) {
      // Its daemon may have closed the session long ago, in a packet that was lost.
      rogue = await crew.next();
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
    handshakes: crew.handshakes,
    seen: sumOf(bob, "datagrams_received"),
    opened: sumOf(bob, "packets_opened"),
    growthBytes,
    reassemblyBytes: sumOf(bob, "reassembly_bytes_peak"),
    honestMs,
    logLines,
    seconds,
  };
}

/** Rogues that take turns, each made when it is needed; in a later round under another boot. */
class Crew {
  readonly #make: (index: number) => Promise<RoguePeer>;
  readonly #size: number;
  readonly #made: RoguePeer[] = [];
  #turn = 0;
  keeps = true;

  constructor(size: number, make: (index: number) => Promise<RoguePeer>) {
    this.#size = size;
    this.#make = make;
  }

  get handshakes(): number {
    return this.#made.reduce((sum, rogue) => sum + rogue.handshakes, 0);
  }

  async next(): Promise<RoguePeer> {
    const index = this.#turn % this.#size;
    const known = this.#made[index];
    this.#turn += 1;
    known?.restart();
    const rogue = known ?? (await this.#make(index));
    rogue.keeps = this.keeps;
    this.#made[index] = rogue;
    return rogue;
  }
}

/** A daemon, an honest peer of it, and others, which are no daemons. */
async function cast(place: Place, crewMax: number) {
  const identities = { alice: makeIdentity(), bob: makeIdentity() };
  const rogues = Array.from({ length: crewMax }, () => makeIdentity());
  const make = (name: string): Promise<TestDaemon> =>
    TestDaemon.make(place, {
      name,
      secret: "",
      secretInEnvironment: false,
      flags: ["--config", CONFIG_NAME],
    });
  const [alice, bob] = [await make("alice"), await make("bob")];
  const secret = makeSecret();
  const table = (name: "alice" | "bob", port: number): PeerTable => ({
    name,
    publicKey: identities[name].publicKey,
    port,
    secret,
  });
  writeConfig(alice, { identity: identities.alice.privateKey, peers: [table("bob", bob.port)] });
  writeConfig(bob, {
    identity: identities.bob.privateKey,
    peers: [
      table("alice", alice.port),
      ...rogues.map(({ publicKey }, i) => ({ name: `rogue${i}`, publicKey, port: 0, secret: "" })),
    ],
  });
  await Promise.all([alice.start(), bob.start()]);
  const crew = new Crew(crewMax, (index) =>
    RoguePeer.make(place, {
      identity: rogues[index] as (typeof rogues)[number],
      publicKey: identities.bob.publicKey,
      secret: "",
      port: bob.port,
    }),
  );
  return { alice, bob, crew };
}
