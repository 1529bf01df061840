// Fills one packet of a session after the other, as its path allows: acknowledgement, control, answers,
// messages. Says by its result whether there is more to ask it for.

import { assert } from "../../base/assert.js";
import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import { NO_ACKS, NO_CONTENT, PACKET } from "../transport/sent-packets.js";
import { ROOM } from "../transport/transport-path.js";
import type { AnswerFrames } from "./answer-frames.js";
import type { ControlFrames } from "./control-frames.js";
import { putAck } from "./frame-ack.js";
import {
  closeBytes,
  PATH_FRAME_BYTES,
  PING_FRAME_BYTES,
  putClose,
  putPing,
} from "./frame-control.js";
import { counterHigh, counterLow, PACKET_OVERHEAD_BYTES } from "./packet.js";
import { PacketBuilder } from "./packet-builder.js";
import type { Padding } from "./peer-config.js";
import type { PeerPath } from "./peer-path.js";
import type { PacketSink } from "./ports.js";
import type { Sender } from "./sender.js";
import type { Session } from "./session.js";

/** Path MTU is probed while messages flow: not later than this behind the last one, ns. */
const PROBE_WHILE_NS = 10 * NS_PER_SECOND;
/** Datagram for an ACK of all ranges. */
const SMALL_PACKET_BYTES = 640;
/** With less room than this for a datagram, nothing is written but a challenge. */
export const DATAGRAM_BYTES_LEAST = 128;
const CHALLENGE_DATAGRAM_BYTES = PACKET_OVERHEAD_BYTES + PATH_FRAME_BYTES;

/** What came of asking for a packet. */
export const PACKET_WRITTEN = {
  yes: 0,
  /** There is nothing to write. */
  nothing: 1,
  /** The path has no room: its clock, or an acknowledgement, will wake us. */
  later: 2,
  /** All slabs are out: the next one that comes back will wake us. */
  starved: 3,
} as const;
export type PacketWritten = (typeof PACKET_WRITTEN)[keyof typeof PACKET_WRITTEN];

export class PacketWriter {
  readonly #peer: number;
  readonly #path: PeerPath;
  readonly #control: ControlFrames;
  readonly #answers: AnswerFrames;
  readonly #sender: Sender;
  readonly #packet = new PacketBuilder();
  padding: Padding = { kind: "none" };
  /** A packet that asks for an answer is wanted, whatever is in it. */
  ping = false;

  constructor(options: {
    readonly peer: number;
    readonly path: PeerPath;
    readonly control: ControlFrames;
    readonly answers: AnswerFrames;
    readonly sender: Sender;
  }) {
    this.#peer = options.peer;
    this.#path = options.path;
    this.#control = options.control;
    this.#answers = options.answers;
    this.#sender = options.sender;
  }

