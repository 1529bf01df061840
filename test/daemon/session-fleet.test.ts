// A fleet of three hosts moves from classic to sessions host by host, with mail in all six directions
// all the while. Between each two of them is a relay that records, and later replays and forges.

import assert from "node:assert/strict";
import { test } from "node:test";
import { messageBody, open, seal } from "./classic-peer.js";
import { makeId, makeSecret, Place, TestDaemon, until } from "./harness.js";
import { type Direction, Relay } from "./relay.js";
import { reload } from "./session-commands.js";
import {
  CONFIG_NAME,
  type Identity,
  makeIdentity,
  type PeerTable,
  sumOf,
  writeConfig,
} from "./session-hosts.js";

const NAMES = ["alice", "bob", "carol"] as const;
type Name = (typeof NAMES)[number];
type Mode = "classic" | "auto" | "session";

interface Road {
  readonly low: Name;
  readonly high: Name;
  readonly relay: Relay;
  readonly secret: string;
}

class Fleet {
  readonly daemons: Readonly<Record<Name, TestDaemon>>;
  readonly roads: readonly Road[];
  readonly #identities: Readonly<Record<Name, Identity>>;
  readonly modes: Record<Name, Mode> = { alice: "classic", bob: "classic", carol: "classic" };
  #sent = 0;

  private constructor(daemons: Fleet["daemons"], roads: readonly Road[]) {
    this.daemons = daemons;
    this.roads = roads;
    this.#identities = { alice: makeIdentity(), bob: makeIdentity(), carol: makeIdentity() };
  }

  static async make(place: Place): Promise<Fleet> {
    const make = (name: Name): Promise<TestDaemon> =>
      TestDaemon.make(place, {
        name,
        secret: "",
        secretInEnvironment: false,
        flags: ["--config", CONFIG_NAME],
      });
    const daemons = {
      alice: await make("alice"),
      bob: await make("bob"),
      carol: await make("carol"),
    };
    const roads: Road[] = [];
    for (const [low, high] of [
      ["alice", "bob"],
      ["bob", "carol"],
      ["alice", "carol"],
    ] as const) {
      const relay = await Relay.make(place, daemons[low].port, daemons[high].port);
      roads.push({ low, high, relay, secret: makeSecret() });
    }
    return new Fleet(daemons, roads);
  }

