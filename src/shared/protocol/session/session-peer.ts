// One peer that speaks sessions: composes its handshakes, its sessions, its path and the messages both
// ways, and decides who of them acts when. Everything that comes from outside arrives through the
// SessionLayer; nothing here knows another peer.

import type { DropReason } from "../../base/errors.js";
import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import { DATAGRAM_BYTES_MAX } from "../constants.js";
import { MTU_SEARCH_MAX_BYTES } from "../transport/mtu.js";
import { FATE } from "../transport/packet-fates.js";
import { AnswerFrames } from "./answer-frames.js";
import { ContentRepair } from "./content-repair.js";
import { ControlFrames } from "./control-frames.js";
import { FrameHandler, type FrameSinks } from "./frame-handler.js";
import { encodeHandshakePayload, PADDING_BYTES_MOST } from "./handshake-payload.js";
import { type Agreed, type HandshakePlace, Handshakes, type StampOrder } from "./handshakes.js";
import { ROWS_IN_SESSION_MAX, ROWS_WITHOUT_SESSION } from "./limits.js";
import { counterInRange } from "./packet.js";
import { DATAGRAM_BYTES_LEAST, PACKET_WRITTEN, PacketWriter } from "./packet-writer.js";
import { PeerPath } from "./peer-path.js";
import type { PeerEvents, SessionPeerOptions, SpeakingPeerConfig } from "./peer-surroundings.js";
import {
  type HandshakeResult,
  type HandshakeSink,
  KEY_ROLE,
  type KeyRole,
  NO_KEY_SLOT,
  type OpenedSessionPacket,
  type PacketOpenSink,
  type PacketSink,
} from "./ports.js";
import { CLOSING, type Closing } from "./reasons.js";
import { Receiver } from "./receiver.js";
import { Rekeys } from "./rekeys.js";
import { Sender } from "./sender.js";
import { ACK_DELAY_MS, Session } from "./session.js";
import { SessionSet } from "./session-set.js";

const NEVER = nanoseconds(Number.POSITIVE_INFINITY);
/** Payload bytes of leased rows beyond which no more are leased for the peer. */
const HELD_BYTES_MAX = 4 * 1_024 * 1_024;
/** A session is rekeyed while something came or went within this span, ns. */
const ACTIVE_NS = 30 * NS_PER_SECOND;
/** Probe timeouts without any answer behind which a new handshake begins. */
const TIMEOUTS_MAX = 3;
/** Wait behind a session that was closed for a fault, ns. */
const FAULT_WAIT_NS = 5 * NS_PER_SECOND;
/** Every so often a host without a session says so to each peer, ns. */
const ANNOUNCE_NS = 3_600 * NS_PER_SECOND;
/** Attempts of an announcement. */
const ANNOUNCE_ATTEMPTS = 3;

export class SessionPeer {
  readonly index: number;
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly path: PeerPath;
  readonly handshakes: Handshakes;
  readonly control: ControlFrames;
  readonly #options: SessionPeerOptions;
  readonly #events: PeerEvents;
  readonly #rekeys: Rekeys;
  readonly #sessions: SessionSet;
  readonly #answers: AnswerFrames;
  readonly #writer: PacketWriter;
  readonly #repair: ContentRepair;
  readonly #frames: FrameHandler;
  #config: SpeakingPeerConfig;
  /** Something changed since there was nothing to write. */
  #stirred = true;
  /** The path had no room, and when it will have by itself. */
  #blocked = false;
  #pacedUntil: Nanoseconds = NEVER;
  #announceAt: Nanoseconds;
  #announcing = false;
  #heardAt: Nanoseconds = nanoseconds(Number.NEGATIVE_INFINITY);
  #wallNs = 0;
  /** Role of the key that handshakes begin with: what rotation decides. */
  role: KeyRole = KEY_ROLE.current;