  /** The next packet of the session that sends. */
  write(now: Nanoseconds, wallNs: number, session: Session, sink: PacketSink): PacketWritten {
    if (session.closing >= 0) return this.#writeClose(now, session, sink);
    const { transport } = this.#path;
    const probing = session.recovery.probes > 0;
    const bytes = this.#datagramBytes(session, probing);
    if (bytes < DATAGRAM_BYTES_LEAST) return this.#writeChallenge(now, session, sink, probing);
    if (!probing) {
      const probe = this.#writeMtuProbe(now, session, sink);
      if (probe !== PACKET_WRITTEN.nothing) return probe;
      if (transport.room(now, bytes) !== ROOM.yes || !session.recovery.hasRoom) {
        const acked = this.writeAck(now, session, sink);
        return acked === PACKET_WRITTEN.nothing ? PACKET_WRITTEN.later : acked;
      }
    }
    if (!sink.packetRoom(this.#peer, bytes - PACKET_OVERHEAD_BYTES)) return PACKET_WRITTEN.starved;
    const packet = this.#open(bytes, session, sink);
    const acks = session.acks.ackWanted ? this.#putAck(now, session) : NO_ACKS;
    const ackEnd = packet.at;
    this.#control.write(packet);
    this.#answers.write(now, packet);
    packet.bulkAllowed = transport.bulk.allows(transport.congestion.bytesInFlight);
    this.#sender.write(now, wallNs, packet);
    if (packet.bulkHeldBack) transport.bulk.handleHeldBack();
    if (!packet.eliciting && (probing || this.ping) && packet.room >= PING_FRAME_BYTES) {
      packet.at = putPing(packet.bytes, packet.at);
      packet.eliciting = true;
    }
    if (packet.at === ackEnd && (acks === NO_ACKS || !session.acks.ackDue(now))) {
      packet.close();
      sink.cancelPacket();
      transport.handleIdle();
      return PACKET_WRITTEN.nothing;
    }
    if (packet.eliciting) this.ping = false;
    this.#seal(now, session, sink, acks, packet.eliciting ? PACKET.inFlight : 0);
    return PACKET_WRITTEN.yes;
  }

  /** When the path has room again by itself; Infinity: not before an acknowledgement. */
  roomAt(now: Nanoseconds, session: Session): Nanoseconds {
    const bytes = this.#datagramBytes(session, false);
    if (!session.recovery.hasRoom || bytes < DATAGRAM_BYTES_LEAST) {
      return nanoseconds(Number.POSITIVE_INFINITY);
    }
    return this.#path.transport.roomAt(now, bytes);
  }

  /** A packet with nothing but an ACK, when one is due: neither paced nor counted. */
  writeAck(now: Nanoseconds, session: Session, sink: PacketSink): PacketWritten {
    if (!session.acks.ackDue(now)) return PACKET_WRITTEN.nothing;
    const bytes = Math.min(SMALL_PACKET_BYTES, this.#path.allowance);
    if (bytes < DATAGRAM_BYTES_LEAST) return PACKET_WRITTEN.nothing;
    if (!sink.packetRoom(this.#peer, bytes - PACKET_OVERHEAD_BYTES)) return PACKET_WRITTEN.starved;
    this.#open(bytes, session, sink);
    const acks = this.#putAck(now, session);
    this.#seal(now, session, sink, acks, 0);
    return PACKET_WRITTEN.yes;
  }

  #writeClose(now: Nanoseconds, session: Session, sink: PacketSink): PacketWritten {
    const { closing } = session;
    if (!sink.packetRoom(this.#peer, closeBytes(closing))) return PACKET_WRITTEN.starved;
    const packet = this.#open(closeBytes(closing) + PACKET_OVERHEAD_BYTES, session, sink);
    packet.at = putClose(packet.bytes, packet.at, closing);
    this.#seal(now, session, sink, NO_ACKS, 0);
    return PACKET_WRITTEN.yes;
  }

  /**
   * With little that may go to an unproven place, only the question that ends this. A peer that owed an
   * ACK and nothing else allows so much by it and no more, and then waits for us.
   */
  #writeChallenge(
    now: Nanoseconds,
    session: Session,
    sink: PacketSink,
    probing: boolean,
  ): PacketWritten {
    const { challenging, allowance } = this.#path;
    const asks = (challenging || probing) && allowance >= CHALLENGE_DATAGRAM_BYTES;
    if (!asks || !session.recovery.hasRoom) return PACKET_WRITTEN.later;
    if (!sink.packetRoom(this.#peer, PATH_FRAME_BYTES)) return PACKET_WRITTEN.starved;
    const packet = this.#open(CHALLENGE_DATAGRAM_BYTES, session, sink);
    this.#control.writeChallenge(packet);
    if (!packet.eliciting) {
      packet.close();
      sink.cancelPacket();
      return PACKET_WRITTEN.later;
    }
    this.#seal(now, session, sink, NO_ACKS, PACKET.inFlight);
    return PACKET_WRITTEN.yes;
  }

  /** A PING as large as the size that is tried. */
  #writeMtuProbe(now: Nanoseconds, session: Session, sink: PacketSink): PacketWritten {
    const { transport } = this.#path;
    if (!this.#path.proven || now - session.sentAt > PROBE_WHILE_NS) return PACKET_WRITTEN.nothing;
    if (session.counter === 0) return PACKET_WRITTEN.nothing;
    const bytes = transport.mtu.pollProbe(now);
    if (bytes === 0 || bytes > session.payload.datagramBytesMax) return PACKET_WRITTEN.nothing;
    if (transport.room(now, bytes) !== ROOM.yes) return PACKET_WRITTEN.nothing;
    if (!sink.packetRoom(this.#peer, bytes - PACKET_OVERHEAD_BYTES)) return PACKET_WRITTEN.starved;
    const packet = this.#open(bytes, session, sink);
    packet.at = putPing(packet.bytes, packet.at);
    packet.eliciting = true;
    packet.bytes.fill(0, packet.at, packet.end);
    packet.at = packet.end;
    this.#seal(now, session, sink, NO_ACKS, PACKET.inFlight | PACKET.mtuProbe);
    return PACKET_WRITTEN.yes;
  }

  #open(datagramBytes: number, session: Session, sink: PacketSink): PacketBuilder {
    const packet = this.#packet;
    packet.open(sink.bytes, sink.bodyAt, datagramBytes - PACKET_OVERHEAD_BYTES, session.log);
    return packet;
  }

  #putAck(now: Nanoseconds, session: Session): number {
    const packet = this.#packet;
    const { acks } = session;
    const at = putAck(packet.bytes, packet.at, packet.end, acks, acks.delayUs(now));
    if (at === packet.at) return NO_ACKS;
    packet.at = at;
    return acks.largest;
  }

  #seal(now: Nanoseconds, session: Session, sink: PacketSink, acks: number, flags: number): void {
    const packet = this.#packet;
    this.#pad();
    const content = packet.close();
    const { length, eliciting } = packet;
    const place = this.#path.placeOf(length + PACKET_OVERHEAD_BYTES);
    assert(place !== undefined, "a session has a place, and one that is proven");
    const { counter } = session;
    session.counter += 1;
    if (acks !== NO_ACKS) session.acks.handleAckSent();
    if (eliciting) session.sentAt = now;
    // Now, not when it is sealed: meanwhile others would be written to an address that proved nothing.
    this.#path.handleSent(length + PACKET_OVERHEAD_BYTES);
    session.recovery.handleSent(
      now,
      counter,
      length + PACKET_OVERHEAD_BYTES,
      eliciting ? flags | PACKET.eliciting : 0,
      eliciting ? content : NO_CONTENT,
      acks,
    );
    sink.sealPacket(
      length,
      session.keySlot,
      session.remoteId,
      counterHigh(counter),
      counterLow(counter),
      session.localId,
      place.address,
      place.port,
    );
  }

  /** Zero bytes are PADDING frames: a packet is as long as the configuration wants it to look. */
  #pad(): void {
    const packet = this.#packet;
    if (this.padding.kind === "none") return;
    const wanted =
      this.padding.kind === "full"
        ? packet.capacity
        : Math.ceil(packet.length / this.padding.bytes) * this.padding.bytes;
    const end = packet.at + Math.min(wanted, packet.capacity) - packet.length;
    packet.bytes.fill(0, packet.at, end);
    packet.at = end;
  }

  /** A probe after a timeout is small enough for a path that became narrow. */
  #datagramBytes(session: Session, probing: boolean): number {
    const { transport } = this.#path;
    const bytes = probing ? transport.timeoutProbeBytes : transport.mtu.bytes;
    return Math.min(bytes, session.payload.datagramBytesMax, this.#path.allowance);
  }
}