  /** A host in classic has no keys of the others yet; they may have its own already. */
  configure(name: Name, mode: Mode): void {
    this.modes[name] = mode;
    const peers = NAMES.filter((other) => other !== name).map((other): PeerTable => {
      const { low, relay, secret } = this.road(name, other);
      const port = low === name ? relay.toBob : relay.toAlice;
      const publicKey = mode === "classic" ? "" : this.#identities[other].publicKey;
      return { name: other, publicKey, port, secret, more: `mode = "${mode}"` };
    });
    writeConfig(this.daemons[name], { identity: this.#identities[name].privateKey, peers });
  }

  road(one: Name, other: Name): Road {
    const road = this.roads.find(
      ({ low, high }) => (low === one && high === other) || (low === other && high === one),
    );
    assert.ok(road !== undefined);
    return road;
  }

  /** From each host to each other one. */
  send(count: number): void {
    for (const from of NAMES) {
      for (const to of NAMES.filter((name) => name !== from)) {
        const { low, relay } = this.road(from, to);
        const port = low === from ? relay.toBob : relay.toAlice;
        const texts = Array.from({ length: count }, (_, n) =>
          JSON.stringify({ from, n: this.#sent + n }),
        );
        this.daemons[from].write(() => {
          for (const text of texts) this.daemons[from].insert(port, text);
        });
      }
    }
    this.#sent += count;
  }

  /** All that was sent is acknowledged, and stored once where it was to go. */
  async arrived(): Promise<void> {
    await Promise.all(NAMES.map((name) => this.daemons[name].settled(60_000)));
    for (const to of NAMES) {
      const stored = this.daemons[to].inbound().map(({ payload }) => {
        const { from, n } = JSON.parse(payload.toString()) as { from: string; n: number };
        return `${from} ${n}`;
      });
      const sent = NAMES.filter((from) => from !== to).flatMap((from) =>
        Array.from({ length: this.#sent }, (_, n) => `${from} ${n}`),
      );
      assert.deepEqual(stored.toSorted(), sent.toSorted());
    }
  }

  /** Each pair of which both hosts may speak sessions does so, and knows that for ever. */
  async moved(): Promise<void> {
    for (const { low, high } of this.roads) {
      if (this.modes[low] === "classic" || this.modes[high] === "classic") continue;
      for (const [at, peer] of [
        [low, high],
        [high, low],
      ] as const) {
        await until(() => this.sessionSince(at, peer) !== null, `${at} to speak with ${peer}`);
      }
    }
  }

  sessionSince(at: Name, peer: Name): unknown {
    const sql = "SELECT session_since FROM peers WHERE name = ?";
    return this.daemons[at].db.prepare(sql).pluck().get(peer) ?? null;
  }

  /** What passed between hosts that moved, and was sealed with their secret of classic. */
  get classicDatagrams(): number {
    return this.roads
      .map(({ relay, secret }) => classicOf(relay, secret).length)
      .reduce((all, each) => all + each, 0);
  }

  async quiet(): Promise<void> {
    for (const { relay } of this.roads) await relay.quiet();
  }
}

const classicOf = ({ kept = [] }: Relay, secret: string) =>
  kept.filter(({ bytes }) => open(secret, bytes) !== undefined);

/** Every classic datagram of the past once more, both ways, and new ones that the secret seals. */
async function attack(fleet: Fleet): Promise<number> {
  let sent = 0;
  for (const { relay, secret, low } of fleet.roads) {
    const past = classicOf(relay, secret);
    assert.ok(past.length > 0, `classic was spoken with ${low}`);
    relay.kept = [];
    for (const { bytes, direction } of past.slice(-200)) {
      await relay.inject(bytes, direction);
      await relay.inject(bytes, direction === "toBob" ? "toAlice" : "toBob");
      sent += 2;
    }
    for (const direction of ["toAlice", "toBob"] satisfies Direction[]) {
      const ack = Buffer.from(JSON.stringify({ type: "ACK", message_id: makeId() }));
      for (const body of [messageBody(makeId(), "forged"), ack]) {
        await relay.inject(seal(secret, body), direction);
        sent += 1;
      }
    }
  }
  return sent;
}

test("three hosts move to sessions one by one; nothing is lost or doubled, nor goes back", async (t) => {
  const fleet = await Fleet.make(new Place(t));
  for (const name of NAMES) fleet.configure(name, "classic");
  for (const { relay } of fleet.roads) relay.kept = [];
  await Promise.all(NAMES.map((name) => fleet.daemons[name].start()));
  fleet.send(20);
  await fleet.arrived();

  for (const name of NAMES) {
    fleet.send(30);
    fleet.configure(name, "auto");
    await reload(fleet.daemons[name]);
    fleet.send(30);
    await fleet.moved();
    fleet.send(10);
  }
  await fleet.arrived();
  const bySession = (name: Name): number =>
    fleet.daemons[name].count("inbound", "boot IS NOT NULL");
  for (const name of NAMES) assert.ok(bySession(name) > 0, `${name} got mail in sessions`);
  await fleet.quiet();

  const injected = await attack(fleet);
  await fleet.quiet();
  fleet.send(10);
  await fleet.arrived();
  assert.equal(fleet.classicDatagrams, 0, "no answer by classic, and no mail");
  for (const { low, high } of fleet.roads) {
    assert.notEqual(fleet.sessionSince(low, high), null);
    assert.notEqual(fleet.sessionSince(high, low), null);
  }

  for (const name of NAMES) {
    fleet.send(20);
    fleet.configure(name, "session");
    await (name === "bob" ? fleet.daemons[name].kill() : reload(fleet.daemons[name]));
    if (name === "bob") await fleet.daemons[name].start();
    fleet.send(20);
  }
  await fleet.arrived();
  assert.equal(fleet.classicDatagrams, 0);
  await Promise.all(NAMES.map((name) => fleet.daemons[name].stop()));
  const refused = NAMES.map((name) => sumOf(fleet.daemons[name], "drop_classic_ended"));
  const all = refused.reduce((sum, each) => sum + each, 0);
  // Also of honest ones: what was on its way by classic while its receiver moved.
  assert.ok(all > 0, `${refused.join()} of ${injected} forged datagrams were refused`);
});
