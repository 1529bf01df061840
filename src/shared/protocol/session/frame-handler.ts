// Reads the frames of an opened packet and gives each to whom it concerns. The first fault ends it, with
// the reason for which the session is closed.

import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import { ACK_FAULT } from "../transport/ack-reader.js";
import type { ControlFrames } from "./control-frames.js";
import { FrameReader } from "./frame.js";
import type { KeysFrame } from "./frame-control.js";
import type { HaveFrame } from "./frame-transfer.js";
import { FRAME, NO_FRAME } from "./frame-type.js";
import { BOOT_ID_BYTES } from "./limits.js";
import { NumberRanges } from "./number-ranges.js";
import type { PeerPath } from "./peer-path.js";
import type { Arrival, DeliverySink, HandshakeSink, OpenedSessionPacket } from "./ports.js";
import { CLOSING, type Closing } from "./reasons.js";
import type { Receiver } from "./receiver.js";
import type { Rekeys } from "./rekeys.js";
import type { Sender } from "./sender.js";
import type { Session } from "./session.js";

const HAVE_RANGES_MAX = 32;
/** ACK frames of a packet that are looked at: one says it all, and each may be about all that was lost. */
const ACKS_PER_PACKET_MAX = 8;

export interface FrameSinks {
  readonly delivery: DeliverySink;
  readonly handshake: HandshakeSink;
}

export interface FrameEvents {
  /** The other end closed the session. */
  readonly onClose: (session: Session, reason: number, now: Nanoseconds) => void;
  /** Which keys the other end holds; the frame is valid during the call. */
  readonly onKeys: (keys: KeysFrame) => void;
  /** A receipt or refusal with a digest that is not that of the message. */
  readonly onMismatch: () => void;
}

