// Hosts of the session core in virtual time, each a peer of all others, with symbolic cryptography (what
// was sealed is found again by its exact bytes, and by nothing else), a network that the test rules, and
// a store that dedupes by message id and answers after a delay. No packet may leave under a key of which
// the store does not know that the peer holds it.

import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../../../src/shared/base/units.js";
import { putWordBig } from "../../../src/shared/protocol/session/byte-order.js";
import type { FrameSinks } from "../../../src/shared/protocol/session/frame-handler.js";
import {
  PACKET_HEADER_BYTES,
  putPacketHeader,
} from "../../../src/shared/protocol/session/packet.js";
import {
  KEY_ROLE_NAMES,
  type KeyRoleName,
} from "../../../src/shared/protocol/session/peer-config.js";
import type { LayerPeer } from "../../../src/shared/protocol/session/peer-surroundings.js";
import {
  DELIVERED,
  type DeliveredRecord,
  type DeliverySink,
  type HandshakeSink,
  KEY_ROLE,
  type KeyRole,
  type MessageDelivery,
  NO_KEY_SLOT,
  type PacketOpenSink,
  type PacketSink,
  type PieceDelivery,
  type SessionRow,
} from "../../../src/shared/protocol/session/ports.js";
import {
  factsOf,
  parseRotation,
  type RingNames,
  type RotationState,
} from "../../../src/shared/protocol/session/rotation.js";
import { SessionLayer } from "../../../src/shared/protocol/session/session-layer.js";
import { SipHash } from "../../../src/shared/protocol/session/siphash.js";
import { SettlementQueue } from "../../../src/shared/protocol/settlement.js";

import {
  digestOf,
  FIRST_RING,
  type GivenResult,
  type Greeting,
  hex,
  hintOf,
  hostOf,
  keyIdOf,
  type Order,
  peerConfig,
  publicKeyOf,
  Random,
  resultOf,
  type Sealed,
  type Stored,
  type WaitingRow,
  type WorldOptions,
} from "./layer-parts.js";

export class LayerWorld {
  readonly random: Random;
  readonly hosts: readonly [LayerHost, LayerHost, ...LayerHost[]];
  readonly sealed = new Map<string, Sealed>();
  readonly greetings = new Map<string, Greeting>();
  readonly options: WorldOptions;
  now = 0;
  datagrams = 0;
  /** Sorted, soonest last. */
  #events: { at: number; order: number; run: () => void }[] = [];
  #order = 0;

  constructor(options: WorldOptions) {
    this.options = options;
    this.random = new Random(options.seed);
    const others = Array.from({ length: (options.hosts ?? 2) - 2 }, (_, i) => i + 2);
    this.hosts = [
      new LayerHost(this, 0),
      new LayerHost(this, 1),
      ...others.map((index) => new LayerHost(this, index)),
    ];
  }

  get count(): number {
    return this.options.hosts ?? 2;
  }

