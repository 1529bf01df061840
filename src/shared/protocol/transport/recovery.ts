// Follows the packets of one session until each is acknowledged or lost: RFC 9002, with one packet
// number space. Reports to the path (round trip, congestion, size) and, by handle, to whoever
// filled the packets. Inputs: handleSent, handleAck, handleTimeout, handleWithdrawn, handlePath,
// handleEnd; after each, pollFate until it is empty. Outputs: pollFate, probes, pollDeadline.

import { assert } from "../../base/assert.js";
import { type Nanoseconds, NS_PER_US, nanoseconds } from "../../base/units.js";
import { ACK_FAULT, AckedRanges, type AckFault, type AckReader } from "./ack-reader.js";
import {
  ACK_DELAY_NS,
  PERSISTENT_TIMEOUTS,
  PROBE_PACKETS,
  PROBE_WAIT_MAX_NS,
  REORDER_PACKETS,
  SENT_PACKETS_MAX,
  SENT_PACKETS_RESERVED,
} from "./constants.js";
import { LatePackets } from "./late-packets.js";
import { LossRun } from "./loss-run.js";
import { FATE, type Fate, PacketFates } from "./packet-fates.js";
import { NO_ACKS, NO_CONTENT, PACKET, SentPackets, STATE } from "./sent-packets.js";
import type { TransportPath } from "./transport-path.js";

export interface RecoveryOptions {
  readonly path: TransportPath;
  /** Longest wait before an ACK that the peer promised in the handshake, ns. */
  readonly peerAckDelayNs?: number;
  /** A power of two. */
  readonly packetsMax?: number;
}

const NEVER = nanoseconds(Number.POSITIVE_INFINITY);

export class Recovery {
  #path: TransportPath;
  readonly #peerAckDelayNs: number;
  readonly #sent: SentPackets;
  readonly #fates = new PacketFates();
  readonly #late = new LatePackets();
  readonly #acked = new AckedRanges();
  readonly #run = new LossRun();

  #largestAcked = -1;
  #ackedAckLargest = NO_ACKS;
  #elicitingOutstanding = 0;
  #lastElicitingAt = nanoseconds(Number.NEGATIVE_INFINITY);
  /** Packets from here on left on the present path: only they measure it. */
  #pathFirst = 0;

  /** When the oldest packet that was overtaken counts as lost. */
  #lossAt = NEVER;
  #timeouts = 0;
  #timeoutAt = nanoseconds(Number.NEGATIVE_INFINITY);
  #probes = 0;

  #lostPackets = 0;

  constructor({
    path,
    peerAckDelayNs = ACK_DELAY_NS,
    packetsMax = SENT_PACKETS_MAX,
  }: RecoveryOptions) {
    this.#path = path;
    this.#peerAckDelayNs = peerAckDelayNs;
    this.#sent = new SentPackets(packetsMax);
  }

  // --- Inputs ------------------------------------------------------------------------------------

