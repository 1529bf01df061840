// One peer that speaks sessions: composes its handshakes, its sessions, its path and the messages both
// ways, and decides who of them acts when. Everything that comes from outside arrives through the
// SessionLayer; nothing here knows another peer.

import type { DropReason } from "../../base/errors.js";
import { type Nanoseconds, NS_PER_MS, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import { MTU_SEARCH_MAX_BYTES } from "../transport/mtu.js";
import type { Agreed } from "./agreed.js";
import { Announcements } from "./announcements.js";
import { AnswerFrames } from "./answer-frames.js";
import { ContentRepair } from "./content-repair.js";
import { ControlFrames } from "./control-frames.js";
import type { Share } from "./credit-share.js";
import { FrameHandler, type FrameSinks } from "./frame-handler.js";
import type { HandshakePlace, Handshakes, StampOrder } from "./handshakes.js";
import { ROWS_IN_SESSION_MAX, ROWS_WITHOUT_SESSION } from "./limits.js";
import { Negotiation, type Promised } from "./negotiation.js";
import {
  DATAGRAM_BYTES_LEAST,
  PACKET_WRITTEN,
  PacketWriter,
  type PacketWritten,
} from "./packet-writer.js";
import { ringNamesOf } from "./peer-keys.js";
import { PeerPath } from "./peer-path.js";
import type {
  PeerEvents,
  PeerSettings,
  SessionPeerOptions,
  SpeakingPeerConfig,
} from "./peer-surroundings.js";
import type {
  HandshakeResult,
  HandshakeSink,
  OpenedSessionPacket,
  PacketOpenSink,
  PacketSink,
} from "./ports.js";
import { CLOSING, type Closing } from "./reasons.js";
import { Receiver } from "./receiver.js";
import { Sender } from "./sender.js";
import { Session } from "./session.js";
import { SessionRest } from "./session-rest.js";
import { SessionSet } from "./session-set.js";
import { UnderWay } from "./under-way.js";

const NEVER = nanoseconds(Number.POSITIVE_INFINITY);
/** Payload bytes of leased rows beyond which no more are leased for the peer. */
const HELD_BYTES_MAX = 4 * 1_024 * 1_024;
/** A session is rekeyed while something came or went within this span, ns. */
const ACTIVE_NS = 30 * NS_PER_SECOND;
/** Probe timeouts without any answer behind which a new handshake begins. */
const TIMEOUTS_MAX = 3;
/** So long nothing came, too, ns: on a short path that loses a third, three timeouts are everyday. */
const SILENCE_NS = 3 * NS_PER_SECOND;

export class SessionPeer {
  readonly index: number;
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly path: PeerPath;
  readonly control: ControlFrames;
  readonly negotiation: Negotiation;
  readonly handshakes: Handshakes;
  readonly announcements: Announcements;
  readonly underWay: UnderWay;
  readonly #events: PeerEvents;
  readonly #rest: SessionRest;
  readonly #sessions: SessionSet;
  readonly #answers: AnswerFrames;
  readonly #writer: PacketWriter;
  readonly #frames: FrameHandler;
  #config: SpeakingPeerConfig;
  /** Something changed since there was nothing to write. */
  #stirred = true;
  /** The path had no room, and when it will have by itself. */
  #blocked = false;
  #pacedUntil: Nanoseconds = NEVER;
  #heardAt: Nanoseconds = nanoseconds(Number.NEGATIVE_INFINITY);
  #share: Share;
  #silent = false;

  constructor(options: SessionPeerOptions) {
    const { index, now, config, share, shared, events, stamps, rotation } = options;
    this.#events = events;
    [this.#config, this.#share] = [config, share];
    this.index = index;
    const { outgoing, settlements, uniform, ids, random, gateBudget } = shared;
    this.sender = new Sender({ peer: index, outgoing, settlements, uniform });
    this.receiver = new Receiver({ peer: index, budget: shared.budget, ...this.#promised });
    this.path = new PeerPath({ now, random, mtu: { pinnedBytes: config.mtuBytes ?? 0 } });
    this.#rest = new SessionRest(now);
    this.negotiation = new Negotiation({
      ...{ peer: index, ids, uniform, stamps, rotation, ring: config.ring, path: this.path },
      ...{ boot: shared.boot, rest: this.#rest, gateBudget },
      promise: () => this.#promised,
      sessionOf: (keySlot) => this.#sessions.ofKeySlot(keySlot),
      onAgreed: (at, agreed, fresh) => this.#agree(at, agreed, fresh),
    });
    const { keys, rekeys, handshakes } = this.negotiation;
    this.handshakes = handshakes;
    this.announcements = new Announcements(now, handshakes, uniform);
    this.control = new ControlFrames(this.path, rekeys);
    this.#answers = new AnswerFrames(this.receiver, this.sender.settled);
    this.#writer = new PacketWriter({
      peer: index,
      path: this.path,
      control: this.control,
      answers: this.#answers,
      sender: this.sender,
    });
    this.#writer.padding = config.padding;
    const repair = new ContentRepair(this.sender, this.receiver, rekeys, this.control);
    this.underWay = new UnderWay(repair, this.path);
    this.#sessions = new SessionSet(options.ownKeyIsLower, {
      onGone: (session) => this.#gone(session),
      onReplaced: (session) => this.underWay.release(session),
    });
    this.#frames = new FrameHandler({
      boot: shared.boot,
      sender: this.sender,
      receiver: this.receiver,
      control: this.control,
      rekeys,
      path: this.path,
      events: {
        onClose: (session, reason, at) => this.#closedByPeer(at, session, reason),
        onKeys: (frame) => keys.handleKeys(frame, this.negotiation.wallNs / NS_PER_MS),
        onMismatch: () => events.onMismatch(index),
      },
    });
  }

  /** It is not spoken with: not configured any more, or the daemon stops. */
  get silent(): boolean {
    return this.#silent;
  }
  get config(): SpeakingPeerConfig {
    return this.#config;
  }
  get session(): Session | undefined {
    return this.#sessions.current;
  }
  /** Since when there is a session, whichever. */
  get upAt(): Nanoseconds | undefined {
    return this.#sessions.upAt;
  }
  /** Rows that the store may have out for it. */
  get rowsMax(): number {
    if (this.session === undefined) return ROWS_WITHOUT_SESSION;
    return this.sender.heldBytes > HELD_BYTES_MAX ? 0 : ROWS_IN_SESSION_MAX;
  }

  /** Something that may have to be written came from the store. */
  stir(): void {
    this.#stirred = true;
  }

  // --- Packets in -------------------------------------------------------------------------------

  /** A packet of one of its sessions, as it came. */
  handlePacket(
    now: Nanoseconds,
    session: Session,
    datagram: Uint8Array,
    address: string,
    port: number,
    sink: PacketOpenSink,
  ): DropReason | undefined {
    const dropped = session.judge(now, datagram);
    if (dropped !== undefined) return dropped;
    const { keySlot, localId } = session;
    const { high, low } = session.maskIn;
    const taken = sink.openPacket(this.index, datagram, keySlot, high, low, localId, address, port);
    return taken ? undefined : "open_queue_full";
  }

  /** A worker found its tag in order. */
  handleOpened(
    now: Nanoseconds,
    wallNs: number,
    session: Session,
    packet: OpenedSessionPacket,
    sinks: FrameSinks,
  ): DropReason | undefined {
    this.negotiation.wallNs = wallNs;
    if (session.closing >= 0 || this.#silent) return "session_expired";
    const counter = packet.counterHigh * 2 ** 32 + packet.counterLow;
    if (!session.window.commit(counter)) return "replayed";
    session.heardAt = now;
    this.#heardAt = now;
    this.#stirred = true;
    this.handshakes.hurry(now);
    if (!session.used) {
      session.used = true;
      this.negotiation.keys.used(session.keyName, wallNs / NS_PER_MS);
    }
    if (session.state === "next") this.#confirm(now, session);
    const isNewest = session === this.session && counter === session.window.newest;
    if (isNewest && this.path.handleNewest(now, packet.address, packet.port)) {
      session.recovery.handlePath(this.path.transport);
    }
    this.path.handleReceived(packet.datagramLength, packet.address, packet.port);
    const closing = this.#frames.handle(now, session, packet, sinks);
    session.acks.handlePacket(now, counter, this.#frames.eliciting);
    this.underWay.settle(session);
    if (closing !== undefined) this.#close(now, session, closing);
    return undefined;
  }

  // --- Packets out ------------------------------------------------------------------------------

  /** Writes the next packet, or says why there is none for a while. */
  pollSeal(now: Nanoseconds, wallNs: number, sink: PacketSink): PacketWritten {
    this.negotiation.wallNs = wallNs;
    for (const each of this.#sessions.previous) {
      const written = this.#writer.writeAck(now, each, sink);
      if (written !== PACKET_WRITTEN.nothing) return written;
    }
    const session = this.session;
    if (session === undefined || this.path.place === undefined) return PACKET_WRITTEN.nothing;
    // A handshake, or a packet of another session, may have moved the path since.
    session.recovery.handlePath(this.path.transport);
    const due = session.recovery.probes > 0 || session.acks.ackDue(now);
    if (!this.#stirred && !due && this.#pacedUntil > now && !this.#answers.waiting(now)) {
      return PACKET_WRITTEN.nothing;
    }
    const written = this.#writer.write(now, wallNs, session, sink);
    this.#pacedUntil = NEVER;
    this.#blocked = written === PACKET_WRITTEN.later;
    if (this.#blocked) this.#pacedUntil = this.#writer.roomAt(now, session);
    if (written === PACKET_WRITTEN.nothing || this.#blocked) this.#stirred = false;
    return written;
  }

  /** Whether it has a session, and something to say in it that no message waits for: receipts, CLOSE. */
  get answering(): boolean {
    const { session } = this;
    return session !== undefined && (session.closing >= 0 || this.receiver.receipts.waiting > 0);
  }

  /** A worker sealed a packet: its counter is masked, and it may leave. */
  handleSealed(session: Session, bytes: Uint8Array, at: number, length: number): void {
    session.maskOut.mask(bytes, at, length);
    if (session.closing >= 0) this.#sessions.end(session);
  }

  // --- Handshakes -------------------------------------------------------------------------------

  /** A worker answered a handshake job; true: its message is a datagram that is to leave. */
  handleResult(
    now: Nanoseconds,
    wallNs: number,
    result: HandshakeResult,
    sink: HandshakeSink,
  ): boolean {
    if (this.#silent) return false;
    this.negotiation.wallNs = wallNs;
    this.#stirred = true;
    return this.negotiation.handleResult(now, result, sink);
  }

  /** Stamps, and facts about keys, are committed: what waited for them may leave. */
  handleStamped(now: Nanoseconds, order: StampOrder, sink: HandshakeSink): void {
    this.#stirred = true;
    this.negotiation.handleStamped(now, order, sink);
  }

  /** Addresses of the configuration, with what its names resolved to. */
  handlePlaces(now: Nanoseconds, places: readonly HandshakePlace[]): void {
    if (this.path.handlePlaces(places)) this.handshakes.hurry(now);
  }

  // --- Time -------------------------------------------------------------------------------------

  /** True when an attempt went unanswered: the peer's names are to be looked up again. */
  handleTimeout(now: Nanoseconds, wallNs: number, sink: HandshakeSink): boolean {
    this.negotiation.wallNs = wallNs;
    this.#sessions.expire(now);
    if (this.#silent) return false;
    this.negotiation.rekeys.handleTimeout(now, sink);
    const { session } = this;
    if (session !== undefined) this.#tendSession(now, session, sink);
    this.announcements.handleTimeout(now, session !== undefined);
    if (this.#wanted) this.handshakes.want(now);
    return this.handshakes.handleTimeout(now, wallNs, sink);
  }

  deadline(now: Nanoseconds): Nanoseconds {
    const [session, { rekeys, handshakes }] = [this.session, this.negotiation];
    if (this.#silent) return this.#sessions.deadline;
    let at = Math.min(this.#sessions.deadline, rekeys.deadline, handshakes.deadline);
    if (session === undefined) {
      if (this.#wanted && !handshakes.wanted) return now;
      return nanoseconds(Math.min(at, this.announcements.deadline));
    }
    at = Math.min(at, session.recovery.pollDeadline());
    // Nothing else is sent before more has come.
    if (this.path.allowance < DATAGRAM_BYTES_LEAST) return nanoseconds(at);
    for (const each of this.#sessions.previous) at = Math.min(at, each.acks.pollDeadline());
    at = Math.min(at, session.acks.pollDeadline());
    // While the path has no room, what waits to be said waits for that.
    const blockedUntil = this.#blocked ? this.#pacedUntil : 0;
    at = Math.min(at, Math.max(this.sender.settled.deadline, blockedUntil), this.#pacedUntil);
    if (now - this.#heardAt < ACTIVE_NS && !rekeys.pending) {
      at = Math.min(at, Math.max(session.rekeyAt, rekeys.notBefore));
    }
    if (!this.#writer.ping) at = Math.min(at, session.sentAt + this.#keepaliveNs);
    return nanoseconds(at);
  }

  /** A clean stop: the other end need not wait for us. */
  stop(now: Nanoseconds): void {
    this.#silent = true;
    if (this.session !== undefined) this.#close(now, this.session, CLOSING.stop);
  }

  /**
   * Its configuration was read again, and a worker has its keys. Sessions under keys that are still
   * in its ring go on.
   */
  configure(now: Nanoseconds, { config, share, ownKeyIsLower }: PeerSettings): void {
    if (this.#silent) this.announcements.soon(now);
    this.#silent = false;
    [this.#config, this.#share] = [config, share];
    this.#writer.padding = config.padding;
    const { keys } = this.negotiation;
    keys.configure(ringNamesOf(config.ring));
    this.#sessions.ownKeyIsLower = ownKeyIsLower;
    this.#sessions.endAll(({ keyName }) => !keys.has(keyName));
    this.#stirred = true;
  }

  /** It is not configured any more: its rows go back to the table. */
  retire(now: Nanoseconds, wallNs: number): void {
    this.#silent = true;
    this.announcements.end();
    this.#sessions.endAll();
    this.sender.giveBack(now, wallNs);
  }

  // --- Steps ------------------------------------------------------------------------------------

  get #keepaliveNs(): number {
    return (this.#config.keepaliveSeconds ?? Number.POSITIVE_INFINITY) * NS_PER_SECOND;
  }
  get #promised(): Promised {
    const { messages, bytes } = this.#share;
    const { messageBytesMax } = this.#config.limits;
    return { messageBytesMax, creditMessages: messages, creditBytes: bytes };
  }

  /** There is no session, and something to have one for. */
  get #wanted(): boolean {
    if (this.session !== undefined || this.#silent) return false;
    return this.sender.rows > 0 || this.announcements.active;
  }

  #agree(now: Nanoseconds, agreed: Agreed, fresh: boolean): void {
    const session = new Session({
      ...agreed,
      keyName: this.negotiation.keys.nameOf(agreed.role),
      peer: this.index,
      now,
      path: this.path.transport,
      fresh,
      state: agreed.initiator ? "current" : "next",
    });
    this.#events.onSession(session);
    this.#writer.ping ||= agreed.initiator;
    if (agreed.initiator) this.#confirm(now, session);
    else this.#sessions.answered(session);
  }

  /** Both ends have the keys of the session. */
  #confirm(now: Nanoseconds, session: Session): void {
    // Without message 2, which went there, nobody could have written this packet.
    if (session.fresh && !session.initiator) this.path.handleAgreed(now, session);
    this.#sessions.endOtherBoots(session);
    this.#sessions.confirm(now, session);
    const { boot, creditMessages, creditBytes, datagramBytesMax } = session.payload;
    this.path.transport.configureMtu(now, {
      pinnedBytes: this.#config.mtuBytes ?? 0,
      bytesMax: Math.min(MTU_SEARCH_MAX_BYTES, datagramBytesMax),
    });
    this.sender.sessionUp(session.fresh, creditMessages, creditBytes);
    this.receiver.configure(this.#promised);
    this.receiver.sessionUp(boot, session.fresh);
    this.control.sessionUp();
    this.negotiation.sessionUp(boot);
    this.announcements.sessionUp(now);
    this.#stirred = true;
    this.#events.onConfirmed(this.index);
  }

  #tendSession(now: Nanoseconds, session: Session, sink: HandshakeSink): void {
    const { recovery } = session;
    if (recovery.pollDeadline() <= now) {
      recovery.handleTimeout(now);
      this.underWay.settle(session);
      this.#stirred = true;
    }
    const silent = now - session.heardAt >= SILENCE_NS;
    if (silent && recovery.timeouts >= TIMEOUTS_MAX) this.handshakes.want(now);
    const active = now - this.#heardAt < ACTIVE_NS || now - session.sentAt < ACTIVE_NS;
    if (now >= session.rekeyAt && active) this.negotiation.rekey(now, session, sink);
    if (now - session.sentAt >= this.#keepaliveNs) {
      this.#writer.ping = true;
      this.#stirred = true;
    }
  }

  #close(now: Nanoseconds, session: Session, reason: Closing): void {
    if (session.closing >= 0) return;
    session.closing = reason;
    this.#stirred = true;
    if (session !== this.session) this.#sessions.end(session);
    if (reason !== CLOSING.stop) this.#fault(now, session);
    this.#events.onClosed(this.index, reason, true);
  }

  #closedByPeer(now: Nanoseconds, session: Session, reason: number): void {
    if (reason !== CLOSING.stop) this.#fault(now, session);
    this.#sessions.end(session);
    this.#events.onClosed(this.index, reason, false);
  }

  /** No session follows for a while, one that was answered meanwhile included. */
  #fault(now: Nanoseconds, { payload }: Session): void {
    this.#rest.handleFault(now, payload.boot);
    this.#sessions.endAll(({ state }) => state === "next");
  }

  /** A session is gone: what it had under way is lost, its keys are wiped. */
  #gone(session: Session): void {
    this.underWay.release(session);
    if (this.#sessions.isEmpty) this.receiver.sessionDown();
    this.#stirred = true;
    session.wipe();
    this.#events.onGone(session);
  }
}