  constructor(options: SessionPeerOptions) {
    const { index, now, config, shared, events } = options;
    this.#options = options;
    this.#events = events;
    this.#config = config;
    this.index = index;
    this.#announceAt = nanoseconds(now + ANNOUNCE_NS * shared.uniform());
    const { outgoing, settlements, uniform, ids, random } = shared;
    this.sender = new Sender({ peer: index, outgoing, settlements, uniform });
    this.receiver = new Receiver({
      peer: index,
      budget: shared.budget,
      creditMessages: options.creditMessages,
      creditBytes: options.creditBytes,
      messageBytesMax: config.limits.messageBytesMax,
    });
    this.path = new PeerPath({ now, random, mtu: { pinnedBytes: config.mtuBytes ?? 0 } });
    const payload = (accepted: bigint): Uint8Array => this.#payload(accepted);
    const { sent, accepted } = options.stamps;
    this.handshakes = new Handshakes({ peer: index, ids, uniform, sent, accepted, payload });
    this.#rekeys = new Rekeys(index, ids, () => this.#payload(this.handshakes.accepted));
    this.control = new ControlFrames(this.path, this.#rekeys);
    this.#answers = new AnswerFrames(this.receiver, this.sender.settled);
    this.#writer = new PacketWriter({
      peer: index,
      path: this.path,
      control: this.control,
      answers: this.#answers,
      sender: this.sender,
    });
    this.#writer.padding = config.padding;
    this.#repair = new ContentRepair(this.sender, this.receiver, this.#rekeys, this.control);
    this.#sessions = new SessionSet(options.ownKeyIsLower, {
      onGone: (session) => this.#gone(session),
      onReplaced: (session) => this.#release(session),
    });
    this.#frames = new FrameHandler({
      boot: shared.boot,
      sender: this.sender,
      receiver: this.receiver,
      control: this.control,
      rekeys: this.#rekeys,
      path: this.path,
      events: {
        onClose: (session, reason) => this.#closedByPeer(session, reason),
        onKeys: (session, keys) => events.onKeys(index, session, keys),
        onMismatch: () => events.onMismatch(index),
      },
    });
  }

  get config(): SpeakingPeerConfig {
    return this.#config;
  }
  get session(): Session | undefined {
    return this.#sessions.current;
  }
  /** Rows that the store may have out for it. */
  get rowsMax(): number {
    if (this.session === undefined) return ROWS_WITHOUT_SESSION;
    return this.sender.heldBytes > HELD_BYTES_MAX ? 0 : ROWS_IN_SESSION_MAX;
  }

  /** Something that may have to be written arrived from the side of the store. */
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
    if (session.expired(now)) return "session_expired";
    const { maskIn, window } = session;
    maskIn.read(datagram, 0, datagram.length);
    const { high, low } = maskIn;
    if (!counterInRange(window.newest, high, low)) return "counter_range";
    if (!window.peek(maskIn.counter)) return "replayed";
    if (!session.failures.admits(now)) return "forgery_budget";
    const { keySlot, localId } = session;
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
    this.#wallNs = wallNs;
    if (session.closing >= 0) return "session_expired";
    const counter = packet.counterHigh * 2 ** 32 + packet.counterLow;
    if (!session.window.commit(counter)) return "replayed";
    session.heardAt = now;
    this.#heardAt = now;
    this.#stirred = true;
    this.handshakes.hurry(now);
    if (session.state === "next") this.#confirm(now, session, true);
    if (session === this.session && counter === session.window.newest) {
      if (this.path.handleNewest(now, packet.address, packet.port)) {
        session.recovery.handlePath(this.path.transport);
      }
    }
    this.path.handleReceived(packet.datagramLength);
    const closing = this.#frames.handle(
      now,
      session,
      packet.bytes,
      packet.bodyAt,
      packet.bodyLength,
      { address: packet.address, port: packet.port, sentWallNs: session.peerWallNs(now) },
      sinks,
    );
    session.acks.handlePacket(now, counter, this.#frames.eliciting);
    this.#drainFates(session);
    if (closing !== undefined) this.#close(now, session, closing);
    return undefined;
  }

  /** A worker found its tag wrong. */
  handleRefused(now: Nanoseconds, session: Session): void {
    session.failures.failed(now);
  }

  // --- Packets out ------------------------------------------------------------------------------

  /** Writes the next packet; false when there is none for a while. */
  pollSeal(now: Nanoseconds, wallNs: number, sink: PacketSink): boolean {
    this.#wallNs = wallNs;
    for (const session of this.#sessions.previous) {
      if (this.#writer.writeAck(now, session, sink) === PACKET_WRITTEN.yes) return true;
    }
    const session = this.session;
    if (session === undefined || this.path.place === undefined) return false;
    const due = session.recovery.probes > 0 || session.acks.ackDue(now);
    if (!this.#stirred && !due && this.#pacedUntil > now && !this.#answers.waiting(now))
      return false;
    this.#pacedUntil = NEVER;
    this.#blocked = false;
    const written = this.#writer.write(now, wallNs, session, sink);
    if (written === PACKET_WRITTEN.yes) return true;
    this.#stirred = false;
    this.#blocked = written === PACKET_WRITTEN.later;
    if (this.#blocked) this.#pacedUntil = this.#writer.roomAt(now, session);
    return false;
  }

  /** A worker sealed a packet: its counter is masked, and it may leave. */
  handleSealed(session: Session, bytes: Uint8Array, at: number, length: number): void {
    session.maskOut.mask(bytes, at, length);
    this.path.handleSent(length);
    if (session.closing >= 0) this.#sessions.end(session);
  }

  // --- Handshakes -------------------------------------------------------------------------------

  /** A worker answered a handshake job. */
  handleResult(
    now: Nanoseconds,
    wallNs: number,
    result: HandshakeResult,
    sink: HandshakeSink,
  ): void {
    this.#wallNs = wallNs;
    if (result.parentKeySlot === NO_KEY_SLOT) {
      const agreed = this.handshakes.handleResult(now, wallNs, result);
      if (agreed === undefined) return;
      this.path.handleAgreed(now, agreed);
      this.#agree(now, agreed, true);
      return;
    }
    const parent = this.#sessions.ofKeySlot(result.parentKeySlot);
    const agreed = this.#rekeys.handleResult(now, result, parent, sink);
    if (agreed !== undefined) this.#agree(now, agreed, false);
    this.#stirred = true;
  }

  /** Stamps of a handshake are committed: what waited for them may leave. */
  handleStamped(now: Nanoseconds, stamps: StampOrder, sink: HandshakeSink): void {
    const place = this.path.nextPlace(this.handshakes.unanswered > 1);
    this.handshakes.handleStamped(now, stamps, this.role, place, sink);
  }

  /** Addresses of the configuration, with what its names resolved to. */
  handlePlaces(now: Nanoseconds, places: readonly HandshakePlace[]): void {
    if (this.path.handlePlaces(places)) this.handshakes.hurry(now);
  }

  /** A handshake with the peer is wanted whether there is mail or not. */
  announce(now: Nanoseconds): void {
    this.#announceAt = now;
  }

  // --- Time -------------------------------------------------------------------------------------

  handleTimeout(now: Nanoseconds, wallNs: number, sink: HandshakeSink): void {
    this.#wallNs = wallNs;
    this.#sessions.expire(now);
    this.#rekeys.handleTimeout(now, sink);
    const session = this.session;
    if (session !== undefined) this.#tendSession(now, session, sink);
    if (now >= this.#announceAt) {
      this.#announceAt = nanoseconds(now + ANNOUNCE_NS * (1 - this.#options.shared.uniform() / 4));
      this.#announcing = this.session === undefined;
    }
    if (this.handshakes.unanswered >= ANNOUNCE_ATTEMPTS) this.#announcing = false;
    if (this.#wanted) this.handshakes.want(now);
    this.handshakes.handleTimeout(now, wallNs, sink);
  }

  deadline(now: Nanoseconds): Nanoseconds {
    const session = this.session;
    let at = Math.min(this.#sessions.deadline, this.#rekeys.deadline, this.handshakes.deadline);
    if (session === undefined) {
      return this.#wanted && !this.handshakes.wanted
        ? now
        : nanoseconds(Math.min(at, this.#announceAt));
    }
    for (const each of this.#sessions.previous) at = Math.min(at, each.acks.pollDeadline());
    at = Math.min(at, session.recovery.pollDeadline());
    if (this.path.allowance < DATAGRAM_BYTES_LEAST) return nanoseconds(at);
    at = Math.min(at, session.acks.pollDeadline());
    // While the path has no room, what waits to be said waits for that.
    const blockedUntil = this.#blocked ? this.#pacedUntil : 0;
    at = Math.min(at, Math.max(this.sender.settled.deadline, blockedUntil), this.#pacedUntil);
    if (now - this.#heardAt < ACTIVE_NS && !this.#rekeys.pending)
      at = Math.min(at, session.rekeyAt);
    const keepalive = this.#config.keepaliveSeconds;
    if (keepalive !== undefined) at = Math.min(at, session.sentAt + keepalive * NS_PER_SECOND);
    return nanoseconds(at);
  }

  /** A clean stop: the other end need not wait for us. */
  stop(now: Nanoseconds): void {
    const session = this.session;
    if (session !== undefined) this.#close(now, session, CLOSING.stop);
  }

  configure(config: SpeakingPeerConfig): void {
    this.#config = config;
    this.#writer.padding = config.padding;
  }

  /** The peer is not configured any more, or its keys changed: nothing of it goes on. */
  endAll(sink: HandshakeSink): void {
    this.#rekeys.abandon(sink);
    this.#sessions.endAll();
  }

  // --- Steps ------------------------------------------------------------------------------------

  /** There is no session, and something to have one for. */
  get #wanted(): boolean {
    return this.session === undefined && (this.sender.rows > 0 || this.#announcing);
  }

  #agree(now: Nanoseconds, agreed: Agreed, fresh: boolean): void {
    const session = new Session({
      ...agreed,
      peer: this.index,
      now,
      path: this.path.transport,
      fresh,
      state: agreed.initiator ? "current" : "next",
    });
    this.#events.onSession(session);
    if (!agreed.initiator) {
      this.#sessions.answered(session);
      return;
    }
    this.#confirm(now, session, false);
    this.#writer.ping = true;
  }

  /** Both ends have the keys of the session. */
  #confirm(now: Nanoseconds, session: Session, proven: boolean): void {
    this.#sessions.endOtherBoots(session);
    this.#sessions.confirm(now, session);
    const { boot, creditMessages, creditBytes, datagramBytesMax } = session.payload;
    const { transport } = this.path;
    transport.configureMtu(now, {
      pinnedBytes: this.#config.mtuBytes ?? 0,
      bytesMax: Math.min(MTU_SEARCH_MAX_BYTES, datagramBytesMax),
    });
    this.sender.sessionUp(session.fresh, creditMessages, creditBytes);
    this.receiver.sessionUp(boot, session.fresh);
    this.control.sessionUp();
    this.handshakes.done();
    this.#announcing = false;
    this.#announceAt = nanoseconds(now + ANNOUNCE_NS);
    this.#stirred = true;
    if (proven || session.initiator) this.#events.onConfirmed(this.index, session);
  }

  #tendSession(now: Nanoseconds, session: Session, sink: HandshakeSink): void {
    const { recovery } = session;
    if (recovery.pollDeadline() <= now) {
      recovery.handleTimeout(now);
      this.#drainFates(session);
      this.#stirred = true;
    }
    if (recovery.timeouts >= TIMEOUTS_MAX) this.handshakes.want(now);
    const active = now - this.#heardAt < ACTIVE_NS || now - session.sentAt < ACTIVE_NS;
    if (now >= session.rekeyAt && active) this.#rekeys.begin(now, session, this.role, sink);
    const keepalive = this.#config.keepaliveSeconds;
    if (keepalive !== undefined && now - session.sentAt >= keepalive * NS_PER_SECOND) {
      this.#writer.ping = true;
      this.#stirred = true;
    }
  }

  #close(now: Nanoseconds, session: Session, reason: Closing): void {
    if (session.closing >= 0) return;
    session.closing = reason;
    this.#stirred = true;
    if (session !== this.session) this.#sessions.end(session);
    if (reason !== CLOSING.stop) this.handshakes.rest(now, FAULT_WAIT_NS);
    this.#events.onClosed(this.index, reason, true);
  }

  #closedByPeer(session: Session, reason: number): void {
    this.#sessions.end(session);
    this.#events.onClosed(this.index, reason, false);
  }

  /** A session is gone: what it had under way is lost, its keys are wiped. */
  #gone(session: Session): void {
    this.#release(session);
    session.wipe();
    this.#events.onGone(session);
  }

  /** What a session has under way goes again in another one. */
  #release(session: Session): void {
    session.recovery.handleEnd();
    this.#drainFates(session);
  }

  #drainFates(session: Session): void {
    const { recovery, log } = session;
    for (let fate = recovery.pollFate(); fate !== FATE.none; fate = recovery.pollFate()) {
      this.#repair.acked = fate === FATE.acked;
      log.take(recovery.fateContent, this.#repair);
      this.#stirred = true;
    }
  }

  #payload(accepted: bigint): Uint8Array {
    const { shared, creditMessages, creditBytes } = this.#options;
    const padding = Math.floor(shared.uniform() * (PADDING_BYTES_MOST + 1));
    return encodeHandshakePayload(
      {
        boot: shared.boot,
        wallNs: BigInt(Math.floor(this.#wallNs)),
        accepted,
        messageBytesMax: this.#config.limits.messageBytesMax,
        datagramBytesMax: DATAGRAM_BYTES_MAX,
        ackDelayMs: ACK_DELAY_MS,
        creditMessages,
        creditBytes,
      },
      padding,
    );
  }
}
