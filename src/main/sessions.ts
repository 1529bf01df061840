// Actor: the session protocol between its core and the rest of the daemon. Slabs of the crypto pool and
// batches of the store come and go through it; names are looked up for it; what changes is noted for
// `status`. Everything is decided in the core (src/shared/protocol/session).

import type { DropReason } from "../shared/base/errors.js";
import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../shared/base/units.js";
import type { Endpoint } from "../shared/protocol/endpoint.js";
import type { FrameSinks } from "../shared/protocol/session/frame-handler.js";
import { NO_PEER_ID } from "../shared/protocol/session/peer-table.js";
import type { PeerStamps, SessionLayer } from "../shared/protocol/session/session-layer.js";
import type { Counters } from "../shared/runtime/counters.js";
import type { InstalledPairKey, SessionStoreResult } from "../shared/runtime/messages.js";
import { type OutboundBatchReader, TICKET_NONE } from "../shared/runtime/outbound-batch.js";
import type { SessionSink } from "../shared/runtime/session-sink.js";
import { handshakeResult, SESSION_OUTCOME, SessionCursor } from "../shared/runtime/session-slab.js";
import { type SlabTable, wordOf } from "../shared/runtime/slab.js";
import type { SlabRoutes } from "../shared/runtime/slab-cursor.js";
import type { Clock } from "./clock.js";
import { HandshakeGate } from "./handshake-gate.js";
import type { PeerDirectory, PeerPlan } from "./peer-directory.js";
import { PeerNotes } from "./peer-notes.js";
import { SessionDeliveries } from "./session-deliveries.js";
import { SessionTargets } from "./session-targets.js";
import type { SessionStore, Store } from "./store.js";

type Result<K extends SessionStoreResult["kind"]> = Extract<SessionStoreResult, { kind: K }>;

export interface SessionsOptions {
  readonly layer: SessionLayer;
  readonly directory: PeerDirectory;
  readonly endpoint: Endpoint;
  readonly sink: SessionSink;
  readonly store: Store;
  readonly counters: Counters;
  readonly clock: Clock;
  /** Sends a handshake datagram, which has memory of its own. */
  readonly send: (message: Uint8Array, address: string, port: number) => void;
  /** Asks for the address of a host name. */
  readonly resolve: (host: string) => void;
  /** Results arrived: time to pump. */
  readonly onProgress: () => void;
  /** One line for the log. */
  readonly onReport: (sentence: string) => void;
}

export class Sessions {
  readonly layer: SessionLayer;
  readonly #options: SessionsOptions;
  readonly #directory: PeerDirectory;
  readonly #sink: SessionSink;
  readonly #gate: HandshakeGate;
  readonly #store: Store;
  readonly #counters: Counters;
  readonly #clock: Clock;
  readonly #sinks: FrameSinks;
  readonly #deliveries: SessionDeliveries;
  readonly #targets: SessionTargets;
  readonly #notes: PeerNotes;
  #cursor: SessionCursor | undefined;
  #stampsAgain: PeerStamps[] = [];
  #confirmAgain: number[] = [];

  constructor(options: SessionsOptions) {
    const { layer, directory, store, counters, clock, sink } = options;
    this.layer = layer;
    this.#options = options;
    this.#directory = directory;
    this.#sink = sink;
    this.#gate = new HandshakeGate(sink);
    this.#store = store;
    this.#counters = counters;
    this.#clock = clock;
    const keyOf = (peer: number): string => directory.keyOf(peer);
    this.#deliveries = new SessionDeliveries({ store, counters, clock, keyOf });
    this.#sinks = { delivery: this.#deliveries, handshake: this.#gate };
    this.#targets = new SessionTargets(layer, store);
    this.#notes = new PeerNotes({ layer, directory, store, clock, onReport: options.onReport });
  }

