// Which size of datagrams a path carries, found with probes: DPLPMTUD, RFC 8899, over UDP payload
// bytes. Begins at a size that nearly every path takes, tries likely sizes first, halves the rest,
// looks again every ten minutes. Falls back when large packets vanish and small ones arrive, below the
// size that was taken for granted if need be. Belongs to a path.
//
// A kernel that learned of a narrow hop may cut our datagrams up itself (Linux without a DF option,
// which Node cannot set). So a size that was lost once and then passes must pass three times
// running.

import { assert } from "../../base/assert.js";
import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import { DATAGRAM_BYTES_MAX } from "../constants.js";
import { BlackHole } from "./black-hole.js";

/** Size that is taken for granted, bytes. Source: RFC 9000 §14; IPv6 carries 1,280 everywhere. */
export const MTU_BASE_BYTES = 1_200;
/** Size that is left when even that vanishes, bytes: 576 of IPv4 less its headers. RFC 1122 §3.3.3. */
export const MTU_FLOOR_BYTES = 548;
/** Largest size that is looked for unless configured, bytes: Ethernet less IPv6 and UDP headers. */
export const MTU_SEARCH_MAX_BYTES = 1_452;
/**
 * Sizes worth a probe, bytes: IPv6 minimum, tunnels, PPPoE, Ethernet over either IP, jumbo,
 * loopback.
 */
const LIKELY_BYTES: readonly number[] = [
  1_200, 1_232, 1_280, 1_380, 1_420, 1_452, 1_472, 4_052, 8_952, 16_332, 32_716, 65_507,
];
/** Two sizes nearer than this are not worth a probe, bytes. Source: quinn's default. */
const STEP_MIN_BYTES = 20;
/** Probes of a size before it counts as too large. Source: RFC 8899 §5.1.2. */
const PROBES_MAX = 3;
/** Probes that a size which was lost before must pass running. Source: ours. */
const CONFIRMATIONS = 3;
/** Wait before looking for a larger size again, ns. Source: RFC 8899 §5.1.1. */
const RAISE_NS = 600 * NS_PER_SECOND;
/** Rest after a black hole, ns. Source: quinn's default. */
const REST_NS = 60 * NS_PER_SECOND;
/** Losses of large packets, none of that size acknowledged between, that make a black hole. */
const BLACK_HOLE_LOSSES = 3;
/** The same for packets of the size that is taken for granted: few paths are so narrow, many lose. */
const NARROW_LOSSES = 6;

export interface MtuOptions {
  /** Largest datagram that both ends take, bytes. */
  readonly bytesMax?: number;
  /** Size that the operator knows to be right, bytes: nothing is probed. 0: not pinned. */
  readonly pinnedBytes?: number;
}

export class PathMtu {
  #pinned: boolean;
  #bytesMax: number;
  #bytes: number;
  /** Size to fall back to, bytes. */
  #base = MTU_BASE_BYTES;
  /** Largest size that may still pass; shrinks while a search goes on. */
  #ceiling: number;
  /** Smallest size that ever lost a probe on this path since the last raise; Infinity: none. */
  #lostOnce = Number.POSITIVE_INFINITY;
  /** First size of the next search: what failed last is asked first. 0: none. */
  #again = 0;
  #resumeAt = nanoseconds(Number.NEGATIVE_INFINITY);
  #target = 0;
  #outstanding = false;
  #failures = 0;
  #confirmations = 0;
  readonly #large = new BlackHole(MTU_BASE_BYTES, BLACK_HOLE_LOSSES);
  readonly #narrow = new BlackHole(MTU_FLOOR_BYTES, NARROW_LOSSES);
  #lostBytesMin = Number.POSITIVE_INFINITY;
  #blackHoles = 0;

  constructor({ bytesMax = MTU_SEARCH_MAX_BYTES, pinnedBytes = 0 }: MtuOptions = {}) {
    assert(bytesMax <= DATAGRAM_BYTES_MAX && pinnedBytes <= DATAGRAM_BYTES_MAX, "UDP can carry it");
    this.#pinned = pinnedBytes > 0;
    this.#bytesMax = this.#pinned ? pinnedBytes : Math.max(bytesMax, MTU_BASE_BYTES);
    this.#bytes = this.#pinned ? pinnedBytes : MTU_BASE_BYTES;
    this.#ceiling = this.#bytesMax;
  }

  /** Datagrams may be this large now, bytes. */
  get bytes(): number {
    return this.#bytes;
  }
  /** True while sizes are still being tried. */
  get searching(): boolean {
    return !this.#pinned && this.#ceiling - this.#bytes >= this.#stepBytes;
  }
  /** Times that large packets vanished and the size fell to the base. */
  get blackHoles(): number {
    return this.#blackHoles;
  }

