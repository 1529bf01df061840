// The sending half of the core: rows come in batches, become packets as pacing and credit allow, and
// stay in flight until an ACK, their expiry, or their last try. Steps in the order of a row's life:
// handleLeased -> pollSeal -> handleSealed -> (handleAck | handleTimeout -> again) -> settlements.

import { assert } from "../base/assert.js";
import type { DropReason } from "../base/errors.js";
import { type Nanoseconds, NS_PER_MS, NS_PER_SECOND, nanoseconds } from "../base/units.js";
import { nextDelay } from "./backoff.js";
import {
  BODY_BYTES_UNFRAGMENTED,
  IN_FLIGHT_MESSAGES_MAX,
  PROBE_MAX_NS,
  RETRY_FIRST_MAX_NS,
  RETRY_FIRST_NS,
  RETRY_JITTER_SHARE,
  RETRY_MAX_NS,
} from "./constants.js";
import type { Destination } from "./destination.js";
import type { Destinations } from "./destinations.js";
import { InFlight, STANDING } from "./in-flight.js";
import {
  expiredReason,
  LEASE_ROWS_MAX,
  type LeaseOrder,
  lotRows,
  orderOf,
  type RetryPolicy,
} from "./outbound-order.js";
import type { Pacer } from "./pacer.js";
import { SettlementQueue } from "./settlement.js";
import type { LeasedRows, OpenedPacket, SealedPacket, SealSink } from "./slot.js";

const DAY_NS = 86_400 * NS_PER_SECOND;
const TICKET_NONE = 0xffff_ffff;
/** In place of the instant of the last send. */
const NEVER_SENT = -1;

export class Outbound {
  readonly settlements = new SettlementQueue();
  /** Messages sealed that must travel as IP fragments on an Ethernet path. */
  messagesAboveMtu = 0;
  /** Rows leased that are not in this table. */
  inFlightElsewhere = 0;
  readonly #flight: InFlight;
  readonly #destinations: Destinations;
  readonly #pacer: Pacer;
  readonly #uniform: () => number;
  /** Rows of one order: what the pacer lets go in a tenth of a second, so that urgent rows jump in. */
  #lotRows: number;
  #policy: RetryPolicy;
  #batches: LeasedRows[] = [];
  /** Ticket of the row at the cursor of the first batch, admitted and waiting for room; -1: none. */
  #ticket = -1;
  /** Wall ns since the epoch at monotonic zero, as last observed. */
  #wallOffsetNs = 0;
  #again: number[] = [];
  #ordered = false;
  #lastName: LeasedRows["destination"] | undefined;
  #lastDestination: Destination | undefined;

  constructor(options: {
    readonly seeds: readonly [number, number];
    readonly uniform: () => number;
    readonly destinations: Destinations;
    readonly pacer: Pacer;
    /** Messages a second that the pacer lets go; 0 for as many as it can. */
    readonly ratePerSecond: number;
    readonly policy: RetryPolicy;
  }) {
    this.#flight = new InFlight(options.seeds);
    this.#destinations = options.destinations;
    this.#pacer = options.pacer;
    this.#uniform = options.uniform;
    this.#policy = options.policy;
    this.#lotRows = lotRows(options.ratePerSecond);
  }

  /** True while rows wait to be sealed. */
  get ready(): boolean {
    return this.#batches.length > 0;
  }

  get inFlight(): number {
    return this.#flight.size;
  }

  configure(policy: RetryPolicy, ratePerSecond: number): void {
    this.#policy = policy;
    this.#lotRows = lotRows(ratePerSecond);
  }

  // --- From the store ---------------------------------------------------------------------------

  /** Takes a batch of rows; `gone` are tickets whose rows their owner took back. */
  handleLeased(rows: LeasedRows, gone: Uint32Array): void {
    this.#ordered = false;
    for (const ticket of gone) {
      const slot = this.#flight.slotOf(ticket);
      if (slot >= 0) this.#forget(slot);
    }
    this.#batches.push(rows);
  }

