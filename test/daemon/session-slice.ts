// A slice of the simulator in real time: two daemons with their sockets, threads and files, and between
// them a relay that does what the simulator's network does, as a seed decides. Afterwards its invariants
// are asked of the tables. What a seed decides is the same each time; when it happens is the machine's.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as nap } from "node:timers/promises";
import { Prng } from "../simulator/prng.js";
import { LOOPBACK, type Place, type TestDaemon, until } from "./harness.js";
import { requireIntegrity } from "./ledger.js";
import type { Direction } from "./relay.js";
import { SessionPair, sendAll } from "./session-hosts.js";

const KIB = 1_024;
/** How long it goes badly, and how long what is left may take afterwards, ms. */
const TROUBLE_MS = 3_000;
const SETTLED_MS = 60_000;
const DEEDS = 5;
const BATCHES = 3;
const BATCH_MESSAGES = 14;
const STREAMS = ["one", "two"];
const KEPT_MAX = 400;
/** What came so shortly before a kill may lie in a socket that died unread. */
const UNREAD_MS = 400;
/** An answer to a stranger would come at once. */
const ANSWER_MS = 300;

const NAMES = ["alice", "bob"] as const;
type Name = (typeof NAMES)[number];
const other = (name: Name): Name => (name === "alice" ? "bob" : "alice");
const receiverOf = (direction: Direction): Name => (direction === "toBob" ? "bob" : "alice");
const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

export interface SliceReport {
  readonly messages: number;
  readonly datagrams: number;
  readonly lost: number;
  readonly doubled: number;
  readonly flipped: number;
  readonly deeds: readonly string[];
  readonly forged: number;
}

interface Sent {
  readonly digest: string;
  readonly stream: string | undefined;
  readonly place: number;
}

interface Kept {
  readonly bytes: Buffer;
  readonly direction: Direction;
  readonly at: number;
}

class Slice {
  readonly #pair: SessionPair;
  readonly #network: Prng;
  readonly #mail: Prng;
  readonly #deeds: Prng;
  /** By sender and message id. */
  readonly #sent: Readonly<Record<Name, Map<string, Sent>>> = { alice: new Map(), bob: new Map() };
  readonly #did: string[] = [];
  readonly #kept: Kept[] = [];
  /** Hosts whose daemon does not run, or is on its way up or down: nobody reads what comes to them. */
  readonly #down = new Set<Name>();
  #apartUntil = 0;
  #counts = { datagrams: 0, lost: 0, doubled: 0, flipped: 0 };

  constructor(pair: SessionPair, seed: number) {
    this.#pair = pair;
    this.#network = Prng.of(seed, "network");
    this.#mail = Prng.of(seed, "mail");
    this.#deeds = Prng.of(seed, "deeds");
  }

  report(forged: number): SliceReport {
    const messages = this.#sent.alice.size + this.#sent.bob.size;
    return { messages, ...this.#counts, deeds: this.#did, forged };
  }

  /** From here on the network does what it likes. */
  disturb(): void {
    const { relay } = this.#pair;
    const network = this.#network;
    const loss = network.pick([0, 0.03, 0.15]);
    const [double, flip, late] = [0.05, 0.02, 0.2].map((share) => share * network.uniform());
    relay.delayMs = () => (network.chance(late) ? network.between(1, 40) : 0);
    relay.passes = (datagram, direction) => {
      this.#counts.datagrams += 1;
      if (performance.now() < this.#apartUntil || network.chance(loss)) {
        this.#counts.lost += 1;
        return false;
      }
      const bytes = Buffer.from(datagram);
      if (network.chance(flip)) {
        this.#counts.flipped += 1;
        void relay.inject(flipped(bytes, network), direction);
        return false;
      }
      this.#keep({ bytes, direction, at: performance.now() });
      if (network.chance(double)) {
        this.#counts.doubled += 1;
        void relay.inject(bytes, direction);
      }
      return true;
    };
  }

  calm(): void {
    this.#pair.relay.passes = () => true;
    this.#pair.relay.delayMs = () => 0;
  }

  #keep(kept: Kept): void {
    if (this.#down.has(receiverOf(kept.direction))) return;
    this.#kept.push(kept);
    if (this.#kept.length > KEPT_MAX) this.#kept.shift();
  }

  // --- Mail ---------------------------------------------------------------------------------------

  send(): void {
    const mail = this.#mail;
    for (const name of NAMES) {
      const messages = Array.from({ length: BATCH_MESSAGES }, () => {
        const bytes = mail.chance(0.05)
          ? mail.between(257 * KIB, 500 * KIB)
          : mail.below(mail.pick([1, 200, 3 * KIB, 40 * KIB]));
        const drawn = Buffer.alloc(bytes);
        mail.fill(drawn);
        // Text and bytes are stored in ways of their own.
        const isText = mail.chance(0.5);
        const payload = isText ? drawn.toString("base64").slice(0, bytes) : drawn;
        const stream = mail.chance(0.3) ? mail.pick(STREAMS) : undefined;
        const id = Buffer.alloc(12);
        mail.fill(id);
        const priority = stream === undefined ? mail.below(4) : 1;
        return { messageId: id.toString("hex"), payload, stream, priority };
      });
      for (const { messageId, payload, stream } of messages) {
        const place = this.#sent[name].size;
        this.#sent[name].set(messageId, { digest: digestOf(Buffer.from(payload)), stream, place });
      }
      sendAll(
        this.#pair[name],
        other(name),
        messages.map(({ stream, ...rest }) => (stream === undefined ? rest : { ...rest, stream })),
      );
    }
  }

  // --- Deeds --------------------------------------------------------------------------------------

  /** Something happens to one of the hosts, or between them. */
  async deed(): Promise<void> {
    const deeds = this.#deeds;
    const name = deeds.pick(NAMES);
    const daemon = this.#pair[name];
    const kind = deeds.pick(["kill", "kill", "stop", "apart", "delete", "redrive"] as const);
    this.#did.push(`${kind} ${name}`);
    switch (kind) {
      case "kill":
        return this.#restart(name, () => daemon.kill());
      case "stop":
        return this.#restart(name, async () => {
          assert.equal(await daemon.stop(), 0, `${name} ends well`);
        });
      case "apart":
        this.#apartUntil = performance.now() + deeds.between(300, 1_500);
        return;
      case "delete":
        // Its owner does not want it any more, wherever it is on its way.
        daemon.write(() =>
          daemon.db
            .prepare(
              "DELETE FROM outbound_messages WHERE id = (SELECT max(id) FROM outbound_messages)",
            )
            .run(),
        );
        return;
      case "redrive":
        daemon.write(() =>
          daemon.db
            .prepare(
              `UPDATE outbound_messages SET state = 'pending' WHERE stream IS NULL AND id =
                 (SELECT min(id) FROM outbound_messages WHERE state = 'acknowledged')`,
            )
            .run(),
        );
    }
  }