  /** Size of the probe that should leave now, bytes; 0: none. The same until it was sent. */
  pollProbe(now: Nanoseconds): number {
    if (this.#pinned || this.#outstanding || now < this.#resumeAt) return 0;
    if (!this.searching) {
      // The search is over: this is the time of the next one.
      this.#ceiling = this.#bytesMax;
      this.#lostOnce = Number.POSITIVE_INFINITY;
      this.#target = 0;
      if (!this.searching) return 0;
    }
    if (this.#target === 0) this.#target = this.#nextTarget();
    return this.#target;
  }

  handleProbeSent(bytes: number): void {
    if (bytes === this.#target) this.#outstanding = true;
  }

  handleProbeAcked(now: Nanoseconds, bytes: number): void {
    if (!this.#outstanding || bytes !== this.#target) return;
    this.#outstanding = false;
    if (bytes >= this.#lostOnce) {
      this.#confirmations += 1;
      if (this.#confirmations < CONFIRMATIONS) return;
    }
    this.#bytes = bytes;
    if (bytes >= MTU_BASE_BYTES) this.#base = MTU_BASE_BYTES;
    this.#large.clear();
    this.#narrow.clear();
    this.#again = 0;
    this.#settle(now);
  }

  /** A probe was lost, which says nothing of congestion. */
  handleProbeLost(now: Nanoseconds, bytes: number): void {
    if (!this.#outstanding || bytes !== this.#target) return;
    this.#outstanding = false;
    this.#lostOnce = Math.min(this.#lostOnce, bytes);
    this.#failures += 1;
    // Lost between two that passed: what passed may have been cut up.
    if (this.#failures < PROBES_MAX && this.#confirmations === 0) return;
    this.#refuse(now, bytes);
  }

  /** A probe will never be heard of: its session ended, or the peer moved. */
  handleProbeAbandoned(): void {
    this.#outstanding = false;
  }

  /** A packet that was no probe arrived. */
  handleAcked(bytes: number): void {
    this.#large.handleAcked(bytes);
    this.#narrow.handleAcked(bytes);
  }

  /** A packet that was no probe was lost; handleLossesEnd closes the losses of one moment. */
  handleLost(bytes: number): void {
    this.#lostBytesMin = Math.min(this.#lostBytesMin, bytes);
  }

  /** The losses of one ACK or timeout are complete. True when the size fell: it is a black hole. */
  handleLossesEnd(now: Nanoseconds): boolean {
    const bytes = this.#lostBytesMin;
    this.#lostBytesMin = Number.POSITIVE_INFINITY;
    if (this.#pinned || bytes > this.#bytes) return false;
    const isNarrow = this.#narrow.handleLosses(bytes);
    const isLarge = this.#large.handleLosses(bytes);
    if (!isNarrow && !isLarge) return false;
    if (isNarrow) this.#base = MTU_FLOOR_BYTES;
    this.#blackHoles += 1;
    this.#fall();
    this.#resumeAt = nanoseconds(now + REST_NS);
    return true;
  }

  /** The system refused a datagram of this size (EMSGSIZE): nothing as large will pass. */
  handleTooBig(now: Nanoseconds, bytes: number): void {
    if (this.#pinned || bytes <= MTU_BASE_BYTES) return;
    if (bytes <= this.#bytes) {
      this.#fall();
      this.#resumeAt = now;
    }
    this.#lostOnce = Math.min(this.#lostOnce, bytes);
    this.#refuse(now, bytes);
  }

  /** Another session with the peer: the limits of both ends may have changed. */
  configure(
    now: Nanoseconds,
    { bytesMax = MTU_SEARCH_MAX_BYTES, pinnedBytes = 0 }: MtuOptions,
  ): void {
    const pinned = pinnedBytes > 0;
    const wanted = pinned ? pinnedBytes : Math.max(bytesMax, MTU_BASE_BYTES);
    if (pinned === this.#pinned && wanted === this.#bytesMax) return;
    this.#pinned = pinned;
    this.#bytesMax = wanted;
    if (pinned) this.#bytes = pinnedBytes;
    this.#fall();
    this.#lostOnce = Number.POSITIVE_INFINITY;
    this.#resumeAt = now;
  }

  get #stepBytes(): number {
    // The last step up to the limit may be a small one: the limit is a size that somebody meant.
    return this.#ceiling === this.#bytesMax ? 1 : STEP_MIN_BYTES;
  }

  #nextTarget(): number {
    if (this.#again > this.#bytes && this.#again <= this.#ceiling) return this.#again;
    const likely = LIKELY_BYTES.filter((size) => size > this.#bytes && size <= this.#ceiling);
    const untouched = this.#lostOnce === Number.POSITIVE_INFINITY;
    if (untouched) {
      // Most paths carry the largest size that is asked of them, and most are Ethernet.
      const common = Math.min(MTU_SEARCH_MAX_BYTES, this.#bytesMax);
      return this.#bytes < common ? common : this.#ceiling;
    }
    if (likely.length > 0) return likely[likely.length >> 1];
    return this.#bytes + Math.ceil((this.#ceiling - this.#bytes) / 2);
  }

  #refuse(now: Nanoseconds, bytes: number): void {
    this.#ceiling = Math.min(this.#ceiling, bytes - 1);
    if (this.#again === 0 || bytes < this.#again) this.#again = bytes;
    this.#settle(now);
  }

  /** A size passed or failed: on to the next, or to the long wait. */
  #settle(now: Nanoseconds): void {
    this.#target = 0;
    this.#outstanding = false;
    this.#failures = 0;
    this.#confirmations = 0;
    if (!this.searching) this.#resumeAt = nanoseconds(now + RAISE_NS);
  }

  #fall(): void {
    this.#bytes = this.#pinned ? this.#bytes : this.#base;
    this.#ceiling = this.#bytesMax;
    this.#again = 0;
    this.#large.clear();
    this.#narrow.clear();
    this.#target = 0;
    this.#outstanding = false;
    this.#failures = 0;
    this.#confirmations = 0;
  }
}