  after(delayMs: number, run: () => void): void {
    this.#order += 1;
    const at = this.now + delayMs * NS_PER_MS;
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#events[middle] as { at: number };
      if (other.at > at) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, { at, order: this.#order, run });
  }

  /** Every datagram that ever left a host, for who records them. */
  readonly record: { readonly from: number; readonly datagram: Uint8Array }[] = [];

  /** From where a host says that it is, to an address. */
  transmit(from: number, datagram: Uint8Array, source: string, address: string): void {
    this.datagrams += 1;
    if (!(this.hosts[from] as LayerHost).up) return;
    this.record.push({ from, datagram: datagram.slice() });
    const delays = this.options.network?.(this.random, datagram.length) ?? [1];
    for (const delay of delays) {
      // Where nobody is any more, or never was, a datagram of two hosts still finds the other one.
      const to = this.hosts.find((host) => host.address === address) ?? this.hosts[1 - from];
      this.after(delay, () => to?.receive(datagram, source));
    }
  }

  /** Runs until nothing is left to do before `untilMs`, or `done` says so. */
  run(untilMs: number, done: () => boolean = () => false): void {
    for (const host of this.hosts) host.pump();
    let turns = 0;
    while (!done()) {
      const next = this.#events.at(-1);
      const deadline = Math.min(
        ...this.hosts.filter(({ up }) => up).map((host) => host.layer.pollDeadline()),
      );
      const at = Math.max(this.now, Math.min(deadline, next?.at ?? Number.POSITIVE_INFINITY));
      if (at > untilMs * NS_PER_MS) {
        this.now = untilMs * NS_PER_MS;
        return;
      }
      turns = at === this.now ? turns + 1 : 0;
      if (turns > 10_000) throw new Error(`time stands still at ${at / NS_PER_MS} ms`);
      this.now = at;
      if (next !== undefined && next.at <= at) {
        this.#events.pop();
        next.run();
      }
      for (const host of this.hosts) host.pump();
    }
  }
}

export class LayerHost implements PacketSink, PacketOpenSink, HandshakeSink, DeliverySink {
  layer: SessionLayer;
  settlements = new SettlementQueue();
  /** What survives a restart beside `stored`: the stamps, and the rows that are not final. */
  readonly memory: { sent: bigint; accepted: bigint; rotation: string | undefined }[];
  /** Pair keys that the configuration has, by peer. */
  readonly rings: RingNames[];
  readonly rows = new Map<number, WaitingRow>();
  readonly givenBack: number[] = [];
  /** Where the other host is told to be, and where this one is. */
  address: string;
  up = true;
  #life = 0;
  readonly stored: Stored[] = [];
  readonly acknowledged: number[] = [];
  readonly failed: { rowId: number; reason: string }[] = [];
  /** Why rows wait, as last written into the table. */
  readonly waits = new Map<number, string>();
  readonly reports: string[] = [];
  readonly drops: string[] = [];
  readonly payloads = new Map<number, Uint8Array>();
  /** Outcome that the store gives next, when it is not its own. */
  outcome: ((id: string) => number | undefined) | undefined;
  wallOffsetNs = 1.7e18;
  accepting = true;
  /** All slabs are out. */
  starved = false;
  /** What a host that breaks the rules puts in place of the frames of a packet. */
  tamper: ((frames: Uint8Array) => Uint8Array) | undefined;
  /** Longest datagram that its system sends, bytes. */
  systemBytesMax = Number.POSITIVE_INFINITY;
  /** Handshake datagrams, and REKEY frames, that its workers were given to read. */
  reads = 0;
  rekeyReads = 0;
  bytes = new Uint8Array(0);
  bodyAt = PACKET_HEADER_BYTES;
  readonly #world: LayerWorld;
  readonly #index: number;
  readonly #keys = new Map<number, { peer: number; name: string; out: string; in: string }>();
  readonly #files = new Map<string, Uint8Array>();
  readonly #lastRead = new Map<number, Greeting>();
  readonly #open = new Map<number, { sessionId: number; keyName: string }>();
  #settling = false;
  constructor(world: LayerWorld, index: number) {
    this.#world = world;
    this.#index = index;
    this.address = `host${index}`;
    const absent = index === 0 ? (world.options.absentPeers ?? 0) : 0;
    const peers = Array.from({ length: world.count - 1 + absent });
    this.memory = peers.map(() => ({ sent: 0n, accepted: 0n, rotation: undefined }));
    this.rings = peers.map(() => FIRST_RING);
    this.layer = this.#start();
  }

  /** Durable stamps about the only peer. */
  get stamps(): { sent: bigint; accepted: bigint } {
    return this.memory[0] as { sent: bigint; accepted: bigint };
  }

  /** What the database says of the change of a peer's keys. */
  rotation(peer = 0): RotationState | undefined {
    const text = this.memory[peer]?.rotation;
    return text === undefined ? undefined : parseRotation(text);
  }

  /** The process dies with all that was in memory, and starts again. */
  restart(): void {
    this.#life += 1;
    this.#keys.clear();
    this.#open.clear();
    this.#lastRead.clear();
    this.#settling = false;
    this.settlements = new SettlementQueue();
    this.layer = this.#start();
    for (const [rowId, { peer, payload, more }] of this.rows) {
      this.#lease(rowId, peer, payload, more);
    }
    this.pump();
  }