  /** A copy of what nobody read would be news, whoever sends it: such are not kept. */
  async #restart(name: Name, end: () => Promise<unknown>): Promise<void> {
    const before = performance.now() - UNREAD_MS;
    while ((this.#kept.at(-1)?.at ?? 0) > before) this.#kept.pop();
    this.#down.add(name);
    await end();
    await this.#pair[name].start();
    this.#down.delete(name);
  }

  // --- What must be true --------------------------------------------------------------------------

  /** Copies of what was read, and copies with a bit changed, from an address that nobody knows. */
  async strange(stranger: Socket): Promise<number> {
    const answers: string[] = [];
    let sent = 0;
    let last = "";
    stranger.on("message", ({ length }, { port }) => {
      const from = NAMES.find((name) => this.#pair[name].port === port);
      answers.push(`${length} B from ${from} behind ${last}`);
    });
    for (const { bytes, direction, at } of this.#kept) {
      const { port } = this.#pair[receiverOf(direction)];
      const age = `${Math.round(performance.now() - at)} ms ago`;
      for (const datagram of [bytes, flipped(bytes, this.#network)]) {
        await new Promise((resolve) => stranger.send(datagram, port, LOOPBACK, resolve));
        sent += 1;
        last = `datagram ${sent}, ${bytes.length} B ${direction} of ${age}`;
      }
    }
    await nap(ANSWER_MS);
    assert.deepEqual(answers, [], "nothing is answered to a stranger");
    return sent;
  }

  check(): void {
    for (const name of NAMES) this.#checkReceiver(other(name), this.#sent[name], this.#pair[name]);
  }

  #checkReceiver(at: Name, sent: ReadonlyMap<string, Sent>, sender: TestDaemon): void {
    const receiver = this.#pair[at];
    const stored = receiver.inbound();
    const ids = new Set(stored.map(({ messageId }) => messageId));
    assert.equal(ids.size, stored.length, `${at} stores nothing twice`);
    const places = new Map<string, number>();
    for (const { messageId, payload } of stored) {
      const message = sent.get(messageId);
      assert.ok(message !== undefined, `${at} stores nothing that was not sent`);
      assert.equal(digestOf(payload), message.digest, `${at} stores ${messageId} as it was sent`);
      if (message.stream === undefined) continue;
      const before = places.get(message.stream) ?? -1;
      assert.ok(before < message.place, `stream ${message.stream} keeps its order at ${at}`);
      places.set(message.stream, message.place);
    }
    for (const { messageId, state } of sender.outbound()) {
      assert.equal(state, "acknowledged");
      assert.ok(ids.has(messageId), `${messageId} was acknowledged, and ${at} has it`);
    }
    requireIntegrity(receiver);
  }
}

/** One bit of it is another one. */
function flipped(bytes: Uint8Array, draws: Prng): Buffer {
  const copy = Buffer.from(bytes);
  const at = draws.below(copy.length);
  copy[at] = (copy[at] as number) ^ (1 << draws.below(8));
  return copy;
}

/** Plays a seed; throws when a promise is broken. */
export async function playSlice(place: Place, seed: number): Promise<SliceReport> {
  const pair = await (await SessionPair.make(place, { relayed: true })).start();
  const slice = new Slice(pair, seed);
  const stranger = createSocket("udp4");
  place.after(() => {
    stranger.close();
  });
  stranger.bind(0, LOOPBACK);
  await once(stranger, "listening");

  slice.disturb();
  for (let step = 0; step < DEEDS; step++) {
    if (step < BATCHES) slice.send();
    await nap(TROUBLE_MS / DEEDS);
    await slice.deed();
  }
  slice.calm();
  await pair.settled(SETTLED_MS);
  slice.check();

  const forged = await slice.strange(stranger);
  slice.send();
  await pair.settled(SETTLED_MS);
  slice.check();
  for (const name of NAMES) assert.equal(await pair[name].stop(), 0, `${name} ends well`);
  await until(() => !pair.alice.running && !pair.bob.running, "the end of both");
  return slice.report(forged);
}