export class FrameHandler {
  readonly #reader = new FrameReader();
  readonly #boot: Uint8Array;
  readonly #sender: Sender;
  readonly #receiver: Receiver;
  readonly #control: ControlFrames;
  readonly #rekeys: Rekeys;
  readonly #path: PeerPath;
  readonly #events: FrameEvents;
  /** The highest SETTLED of the packet. */
  #below = 0;
  #acks = 0;
  readonly #ranges = new NumberRanges(HAVE_RANGES_MAX);
  /** Of the packet in hand; one object for all of them. */
  readonly #arrival: { -readonly [K in keyof Arrival]: Arrival[K] } = {
    address: "",
    port: 0,
    sentWallNs: 0,
  };

  constructor(options: {
    /** Ours: receipts of another boot are about messages that nobody remembers. */
    readonly boot: Uint8Array;
    readonly sender: Sender;
    readonly receiver: Receiver;
    readonly control: ControlFrames;
    readonly rekeys: Rekeys;
    readonly path: PeerPath;
    readonly events: FrameEvents;
  }) {
    this.#boot = options.boot;
    this.#sender = options.sender;
    this.#receiver = options.receiver;
    this.#control = options.control;
    this.#rekeys = options.rekeys;
    this.#path = options.path;
    this.#events = options.events;
  }

  /** Whether the packet just read must be acknowledged. */
  get eliciting(): boolean {
    return this.#reader.eliciting;
  }

  /** Takes all frames of a packet; a reason closes the session. */
  handle(
    now: Nanoseconds,
    session: Session,
    packet: OpenedSessionPacket,
    sinks: FrameSinks,
  ): Closing | undefined {
    const reader = this.#reader;
    reader.open(packet.bytes, packet.bodyAt, packet.bodyLength);
    this.#arrival.address = packet.address;
    this.#arrival.port = packet.port;
    this.#arrival.sentWallNs = session.peerWallNs(now);
    this.#below = 0;
    this.#acks = 0;
    this.#receiver.now = now;
    for (;;) {
      const frame = reader.next();
      if (frame === NO_FRAME.end) return this.#settled(sinks.delivery);
      if (frame === NO_FRAME.fault) return CLOSING.frame;
      const closing = this.#one(now, session, frame, sinks);
      // Who says that the session is closed has nothing to say in it any more.
      if (closing !== undefined || frame === FRAME.close) return closing;
    }
  }

  #one(now: Nanoseconds, session: Session, frame: number, sinks: FrameSinks): Closing | undefined {
    const reader = this.#reader;
    switch (frame) {
      case FRAME.message:
        return this.#receiver.handleMessage(reader.message, this.#arrival, sinks.delivery);
      case FRAME.ack:
        return this.#ack(now, session);
      case FRAME.receipt:
        this.#receipts(now);
        return undefined;
      case FRAME.refuse:
        this.#refusal(now);
        return undefined;
      case FRAME.settled:
        this.#below = Math.max(this.#below, reader.settled.below);
        return undefined;
      case FRAME.have:
        this.#have(reader.have);
        return undefined;
      case FRAME.credit:
        this.#sender.handleCredit(reader.credit.creditMessages, reader.credit.creditBytes);
        return undefined;
      case FRAME.rekey:
        this.#rekey(now, session, sinks.handshake);
        return undefined;
      case FRAME.pathChallenge:
        this.#control.answer(reader.path.bytes, reader.path.dataAt);
        return undefined;
      case FRAME.pathResponse:
        this.#path.handleResponse(reader.path.bytes, reader.path.dataAt);
        return undefined;
      case FRAME.close:
        this.#events.onClose(session, reader.close.reason, now);
        return undefined;
      case FRAME.keys:
        this.#events.onKeys(reader.keys);
        return undefined;
      default:
        return undefined;
    }
  }

  #ack(now: Nanoseconds, session: Session): Closing | undefined {
    const { recovery, acks } = session;
    this.#acks += 1;
    if (this.#acks > ACKS_PER_PACKET_MAX) return undefined;
    if (recovery.handleAck(now, this.#reader.ack) !== ACK_FAULT.none) {
      return CLOSING.acknowledgement;
    }
    if (recovery.ackedAckLargest >= 0) acks.handleAckOfAck(recovery.ackedAckLargest);
    return undefined;
  }

  #receipts(now: Nanoseconds): void {
    const { receipt } = this.#reader;
    if (!this.#isOurs(receipt.bytes, receipt.bootAt)) return;
    while (receipt.next()) {
      const { number, digestLow, digestHigh } = receipt;
      if (!this.#sender.handleReceipt(now, number, digestLow, digestHigh)) {
        this.#events.onMismatch();
      }
    }
  }

  #refusal(now: Nanoseconds): void {
    const { refuse } = this.#reader;
    if (!this.#isOurs(refuse.bytes, refuse.bootAt)) return;
    const { number, digestLow, digestHigh, reason, delaySeconds } = refuse;
    const delayNs = nanoseconds(Math.min(delaySeconds, 3_600) * NS_PER_SECOND);
    if (!this.#sender.handleRefusal(now, number, digestLow, digestHigh, reason, delayNs)) {
      this.#events.onMismatch();
    }
  }

  #have(have: HaveFrame): void {
    this.#ranges.clear();
    while (have.next()) this.#ranges.addRange(have.rangeStart, have.rangeEnd);
    const { bytes, messageIdAt, digest16At, total, dropped } = have;
    this.#sender.handleHave(bytes, messageIdAt, digest16At, total, this.#ranges, dropped);
  }

  /** One for all of a packet: each has its cost. */
  #settled(sink: DeliverySink): Closing | undefined {
    return this.#below === 0 ? undefined : this.#receiver.handleSettled(this.#below, sink);
  }

  #rekey(now: Nanoseconds, session: Session, sink: HandshakeSink): void {
    const { bytes, message, sessionId, answers, noiseAt, noiseLength } = this.#reader.rekey;
    const noise = bytes.slice(noiseAt, noiseAt + noiseLength);
    this.#rekeys.handleFrame(now, session, { type: message, sessionId, answers, noise }, sink);
  }

  #isOurs(bytes: Uint8Array, bootAt: number): boolean {
    for (let i = 0; i < BOOT_ID_BYTES; i++) if (bytes[bootAt + i] !== this.#boot[i]) return false;
    return true;
  }
}