  /** The configuration is read again: `rings` as they are now; `gone` peers are not in it. */
  reload(gone: readonly number[] = []): void {
    const { layer } = this;
    // The workers end all handshakes that are under way when they get new keys.
    this.#open.clear();
    this.#lastRead.clear();
    const peers = this.#configured().map((peer, i) => (gone.includes(i) ? undefined : peer));
    layer.configure(this.now, this.wallNs, publicKeyOf(this.#index), peers, this);
    this.#install(gone);
    this.pump();
  }

  #start(): SessionLayer {
    const index = this.#index;
    const random = new Random(this.#world.options.seed * 7 + index + 1 + this.#life * 1_000);
    const layer = new SessionLayer({
      now: this.now,
      random: random.bytes,
      uniform: () => random.next(),
      settlements: this.settlements,
      ownPublicKey: publicKeyOf(index),
      peers: this.#configured(),
      events: { onReport: (sentence) => this.reports.push(sentence) },
    });
    this.layer = layer;
    this.#install([]);
    return layer;
  }

  #configured(): readonly LayerPeer[] {
    return this.memory.map(({ sent, accepted, rotation }, peer) => ({
      config: peerConfig(
        hostOf(this.#index, peer),
        this.rings[peer] as RingNames,
        this.#world.options.messageBytesMax,
      ),
      stamps: { sent, accepted },
      rotation: rotation === undefined ? undefined : parseRotation(rotation),
      spools: [],
    }));
  }

  /** What the workers derive from the keys of a configuration, and where the peers are. */
  #install(gone: readonly number[]): void {
    const { layer } = this;
    layer.handleHintKeys(
      layer.peers.map(({ index }) =>
        gone.includes(index) ? [] : [hintOf(hostOf(this.#index, index), this.#index)],
      ),
    );
    for (const { index, negotiation, control } of layer.peers) {
      const ids = KEY_ROLE_NAMES.flatMap((role) => {
        const name = this.rings[index]?.[role];
        return name === undefined ? [] : [{ role: KEY_ROLE[role], id: keyIdOf(name) }];
      });
      negotiation.keys.install(ids, this.wallNs / NS_PER_MS);
      control.keys = ids;
      const address = `host${hostOf(this.#index, index)}`;
      layer.handlePlaces(this.now, index, [{ address, port: 1 }]);
    }
  }

  /** Runs later, unless this process died meanwhile. */
  #after(delayMs: number, run: () => void): void {
    const life = this.#life;
    this.#world.after(delayMs, () => {
      if (life === this.#life) run();
    });
  }

  get now(): Nanoseconds {
    return nanoseconds(this.#world.now);
  }
  get wallNs(): number {
    return this.wallOffsetNs + this.#world.now;
  }

  /** A row of the table, as a lease brings it. */
  send(rowId: number, payload: Uint8Array, more: Partial<SessionRow> = {}, peer = 0): void {
    this.rows.set(rowId, { peer, payload, more });
    this.#lease(rowId, peer, payload, more);
  }

  #lease(rowId: number, peer: number, payload: Uint8Array, more: Partial<SessionRow>): void {
    const id = new Uint8Array(12);
    new DataView(id.buffer).setFloat64(4, rowId);
    id[0] = this.#index;
    const stream = more.stream ?? "";
    const inBatch = payload.length <= 256 * 1_024;
    const bytes = new Uint8Array(12 + 12 + 32 + payload.length);
    bytes.set(id, 0);
    bytes.set(digestOf(hex(id), payload), 24);
    if (inBatch) bytes.set(payload, 56);
    this.payloads.set(rowId, payload);
    this.layer.handleRow(this.now, this.wallNs, peer, {
      bytes,
      rowId,
      generation: 0,
      attempts: 0,
      expiresAt: this.wallNs / NS_PER_MS + 604_800_000,
      priority: 1,
      flags: stream === "" ? 2 : 3,
      messageIdAt: 0,
      inReplyToAt: 12,
      digestAt: 24,
      stream,
      released: false,
      total: payload.length,
      inBatch,
      payloadAt: 56,
      ...more,
    });
  }

  receive(datagram: Uint8Array, from: string): void {
    if (!this.up) return;
    const dropped = this.layer.handleDatagram(this.now, datagram.slice(), from, 1, this, this);
    if (dropped !== undefined) this.drops.push(dropped);
    this.pump();
  }

  pump(): void {
    if (!this.up) return;
    this.layer.handleTimeout(this.now, this.wallNs, this);
    while (this.layer.pollSeal(this.now, this.wallNs, this));
    for (let order = this.layer.pollStamp(); order !== undefined; order = this.layer.pollStamp()) {
      const stamps = order;
      this.#after(1, () => {
        const known = this.memory[stamps.peer] as (typeof this.memory)[number];
        if (stamps.sent > known.sent) known.sent = stamps.sent;
        if (stamps.accepted > known.accepted) known.accepted = stamps.accepted;
        known.rotation = stamps.rotation ?? known.rotation;
        this.layer.handleStamped(this.now, stamps, this);
        this.pump();
      });
    }
    for (let order = this.layer.pollRead(); order !== undefined; order = this.layer.pollRead()) {
      const { rowId, offset, length, tag } = order;
      const payload = this.payloads.get(rowId);
      this.#after(1, () => {
        this.layer.handleRead(this.now, tag, offset, payload?.slice(offset, offset + length));
        this.pump();
      });
    }
    if (this.#settling || this.settlements.size === 0) return;
    this.#settling = true;
    const settlement = this.settlements.take();
    this.layer.handleTaken();
    this.#after(2, () => {
      this.#settling = false;
      for (const rowId of settlement.acknowledged.rowIds) {
        this.acknowledged.push(rowId);
        this.rows.delete(rowId);
      }
      for (const failed of settlement.failed) {
        this.failed.push(failed);
        this.rows.delete(failed.rowId);
      }
      const { rowIds, reasons = [] } = settlement.waiting;
      for (const [i, reason] of reasons.entries()) {
        if (reason !== "") this.waits.set(rowIds[i] as number, reason);
      }
      for (const { rowId } of settlement.givenBack) this.givenBack.push(rowId);
      this.layer.handleCommitted(this.now);
      this.pump();
    });
  }

  packetRoom(_affinity: number, frameBytesMax: number): boolean {
    if (this.starved) return false;
    this.bytes = new Uint8Array(PACKET_HEADER_BYTES + frameBytesMax + 16);
    return true;
  }
  cancelPacket(): void {}

  sealPacket(
    frameBytes: number,
    keySlot: number,
    remoteId: number,
    counterHigh: number,
    counterLow: number,
    tag: number,
    address: string,
    port: number,
  ): void {
    const held = this.#keys.get(keySlot);
    if (held === undefined) throw new Error("sealed with a key that was wiped");
    const known = this.rotation(held.peer);
    if (known === undefined || factsOf(known, held.name).heldMs === 0) {
      throw new Error(`a packet leaves under ${held.name}, which the peer may not hold`);
    }
    const key = held.out;
    const frames = this.bytes.slice(PACKET_HEADER_BYTES, PACKET_HEADER_BYTES + frameBytes);
    const plain = this.tamper?.(frames) ?? frames;
    const datagram = new Uint8Array(PACKET_HEADER_BYTES + plain.length + 16);
    this.#world.random.bytes(datagram);
    putPacketHeader(datagram, 0, remoteId, counterHigh, counterLow);
    const nonce = `${key} ${counterHigh} ${counterLow}`;
    if (this.#world.sealed.has(nonce)) throw new Error("a nonce was used twice");
    this.#world.sealed.set(nonce, { key, plain });
    this.#world.sealed.set(hex(datagram), { key, plain });
    const sealed = { bytes: datagram, at: 0, length: datagram.length, tag, address, port };
    if (!this.layer.handleSealed(sealed)) return;
    if (datagram.length <= this.systemBytesMax) {
      this.#world.transmit(this.#index, datagram, this.address, address);
    } else {
      this.#after(0, () => {
        const packet = { tag, counterHigh, counterLow };
        this.layer.handleTooBig(this.now, packet, datagram.length);
        this.pump();
      });
    }
  }

  openPacket(
    _affinity: number,
    datagram: Uint8Array,
    keySlot: number,
    counterHigh: number,
    counterLow: number,
    tag: number,
    address: string,
    port: number,
  ): boolean {
    const clear = datagram.slice();
    putWordBig(clear, 4, counterHigh);
    putWordBig(clear, 8, counterLow);
    const sealed = this.#world.sealed.get(hex(clear));
    if (sealed === undefined || sealed.key !== this.#keys.get(keySlot)?.in) {
      this.layer.handleRefused(this.now, tag);
      this.drops.push("not_authentic");
      return true;
    }
    const sinks: FrameSinks = { delivery: this, handshake: this };
    const packet = {
      bytes: sealed.plain,
      bodyAt: 0,
      bodyLength: sealed.plain.length,
      datagramLength: datagram.length,
      counterHigh,
      counterLow,
      tag,
      address,
      port,
    };
    const dropped = this.layer.handleOpened(this.now, this.wallNs, packet, sinks);
    if (dropped !== undefined) this.drops.push(dropped);
    return true;
  }

  initiate(order: Parameters<HandshakeSink["initiate"]>[0]): boolean {
    const keyName = this.rings[order.peer]?.[KEY_ROLE_NAMES[order.role] as KeyRoleName];
    if (keyName === undefined) throw new Error("a handshake goes under a key that there is");
    this.#open.set(order.keySlot, { sessionId: order.sessionId, keyName });
    const message = this.#greet({
      type: 1,
      from: this.#index,
      to: hostOf(this.#index, order.peer),
      keyName,
      sessionId: order.sessionId,
      answers: 0,
      stamp: (BigInt(order.stampHigh) << 32n) | BigInt(order.stampLow),
      payload: order.payload.slice(),
      keys: "",
      headers: [new Uint8Array(16), new Uint8Array(16)],
    });
    this.#result({ kind: "initiated", order, message, keySlot: order.keySlot });
    return true;
  }

  readDatagram(order: Parameters<HandshakeSink["readDatagram"]>[0]): boolean {
    this.reads += 1;
    const accepted = (BigInt(order.acceptedHigh) << 32n) | BigInt(order.acceptedLow);
    this.#readGreeting(order, this.#world.greetings.get(hex(order.datagram)), accepted);
    return true;
  }

  readRekey(order: Parameters<HandshakeSink["readRekey"]>[0]): boolean {
    this.rekeyReads += 1;
    this.#readGreeting(order, this.#world.greetings.get(hex(order.noise)), -1n);
    return true;
  }

  respond(order: Parameters<HandshakeSink["respond"]>[0]): boolean {
    const read = this.#lastRead.get(order.peer);
    if (read === undefined || read.sessionId !== order.remoteId) {
      this.#result({ kind: "refused", order, keySlot: order.keySlot });
      return true;
    }
    const headers = [new Uint8Array(16), new Uint8Array(16)] as const;
    for (const header of headers) this.#world.random.bytes(header);
    const keys = `${read.sessionId}-${order.sessionId}-${this.#world.random.next()}`;
    const { keyName: name } = read;
    this.#keys.set(order.keySlot, { peer: order.peer, name, out: `${keys}<`, in: `${keys}>` });
    const message = this.#greet({
      type: 2,
      from: this.#index,
      to: read.from,
      keyName: name,
      sessionId: order.sessionId,
      answers: read.sessionId,
      stamp: (BigInt(order.stampHigh) << 32n) | BigInt(order.stampLow),
      payload: order.payload.slice(),
      keys,
      headers,
    });
    this.#result({
      kind: "responded",
      role: this.#roleOf(order.peer, name) ?? KEY_ROLE.current,
      order,
      message,
      keySlot: order.keySlot,
      headerKeyOut: headers[1],
      headerKeyIn: headers[0],
    });
    return true;
  }

  forget(_affinity: number, keySlot: number): void {
    this.#keys.delete(keySlot);
    this.#open.delete(keySlot);
  }

  #greet(greeting: Greeting): Uint8Array {
    const message = new Uint8Array(140 + (greeting.payload.length % 64));
    this.#world.random.bytes(message);
    const hash = new SipHash(hintOf(greeting.from, greeting.to));
    const at = message.length - 8;
    hash.hash(message, at - 16, 16);
    new DataView(message.buffer).setUint32(at, hash.low, true);
    new DataView(message.buffer).setUint32(at + 4, hash.high, true);
    this.#world.greetings.set(hex(message), greeting);
    return message;
  }

  #readGreeting(order: Order, greeting: Greeting | undefined, accepted: bigint): void {
    const role = greeting === undefined ? undefined : this.#roleOf(order.peer, greeting.keyName);
    if (greeting === undefined || greeting.to !== this.#index || role === undefined) {
      this.#result({ kind: "refused", order });
      return;
    }
    const words = {
      role,
      remoteId: greeting.sessionId,
      answers: greeting.answers,
      stampHigh: Number(greeting.stamp >> 32n),
      stampLow: Number(greeting.stamp & 0xffff_ffffn),
      payload: greeting.payload,
    };
    if (greeting.type === 1) {
      if (greeting.stamp <= accepted) {
        this.#result({ kind: "stale", order });
        return;
      }
      this.#lastRead.set(order.peer, greeting);
      this.#result({ kind: "initiation", order, ...words });
      return;
    }
    for (const [keySlot, { sessionId, keyName: name }] of this.#open) {
      if (sessionId !== greeting.answers) continue;
      this.#open.delete(keySlot);
      const { peer } = order;
      this.#keys.set(keySlot, { peer, name, out: `${greeting.keys}>`, in: `${greeting.keys}<` });
      this.#result({
        kind: "completed",
        order,
        keySlot,
        ...words,
        headerKeyOut: greeting.headers[0],
        headerKeyIn: greeting.headers[1],
      });
      return;
    }
    // A worker that read it knows that it is authentic, in a datagram of its own.
    const kind = order.parentKeySlot === NO_KEY_SLOT ? "stale" : "refused";
    this.#result({ kind, order });
  }

  #result(given: GivenResult): void {
    const { order } = given;
    const result = resultOf(given);
    // A worker answers later, never within the call.
    this.#after(0, () => {
      if (this.layer.handleHandshake(this.now, this.wallNs, result, this)) {
        this.#world.transmit(this.#index, result.message.slice(), this.address, order.address);
      }
      this.pump();
    });
  }

  #roleOf(peer: number, keyName: string): KeyRole | undefined {
    const role = KEY_ROLE_NAMES.find((each) => this.rings[peer]?.[each] === keyName);
    return role === undefined ? undefined : KEY_ROLE[role];
  }

  message(delivery: MessageDelivery): boolean {
    if (!this.accepting) return false;
    const { bytes, messageIdAt, payloadAt, payloadLength } = delivery;
    const id = hex(bytes.slice(messageIdAt, messageIdAt + 12));
    const payload = bytes.slice(payloadAt, payloadAt + payloadLength);
    const { peer, stream, sequence, gapFirst, gapLast, token, number } = delivery;
    this.#later({ peer, token, number, offset: 0, payloadLength }, () =>
      this.#insert(id, payload, { stream, sequence, gapFirst, gapLast }),
    );
    return true;
  }

  piece(delivery: PieceDelivery): boolean {
    if (!this.accepting) return false;
    const { bytes, messageIdAt, payloadAt, payloadLength, offset, total } = delivery;
    const id = hex(bytes.slice(messageIdAt, messageIdAt + 12));
    const data = bytes.slice(payloadAt, payloadAt + payloadLength);
    const { peer, stream, sequence, gapFirst, gapLast, token, number, last } = delivery;
    this.#later({ peer, token, number, offset, payloadLength }, () => {
      const known = this.stored.find((each) => each.id === id);
      if (known !== undefined) return [DELIVERED.known, digestOf(id, known.payload)];
      let file = this.#files.get(id);
      if (file === undefined) {
        file = new Uint8Array(total);
        this.#files.set(id, file);
      }
      file.set(data, offset);
      if (!last) return [DELIVERED.spooled, new Uint8Array(32)];
      this.#files.delete(id);
      return this.#insert(id, file, { stream, sequence, gapFirst, gapLast });
    });
    return true;
  }

  settled(): boolean {
    return true;
  }
  drop(_peer: number, messageId: Uint8Array): boolean {
    this.#files.delete(hex(messageId));
    return true;
  }

  #insert(
    id: string,
    payload: Uint8Array,
    more: Omit<Stored, "id" | "payload">,
  ): [number, Uint8Array] {
    const digest = digestOf(id, payload);
    const planned = this.outcome?.(id);
    if (planned !== undefined) return [planned, digest];
    const known = this.stored.find((each) => each.id === id);
    if (known !== undefined) return [DELIVERED.known, digest];
    this.stored.push({ id, payload, ...more });
    return [DELIVERED.inserted, digest];
  }

  #later(
    record: Pick<DeliveredRecord, "peer" | "token" | "number" | "offset" | "payloadLength">,
    run: () => [number, Uint8Array],
  ): void {
    this.#after(this.#world.options.storeDelayMs ?? 3, () => {
      const [outcome, digest] = run();
      const view = new DataView(digest.buffer, digest.byteOffset);
      const answered = {
        ...record,
        outcome: outcome as DeliveredRecord["outcome"],
        digestLow: view.getInt32(0, true),
        digestHigh: view.getInt32(4, true),
      };
      this.layer.handleDelivered(answered, this);
      this.pump();
    });
  }
}
