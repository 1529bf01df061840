// All peers that speak sessions, behind the one socket: which session a packet belongs to, whose
// handshake a datagram is, who writes next, who must be woken. The only object of the session protocol
// that the Endpoint knows. Inputs are handle*, outputs poll*, as there.

import { assert } from "../../base/assert.js";
import type { DropReason } from "../../base/errors.js";
import { type Nanoseconds, nanoseconds } from "../../base/units.js";
import { DeadlineHeap } from "../deadline-heap.js";
import { shareOf } from "./credit-share.js";
import type { FrameSinks } from "./frame-handler.js";
import { gateBudget } from "./gate-memory.js";
import type { HandshakePlace, StampOrder } from "./handshakes.js";
import { HintGate } from "./hint-gate.js";
import { BOOT_ID_BYTES } from "./limits.js";
import { Outgoing } from "./outgoing.js";
import { PACKET_BYTES_MIN, sessionIdAt } from "./packet.js";
import { PACKET_WRITTEN } from "./packet-writer.js";
import { compareKeys } from "./pair-keys.js";
import { PeerTurns } from "./peer-marks.js";
import type {
  LayerEvents,
  LayerOptions,
  LayerPeer,
  PeerEvents,
  PeerSettings,
  PeerShared,
} from "./peer-surroundings.js";
import type {
  DeliveredRecord,
  DeliverySink,
  HandshakeResult,
  HandshakeSink,
  OpenedSessionPacket,
  PacketOpenSink,
  PacketSink,
  PayloadOrder,
  SealedSessionPacket,
  SessionRow,
} from "./ports.js";
import { ReadsOut } from "./reads-out.js";
import { CLOSING, closingSentence } from "./reasons.js";
import { ReassemblyBudget } from "./reassembly.js";
import type { Session } from "./session.js";
import { SessionIds } from "./session-ids.js";
import { SessionPeer } from "./session-peer.js";
import type { SentPacket } from "./under-way.js";

/** Peers that speak sessions, at most. */
export const SESSION_PEERS_MAX = 4_096;

export interface PeerStamps extends StampOrder {
  readonly peer: number;
}

export class SessionLayer {
  readonly outgoing = new Outgoing();
  readonly reassembly = new ReassemblyBudget();
  /** 8 bytes, drawn at this start. */
  readonly boot = new Uint8Array(BOOT_ID_BYTES);
  readonly #events: LayerEvents;
  readonly #ids: SessionIds;
  readonly #hints = new HintGate();
  readonly #shared: PeerShared;
  /** By index; one that is not configured any more keeps it, and its numbers. */
  readonly #peers: SessionPeer[] = [];
  readonly #sessions = new Map<number, Session>();
  /** Who has to be asked; nobody else is, however many there are. */
  readonly #turns = new PeerTurns(SESSION_PEERS_MAX);
  /** Peers that found no slab: they are asked again when one may have come back. */
  #starved: number[] = [];
  readonly #readsOut = new ReadsOut();
  readonly #deadlines = new DeadlineHeap(SESSION_PEERS_MAX);
  #gone: Session[] = [];

