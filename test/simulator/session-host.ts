// A daemon that speaks sessions as a process of the simulator: the real layer, sink and slabs, and around
// them in few lines what sessions.ts, scheduler.ts and store.ts of src/main do.

import assert from "node:assert/strict";
import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../../src/shared/base/units.js";
import type { FrameSinks } from "../../src/shared/protocol/session/frame-handler.js";
import { PACKET_HEADER_BYTES } from "../../src/shared/protocol/session/packet.js";
import type { SpeakingPeerConfig } from "../../src/shared/protocol/session/peer-surroundings.js";
import type { PeerEntry } from "../../src/shared/protocol/session/peer-table.js";
import {
  DELIVERED,
  type DeliverySink,
  type MessageDelivery,
  NO_KEY_SLOT,
  type PieceDelivery,
} from "../../src/shared/protocol/session/ports.js";
import { type PeerStamps, SessionLayer } from "../../src/shared/protocol/session/session-layer.js";
import { type Settlement, SettlementQueue } from "../../src/shared/protocol/settlement.js";
import { DELIVERY_KIND, DeliveryBatchReader } from "../../src/shared/runtime/delivery-batch.js";
import { DeliveryLanes } from "../../src/shared/runtime/delivery-lanes.js";
import type { StoreResult } from "../../src/shared/runtime/messages.js";
import { OutboundBatchReader } from "../../src/shared/runtime/outbound-batch.js";
import { SessionSink } from "../../src/shared/runtime/session-sink.js";
import {
  handshakeResult,
  SESSION_JOB,
  SESSION_OUTCOME,
  SESSION_WORD,
  SessionCursor,
} from "../../src/shared/runtime/session-slab.js";
import { wordOf } from "../../src/shared/runtime/slab.js";
import type { Birth, HostInput, Manner, SimProcess } from "./host.js";
import { mangle } from "./mangle.js";
import { addressOf, PORT_OF_HOSTS } from "./network.js";
import type { HostPlants } from "./plants.js";
import { Prng } from "./prng.js";
import { SessionOracle } from "./session-oracle.js";
import { giveBack, type Slab, SlabDesk } from "./slabs.js";
import type { SessionCrypto } from "./symbolic-session.js";

/** Records that wait in the two lanes, at most. */
const DELIVERY_ROWS_MAX = 8_192 + 8 * 2_048;
const LEASE_ROWS_MAX = 512;
const LEASE_BYTES_MAX = 1_024 * 1_024;
const PAUSE_NS = 250 * NS_PER_MS;

/** A peer as one host has it. */
export interface SimPeer {
  readonly identity: number;
  /** Public key in base64. */
  readonly key: string;
  readonly config: SpeakingPeerConfig;
  /** Of the hints on its datagrams. */
  readonly hintKeys: readonly Uint8Array[];
}

export interface SessionHostOptions {
  readonly ownPublicKey: Uint8Array;
  readonly peers: readonly SimPeer[];
  readonly crypto: SessionCrypto;
  readonly draws: Prng;
  readonly plants: HostPlants;
  readonly creditMessages: number;
  readonly creditBytes: number;
}

export class SessionHost implements SimProcess, DeliverySink {
  readonly drops: Record<string, number> = {};
  readonly layer: SessionLayer;
  readonly #birth: Birth;
  readonly #options: SessionHostOptions;
  readonly #settlements = new SettlementQueue();
  readonly #desk = new SlabDesk();
  readonly #sink = new SessionSink(this.#desk);
  readonly #sinks: FrameSinks = { delivery: this, handshake: this.#sink };
  readonly #deliveries: DeliveryLanes;
  readonly #peerOfKey: ReadonlyMap<string, number>;
  readonly #limits: number[] = [];
  readonly #oracle: SessionOracle;
  #delivering = false;
  #settling: Settlement | undefined;
  #settleAgain: Settlement | undefined;
  /** At the store, in their order. */
  readonly #stamping: PeerStamps[] = [];
  #stampsAgain: PeerStamps[] = [];
  #confirmAgain: number[] = [];
  #full = false;
  #now: Nanoseconds;
  #wallNs: number;
  /** Packets that are written otherwise than an honest host would. */
  #mangling = 0;
  #manner: Manner = "flip";
  #mangles: Prng | undefined;
  #pausedUntil: Nanoseconds = nanoseconds(0);
  #busy = false;

