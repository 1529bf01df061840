// The core: everything behind one socket, without I/O, clock or randomness of its own. Inputs are
// handle*, outputs are poll*, to be polled in this order after any input: seal (ACKs before messages),
// lease, limit, resolve, reserve, settlement, deadline. `now` never falls; `wallNs` may jump.

import { assert } from "../base/assert.js";
import type { DropReason } from "../base/errors.js";
import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../base/units.js";
import { SEAL_RESERVE_RETRY_NS } from "./constants.js";
import { SourceBudgets } from "./cpu-budget.js";
import { Destinations, type Limit, type Reach } from "./destinations.js";
import { Inbound } from "./inbound.js";
import { Outbound } from "./outbound.js";
import type { LeaseOrder, RetryPolicy } from "./outbound-order.js";
import { Pacer } from "./pacer.js";
import { type RingConfig, Rings } from "./rings.js";
import { SealedStamps, type StampSpan } from "./sealed-stamps.js";
import type { Settlement, SettlementQueue } from "./settlement.js";
import {
  type LeasedRows,
  NO_RING,
  type OpenedPacket,
  type OpenSink,
  type SealedPacket,
  type SealSink,
  type StoreSink,
  TAG_ACK,
} from "./slot.js";

export interface ProtocolConfig {
  readonly rings: readonly RingConfig[];
  readonly windowNs: number;
  /** Messages a second, 0 for no pacing, and how many may go at once. */
  readonly ratePerSecond: number;
  readonly burst: number;
  readonly retry: RetryPolicy;
  /** Shares of a core for opening what comes from one known source, one stranger, all strangers. */
  readonly knownShare: number;
  readonly strangerShare: number;
  readonly strangersShare: number;
}

const EXPIRE_EVERY_NS = 250 * NS_PER_MS;

export class Endpoint {
  readonly #rings: Rings;
  readonly #destinations: Destinations;
  readonly #budgets: SourceBudgets;
  readonly #pacer: Pacer;
  readonly inbound: Inbound;
  readonly #outbound: Outbound;
  #now: Nanoseconds;
  readonly #stamps: SealedStamps;
  #sealing = true;
  #reserving = false;
  #wantsReserve = false;
  #reserveAt: Nanoseconds;
  #expireAt: Nanoseconds;