  /**
   * A packet left, or is on its way through the crypto worker. `counter` rises; `bytes`: of the
   * whole datagram; `flags`: of PACKET; `content`: handle that pollFate gives back, or NO_CONTENT;
   * `ackLargest`: largest counter of its ACK frame, or NO_ACKS.
   */
  handleSent(
    now: Nanoseconds,
    counter: number,
    bytes: number,
    flags: number,
    content: number,
    ackLargest: number,
  ): void {
    const eliciting = (flags & PACKET.eliciting) !== 0;
    assert(
      eliciting || (flags === 0 && content === NO_CONTENT),
      "what draws no ACK is not followed",
    );
    this.#makeRoom(counter);
    this.#sent.push(counter, now, bytes, flags, content, ackLargest);
    if (!eliciting) return;
    this.#elicitingOutstanding += 1;
    this.#lastElicitingAt = now;
    if ((flags & PACKET.inFlight) !== 0) this.#path.handleSent(now, bytes, flags);
    if (this.#probes > 0 && (flags & PACKET.mtuProbe) === 0) this.#probes -= 1;
  }

  /**
   * A packet that handleSent heard of did not leave after all (refused by the system, worker died).
   * Its content is lost, its path blameless. Its counter stays used; false: nobody waited for it
   * any more.
   */
  handleWithdrawn(counter: number): boolean {
    if (!this.#sent.has(counter)) return false;
    const state = this.#sent.state(counter);
    if (state === STATE.untracked) this.#sent.setState(counter, STATE.withdrawn);
    if (state !== STATE.outstanding) return false;
    this.#removeQuietly(counter, STATE.withdrawn);
    return true;
  }

  /** Reads an ACK frame. Anything but ACK_FAULT.none closes the session. */
  handleAck(now: Nanoseconds, ack: AckReader): AckFault {
    if (!this.#acked.read(ack)) return ACK_FAULT.ranges;
    const { largest } = this.#acked;
    if (largest >= this.#sent.next) return ACK_FAULT.unsent;

    const fault = this.#settleAcked(now, ack.delayUs);
    if (largest > this.#largestAcked) this.#largestAcked = largest;
    if (this.#late.watching) this.#checkLate(now);
    this.#detectLosses(now);
    this.#path.handleDone(now);
    return fault;
  }

  /** To be called when the deadline has come; harmless before. */
  handleTimeout(now: Nanoseconds): void {
    if (now < this.pollDeadline()) return;
    if (this.#lossAt <= now) {
      this.#detectLosses(now);
      this.#path.handleDone(now);
      return;
    }
    this.#timeouts += 1;
    this.#timeoutAt = now;
    this.#probes = PROBE_PACKETS;
  }

  /** The peer moved: what is under way no longer says anything of the path that is used now. */
  handlePath(path: TransportPath): void {
    if (path === this.#path) return;
    for (let c = this.#sent.head; c < this.#sent.next; c++) {
      if (this.#sent.state(c) !== STATE.outstanding) continue;
      const flags = this.#sent.flags(c);
      if ((flags & PACKET.inFlight) === 0) continue;
      this.#path.handleRemoved(this.#sent.bytes(c), flags);
      this.#sent.clearFlag(c, PACKET.inFlight);
    }
    this.#path = path;
    this.#pathFirst = this.#sent.next;
    this.#late.forgetAll();
    this.#run.break();
    this.#timeouts = 0;
  }

  /**
   * The session ends, or can no longer probe: everything outstanding counts as lost, without blame
   * for the path.
   */
  handleEnd(): void {
    for (let c = this.#sent.head; c < this.#sent.next; c++) {
      if (this.#sent.state(c) === STATE.outstanding) this.#removeQuietly(c, STATE.lost);
    }
    while (this.#sent.span > 0) this.#sent.advance();
    this.#lossAt = NEVER;
    this.#probes = 0;
  }

  // --- Outputs -----------------------------------------------------------------------------------

  /** What became of a content; FATE.none when there is no more news. Its handle: fateContent. */
  pollFate(): Fate {
    return this.#fates.poll();
  }
  get fateContent(): number {
    return this.#fates.content;
  }

  /** When handleTimeout has something to do; Infinity: not unless something is sent. */
  pollDeadline(): Nanoseconds {
    if (this.#lossAt !== NEVER) return this.#lossAt;
    if (this.#elicitingOutstanding === 0) return NEVER;
    // A probe that could not leave must not make the timer fire again at once.
    return nanoseconds(Math.max(this.#lastElicitingAt, this.#timeoutAt) + this.#probeWaitNs());
  }

  /**
   * Packets that should leave now whatever congestion and pacing say, with anything eliciting in
   * them.
   */
  get probes(): number {
    return this.#probes;
  }
  /** Probe timeouts since the peer acknowledged something new. */
  get timeouts(): number {
    return this.#timeouts;
  }
  /**
   * Content of the n-th oldest outstanding packet that carries any (0: the oldest), or NO_CONTENT:
   * the best that a probe can repeat.
   */
  probeContent(index: number): number {
    let left = index;
    for (let c = this.#sent.head; c < this.#sent.next; c++) {
      if (this.#sent.state(c) !== STATE.outstanding) continue;
      const content = this.#sent.content(c);
      if (content !== NO_CONTENT && left-- === 0) return content;
    }
    return NO_CONTENT;
  }

  /** Whether records are left for another packet with payload; probes and ACKs have a reserve. */
  get hasRoom(): boolean {
    const reserved = Math.min(SENT_PACKETS_RESERVED, this.#sent.capacityMax / 4);
    return this.#sent.span < this.#sent.capacityMax - reserved;
  }
  /** Packets that must be acknowledged and are neither acknowledged nor lost. */
  get outstanding(): number {
    return this.#elicitingOutstanding;
  }
  /** Largest counter in an ACK frame that the peer has acknowledged, or NO_ACKS: for AckRanges. */
  get ackedAckLargest(): number {
    return this.#ackedAckLargest;
  }
  /** Largest counter that the peer acknowledged, or -1. */
  get largestAcked(): number {
    return this.#largestAcked;
  }
  /** Packets ever declared lost, and how many of them were acknowledged later. */
  get lostPackets(): number {
    return this.#lostPackets;
  }
  get latePackets(): number {
    return this.#late.late;
  }

  // --- Acknowledged ------------------------------------------------------------------------------

  /**
   * Walks from the head to the largest counter of the frame. After each ACK the head is at most
   * three packets behind the largest, so each packet is met a few times in all, however long the
   * frame.
   */
  #settleAcked(now: Nanoseconds, delayUs: number): AckFault {
    const sent = this.#sent;
    const { first, last, count, largest } = this.#acked;
    let fault: AckFault = ACK_FAULT.none;
    let news = false;
    let newsEliciting = false;
    let newsLargest = -1;
    let range = count - 1;
    for (let c = sent.head; c <= largest; c++) {
      while (last[range] < c) range -= 1;
      if (c < first[range]) continue;
      const state = sent.state(c);
      if (state === STATE.skipped) fault = ACK_FAULT.unsent;
      if (state !== STATE.outstanding && state !== STATE.untracked) continue;
      news = true;
      newsLargest = c;
      if (state === STATE.outstanding) {
        newsEliciting = true;
        this.#settle(now, c);
      }
      sent.setState(c, STATE.acked);
      this.#ackedAckLargest = Math.max(this.#ackedAckLargest, sent.ackLargest(c));
    }
    if (!news) return fault;
    if (newsLargest === largest && newsEliciting && largest >= this.#pathFirst) {
      const delayNs = Math.min(delayUs * NS_PER_US, this.#peerAckDelayNs);
      this.#path.handleRoundTrip(now, now - sent.sentAt(largest), delayNs);
    }
    this.#timeouts = 0;
    this.#probes = 0;
    return fault;
  }

  #settle(now: Nanoseconds, counter: number): void {
    const sent = this.#sent;
    const flags = sent.flags(counter);
    this.#elicitingOutstanding -= 1;
    if ((flags & PACKET.inFlight) !== 0) {
      this.#path.handleAcked(now, sent.bytes(counter), flags, sent.sentAt(counter));
    }
    const content = sent.content(counter);
    if (content !== NO_CONTENT) this.#fates.push(content, FATE.acked);
  }

  #checkLate(now: Nanoseconds): void {
    const { congestion, roundTrip } = this.#path;
    if (this.#late.handleAck(this.#acked)) congestion.onSpurious();
    const memoryNs = PERSISTENT_TIMEOUTS * roundTrip.probeWaitNs(this.#peerAckDelayNs);
    this.#late.forgetBefore(now - memoryNs);
  }

  // --- Lost --------------------------------------------------------------------------------------

  /**
   * Declares lost what was overtaken by too many packets or for too long, and moves the head on.
   */
  #detectLosses(now: Nanoseconds): void {
    const sent = this.#sent;
    const { congestion, roundTrip } = this.#path;
    const delayNs = roundTrip.lossDelayNs();
    let congested = 0;
    let congestedFirst = 0;
    let congestedAt = nanoseconds(0);
    this.#lossAt = NEVER;
    let persistent = false;
    while (sent.head <= this.#largestAcked) {
      const c = sent.head;
      const state = sent.state(c);
      if (state === STATE.outstanding) {
        const sentAt = sent.sentAt(c);
        // Times and counters rise together: behind one that is not lost yet, none is.
        if (this.#largestAcked < c + REORDER_PACKETS && sentAt + delayNs > now) {
          this.#lossAt = nanoseconds(sentAt + delayNs);
          break;
        }
        if (this.#lost(now, c)) {
          if (congested === 0) congestedFirst = c;
          congested += 1;
          congestedAt = sentAt;
          if (this.#run.extend(sentAt, roundTrip, this.#peerAckDelayNs)) persistent = true;
        }
      } else if (state === STATE.acked) this.#run.break();
      sent.advance();
    }
    if (congested === 0) return;
    if (persistent) roundTrip.handlePersistentCongestion();
    const fresh = congestion.onCongestion(now, congestedAt, persistent);
    this.#late.handleCongestion(fresh, congestedFirst, congested);
  }

  /** Returns whether the loss is a sign of congestion on the path. */
  #lost(now: Nanoseconds, counter: number): boolean {
    const sent = this.#sent;
    const flags = sent.flags(counter);
    const content = sent.content(counter);
    sent.setState(counter, STATE.lost);
    this.#elicitingOutstanding -= 1;
    this.#lostPackets += 1;
    if (content !== NO_CONTENT) this.#fates.push(content, FATE.lost);
    if ((flags & PACKET.inFlight) === 0) return false;
    this.#path.handleLost(now, sent.bytes(counter), flags);
    if ((flags & PACKET.mtuProbe) !== 0) return false;
    this.#late.handleLost(now, counter);
    return true;
  }

  #removeQuietly(counter: number, state: typeof STATE.lost | typeof STATE.withdrawn): void {
    const sent = this.#sent;
    const flags = sent.flags(counter);
    const content = sent.content(counter);
    sent.setState(counter, state);
    this.#elicitingOutstanding -= 1;
    if ((flags & PACKET.inFlight) !== 0) this.#path.handleRemoved(sent.bytes(counter), flags);
    if (content !== NO_CONTENT) this.#fates.push(content, FATE.lost);
  }

  /**
   * Moves the head on until the ring can take the counter: first over packets that nobody waits
   * for, so that a host which only answers needs few records; what is still outstanding at the end
   * is lost.
   */
  #makeRoom(counter: number): void {
    const sent = this.#sent;
    while (sent.span > 0 && sent.crowds(counter) && sent.state(sent.head) !== STATE.outstanding) {
      sent.advance();
    }
    while (!sent.fits(counter) && sent.span > 0) {
      if (sent.state(sent.head) === STATE.outstanding) this.#removeQuietly(sent.head, STATE.lost);
      sent.advance();
    }
    if (!sent.fits(counter)) sent.restart(counter);
  }

  #probeWaitNs(): number {
    const waitNs = this.#path.roundTrip.probeWaitNs(this.#peerAckDelayNs);
    return Math.max(waitNs, Math.min(waitNs * 2 ** this.#timeouts, PROBE_WAIT_MAX_NS));
  }
}
