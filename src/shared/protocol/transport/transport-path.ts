// What a host knows of the way to a peer: round trip, congestion, pacing, size of datagrams.
// Outlives the sessions that use it, two at a time during a rekey; a peer that roams gets a new
// one. Each session follows its packets in a Recovery of its own, which reports here.

import { type Nanoseconds, nanoseconds } from "../../base/units.js";
import { BulkAllowance } from "./bulk-allowance.js";
import { type CongestionControl, NewReno } from "./congestion.js";
import { MTU_FLOOR_BYTES, type MtuOptions, PathMtu } from "./mtu.js";
import { RoundTrip } from "./round-trip.js";
import { PACKET } from "./sent-packets.js";
import { TransportPacer } from "./transport-pacer.js";

/** Whether a packet may leave, and if not, what it waits for. */
export const ROOM = {
  yes: 0,
  /** Until pacedUntil(). */
  paced: 1,
  /** Until something in flight is acknowledged or lost. */
  window: 2,
} as const;
export type Room = (typeof ROOM)[keyof typeof ROOM];

export interface PathOptions {
  readonly now: Nanoseconds;
  /** What was measured of this peer before, ns; without it the assumption of the RFC. */
  readonly roundTripNs?: number | undefined;
  readonly mtu?: MtuOptions;
  /** Makes the congestion controller for a first size of datagrams; NewReno if not given. */
  readonly congestion?: (datagramBytes: number) => CongestionControl;
}

export class TransportPath {
  readonly roundTrip: RoundTrip;
  readonly congestion: CongestionControl;
  readonly pacer: TransportPacer;
  readonly mtu: PathMtu;
  /** For pieces of large messages, beside the window. */
  readonly bulk = new BulkAllowance();
  #datagramBytes: number;

  constructor({ now, roundTripNs, mtu, congestion }: PathOptions) {
    this.mtu = new PathMtu(mtu);
    this.#datagramBytes = this.mtu.bytes;
    this.roundTrip = new RoundTrip(roundTripNs);
    this.congestion = congestion?.(this.#datagramBytes) ?? new NewReno(this.#datagramBytes);
    this.pacer = new TransportPacer(now, this.#datagramBytes);
    this.#updatePace(now);
  }

  /**
   * Whether a packet in flight of so many bytes may leave now. Not asked for probes after a
   * timeout, and not for packets of ACKs only.
   */
  room(now: Nanoseconds, bytes: number): Room {
    const { bytesInFlight, window } = this.congestion;
    // One packet may always be under way, also one larger than a small window.
    const full = bytesInFlight > 0 && bytesInFlight + bytes > window;
    const answer = full ? ROOM.window : this.pacedUntil(now) > now ? ROOM.paced : ROOM.yes;
    // Waiting for the pacer is not idling: without it the window would be full.
    if (answer !== ROOM.yes) this.congestion.appLimited = false;
    return answer;
  }

  /** The first instant, not before `now`, at which the pacer lets a datagram pass. */
  pacedUntil(now: Nanoseconds): Nanoseconds {
    return nanoseconds(this.pacer.availableAt(now));
  }

  /**
   * When a packet in flight of so many bytes may leave if nothing is acknowledged before: `now`, later,
   * or Infinity while the window is full.
   */
  roomAt(now: Nanoseconds, bytes: number): Nanoseconds {
    const room = this.room(now, bytes);
    if (room === ROOM.window) return nanoseconds(Number.POSITIVE_INFINITY);
    return room === ROOM.yes ? now : this.pacedUntil(now);
  }

  /**
   * Largest packet that may leave because of a probe timeout, bytes: if the path became narrower,
   * only a small one draws the ACK by which the large ones are found lost.
   */
  get timeoutProbeBytes(): number {
    return Math.min(this.#datagramBytes, MTU_FLOOR_BYTES);
  }

  /** There was room and nothing to send: what is acknowledged now does not widen the window. */
  handleIdle(): void {
    const { bytesInFlight, window } = this.congestion;
    this.congestion.appLimited = bytesInFlight + this.#datagramBytes <= window;
  }

  /** The system refused a datagram of this size (EMSGSIZE). */
  handleTooBig(now: Nanoseconds, bytes: number): void {
    this.mtu.handleTooBig(now, bytes);
    this.#updateMtu(now);
  }

  /** Another session with the peer, with other limits. */
  configureMtu(now: Nanoseconds, options: MtuOptions): void {
    this.mtu.configure(now, options);
    this.#updateMtu(now);
  }

  // --- From Recovery ---------------------------------------------------------------------------

  /** A packet in flight left. */
  handleSent(now: Nanoseconds, bytes: number, flags: number): void {
    this.congestion.onSent(bytes);
    this.pacer.handleSent(now, bytes);
    if ((flags & PACKET.mtuProbe) !== 0) this.mtu.handleProbeSent(bytes);
  }

  /** A round trip was measured; `delayNs`: the part of it that the peer says it waited. */
  handleRoundTrip(now: Nanoseconds, sampleNs: number, delayNs: number): void {
    this.roundTrip.handleSample(now, sampleNs, delayNs);
    this.bulk.handleSample(now, Math.max(0, sampleNs - delayNs), this.roundTrip.smoothedNs);
  }

  handleAcked(now: Nanoseconds, bytes: number, flags: number, sentAt: Nanoseconds): void {
    this.congestion.onAcked(bytes, sentAt);
    if ((flags & PACKET.mtuProbe) !== 0) this.mtu.handleProbeAcked(now, bytes);
    else this.mtu.handleAcked(bytes);
  }

  handleLost(now: Nanoseconds, bytes: number, flags: number): void {
    this.congestion.onRemoved(bytes);
    if ((flags & PACKET.mtuProbe) !== 0) this.mtu.handleProbeLost(now, bytes);
    else this.mtu.handleLost(bytes);
  }

  /** A packet whose fate no longer matters: withdrawn, or its session ended. */
  handleRemoved(bytes: number, flags: number): void {
    this.congestion.onRemoved(bytes);
    if ((flags & PACKET.mtuProbe) !== 0) this.mtu.handleProbeAbandoned();
  }

  /** An ACK or a timeout was worked through: pace and sizes follow. */
  handleDone(now: Nanoseconds): void {
    this.mtu.handleLossesEnd(now);
    this.#updateMtu(now);
    this.#updatePace(now);
  }

  #updateMtu(now: Nanoseconds): void {
    if (this.mtu.bytes === this.#datagramBytes) return;
    this.#datagramBytes = this.mtu.bytes;
    this.congestion.onMtu(this.#datagramBytes);
    this.#updatePace(now);
  }

  #updatePace(now: Nanoseconds): void {
    const { congestion, roundTrip } = this;
    this.pacer.handlePath(now, congestion.window, roundTrip.smoothedNs, this.#datagramBytes);
  }
}