  constructor(options: {
    readonly now: Nanoseconds;
    readonly wallNs: number;
    readonly seeds: readonly [number, number];
    /** Uniform in [0, 1): jitter only. */
    readonly uniform: () => number;
    readonly reach: Reach;
    readonly config: ProtocolConfig;
    /** Stamps that earlier runs may have sealed, as the store kept them. */
    readonly sealed: readonly StampSpan[];
  }) {
    const { now, wallNs, seeds, config } = options;
    this.#now = now;
    this.#expireAt = now;
    this.#reserveAt = now;
    this.#stamps = new SealedStamps(options.sealed);
    this.#rings = new Rings(config.rings);
    this.#destinations = new Destinations(this.#rings, options.reach);
    this.#pacer = new Pacer({ ratePerSecond: config.ratePerSecond, burst: config.burst, now });
    this.#budgets = new SourceBudgets({
      now,
      seeds,
      knownShare: config.knownShare,
      strangerShare: config.strangerShare,
      strangersShare: config.strangersShare,
    });
    this.#budgets.configure(configuredAddresses(config));
    this.inbound = new Inbound({
      wallNs,
      windowNs: config.windowNs,
      seeds,
      rings: this.#rings,
      budgets: this.#budgets,
      stamps: this.#stamps,
    });
    this.#destinations.watchPeers();
    this.#outbound = new Outbound({
      seeds,
      uniform: options.uniform,
      destinations: this.#destinations,
      pacer: this.#pacer,
      ratePerSecond: config.ratePerSecond,
      policy: config.retry,
    });
  }

  /** Messages leased and not settled. */
  get inFlight(): number {
    return this.#outbound.inFlight;
  }
  /** ACKs that wait for a slab. */
  get acksQueued(): number {
    return this.inbound.acks.size;
  }

  /** Ring that seals for an address, or undefined when no secret covers it. */
  ringOf(address: string, port: number): number | undefined {
    const ring = this.#rings.ofDestination(address, port);
    return ring === NO_RING ? undefined : ring;
  }

  /** Index of each ring of a configuration, in its order; the crypto workers use the same. */
  configure(now: Nanoseconds, config: ProtocolConfig): readonly number[] {
    this.#advance(now);
    const indexes = this.#rings.configure(config.rings);
    this.inbound.gate.windowNs = config.windowNs;
    this.#pacer.configure({ ratePerSecond: config.ratePerSecond, burst: config.burst, now });
    this.#budgets.configure(configuredAddresses(config));
    this.#outbound.configure(config.retry, config.ratePerSecond);
    this.#destinations.watchPeers();
    for (const destination of this.#destinations.reconfigured()) {
      if (destination.address !== undefined) this.#outbound.handleReachable(now, destination);
    }
    return indexes;
  }

  /** Where outcomes gather, those of sessions too. */
  get settlements(): SettlementQueue {
    return this.#outbound.settlements;
  }
  /** Rows that the sessions answer for: they count where rows are ordered. */
  set inFlightElsewhere(rows: number) {
    this.#outbound.inFlightElsewhere = rows;
  }

  /**
   * Which destinations, as rows spell them, go in sessions: rows of theirs go back to the table now,
   * and those that still come from it too.
   */
  divert(
    now: Nanoseconds,
    wallNs: number,
    isElsewhere: (address: string, port: number) => boolean,
  ): void {
    this.#advance(now);
    this.#destinations.divert(isElsewhere);
    this.#outbound.handleDiverted(now, wallNs);
  }

  /** Outcomes that wait for the store. */
  get settlementsQueued(): number {
    return this.#outbound.settlements.size;
  }
  /** Messages sealed so far that no usual path carries in one piece. */
  get messagesAboveMtu(): number {
    return this.#outbound.messagesAboveMtu;
  }

  // --- Inputs -----------------------------------------------------------------------------------

  handleDatagram(
    now: Nanoseconds,
    datagram: Uint8Array,
    address: string,
    port: number,
    store: StoreSink,
    sink: OpenSink,
  ): DropReason | undefined {
    this.#advance(now);
    return this.inbound.handleDatagram(now, datagram, address, port, store, sink);
  }

  /** A worker found a tag in order; `ack` says what the body is. */
  handleOpened(
    now: Nanoseconds,
    wallNs: number,
    packet: OpenedPacket,
    ack: boolean,
    store: StoreSink,
  ): DropReason | undefined {
    this.#advance(now);
    const refused = this.inbound.believe(now, wallNs, packet);
    if (refused !== undefined) return refused;
    const suspect = this.inbound.suspect(packet);
    if (suspect && ack) return "reflected";
    // What may be our own is no sign of life of anybody, and wakes nothing.
    if (!suspect) this.#outbound.handleHeard(now, packet.address);
    if (!ack) return this.inbound.handleMessage(packet, suspect, store);
    return this.#outbound.handleAck(now, packet);
  }

  /** True: the packet may leave. It is remembered first, so that it is known when it comes back. */
  handleSealed(now: Nanoseconds, wallNs: number, packet: SealedPacket): boolean {
    this.#advance(now);
    if (!this.inbound.rememberSealed(wallNs, packet)) {
      this.#outbound.handleUnsealed(now, packet.tag);
      return false;
    }
    return packet.tag === TAG_ACK || this.#outbound.handleSealed(now, packet);
  }

  /** A packet that no worker will seal: its message waits and is read again. */
  handleUnsealed(now: Nanoseconds, tag: number): void {
    this.#advance(now);
    this.#outbound.handleUnsealed(now, tag);
  }

  handleLeased(now: Nanoseconds, rows: LeasedRows, gone: Uint32Array): void {
    this.#advance(now);
    this.#outbound.handleLeased(rows, gone);
  }

  handleStored(bytes: Uint8Array, idAt: number, ring: number, address: string, port: number): void {
    this.inbound.handleStored(bytes, idAt, ring, address, port);
  }

  /** A name of pollResolve was found. */
  handleResolved(now: Nanoseconds, host: string, address: string): void {
    this.#advance(now);
    for (const destination of this.#destinations.resolved(host, address)) {
      this.#outbound.handleReachable(now, destination);
    }
  }

  /** What {@link pollReserve} gave is durable. */
  handleReserved(untilNs: number): void {
    this.#reserving = false;
    this.#stamps.reserved(untilNs);
  }

  /** The store could not reserve; it will be asked again in a while. */
  handleReserveFailed(): void {
    this.#reserving = false;
    this.#reserveAt = nanoseconds(this.#now + SEAL_RESERVE_RETRY_NS);
  }

  handleTimeout(now: Nanoseconds, wallNs: number): void {
    this.#advance(now);
    if (now >= this.#expireAt) {
      this.inbound.expire(wallNs);
      this.#expireAt = nanoseconds(now + EXPIRE_EVERY_NS);
    }
    this.#outbound.handleTimeout(now, wallNs);
  }

  // --- Outputs ----------------------------------------------------------------------------------

  /** Writes the next ACK or message into the sink; false when nothing may be sealed now. */
  pollSeal(now: Nanoseconds, wallNs: number, sink: SealSink): boolean {
    if (!this.#sealing) return false;
    if (this.inbound.acks.size === 0 && !this.#outbound.ready) return false;
    if (this.#stamps.isShort(wallNs)) this.#wantsReserve = true;
    if (!this.#stamps.admits(wallNs)) return false;
    if (!this.inbound.pollAck(wallNs, sink) && !this.#outbound.pollSeal(now, wallNs, sink)) {
      return false;
    }
    this.#stamps.sealed(wallNs);
    return true;
  }

  /**
   * Seals nothing from here on. Returns the stamps that this run or an earlier one may have sealed:
   * what may be made durable in place of the reservation.
   */
  endSealing(): readonly StampSpan[] {
    this.#sealing = false;
    return this.#stamps.ended();
  }

  pollLease(): LeaseOrder | undefined {
    return this.#outbound.pollLease();
  }

  pollLimit(): Limit | undefined {
    return this.#destinations.pollLimit();
  }

  pollResolve(): string | undefined {
    return this.#destinations.pollResolve();
  }

  /** Stamps that the store should make durable before any of them is sealed; undefined: enough are. */
  pollReserve(wallNs: number): ReturnType<SealedStamps["reserve"]> | undefined {
    if (!this.#wantsReserve || this.#reserving || this.#now < this.#reserveAt) return undefined;
    this.#wantsReserve = false;
    if (!this.#sealing) return undefined;
    this.#reserving = true;
    return this.#stamps.reserve(wallNs);
  }

  /** Outcomes for the store, when there are any. */
  pollSettlement(): Settlement | undefined {
    return this.#outbound.settlements.size > 0 ? this.#outbound.settlements.take() : undefined;
  }

  /** Earliest instant at which time alone moves something; `now` is that of the last pollSeal. */
  pollDeadline(now: Nanoseconds): Nanoseconds {
    const at = this.#outbound.pollDeadline(now);
    return this.#wantsReserve && !this.#reserving && this.#reserveAt < at ? this.#reserveAt : at;
  }

  #advance(now: Nanoseconds): void {
    assert(now >= this.#now, "time never falls");
    this.#now = now;
  }
}

function configuredAddresses(config: ProtocolConfig): readonly string[] {
  return config.rings.flatMap((ring) => ring.addresses.map(({ address }) => address));
}
