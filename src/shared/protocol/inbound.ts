// The receiving half of the core. Way of a datagram: handleDatagram refuses cheapest first and copies
// what is left into a slot; a worker opens it; handleOpened believes it or not, and hands messages to
// the store; handleStored queues the ACK, which only a committed record can cause; pollAck writes it.

import type { DropReason } from "../base/errors.js";
import { type Nanoseconds, nanoseconds } from "../base/units.js";
import { AckQueue } from "./ack-queue.js";
import { ACK_BODY_BYTES, ackBodyInto } from "./classic-body.js";
import { DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN, NONCE_ENTRIES_MAX } from "./constants.js";
import type { SourceBudgets } from "./cpu-budget.js";
import { NonceMemory } from "./nonce-memory.js";
import { addressAffinity, type Rings } from "./rings.js";
import type { SealedStamps } from "./sealed-stamps.js";
import {
  NO_RING,
  type OpenedPacket,
  type OpenSink,
  type SealedPacket,
  type SealSink,
  type StoreSink,
  TAG_ACK,
} from "./slot.js";
import { StampGate, stampNanoseconds } from "./stamp-gate.js";

export class Inbound {
  readonly acks = new AckQueue();
  readonly gate: StampGate;
  readonly #rings: Rings;
  readonly #budgets: SourceBudgets;
  readonly #sealed: NonceMemory;
  readonly #opened: NonceMemory;
  readonly #stamps: SealedStamps;

  constructor(options: {
    readonly wallNs: number;
    readonly windowNs: number;
    readonly seeds: readonly [number, number];
    readonly rings: Rings;
    readonly budgets: SourceBudgets;
    readonly stamps: SealedStamps;
  }) {
    this.gate = new StampGate(options);
    this.#rings = options.rings;
    this.#budgets = options.budgets;
    this.#stamps = options.stamps;
    this.#sealed = new NonceMemory({ entriesMax: NONCE_ENTRIES_MAX, seeds: options.seeds });
    this.#opened = new NonceMemory({ entriesMax: NONCE_ENTRIES_MAX, seeds: options.seeds });
  }

  /** Refuses a datagram, or copies it to where a worker opens it. */
  handleDatagram(
    now: Nanoseconds,
    datagram: Uint8Array,
    address: string,
    port: number,
    store: StoreSink,
    sink: OpenSink,
  ): DropReason | undefined {
    if (datagram.length < DATAGRAM_BYTES_MIN) return "too_short";
    if (datagram.length > DATAGRAM_BYTES_MAX) return "too_long";
    const hash = this.#opened.hashOf(datagram, 0);
    if (this.#sealed.has(datagram, 0, hash)) return "reflected";
    if (this.#opened.has(datagram, 0, hash)) return "replayed";
    if (!store.accepting) return "store_queue_full";
    const peer = this.#rings.ofSource(address, port);
    const shared = this.#rings.shared;
    if (peer === NO_RING && shared === NO_RING) return "not_authentic";
    const ring = peer === NO_RING ? shared : peer;
    const other = peer === NO_RING ? NO_RING : shared;
    const keys = this.#rings.keysOf(ring, other);
    const admission = this.#budgets.admit(now, address, datagram.length, keys);
    if (admission !== "admitted") return admission;
    const affinity = peer === NO_RING ? addressAffinity(address) : peer;
    if (!sink.open(affinity, datagram, ring, other, address, port)) return "open_queue_full";
    return undefined;
  }

  /**
   * Checks of every authentic datagram, in this order: stamp, a copy opened meanwhile, room to
   * remember it. Undefined: it is believed, and remembered.
   */
  believe(now: Nanoseconds, wallNs: number, packet: OpenedPacket): DropReason | undefined {
    const peer = this.#rings.ofSource(packet.address, packet.port);
    const keys = this.#rings.keysOf(peer, this.#rings.shared);
    this.#budgets.authenticated(now, packet.address, packet.datagramLength, keys);
    this.#observe(wallNs);
    const refused = this.gate.check(packet.stampHigh, packet.stampLow, wallNs);
    if (refused !== undefined) return refused;
    // What we sealed was known before it left, so handleDatagram saw it; a copy may have come since.
    const { bytes, nonceAt } = packet;
    const hash = this.#opened.hashOf(bytes, nonceAt);
    if (this.#opened.has(bytes, nonceAt, hash)) return "replayed";
    const stampNs = stampNanoseconds(packet.stampHigh, packet.stampLow);
    const until = nanoseconds(this.gate.rememberUntil(stampNs));
    const remembered = this.#opened.remember(nanoseconds(wallNs), until, bytes, nonceAt, hash);
    return remembered ? undefined : "nonce_memory_full";
  }

  /** True when we may have sealed it ourselves, and forgotten: the clock went back since. */
  suspect(packet: OpenedPacket): boolean {
    return this.#stamps.isSuspect(stampNanoseconds(packet.stampHigh, packet.stampLow));
  }

  /** Hands a believed message to the store. */
  handleMessage(packet: OpenedPacket, suspect: boolean, store: StoreSink): DropReason | undefined {
    const scope = this.#rings.scope(packet.ring);
    return store.append(packet, scope, suspect) ? undefined : "store_queue_full";
  }

  /** Queues the ACK of a record whose transaction is committed and synced. No other caller. */
  handleStored(bytes: Uint8Array, idAt: number, ring: number, address: string, port: number): void {
    this.acks.push(bytes, idAt, ring, address, port);
  }

  /** Writes the oldest ACK into the sink; false when there is none, or no credit. */
  pollAck(wallNs: number, sink: SealSink): boolean {
    const acks = this.acks;
    while (acks.size > 0 && !this.#rings.live(acks.headRing)) acks.shift();
    if (acks.size === 0) return false;
    const { headRing: ring, headAddress: address } = acks;
    if (!sink.room(this.#rings.affinity(ring, address), ACK_BODY_BYTES)) return false;
    ackBodyInto(sink.bytes, sink.bodyAt, acks.ids, acks.headIdAt);
    sink.seal(ring, wallNs, TAG_ACK, address, acks.headPort);
    acks.shift();
    return true;
  }

  /** Remembers what we sealed, before it leaves; false when there is no room to, so it must not. */
  rememberSealed(wallNs: number, packet: SealedPacket): boolean {
    const until = nanoseconds(this.gate.rememberUntil(wallNs));
    return this.#sealed.remember(nanoseconds(wallNs), until, packet.bytes, packet.at);
  }

  /** Forgets nonces whose stamps the gate refuses by now. */
  expire(wallNs: number): void {
    this.#observe(wallNs);
    this.#sealed.expire(nanoseconds(wallNs));
    this.#opened.expire(nanoseconds(wallNs));
  }

  #observe(wallNs: number): void {
    if (this.gate.observe(wallNs)) this.#stamps.setBack();
  }
}