  constructor(birth: Birth, options: SessionHostOptions) {
    this.#birth = birth;
    this.#options = options;
    this.#now = birth.now;
    this.#wallNs = birth.wallNs;
    const { peers, draws, ownPublicKey } = options;
    this.#peerOfKey = new Map(peers.map(({ key }, peer) => [key, peer]));
    this.#deliveries = new DeliveryLanes((peer) => (peers[peer] as SimPeer).key);
    this.layer = new SessionLayer({
      now: birth.now,
      random: (into) => draws.fill(into),
      uniform: draws.uniform,
      settlements: this.#settlements,
      ownPublicKey,
      peers: peers.map(({ key, config }) => ({
        config,
        stamps: birth.stamps.get(key) ?? { sent: 0n, accepted: 0n },
        rotation: undefined,
        spools: birth.spools
          .filter(({ scope }) => scope === key)
          .map(({ messageId, digest16, total, boot, synced }) => ({
            peer: key,
            messageId: Uint8Array.from(Buffer.from(messageId, "hex")),
            digest16: Uint8Array.from(Buffer.from(digest16, "hex")),
            total,
            boot,
            ranges: synced,
          })),
      })),
      events: { onReport: (sentence) => this.#count(sentence) },
    });
    this.layer.handleHintKeys(peers.map(({ hintKeys }) => hintKeys));
    peers.forEach(({ identity }, peer) => {
      this.layer.handlePlaces(birth.now, peer, [
        { address: addressOf(identity), port: PORT_OF_HOSTS },
      ]);
    });
    if (birth.spools.length > 0) birth.outputs.happened("spool file left");
    this.#oracle = new SessionOracle(birth, this.layer, options);
    birth.outputs.job({ kind: "peers", peers: peers.map(entryOf) });
    this.#lease();
  }

  get overfull(): string | undefined {
    const rows = this.#deliveries.rowsOf("messages") + this.#deliveries.rowsOf("pieces");
    if (rows > DELIVERY_ROWS_MAX) return "too many records for the store";
    return this.#oracle.overfull;
  }

  handle(input: HostInput, now: Nanoseconds, wallNs: number): void {
    this.#now = now;
    this.#wallNs = wallNs;
    this.#busy = input.kind !== "timer";
    switch (input.kind) {
      case "datagram": {
        const { bytes, address, port } = input;
        const { layer } = this;
        const sink = this.#sink;
        this.#count(layer.handleDatagram(now, bytes, address, port, sink, sink));
        this.#oracle.arrived();
        break;
      }
      case "result":
        this.#result(input.result, wallNs);
        break;
      case "worked":
        this.#worked(now, wallNs);
        break;
      case "mangle":
        this.#mangling = input.packets;
        this.#manner = input.manner;
        this.#mangles = Prng.of(input.word, "mangling");
        break;
      case "timer":
        break;
    }
    this.#pump(now, wallNs);
    this.#oracle.numbers();
    this.#oracle.idleness(this.#busy, this.deadline(now), now);
  }

  deadline(now: Nanoseconds): number {
    const waits =
      this.#stampsAgain.length + this.#confirmAgain.length > 0 ||
      this.#settleAgain !== undefined ||
      (!this.#deliveries.isEmpty && !this.#delivering) ||
      (this.#settling === undefined && this.#settlements.size > 0) ||
      this.#full;
    const pause = waits && this.#pausedUntil > now ? this.#pausedUntil : Number.POSITIVE_INFINITY;
    return Math.min(pause, this.layer.pollDeadline());
  }

  /** What its sessions have to say at the end still leaves. */
  stop(): [] {
    this.layer.stop(this.#now);
    do this.#pump(this.#now, this.#wallNs);
    while (this.#worked(this.#now, this.#wallNs));
    return [];
  }

  discard(): void {
    this.#desk.discard();
    this.#options.crypto.free();
  }

  #pump(now: Nanoseconds, wallNs: number): void {
    const { layer } = this;
    const { outputs } = this.#birth;
    layer.handleTimeout(now, wallNs, this.#sink);
    while (layer.pollSeal(now, wallNs, this.#sink));
    this.#sink.flush();
    const work = this.#desk.flush();
    if (work !== undefined) {
      this.#busy = true;
      outputs.work(work, "sealing");
    }
    for (let stamps = layer.pollStamp(); stamps !== undefined; stamps = layer.pollStamp()) {
      this.#stamp(stamps);
    }
    for (let read = layer.pollRead(); read !== undefined; read = layer.pollRead()) {
      this.#busy = true;
      outputs.job({ kind: "payload", ...read });
    }
    for (let peer = layer.pollConfirmed(); peer !== undefined; peer = layer.pollConfirmed()) {
      this.#confirm(peer);
    }
    if (now >= this.#pausedUntil) this.#write();
    this.#announceLimits();
  }

  // --- Crypto -------------------------------------------------------------------------------------

  /** False: no slab was away. */
  #worked(now: Nanoseconds, wallNs: number): boolean {
    const slab = this.#desk.takeFirst();
    if (slab === undefined) return false;
    const { table, routes } = slab;
    const cursor = new SessionCursor(table, routes);
    for (let index = 0; index < table.entries; index++) {
      this.#work(slab, index);
      this.#visit(slab, cursor.move(table, routes, index), index, now, wallNs);
    }
    giveBack(slab);
    return true;
  }

  /** Lets the worker do one job, and looks at what it did. */
  #work({ table }: Slab, index: number): void {
    const { crypto } = this.#options;
    const { words } = table;
    const word = wordOf(index);
    const job = words[word];
    const keySlot = words[word + SESSION_WORD.keySlot];
    const open = crypto.open;
    if (job === SESSION_JOB.sealPacket && this.#mangling > 0 && this.#mangles !== undefined) {
      this.#mangling -= 1;
      const at = words[word + SESSION_WORD.at] + PACKET_HEADER_BYTES;
      const frames = table.bytes.subarray(at, at + words[word + SESSION_WORD.length]);
      mangle(frames, this.#manner, this.#mangles, this.layer);
    }
    crypto.run(table, word);
    const outcome = words[word];
    if (outcome === SESSION_OUTCOME.sealedPacket) {
      const counter = words[word + SESSION_WORD.high] * 2 ** 32 + words[word + SESSION_WORD.low];
      this.#oracle.sealed(keySlot, counter);
    }
    const reads = job === SESSION_JOB.readDatagram || job === SESSION_JOB.readRekey;
    this.#oracle.worked(outcome, keySlot, reads, open);
  }

  #visit(
    { table, routes }: Slab,
    packet: SessionCursor,
    index: number,
    now: Nanoseconds,
    wallNs: number,
  ): void {
    const { outputs } = this.#birth;
    switch (table.codeOf(index)) {
      case SESSION_OUTCOME.sealedPacket: {
        const { bytes, at, length, address, port } = packet;
        if (!this.layer.handleSealed(packet)) return;
        outputs.transmit(bytes.slice(at, at + length), false, address, port);
        return;
      }
      case SESSION_OUTCOME.openedPacket:
        return this.#opened(packet, now, wallNs);
      case SESSION_OUTCOME.refusedPacket:
        this.#count("not_authentic");
        return this.layer.handleRefused(now, packet.tag);
      case SESSION_OUTCOME.unopenedPacket:
      case SESSION_OUTCOME.unsealedPacket:
        this.#count("no_key");
        return;
      case SESSION_OUTCOME.forgotten:
        return;
      default: {
        const result = handshakeResult(table, routes, index);
        const isRekey = result.parentKeySlot !== NO_KEY_SLOT;
        if (isRekey && result.kind === "completed") outputs.happened("rekey");
        if (!this.layer.handleHandshake(now, wallNs, result, this.#sink)) return;
        if (isRekey) return;
        outputs.transmit(result.message, false, result.address, result.port);
      }
    }
  }

  #opened(packet: SessionCursor, now: Nanoseconds, wallNs: number): void {
    const { keySlot, counterHigh, counterLow } = packet;
    const counter = counterHigh * 2 ** 32 + counterLow;
    const key = this.#options.crypto.keyName(keySlot, false) ?? "";
    this.#oracle.opened(keySlot);
    const dropped = this.layer.handleOpened(now, wallNs, packet, this.#sinks);
    this.#count(dropped);
    if (dropped === undefined) this.#oracle.taken(key, counter);
  }

  #count(dropped: string | undefined): void {
    if (dropped !== undefined) this.drops[dropped] = (this.drops[dropped] ?? 0) + 1;
  }

  // --- DeliverySink ---------------------------------------------------------------------------------

  get accepting(): boolean {
    return !this.#full || this.#now >= this.#pausedUntil;
  }
  message(delivery: MessageDelivery): boolean {
    return this.accepting && this.#deliveries.message(delivery);
  }
  piece(delivery: PieceDelivery): boolean {
    return this.accepting && this.#deliveries.piece(delivery);
  }
  settled(peer: number, boot: Uint8Array, below: number): boolean {
    return this.#deliveries.settled(peer, boot, below);
  }
  drop(peer: number, messageId: Uint8Array): boolean {
    return this.#deliveries.drop(peer, messageId);
  }

  // --- Store --------------------------------------------------------------------------------------

  #lease(): void {
    this.#birth.outputs.job({
      kind: "lease",
      rowsMax: LEASE_ROWS_MAX,
      bytesMax: LEASE_BYTES_MAX,
      again: { rowIds: new Float64Array(0), tickets: new Uint32Array(0) },
    });
  }

  #stamp(order: PeerStamps): void {
    const { peer, sent, accepted } = order;
    this.#busy = true;
    this.#stamping.push(order);
    const { key } = this.#options.peers[peer] as SimPeer;
    this.#birth.outputs.job({ kind: "stamp", peer: key, sent, accepted });
  }
  #confirm(peer: number): void {
    this.#busy = true;
    const { key } = this.#options.peers[peer] as SimPeer;
    this.#birth.outputs.job({ kind: "confirm", peer: key });
  }

  #announceLimits(): void {
    const { layer } = this;
    for (let peer = layer.pollLimit(); peer !== undefined; peer = layer.pollLimit()) {
      const rowsMax = layer.peers[peer]?.rowsMax ?? 0;
      if (rowsMax === this.#limits[peer]) continue;
      this.#limits[peer] = rowsMax;
      const address = addressOf((this.#options.peers[peer] as SimPeer).identity);
      this.#birth.outputs.job({ kind: "limit", address, port: PORT_OF_HOSTS, rowsMax });
    }
    this.#oracle.limits(this.#limits);
  }

  #write(): void {
    const { outputs } = this.#birth;
    for (const stamps of this.#stampsAgain.splice(0)) this.#stamp(stamps);
    for (const peer of this.#confirmAgain.splice(0)) this.#confirm(peer);
    const lanes = this.#deliveries;
    const lane = this.#delivering ? undefined : lanes.turns.find((each) => lanes.mayGo(each));
    if (lane !== undefined) {
      this.#busy = true;
      this.#delivering = true;
      outputs.job({ kind: "deliver", batch: lanes.take(lane) });
    }
    if (this.#settling !== undefined) return;
    let settlement = this.#settleAgain;
    this.#settleAgain = undefined;
    if (settlement === undefined && this.#settlements.size > 0) {
      settlement = this.#settlements.take();
      this.layer.handleTaken();
    }
    if (settlement === undefined) return;
    this.#busy = true;
    this.#settling = settlement;
    outputs.job({ kind: "settle", settlement });
  }

  #result(result: StoreResult, wallNs: number): void {
    switch (result.kind) {
      case "leased":
        this.#leased(new OutboundBatchReader(result.batch), wallNs);
        return this.#lease();
      case "delivered":
        return this.#delivered(result);
      case "stamped": {
        const stamps = this.#stamping.shift() as PeerStamps;
        if (result.failure === undefined) this.layer.handleStamped(this.#now, stamps, this.#sink);
        else {
          this.#pause();
          this.#stampsAgain.push(stamps);
        }
        return;
      }
      case "confirmed":
        if (result.failure === undefined) return;
        this.#pause();
        this.#confirmAgain.push(this.#peerOfKey.get(result.peer) as number);
        return;
      case "read":
        return this.layer.handleRead(this.#now, result.tag, result.offset, result.bytes);
      case "settled":
        this.#settling = undefined;
        this.#full = false;
        return this.layer.handleCommitted(this.#now);
      case "failed":
        assert.equal(result.job, "settle");
        this.#full = result.code === "full";
        this.#pause();
        this.#settleAgain = this.#options.plants.dropsFailedSettlements
          ? undefined
          : this.#settling;
        this.#settling = undefined;
        return;
      default:
        assert.fail(`the session host gets no result ${result.kind}`);
    }
  }

  #leased(rows: OutboundBatchReader, wallNs: number): void {
    while (rows.next()) {
      const peer = this.#peerOfKey.get(rows.destination.peer ?? "");
      if (peer !== undefined) this.layer.handleRow(this.#now, wallNs, peer, rows);
    }
  }

  #delivered({ batch, failure }: Extract<StoreResult, { kind: "delivered" }>): void {
    this.#delivering = false;
    this.#full = failure === "full";
    if (failure !== undefined) this.#pause();
    const records = new DeliveryBatchReader(batch);
    while (records.next()) {
      const { kind, outcome } = records;
      if (kind !== DELIVERY_KIND.message && kind !== DELIVERY_KIND.piece) continue;
      const failed = outcome === DELIVERED.busy || outcome === DELIVERED.full;
      if (failed && this.#options.plants.acknowledgesFailedBatches) {
        records.outcome = DELIVERED.inserted;
      }
      if (outcome === DELIVERED.quota) this.#birth.outputs.happened("over quota");
      this.layer.handleDelivered(records, this);
    }
    this.layer.handleRoom(this);
  }

  #pause(): void {
    this.#pausedUntil = nanoseconds(this.#now + PAUSE_NS);
  }
}

const entryOf = ({ key, config, identity }: SimPeer): PeerEntry => ({
  name: config.name,
  publicKey: key,
  mode: "session",
  addresses: [{ address: addressOf(identity), port: undefined }],
  sessionSince: true,
});