  /** What the store tells us. */
  readonly storeEvents: SessionStore = {
    results: {
      delivered: (result) => this.#delivered(result),
      stamped: (result) => this.#stamped(result),
      confirmed: (result) => this.#confirmed(result),
      read: ({ tag, offset, bytes }) => {
        this.layer.handleRead(this.#clock.now(), tag, offset, bytes);
        this.#options.onProgress();
      },
    },
    onLeased: (rows, isMixed) => this.#leased(rows, isMixed),
    onTaken: () => this.layer.handleTaken(),
    onCommitted: () => this.layer.handleCommitted(this.#clock.now()),
  };

  // --- Configuration ----------------------------------------------------------------------------

  /** No worker has a handshake from here on, and none begins, until `configure`. */
  async pause(): Promise<void> {
    await this.#gate.close();
  }
  resume(): void {
    this.#gate.open();
  }

  /** Takes a plan over whose keys the workers have. */
  configure(plan: PeerPlan, installed: readonly (readonly InstalledPairKey[] | undefined)[]): void {
    const [now, wallNs] = [this.#clock.now(), this.#clock.wallNs()];
    const { layer } = this;
    const peers = this.#directory.layerPeers(plan);
    const known = layer.peers.length;
    this.#directory.adopt(plan);
    const ownPublicKey = plan.settings?.ownPublicKey ?? new Uint8Array(0);
    layer.configure(now, wallNs, ownPublicKey, peers, this.#gate);
    layer.handleHintKeys(
      layer.peers.map((_, peer) => (installed[peer] ?? []).flatMap(({ hintKey }) => hintKey ?? [])),
    );
    for (const { index, control, negotiation } of layer.peers) {
      const ids = (installed[index] ?? []).flatMap(({ role, keyId }) =>
        keyId === undefined ? [] : [{ role, id: keyId }],
      );
      negotiation.keys.install(ids, wallNs / NS_PER_MS);
      control.keys = ids;
      if (!this.#directory.isConfigured(index)) continue;
      layer.setTentative(index, this.#directory.isTentative(index));
      layer.handlePlaces(now, index, this.#directory.placesOf(index));
      // Whoever had a session with us before this start should hear that it is over.
      if (index >= known) layer.announce(now, index);
    }
    this.#notes.forget();
    this.#moved();
    for (const host of this.#directory.hosts) this.#options.resolve(host);
    this.resume();
    this.#options.onProgress();
  }

  /** Which rows and sources are whose changed: the store hears of it, then rows change their way. */
  #moved(): void {
    const { table } = this.#directory;
    this.#store.order({ kind: "peers", peers: table.entries });
    this.#divert();
    this.#targets.configure((address, port) => {
      const peer = table.ofDestination(address, port);
      const key = peer === NO_PEER_ID ? undefined : table.entries[peer]?.publicKey;
      return key === undefined ? undefined : this.#directory.indexOf(key);
    });
  }

  #divert(): void {
    const { table } = this.#directory;
    const isOurs = (address: string, port: number): boolean =>
      table.ofDestination(address, port) !== NO_PEER_ID;
    this.#options.endpoint.divert(this.#clock.now(), this.#clock.wallNs(), isOurs);
  }

  /** An address of a host that peers are configured with. */
  handleResolved(now: Nanoseconds, host: string, address: string): void {
    if (!this.#directory.resolved(host, address)) return;
    for (const { index } of this.layer.peers) {
      if (!this.#directory.hostsOf(index).includes(host)) continue;
      this.layer.handlePlaces(now, index, this.#directory.placesOf(index));
    }
    this.#moved();
  }

  // --- Datagrams and slabs ----------------------------------------------------------------------

  /** Takes a datagram, or says why not; "classic": it is no session's. */
  handleDatagram(
    now: Nanoseconds,
    datagram: Uint8Array,
    address: string,
    port: number,
  ): DropReason | "classic" | undefined {
    const { layer } = this;
    const taken = layer.handleDatagram(now, datagram, address, port, this.#sink, this.#gate);
    if (taken !== "classic") return taken;
    // From a peer that speaks sessions, classic is what an attacker would like to see spoken.
    const { table } = this.#directory;
    return table.ofDestination(address, port) === NO_PEER_ID ? "classic" : "classic_ended";
  }

  /** Takes the outcome of a session job; what it returns may leave. */
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
        this.layer.handleRefused(now, packet.tag, packet.length);
        return undefined;
      case SESSION_OUTCOME.unsealedPacket:
        this.layer.handleWithdrawn(packet);
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

  /** The system refused the packet that lies at `at` in a slab for its size: its path is narrower. */
  handleTooBig(table: SlabTable, routes: SlabRoutes, at: number): void {
    this.#cursor ??= new SessionCursor(table, routes);
    for (let index = 0; index < table.entries; index++) {
      if (table.words[wordOf(index)] !== SESSION_OUTCOME.sealedPacket) continue;
      const packet = this.#cursor.move(table, routes, index);
      if (packet.at !== at) continue;
      this.layer.handleTooBig(this.#clock.now(), packet, packet.length);
      return;
    }
  }

  #opened(now: Nanoseconds, wallNs: number, packet: SessionCursor): void {
    const dropped = this.layer.handleOpened(now, wallNs, packet, this.#sinks);
    if (dropped !== undefined) this.#counters.drops[dropped] += 1;
    else this.#counters.of.packets_opened += 1;
    this.#counters.of.reassembly_bytes_peak = this.layer.reassembly.peak;
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
    if (this.layer.handleHandshake(now, wallNs, result, this.#gate)) {
      this.#counters.of.handshakes_sent += 1;
      this.#options.send(result.message, result.address, result.port);
    }
    this.#gate.answered();
  }

  // --- Pump -------------------------------------------------------------------------------------

  /** Time, packets, and what the store is to do; once a tick. */
  pump(now: Nanoseconds, wallNs: number): void {
    const { layer } = this;
    layer.handleTimeout(now, wallNs, this.#gate);
    while (layer.pollSeal(now, wallNs, this.#sink));
    for (let stamps = layer.pollStamp(); stamps !== undefined; stamps = layer.pollStamp()) {
      this.#stamp(stamps);
    }
    for (let read = layer.pollRead(); read !== undefined; read = layer.pollRead()) {
      this.#store.order({ kind: "payload", ...read });
    }
    for (let peer = layer.pollConfirmed(); peer !== undefined; peer = layer.pollConfirmed()) {
      this.#sessionUp(peer);
    }
    for (let peer = layer.pollLost(); peer !== undefined; peer = layer.pollLost()) {
      if (layer.peers[peer]?.session === undefined) this.#notes.sessionDown(peer);
    }
    for (let peer = layer.pollUnanswered(); peer !== undefined; peer = layer.pollUnanswered()) {
      for (const host of this.#directory.hostsOf(peer)) this.#options.resolve(host);
      this.#notes.unanswered(now);
    }
    if (!this.#deliveries.paused(now)) this.#again();
    this.#deliveries.pump(now);
    this.#targets.announce();
    this.#notes.pump(now, wallNs);
    this.#options.endpoint.inFlightElsewhere = layer.outgoing.size;
    this.#counters.of.rows_postponed = layer.outgoing.postponements;
  }

  pollDeadline(now: Nanoseconds): Nanoseconds {
    const waits = this.#stampsAgain.length + this.#confirmAgain.length > 0;
    const at = Math.min(
      this.layer.pollDeadline(),
      this.#deliveries.deadline,
      this.#notes.deadline,
      waits ? this.#deliveries.pausedUntil : Number.POSITIVE_INFINITY,
    );
    return nanoseconds(Math.max(at, now));
  }

  // --- End --------------------------------------------------------------------------------------

  /** Rows that this answers for. */
  get inFlight(): number {
    return this.layer.outgoing.size;
  }
  /** True while the store works for the sessions, or is about to. */
  get busy(): boolean {
    return this.#deliveries.busy;
  }
  /** True while receipts, or words of farewell, are to be written. */
  get answering(): boolean {
    return this.layer.answering;
  }
  /** Closes all sessions: the other ends need not wait for us. */
  stop(): void {
    this.layer.stop(this.#clock.now());
    this.#options.onProgress();
  }

  // --- The store --------------------------------------------------------------------------------

  #leased(rows: OutboundBatchReader, isMixed: boolean): void {
    const [now, wallNs] = [this.#clock.now(), this.#clock.wallNs()];
    const { destinations } = rows.batch;
    for (const { address, port, peer: key } of destinations) {
      if (key !== undefined) continue;
      const tentative = this.#directory.tentativeAt(address, port);
      if (tentative !== undefined) this.layer.handleClassicMail(now, tentative);
    }
    if (!isMixed) return;
    const peers = destinations.map(({ address, port, peer: key }) => {
      const peer = key === undefined ? undefined : this.#directory.indexOf(key);
      if (peer !== undefined) this.#targets.add(address, port, peer);
      return peer;
    });
    while (rows.next()) {
      const { destination } = rows;
      // What was read again is a row of classic, which waits for it, or was given back meanwhile.
      if (destination.peer === undefined || rows.ticket !== TICKET_NONE) continue;
      const peer = peers[destinations.indexOf(destination)];
      if (peer !== undefined && this.layer.peers[peer]?.silent === false) {
        this.layer.handleRow(now, wallNs, peer, rows);
      } else {
        this.#options.endpoint.settlements.giveBack(rows.rowId, rows.generation);
      }
    }
  }

  #stamp(order: PeerStamps): void {
    const { peer, ...stamps } = order;
    this.#store.order({ kind: "stamp", peer: this.#directory.keyOf(peer), ...stamps });
  }

  #stamped({ peer: key, sent, accepted, rotation, failure }: Result<"stamped">): void {
    const peer = this.#directory.indexOf(key);
    if (peer === undefined) return;
    const stamps = { peer, sent, accepted, rotation };
    if (failure === undefined) this.layer.handleStamped(this.#clock.now(), stamps, this.#gate);
    else {
      this.#deliveries.pause(failure);
      this.#stampsAgain.push(stamps);
    }
    this.#options.onProgress();
  }

  #sessionUp(peer: number): void {
    if (!this.#directory.isConfirmed(peer)) this.#confirm(peer);
    this.#notes.sessionUp(peer);
  }

  #confirm(peer: number): void {
    // Its mode may be classic by now.
    if (!this.#directory.isConfigured(peer)) return;
    this.#store.order({ kind: "confirm", peer: this.#directory.keyOf(peer) });
  }

  #confirmed({ peer: key, failure }: Result<"confirmed">): void {
    const peer = this.#directory.indexOf(key);
    if (peer === undefined) return;
    if (failure === undefined) {
      if (!this.#directory.isConfigured(peer)) return;
      this.layer.setTentative(peer, false);
      if (this.#directory.confirm(peer)) this.#divert();
    } else {
      this.#deliveries.pause(failure);
      this.#confirmAgain.push(peer);
    }
    this.#options.onProgress();
  }

  #again(): void {
    if (this.#stampsAgain.length + this.#confirmAgain.length === 0) return;
    for (const stamps of this.#stampsAgain.splice(0)) this.#stamp(stamps);
    for (const peer of this.#confirmAgain.splice(0)) this.#confirm(peer);
  }

  #delivered(result: Result<"delivered">): void {
    this.#deliveries.handleDelivered(result, (record) =>
      this.layer.handleDelivered(record, this.#deliveries),
    );
    this.layer.handleRoom(this.#deliveries);
    this.#options.onProgress();
  }
}