  constructor(options: LayerOptions) {
    const { random } = options;
    this.#events = options.events;
    this.#ids = new SessionIds(random);
    random(this.boot);
    this.#shared = {
      boot: this.boot,
      ids: this.#ids,
      outgoing: this.outgoing,
      settlements: options.settlements,
      budget: this.reassembly,
      gateBudget: gateBudget(),
      random,
      uniform: options.uniform,
    };
    this.configure(options.now, 0, options.ownPublicKey, options.peers);
  }

  /**
   * The peers of a configuration, by index; undefined: not in it. A peer keeps its index while the
   * daemon lives; of one that is known, only the configuration is used. No handshake is at a worker.
   */
  configure(
    now: Nanoseconds,
    wallNs: number,
    ownPublicKey: Uint8Array,
    entries: readonly (LayerPeer | undefined)[],
    sink?: HandshakeSink,
  ): void {
    assert(entries.length <= SESSION_PEERS_MAX, "the configuration bounds the peers");
    const count = entries.filter((entry) => entry !== undefined).length;
    for (let index = 0; index < Math.max(entries.length, this.#peers.length); index++) {
      const [peer, entry] = [this.#peers[index], entries[index]];
      if (peer !== undefined && sink !== undefined) peer.negotiation.abandon(sink);
      if (entry === undefined) peer?.retire(now, wallNs);
      else {
        const { config } = entry;
        const share = shareOf(count, config.limits);
        const ownKeyIsLower = compareKeys(ownPublicKey, config.publicKey) < 0;
        if (peer === undefined)
          this.#peers[index] = this.#newPeer(now, index, entry, { config, share, ownKeyIsLower });
        else peer.configure(now, { config, share, ownKeyIsLower });
      }
      if (this.#peers[index] !== undefined) this.#touch(index);
    }
  }

  #newPeer(
    now: Nanoseconds,
    index: number,
    { stamps, rotation, spools }: LayerPeer,
    settings: PeerSettings,
  ): SessionPeer {
    const peer = new SessionPeer({
      ...settings,
      index,
      now,
      stamps,
      rotation,
      shared: this.#shared,
      events: this.#peerEvents(),
    });
    for (const spool of spools) peer.receiver.resume(spool);
    return peer;
  }

  get peers(): readonly SessionPeer[] {
    return this.#peers;
  }

  /** Incoming hint keys of every peer, from the workers that derived them. */
  handleHintKeys(keys: readonly (readonly Uint8Array[])[]): void {
    this.#hints.configure(keys);
    for (const { index, session } of this.#peers) {
      if (session !== undefined) this.#hints.moved(index, true);
    }
  }

  // --- Datagrams in -----------------------------------------------------------------------------

  /** Takes a datagram, or says why not; "classic": nothing of it is of a session. */
  handleDatagram(
    now: Nanoseconds,
    datagram: Uint8Array,
    address: string,
    port: number,
    packets: PacketOpenSink,
    handshakes: HandshakeSink,
  ): DropReason | "classic" | undefined {
    if (datagram.length < PACKET_BYTES_MIN) return "classic";
    const session = this.#sessions.get(sessionIdAt(datagram, 0));
    const owner = session && this.#peerOf(session.peer);
    if (owner) return owner.handlePacket(now, session, datagram, address, port, packets);
    const index = this.#hints.peerOf(now, datagram, address, port);
    if (index === -1) return "classic";
    if (index < 0) return "hint_budget";
    const peer = this.#peerOf(index);
    if (peer.silent) return "handshake_busy";
    return peer.handshakes.read(now, datagram, { address, port }, handshakes);
  }

  /** A worker found the tag of a packet in order. */
  handleOpened(
    now: Nanoseconds,
    wallNs: number,
    packet: OpenedSessionPacket,
    sinks: FrameSinks,
  ): DropReason | undefined {
    const session = this.#sessions.get(packet.tag);
    if (session === undefined) return "session_expired";
    const peer = this.#peerOf(session.peer);
    const dropped = peer.handleOpened(now, wallNs, session, packet, sinks);
    if (dropped === undefined) this.#hints.heard(session.peer, packet.address, packet.port);
    this.#touch(session.peer);
    return dropped;
  }

  /** A worker found the tag of a packet wrong. */
  handleRefused(now: Nanoseconds, tag: number, length?: number): void {
    this.#sessions.get(tag)?.failures.failed(now, length);
  }

  // --- Packets out ------------------------------------------------------------------------------

  /** Writes the next packet of whoever's turn it is; false when nobody has one. */
  pollSeal(now: Nanoseconds, wallNs: number, sink: PacketSink): boolean {
    const { writing, reading, limits } = this.#turns;
    for (let index = writing.first; index >= 0; index = writing.first) {
      const peer = this.#peerOf(index);
      const written = peer.pollSeal(now, wallNs, sink);
      reading.mark(index);
      limits.mark(index);
      if (written === PACKET_WRITTEN.yes) {
        writing.rotate();
        return true;
      }
      writing.take();
      if (written === PACKET_WRITTEN.starved) this.#starved.push(index);
      else this.#deadlines.set(index, peer.deadline(now));
    }
    return false;
  }

  /** Receipts and CLOSE that are to be written, in sessions that are there. */
  get answering(): boolean {
    return this.#peers.some((peer) => peer.answering);
  }

  /** A worker sealed a packet; true: it may leave. */
  handleSealed(packet: SealedSessionPacket): boolean {
    const session = this.#sessions.get(packet.tag);
    if (session === undefined) return false;
    this.#peerOf(session.peer).handleSealed(session, packet.bytes, packet.at, packet.length);
    return true;
  }

  /** The system refused a packet of `length` bytes for its size. */
  handleTooBig(now: Nanoseconds, packet: SentPacket, length: number): void {
    const session = this.#sessions.get(packet.tag);
    if (session === undefined) return;
    this.#peerOf(session.peer).underWay.handleTooBig(now, session, packet, length);
    this.#stir(session.peer);
  }

  /** A packet did not leave after all, whatever its size. */
  handleWithdrawn(packet: SentPacket): void {
    const session = this.#sessions.get(packet.tag);
    if (session === undefined) return;
    this.#peerOf(session.peer).underWay.handleWithdrawn(session, packet);
    this.#stir(session.peer);
  }

  // --- Handshakes -------------------------------------------------------------------------------

  /** A worker answered a handshake job; true: its message is a datagram that is to leave. */
  handleHandshake(
    now: Nanoseconds,
    wallNs: number,
    result: HandshakeResult,
    sink: HandshakeSink,
  ): boolean {
    const peer = this.#peers[result.peer];
    if (peer === undefined) return false;
    const sends = peer.handleResult(now, wallNs, result, sink);
    this.#touch(result.peer);
    return sends;
  }

  /** Stamps that the store should commit. */
  pollStamp(): PeerStamps | undefined {
    for (let index = this.#turns.stamping.first; index >= 0; index = this.#turns.stamping.first) {
      const order = this.#peerOf(index).negotiation.pollStamp();
      if (order !== undefined) return { peer: index, ...order };
      this.#turns.stamping.take();
    }
    return undefined;
  }

  /** They are committed and synced. */
  handleStamped(now: Nanoseconds, { peer, ...stamps }: PeerStamps, sink: HandshakeSink): void {
    this.#peers[peer]?.handleStamped(now, stamps, sink);
    this.#touch(peer);
  }

  /** Where a peer may be: as configured, and what its names resolved to. */
  handlePlaces(now: Nanoseconds, peer: number, places: readonly HandshakePlace[]): void {
    this.#peerOf(peer).handlePlaces(now, places);
    this.#touch(peer);
  }

  /** A peer with mail waiting, or heard of lately, should know that we are back. */
  announce(now: Nanoseconds, peer: number): void {
    this.#peerOf(peer).announcements.soon(now);
    this.#touch(peer);
  }

  /** Whether classic is spoken with the peer until there was a session. */
  setTentative(peer: number, tentative: boolean): void {
    this.#peerOf(peer).announcements.tentative = tentative;
  }

  /** There is mail for such a peer. */
  handleClassicMail(now: Nanoseconds, peer: number): void {
    this.#peerOf(peer).announcements.handleClassicMail(now);
    this.#touch(peer);
  }

  // --- The store --------------------------------------------------------------------------------

  /** Takes a leased row for a peer. The batch that it lies in must stay as it is. */
  handleRow(now: Nanoseconds, wallNs: number, peer: number, row: SessionRow): void {
    this.#peerOf(peer).sender.enqueue(now, wallNs, row);
    this.#stir(peer);
  }

  /** A payload, or a piece of one, that the store should read. */
  pollRead(): PayloadOrder | undefined {
    for (let index = this.#turns.reading.first; index >= 0; index = this.#turns.reading.first) {
      const order = this.#readsOut.poll(index, this.#peerOf(index).sender);
      if (order !== undefined) return order;
      this.#turns.reading.take();
    }
    return undefined;
  }

  /** It was read; undefined: the row is gone, or another message by now. */
  handleRead(now: Nanoseconds, tag: number, offset: number, bytes: Uint8Array | undefined): void {
    const peer = this.#readsOut.ended(tag);
    if (peer < 0) return;
    this.#peerOf(peer).sender.handleRead(now, tag, offset, bytes);
    this.#stir(peer);
  }

  /** The store answered for a record that was delivered to it. */
  handleDelivered(record: DeliveredRecord, sink: DeliverySink): void {
    this.#peerOf(record.peer).receiver.handleDelivered(record, sink);
    this.#stir(record.peer);
  }

  /** There is room towards the store again. */
  handleRoom(sink: DeliverySink): void {
    for (let left = this.#turns.roomless.size; left > 0; left--) {
      const index = this.#turns.roomless.take();
      this.#peerOf(index).receiver.handleRoom(sink);
      this.#touch(index);
    }
  }

  /** The store takes the settlements that are queued; and, later: they are committed. */
  handleTaken(): void {
    const { final, committing } = this.#turns;
    for (let index = final.take(); index >= 0; index = final.take()) {
      if (this.#peerOf(index).sender.handleTaken()) committing.mark(index);
    }
  }
  handleCommitted(now: Nanoseconds): void {
    const { committing } = this.#turns;
    for (let index = committing.take(); index >= 0; index = committing.take()) {
      this.#peerOf(index).sender.handleCommitted(now);
      this.#stir(index);
    }
  }

  /** A peer with a session that is confirmed; without one now; that does not answer; of new `rowsMax`. */
  pollConfirmed(): number | undefined {
    return this.#turns.confirmed.poll();
  }
  pollLost(): number | undefined {
    return this.#turns.lost.poll();
  }
  pollUnanswered(): number | undefined {
    return this.#turns.unanswered.poll();
  }
  pollLimit(): number | undefined {
    return this.#turns.limits.poll();
  }

  // --- Time -------------------------------------------------------------------------------------

  handleTimeout(now: Nanoseconds, wallNs: number, sink: HandshakeSink): void {
    for (const index of this.#starved) this.#turns.writing.mark(index);
    this.#starved.length = 0;
    for (let slot = this.outgoing.due(now); slot >= 0; slot = this.outgoing.due(now)) {
      const peer = this.outgoing.peers[slot] as number;
      this.#peerOf(peer).sender.handleDue(slot, now, wallNs);
      this.#stir(peer);
    }
    while (this.#deadlines.size > 0 && this.#deadlines.peekAt() <= now) {
      const index = this.#deadlines.peekSlot();
      this.#deadlines.remove(index);
      if (this.#peerOf(index).handleTimeout(now, wallNs, sink)) this.#turns.unanswered.mark(index);
      this.#touch(index);
    }
    for (const session of this.#gone) {
      sink.forget(session.peer, session.keySlot);
      this.#ids.release(session.localId, session.keySlot);
    }
    this.#gone.length = 0;
  }

  pollDeadline(): Nanoseconds {
    return nanoseconds(Math.min(this.#deadlines.peekAt(), this.outgoing.nextDeadline));
  }

  /** A clean stop: every session is closed; the packets that say so are written by pollSeal. */
  stop(now: Nanoseconds): void {
    for (const peer of this.#peers) {
      peer.stop(now);
      this.#touch(peer.index);
    }
  }

  // --- Steps ------------------------------------------------------------------------------------

  #peerOf(index: number): SessionPeer {
    const peer = this.#peers[index];
    assert(peer !== undefined, "an index names a peer");
    return peer;
  }

  /** Something arrived that the peer may have to write about. */
  #stir(index: number): void {
    this.#peerOf(index).stir();
    this.#touch(index);
  }

  /** The peer's turn comes, in pollSeal; its deadline is asked for when the turn is over. */
  #touch(index: number): void {
    this.#turns.touch(index, this.#peerOf(index).receiver.waitsForRoom);
  }

  #peerEvents(): PeerEvents {
    const report = (peer: number, what: string): void =>
      this.#events.onReport(`${this.#peerOf(peer).config.name}: ${what}`);
    return {
      onSession: (session) => this.#sessions.set(session.localId, session),
      onGone: (session) => {
        this.#sessions.delete(session.localId);
        this.#gone.push(session);
        const inSession = this.#peerOf(session.peer).session !== undefined;
        this.#hints.moved(session.peer, inSession);
        if (!inSession) this.#turns.lost.mark(session.peer);
      },
      onConfirmed: (peer) => {
        this.#hints.moved(peer, true);
        this.#turns.confirmed.mark(peer);
      },
      onClosed: (peer, reason, ours) => {
        if (reason === CLOSING.stop) return;
        report(peer, `session closed by ${ours ? "us" : "the peer"}: ${closingSentence(reason)}`);
      },
      onMismatch: (peer) => report(peer, "a receipt names a message of ours with another digest"),
    };
  }
}