  /** An order for more rows, when there is room and none waits, or when rows must be read again. */
  pollLease(): LeaseOrder | undefined {
    if (this.#batches.length > 1) return undefined;
    if (this.#ordered && this.#again.length === 0) return undefined;
    // Three lots are kept free: a batch at the cursor, one behind it, one on its way.
    const out = Math.max(this.#flight.size, this.inFlightElsewhere);
    const free = IN_FLIGHT_MESSAGES_MAX - out - 3 * LEASE_ROWS_MAX;
    const room = Math.max(0, Math.min(this.#lotRows, free));
    const tickets = this.#again.splice(0, LEASE_ROWS_MAX);
    const slots = tickets.map((ticket) => this.#flight.slotOf(ticket)).filter((slot) => slot >= 0);
    if (room === 0 && slots.length === 0) return undefined;
    this.#ordered = true;
    return orderOf(this.#flight, room, slots);
  }

  // --- Towards the crypto workers and the socket ------------------------------------------------

  /** Writes the next row into the sink; false when there is none, or pacing or credit forbid. */
  pollSeal(now: Nanoseconds, wallNs: number, sink: SealSink): boolean {
    this.#wallOffsetNs = wallNs - now;
    for (;;) {
      const rows = this.#batches[0];
      if (rows === undefined) return false;
      if (this.#ticket < 0) {
        if (!rows.next()) {
          this.#batches.shift();
          this.#lastName = undefined;
          continue;
        }
        const admitted = this.#admit(now, wallNs, rows);
        if (admitted < 0) continue;
        this.#ticket = this.#flight.ticketOf(admitted);
      }
      return this.#seal(now, wallNs, rows, sink);
    }
  }

  /** Notes that a packet is about to leave; false when its message was settled meanwhile. */
  handleSealed(now: Nanoseconds, packet: SealedPacket): boolean {
    const flight = this.#flight;
    const slot = flight.slotOf(packet.tag);
    if (slot < 0 || flight.standings[slot] !== STANDING.sealing) return false;
    const destination = this.#destinationOf(slot);
    if (flight.released[slot] === 1) flight.retries[slot] = (flight.retries[slot] as number) + 1;
    flight.released[slot] = 1;
    flight.standings[slot] = STANDING.sent;
    flight.sentAt[slot] = now;
    this.#wakeBeforeExpiry(slot, now, now + this.#retryDelay(slot, now, destination));
    return true;
  }

  /** A packet that will not leave (its worker died, or there is no room to remember it). */
  handleUnsealed(now: Nanoseconds, tag: number): void {
    const slot = this.#flight.slotOf(tag);
    if (slot < 0 || this.#flight.standings[slot] !== STANDING.sealing) return;
    this.#park(slot, now, now + RETRY_FIRST_NS);
  }

  /** An authentic ACK: final for the row, if the ring that sealed the row opened it. */
  handleAck(now: Nanoseconds, packet: OpenedPacket): DropReason | undefined {
    const flight = this.#flight;
    const slot = flight.find(packet.bytes, packet.messageIdAt);
    if (slot < 0 || flight.released[slot] === 0) return "ack_unknown";
    if (flight.rings[slot] !== packet.ring) return "ack_other_ring";
    const destination = this.#destinationOf(slot);
    if (flight.standings[slot] === STANDING.sent && flight.retries[slot] === 0) {
      destination.sample(now - (flight.sentAt[slot] as number));
    }
    this.settlements.acknowledge(flight.rowIds[slot] as number, flight.generations[slot] as number);
    destination.acknowledged();
    this.#destinations.changed(destination);
    this.#forget(slot);
    if (destination.heard(now)) this.#wake(destination, now);
    return undefined;
  }

  /** Any authentic datagram from an address wakes what waits for it. */
  handleHeard(now: Nanoseconds, address: string): void {
    if (!this.#destinations.anySilent) return;
    for (const destination of this.#destinations.at(address)) {
      if (destination.heard(now)) this.#wake(destination, now);
    }
  }

  /** A name was resolved, or the configuration changed: what waited for it may go. */
  handleReachable(now: Nanoseconds, destination: Destination): void {
    this.#wake(destination, now);
  }

  /** Rows whose destinations are not ours any more go back to the table. */
  handleDiverted(now: Nanoseconds, wallNs: number): void {
    this.#wallOffsetNs = wallNs - now;
    const flight = this.#flight;
    for (let slot = 0; slot < flight.capacity; slot++) {
      if (flight.standings[slot] === STANDING.free) continue;
      if (this.#destinationOf(slot).elsewhere) this.#giveBack(slot, now);
    }
  }

  handleTimeout(now: Nanoseconds, wallNs: number): void {
    this.#wallOffsetNs = wallNs - now;
    const flight = this.#flight;
    for (let slot = flight.due(now); slot >= 0; slot = flight.due(now)) {
      const destination = this.#destinationOf(slot);
      if (this.#expired(slot, wallNs)) this.#expire(slot);
      else if (flight.standings[slot] === STANDING.sent)
        this.#unanswered(slot, now, wallNs, destination);
      else this.#revive(slot, now, destination);
    }
  }

  /**
   * Earliest instant at which something is to be done. A row that waits at the cursor while the pacer
   * would let it go waits for a slab or for a reservation: no instant brings these.
   */
  pollDeadline(now: Nanoseconds): Nanoseconds {
    const retry = this.#flight.nextDeadline;
    if (this.#ticket < 0) return retry;
    const pacedAt = this.#pacer.availableAt(now);
    return pacedAt > now && pacedAt < retry ? pacedAt : retry;
  }

  // --- Steps ------------------------------------------------------------------------------------

  /** Gives the row at the cursor its slot; -1 when it is parked, refused or stale. */
  #admit(now: Nanoseconds, wallNs: number, rows: LeasedRows): number {
    const flight = this.#flight;
    const again = rows.ticket !== TICKET_NONE;
    let slot: number;
    if (again) {
      slot = flight.slotOf(rows.ticket);
      if (slot < 0 || flight.standings[slot] !== STANDING.reading) return -1;
      if (flight.generations[slot] !== rows.generation) {
        // Its owner made another message of the row: that one is leased anew, under its own id.
        this.#forget(slot);
        return -1;
      }
    } else {
      slot = this.#enter(now, rows);
    }
    const destination = this.#destinationOf(slot);
    if (destination.elsewhere) this.#giveBack(slot, now);
    else if (this.#expired(slot, wallNs)) this.#expire(slot);
    else if (destination.refusal !== undefined) this.#fail(slot, destination.refusal);
    else if (destination.address === undefined) this.#park(slot, now, Number.POSITIVE_INFINITY);
    else if (destination.down && !again) this.#park(slot, now, destination.nextProbeAt);
    else return slot;
    return -1;
  }

  #enter(now: Nanoseconds, rows: LeasedRows): number {
    const flight = this.#flight;
    let slot = flight.add(rows.bytes, rows.messageIdAt);
    if (slot < 0) {
      // The id is unique in the table: the row that held it was deleted or renamed by its owner.
      const stale = flight.find(rows.bytes, rows.messageIdAt);
      if (stale >= 0) this.#forget(stale);
      slot = flight.add(rows.bytes, rows.messageIdAt);
    }
    assert(slot >= 0, "no more rows are ordered than slots are free");
    const destination = this.#named(rows.destination, now);
    destination.inFlight += 1;
    flight.rowIds[slot] = rows.rowId;
    flight.generations[slot] = rows.generation;
    flight.retries[slot] = rows.attempts;
    flight.backoffs[slot] = 0;
    flight.destinations[slot] = destination.index;
    flight.rings[slot] = destination.ring;
    flight.released[slot] = rows.released ? 1 : 0;
    flight.expiresAt[slot] = rows.expiresAt;
    flight.sentAt[slot] = NEVER_SENT;
    flight.standings[slot] = STANDING.reading;
    return slot;
  }

  /** It is leased anew, and goes another way. What this run sent of it, the table should know. */
  #giveBack(slot: number, now: Nanoseconds): void {
    const flight = this.#flight;
    const rowId = flight.rowIds[slot] as number;
    const generation = flight.generations[slot] as number;
    const sentAt = flight.sentAt[slot] as number;
    if (sentAt !== NEVER_SENT) {
      const wallMs = (now + this.#wallOffsetNs) / NS_PER_MS;
      const sentAtMs = (sentAt + this.#wallOffsetNs) / NS_PER_MS;
      this.settlements.wait(rowId, generation, flight.retries[slot] as number, sentAtMs, wallMs);
    }
    this.settlements.giveBack(rowId, generation);
    this.#forget(slot);
  }

  #seal(now: Nanoseconds, wallNs: number, rows: LeasedRows, sink: SealSink): boolean {
    const flight = this.#flight;
    const slot = flight.slotOf(this.#ticket);
    if (slot < 0) {
      // Acknowledged, or taken back by its owner, while it waited for room.
      this.#ticket = -1;
      return true;
    }
    const destination = this.#destinationOf(slot);
    assert(destination.address !== undefined, "a row is admitted when its destination is known");
    const length = rows.payloadLength;
    if (this.#pacer.availableAt(now) > now || !sink.room(destination.affinity, length))
      return false;
    const taken = this.#pacer.take(now);
    assert(taken, "a token is there when the pacer says so");
    sink.bytes.set(rows.bytes.subarray(rows.payloadAt, rows.payloadAt + length), sink.bodyAt);
    if (length > BODY_BYTES_UNFRAGMENTED) this.messagesAboveMtu += 1;
    flight.rings[slot] = destination.ring;
    flight.standings[slot] = STANDING.sealing;
    flight.sleep(slot);
    sink.seal(destination.ring, wallNs, this.#ticket, destination.address, destination.port);
    this.#ticket = -1;
    return true;
  }

  /** A wait ran out: tell the table, then try again, wait for a probe's turn, or give up. */
  #unanswered(slot: number, now: Nanoseconds, wallNs: number, destination: Destination): void {
    const flight = this.#flight;
    const { retriesMax, intervalNs } = this.#policy;
    const retries = flight.retries[slot] as number;
    if (retriesMax !== undefined && retries >= retriesMax) {
      this.#fail(slot, `no acknowledgement after ${retries + 1} attempts (max retries exceeded)`);
      return;
    }
    if (!destination.down)
      flight.backoffs[slot] = Math.min(31, (flight.backoffs[slot] as number) + 1);
    if (destination.timedOut(now) && intervalNs === undefined)
      this.#scheduleProbe(destination, now);
    this.#destinations.changed(destination);
    const waits = intervalNs === undefined && destination.down && now < destination.nextProbeAt;
    const nextAt = waits ? destination.nextProbeAt : now;
    const wallMs = wallNs / NS_PER_MS;
    this.settlements.wait(
      flight.rowIds[slot] as number,
      flight.generations[slot] as number,
      retries,
      wallMs - (now - (flight.sentAt[slot] as number)) / NS_PER_MS,
      wallMs + (nextAt - now) / NS_PER_MS,
    );
    if (waits) this.#park(slot, now, nextAt);
    else this.#revive(slot, now, destination);
  }

  /** Asks for the payload of a parked or unanswered message, if its destination may have it now. */
  #revive(slot: number, now: Nanoseconds, destination: Destination): void {
    if (destination.address === undefined) {
      this.#park(slot, now, Number.POSITIVE_INFINITY);
      return;
    }
    if (destination.down && this.#policy.intervalNs === undefined) {
      if (now < destination.nextProbeAt) {
        this.#park(slot, now, destination.nextProbeAt);
        return;
      }
      this.#scheduleProbe(destination, now);
    }
    this.#flight.standings[slot] = STANDING.reading;
    this.#again.push(this.#flight.ticketOf(slot));
  }

  #scheduleProbe(destination: Destination, now: Nanoseconds): void {
    const delay = nextDelay({
      attempt: destination.probes,
      first: destination.firstDelay,
      max: nanoseconds(PROBE_MAX_NS),
      jitterShare: RETRY_JITTER_SHARE,
      random: this.#uniform(),
    });
    destination.probes += 1;
    destination.nextProbeAt = nanoseconds(now + delay);
    this.#destinations.resolveAgain(destination);
  }

  /** Wait for an ACK: a probe waits for the next probe, any other message by its own backoff. */
  #retryDelay(slot: number, now: Nanoseconds, destination: Destination): number {
    if (this.#policy.intervalNs !== undefined) return this.#policy.intervalNs;
    if (destination.down) return Math.max(destination.firstDelay, destination.nextProbeAt - now);
    return nextDelay({
      attempt: this.#flight.backoffs[slot] as number,
      first: nanoseconds(Math.min(destination.firstDelay, RETRY_FIRST_MAX_NS)),
      max: nanoseconds(RETRY_MAX_NS),
      jitterShare: RETRY_JITTER_SHARE,
      random: this.#uniform(),
    });
  }

  #park(slot: number, now: Nanoseconds, until: number): void {
    this.#flight.standings[slot] = STANDING.parked;
    this.#wakeBeforeExpiry(slot, now, until);
  }

  /** Wakes at `at`, or when the message expires if that is sooner; at least once a day. */
  #wakeBeforeExpiry(slot: number, now: Nanoseconds, at: number): void {
    const expiresNs = (this.#flight.expiresAt[slot] as number) * NS_PER_MS - this.#wallOffsetNs;
    this.#flight.wakeAt(slot, Math.min(at, now + DAY_NS, Math.max(now, expiresNs)));
  }

  #expired(slot: number, wallNs: number): boolean {
    return (this.#flight.expiresAt[slot] as number) <= wallNs / NS_PER_MS;
  }

  #expire(slot: number): void {
    this.#fail(slot, expiredReason(this.#flight.released[slot] === 1));
  }

  #fail(slot: number, reason: string): void {
    const flight = this.#flight;
    this.settlements.fail(
      flight.rowIds[slot] as number,
      flight.generations[slot] as number,
      reason,
    );
    this.#forget(slot);
  }

  #forget(slot: number): void {
    this.#destinationOf(slot).inFlight -= 1;
    this.#flight.remove(slot);
  }

  #wake(destination: Destination, now: Nanoseconds): void {
    this.#destinations.changed(destination);
    const flight = this.#flight;
    for (let slot = 0; slot < flight.capacity; slot++) {
      if (flight.destinations[slot] !== destination.index) continue;
      flight.backoffs[slot] = 0;
      if (flight.standings[slot] === STANDING.parked) flight.wakeAt(slot, now);
      if (flight.standings[slot] !== STANDING.sent) continue;
      // Sent into the dark, unless it left just now and its ACK may be on the way.
      const answerAt = (flight.sentAt[slot] as number) + destination.firstDelay;
      flight.wakeAt(slot, Math.max(now, answerAt));
    }
  }

  #destinationOf(slot: number): Destination {
    return this.#destinations.of(this.#flight.destinations[slot] as number);
  }

  /** A batch names few destinations, each by one object: remember the last. */
  #named(name: LeasedRows["destination"], now: Nanoseconds): Destination {
    if (name !== this.#lastName || this.#lastDestination === undefined) {
      this.#lastName = name;
      this.#lastDestination = this.#destinations.named(name.address, name.port, now);
    }
    return this.#lastDestination;
  }
}
