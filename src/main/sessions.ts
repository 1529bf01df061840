// Actor: the session protocol between its core and the rest of the daemon. Slabs of the crypto pool and
// batches of the store come and go through it; names are looked up for it; what changes is noted for
// `status`. Everything is decided in the core (src/shared/protocol/session).

import type { DropReason } from "../shared/base/errors.js";
import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../shared/base/units.js";
import type { FrameSinks } from "../shared/protocol/session/frame-handler.js";
import type { HandshakePlace } from "../shared/protocol/session/handshakes.js";
import { NO_PEER_ID, type PeerTable } from "../shared/protocol/session/peer-table.js";
import {
  DELIVERED,
  type DeliverySink,
  type MessageDelivery,
  type PieceDelivery,
} from "../shared/protocol/session/ports.js";
import type { PeerStamps, SessionLayer } from "../shared/protocol/session/session-layer.js";
import type { Counters } from "../shared/runtime/counters.js";
import {
  DELIVERY_KIND,
  DeliveryBatchReader,
  DeliveryBatchWriter,
} from "../shared/runtime/delivery-batch.js";
import type { SessionStoreResult } from "../shared/runtime/messages.js";
import type { OutboundBatchReader } from "../shared/runtime/outbound-batch.js";
import type { SessionSink } from "../shared/runtime/session-sink.js";
import { handshakeResult, SESSION_OUTCOME, SessionCursor } from "../shared/runtime/session-slab.js";
import { type SlabTable, wordOf } from "../shared/runtime/slab.js";
import type { SlabRoutes } from "../shared/runtime/slab-cursor.js";
import { Burst } from "./burst.js";
import type { Clock } from "./clock.js";
import type { SessionStore, Store } from "./store.js";

/** Records and bytes that wait for a transaction; one more batch is in it. */
const DELIVERY_ROWS_MAX = 8_192;
const DELIVERY_BYTES_MAX = 8 * 1_024 * 1_024;
const DELIVERY_BURST = { rowsMax: 2_048, spanNs: 5 * NS_PER_MS } as const;
/** Wait after a store that was busy or full, ns. */
const PAUSE_NS = 250 * NS_PER_MS;
/** Destinations of rows that are remembered, to tell the store how many may be out. */
const DESTINATIONS_MAX = 16_384;

type Result<K extends SessionStoreResult["kind"]> = Extract<SessionStoreResult, { kind: K }>;

/** A peer as main knows it. */
export interface SessionPeerEntry {
  /** Public key in base64: what the store knows it by. */
  readonly key: string;
  readonly places: readonly { readonly host: string; readonly port: number }[];
}

interface Target {
  readonly address: string;
  readonly port: number;
  readonly peer: number;
  announced: number;
}

export class Sessions implements DeliverySink {
  readonly layer: SessionLayer;
  readonly #entries: readonly SessionPeerEntry[];
  readonly #byKey: ReadonlyMap<string, number>;
  readonly #table: PeerTable;
  readonly #sink: SessionSink;
  readonly #store: Store;
  readonly #counters: Counters;
  readonly #clock: Clock;
  readonly #send: (message: Uint8Array, address: string, port: number) => void;
  readonly #onProgress: () => void;
  readonly #sinks: FrameSinks;
  readonly #deliveries: DeliveryBatchWriter;
  readonly #bursts = new Burst(DELIVERY_BURST);
  readonly #targets = new Map<string, Target>();
  /** Addresses of each peer's places, by host. */
  readonly #resolved = new Map<string, string>();
  #cursor: SessionCursor | undefined;
  #delivering = false;
  #full = false;
  #pausedUntil: Nanoseconds = nanoseconds(0);
  #stampsAgain: PeerStamps[] = [];
  #confirmAgain: number[] = [];

  constructor(options: {
    readonly layer: SessionLayer;
    readonly entries: readonly SessionPeerEntry[];
    readonly table: PeerTable;
    readonly sink: SessionSink;
    readonly store: Store;
    readonly counters: Counters;
    readonly clock: Clock;
    /** Sends a handshake datagram, which has memory of its own. */
    readonly send: (message: Uint8Array, address: string, port: number) => void;
    /** Results arrived: time to pump. */
    readonly onProgress: () => void;
  }) {
    this.layer = options.layer;
    this.#entries = options.entries;
    this.#byKey = new Map(options.entries.map(({ key }, peer) => [key, peer]));
    this.#table = options.table;
    this.#sink = options.sink;
    this.#store = options.store;
    this.#counters = options.counters;
    this.#clock = options.clock;
    this.#send = options.send;
    this.#onProgress = options.onProgress;
    this.#sinks = { delivery: this, handshake: options.sink };
    this.#deliveries = new DeliveryBatchWriter({
      rowsMax: DELIVERY_ROWS_MAX,
      bytesMax: DELIVERY_BYTES_MAX,
      scopeOf: (peer) => (this.#entries[peer] as SessionPeerEntry).key,
    });
  }

  /** What the store tells us. */
  readonly storeEvents: SessionStore = {
    results: {
      delivered: (result) => this.#delivered(result),
      stamped: (result) => this.#stamped(result),
      confirmed: (result) => this.#confirmed(result),
      read: ({ tag, offset, bytes }) => {
        this.layer.handleRead(this.#clock.now(), tag, offset, bytes);
        this.#onProgress();
      },
    },
    onLeased: (rows) => this.#leased(rows),
    onTaken: () => this.layer.handleTaken(),
    onCommitted: () => this.layer.handleCommitted(this.#clock.now()),
  };

  // --- Datagrams and slabs ----------------------------------------------------------------------

  /** Takes a datagram, or says why not; "classic": it is no session's. */
  handleDatagram(
    now: Nanoseconds,
    datagram: Uint8Array,
    address: string,
    port: number,
  ): DropReason | "classic" | undefined {
    const { layer } = this;
    const taken = layer.handleDatagram(now, datagram, address, port, this.#sink, this.#sink);
    if (taken !== "classic") return taken;
    // From a peer that speaks sessions, classic is what an attacker would like to see spoken.
    return this.#table.ofDestination(address, port) === NO_PEER_ID ? "classic" : "classic_ended";
  }

  /** Takes the outcome of a session job; true: the packet at the cursor may leave. */
  visit(
    now: Nanoseconds,
    wallNs: number,
    table: SlabTable,
    routes: SlabRoutes,
    index: number,
  ): SessionCursor | undefined {
    this.#cursor ??= new SessionCursor(table, routes);
    const packet = this.#cursor.move(table, routes, index);
    const { drops, of } = this.#counters;
    const code = table.words[wordOf(index)] as number;
    switch (code) {
      case SESSION_OUTCOME.sealedPacket:
        if (this.layer.handleSealed(packet)) return packet;
        of.unsealed += 1;
        return undefined;
      case SESSION_OUTCOME.openedPacket:
        this.#opened(now, wallNs, packet);
        return undefined;
      case SESSION_OUTCOME.refusedPacket:
        drops.not_authentic += 1;
        this.layer.handleRefused(now, packet.tag);
        return undefined;
      case SESSION_OUTCOME.unsealedPacket:
        of.unsealed += 1;
        return undefined;
      case SESSION_OUTCOME.unopenedPacket:
        drops.session_expired += 1;
        return undefined;
      case SESSION_OUTCOME.forgotten:
        return undefined;
      default:
        this.#handshake(now, wallNs, table, routes, index);
        return undefined;
    }
  }

  #opened(now: Nanoseconds, wallNs: number, packet: SessionCursor): void {
    const dropped = this.layer.handleOpened(now, wallNs, packet, this.#sinks);
    if (dropped !== undefined) this.#counters.drops[dropped] += 1;
    else this.#counters.of.packets_opened += 1;
  }

  #handshake(
    now: Nanoseconds,
    wallNs: number,
    table: SlabTable,
    routes: SlabRoutes,
    index: number,
  ): void {
    const result = handshakeResult(table, routes, index);
    if (result.kind === "stale") this.#counters.drops.stamp_not_newer += 1;
    if (result.kind === "refused") this.#counters.drops.not_authentic += 1;
    if (!this.layer.handleHandshake(now, wallNs, result, this.#sink)) return;
    this.#counters.of.handshakes_sent += 1;
    this.#send(result.message, result.address, result.port);
  }

  // --- DeliverySink -----------------------------------------------------------------------------

  get accepting(): boolean {
    return !this.#full || this.#clock.now() >= this.#pausedUntil;
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

  // --- Pump -------------------------------------------------------------------------------------

  /** Time, packets, and what the store is to do; once a tick. */
  pump(now: Nanoseconds, wallNs: number): void {
    const { layer } = this;
    layer.handleTimeout(now, wallNs, this.#sink);
    while (layer.pollSeal(now, wallNs, this.#sink));
    for (let stamps = layer.pollStamp(); stamps !== undefined; stamps = layer.pollStamp()) {
      this.#stamp(stamps);
    }
    for (let read = layer.pollRead(); read !== undefined; read = layer.pollRead()) {
      this.#store.order({ kind: "payload", ...read });
    }
    for (let peer = layer.pollConfirmed(); peer !== undefined; peer = layer.pollConfirmed()) {
      this.#confirm(peer);
    }
    if (now >= this.#pausedUntil) this.#again(now);
    this.#deliver(now);
    this.#announceLimits();
  }

  pollDeadline(now: Nanoseconds): Nanoseconds {
    let at: number = this.layer.pollDeadline();
    const waits = this.#stampsAgain.length + this.#confirmAgain.length > 0;
    if (waits) at = Math.min(at, this.#pausedUntil);
    if (this.#deliveries.rows > 0 && !this.#delivering) {
      at = Math.min(at, Math.max(this.#bursts.nextAt, this.#pausedUntil));
    }
    return nanoseconds(Math.max(at, now));
  }

  /** True while the store works for the sessions, or is about to. */
  get busy(): boolean {
    return this.#delivering || this.#deliveries.rows > 0;
  }

  /** Host names of peers, to be looked up at the start. */
  get hosts(): readonly string[] {
    return this.#entries.flatMap(({ places }) => places.map(({ host }) => host));
  }

  /** An address of a host that peers are configured with. */
  handleResolved(now: Nanoseconds, host: string, address: string): void {
    this.#resolved.set(host, address);
    this.#entries.forEach(({ places }, peer) => {
      if (places.some((place) => place.host === host)) {
        this.layer.handlePlaces(now, peer, this.#placesOf(peer));
      }
    });
  }

  #placesOf(peer: number): readonly HandshakePlace[] {
    const { places } = this.#entries[peer] as SessionPeerEntry;
    return places.flatMap(({ host, port }) => {
      const address = this.#resolved.get(host);
      return address === undefined ? [] : [{ address, port }];
    });
  }

  // --- The store --------------------------------------------------------------------------------

  #leased(rows: OutboundBatchReader): void {
    const [now, wallNs] = [this.#clock.now(), this.#clock.wallNs()];
    const peers = rows.batch.destinations.map(({ address, port, peer: key }) => {
      const peer = key === undefined ? undefined : this.#byKey.get(key);
      if (peer !== undefined) this.#target(address, port, peer);
      return peer;
    });
    while (rows.next()) {
      const peer = peers[rows.batch.destinations.indexOf(rows.destination)];
      if (peer !== undefined) this.layer.handleRow(now, wallNs, peer, rows);
    }
  }

  #target(address: string, port: number, peer: number): void {
    const key = `${port} ${address}`;
    if (this.#targets.has(key)) return;
    if (this.#targets.size >= DESTINATIONS_MAX) this.#targets.clear();
    this.#targets.set(key, { address, port, peer, announced: -1 });
  }

  #announceLimits(): void {
    for (const target of this.#targets.values()) {
      const rowsMax = this.layer.peers[target.peer]?.rowsMax ?? 0;
      if (rowsMax === target.announced) continue;
      target.announced = rowsMax;
      this.#store.limit(target.address, target.port, rowsMax);
    }
  }

  #stamp({ peer, sent, accepted }: PeerStamps): void {
    this.#store.order({
      kind: "stamp",
      peer: (this.#entries[peer] as SessionPeerEntry).key,
      sent,
      accepted,
    });
  }

  #stamped({ peer: key, sent, accepted, failure }: Result<"stamped">): void {
    const peer = this.#byKey.get(key);
    if (peer === undefined) return;
    const now = this.#clock.now();
    if (failure === undefined) this.layer.handleStamped(now, { peer, sent, accepted }, this.#sink);
    else {
      this.#pause(now, failure);
      this.#stampsAgain.push({ peer, sent, accepted });
    }
    this.#onProgress();
  }

  #confirm(peer: number): void {
    const { key } = this.#entries[peer] as SessionPeerEntry;
    const session = this.layer.peers[peer]?.session;
    this.#store.order({ kind: "confirm", peer: key });
    if (session === undefined) return;
    const place = this.layer.peers[peer]?.path.place;
    const nowMs = this.#clock.wallNs() / NS_PER_MS;
    this.#store.order({
      kind: "note",
      peers: [
        {
          peer: key,
          boot: session.payload.boot,
          lastHandshakeAt: nowMs,
          skewMs: Math.round(session.peerWallNs(this.#clock.now()) / NS_PER_MS - nowMs),
          endpoint: place === undefined ? "" : `${place.address} port ${place.port}`,
          handshakesUnanswered: 0,
        },
      ],
    });
  }

  #confirmed({ peer: key, failure }: Result<"confirmed">): void {
    const peer = this.#byKey.get(key);
    if (peer === undefined) return;
    if (failure === undefined) this.#table.confirmed(this.#table.ofKey(key));
    else {
      this.#pause(this.#clock.now(), failure);
      this.#confirmAgain.push(peer);
    }
    this.#onProgress();
  }

  #again(_now: Nanoseconds): void {
    for (const stamps of this.#stampsAgain.splice(0)) this.#stamp(stamps);
    for (const peer of this.#confirmAgain.splice(0)) this.#confirm(peer);
  }

  #deliver(now: Nanoseconds): void {
    const { rows } = this.#deliveries;
    if (this.#delivering || rows === 0 || now < this.#pausedUntil) return;
    if (!this.#bursts.ready(now, rows)) return;
    this.#bursts.began(now, rows);
    const batch = this.#deliveries.take();
    this.#delivering = true;
    this.#store.order({ kind: "deliver", batch }, [batch.bytes]);
  }

  #delivered({ batch, failure }: Result<"delivered">): void {
    this.#delivering = false;
    this.#full = failure === "full";
    if (failure !== undefined) this.#pause(this.#clock.now(), failure);
    const counters = this.#counters.of;
    const records = new DeliveryBatchReader(batch);
    while (records.next()) {
      const { kind, outcome } = records;
      if (kind !== DELIVERY_KIND.message && kind !== DELIVERY_KIND.piece) continue;
      if (outcome === DELIVERED.inserted) counters.messages_stored += 1;
      else if (outcome === DELIVERED.known) counters.messages_known += 1;
      else if (outcome === DELIVERED.conflict) counters.messages_conflicting += 1;
      else if (outcome === DELIVERED.quota) counters.messages_over_quota += 1;
      else if (outcome !== DELIVERED.spooled) counters.messages_unstored += 1;
      this.layer.handleDelivered(records, this);
    }
    this.layer.handleRoom(this);
    this.#onProgress();
  }

  #pause(now: Nanoseconds, failure: "busy" | "full"): void {
    this.#counters.of[failure === "full" ? "store_full" : "store_busy"] += 1;
    this.#pausedUntil = nanoseconds(now + PAUSE_NS);
  }
}
