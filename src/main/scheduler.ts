// Actor: turns inputs into calls on the core and drains its outputs in their fixed order, once per
// tick: timeouts, seals, slabs, store, names, one timer. The only setTimeout of the daemon.

import { assert } from "../shared/base/assert.js";
import { type Nanoseconds, NS_PER_MS } from "../shared/base/units.js";
import type { Endpoint } from "../shared/protocol/endpoint.js";
import { type SealedPacket, TAG_ACK } from "../shared/protocol/slot.js";
import { MTU_BASE_BYTES } from "../shared/protocol/transport/mtu.js";
import type { Counters } from "../shared/runtime/counters.js";
import { isSessionOutcome } from "../shared/runtime/session-slab.js";
import { OUTCOME, wordOf } from "../shared/runtime/slab.js";
import { SlabCursor } from "../shared/runtime/slab-cursor.js";
import type { Clock } from "./clock.js";
import type { Connector } from "./connector.js";
import type { CryptoPool, PooledSlab } from "./crypto-pool.js";
import type { Sessions } from "./sessions.js";
import type { DatagramSocket, SendDone } from "./socket/datagram-socket.js";
import type { Store } from "./store.js";

/** setTimeout overflows above this; a later deadline is looked at again then. */
const TIMER_MS_MAX = 60_000;

export class Scheduler {
  readonly #endpoint: Endpoint;
  readonly #pool: CryptoPool;
  readonly #store: Store;
  readonly #socket: DatagramSocket;
  readonly #connector: Connector;
  readonly #counters: Counters;
  readonly #clock: Clock;
  /** Undefined while no peer is configured. */
  sessions: Sessions | undefined;
  #cursor: SlabCursor | undefined;
  #pumping: NodeJS.Immediate | undefined;
  /** When the timer goes, ns of the monotonic clock; Infinity: none is set. */
  #wakesAt = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #sealing = true;
  #stopped = false;
  /** Called once a tick, after the pump. */
  onTick: (now: Nanoseconds) => void = () => {};

  constructor(options: {
    readonly endpoint: Endpoint;
    readonly pool: CryptoPool;
    readonly store: Store;
    readonly socket: DatagramSocket;
    readonly connector: Connector;
    readonly counters: Counters;
    readonly clock: Clock;
  }) {
    this.#endpoint = options.endpoint;
    this.#pool = options.pool;
    this.#store = options.store;
    this.#socket = options.socket;
    this.#connector = options.connector;
    this.#counters = options.counters;
    this.#clock = options.clock;
  }

  start(): void {
    this.#socket.receive((datagram, address, port) => this.#datagram(datagram, address, port));
    this.wake();
  }

  /** Pumps at the end of this turn of the event loop: what arrived together travels together. */
  readonly wake = (): void => {
    if (this.#pumping !== undefined || this.#stopped) return;
    this.#pumping = setImmediate(this.#turn);
  };
  readonly #turn = (): void => {
    this.#pumping = undefined;
    this.#pump();
  };

  /** Takes a slab back from a crypto worker. */
  readonly handleSlab = (slab: PooledSlab): void => {
    const now = this.#clock.now();
    const wallNs = this.#clock.wallNs();
    const { table, routes } = slab;
    this.#cursor ??= new SlabCursor(table, routes);
    const entries = table.entries;
    slab.outstanding = 1;
    for (let index = 0; index < entries; index++) {
      this.#visit(slab, index, now, wallNs, this.#cursor.move(table, routes, index));
    }
    this.#sendDone(slab);
    this.wake();
  };

  /** New messages stay in the table; ACKs and what is in flight go on. */
  drain(): void {
    this.#store.drain();
    this.wake();
  }

  /** True when nothing is under way but what waits for a peer. */
  get idle(): boolean {
    return (
      this.#pool.busy === 0 &&
      !this.#store.busy &&
      this.sessions?.busy !== true &&
      this.#endpoint.acksQueued === 0 &&
      this.#endpoint.settlementsQueued === 0
    );
  }

  stop(): void {
    this.#stopped = true;
    this.#sealing = false;
    clearImmediate(this.#pumping);
    clearTimeout(this.#timer);
  }

  // --- Inputs -----------------------------------------------------------------------------------

  #datagram(datagram: Uint8Array, address: string, port: number): void {
    this.#counters.of.datagrams_received += 1;
    const now = this.#clock.now();
    const { sessions } = this;
    const taken =
      sessions === undefined ? "classic" : sessions.handleDatagram(now, datagram, address, port);
    const dropped =
      taken === "classic"
        ? this.#endpoint.handleDatagram(now, datagram, address, port, this.#store, this.#pool)
        : taken;
    if (dropped === undefined) this.wake();
    else this.#counters.drops[dropped] += 1;
  }

  #visit(
    slab: PooledSlab,
    index: number,
    now: Nanoseconds,
    wallNs: number,
    packet: SlabCursor,
  ): void {
    const { drops, of } = this.#counters;
    const code = slab.table.words[wordOf(index)] as number;
    if (isSessionOutcome(code)) {
      const sealed = this.sessions?.visit(now, wallNs, slab.table, slab.routes, index);
      // What a path of the base size may not carry must not pass in fragments: it tells the MTU.
      if (sealed !== undefined) this.#transmit(slab, sealed, sealed.length > MTU_BASE_BYTES);
      return;
    }
    switch (code) {
      case OUTCOME.sealed:
        if (this.#endpoint.handleSealed(now, wallNs, packet)) {
          if (packet.tag === TAG_ACK) of.acks_sent += 1;
          this.#transmit(slab, packet, false);
        } else of.unsealed += 1;
        return;
      case OUTCOME.message:
      case OUTCOME.ack:
        this.#opened(now, wallNs, packet, code === OUTCOME.ack);
        return;
      case OUTCOME.keyless:
        of.unsealed += 1;
        this.#endpoint.handleUnsealed(now, packet.tag);
        return;
      case OUTCOME.notAuthentic:
        drops.not_authentic += 1;
        return;
      case OUTCOME.notObject:
        drops.body_not_object += 1;
        return;
      case OUTCOME.hostile:
        drops.body_hostile += 1;
        return;
      case OUTCOME.noMessageId:
        drops.message_id_missing += 1;
        return;
      default:
        assert(false, "a worker answers every job");
    }
  }

  #opened(now: Nanoseconds, wallNs: number, packet: SlabCursor, ack: boolean): void {
    const dropped = this.#endpoint.handleOpened(now, wallNs, packet, ack, this.#store);
    if (dropped !== undefined) this.#counters.drops[dropped] += 1;
    else if (ack) this.#counters.of.acks_opened += 1;
    else this.#counters.of.messages_opened += 1;
  }

  // --- Outputs ----------------------------------------------------------------------------------

  #transmit(slab: PooledSlab, packet: SealedPacket, whole: boolean): void {
    slab.outstanding += 1;
    // Made elsewhere: a function with a closure in it allocates at each call, also when it is not made.
    slab.done ??= this.#doneOf(slab);
    const { bytes, at, length, address, port } = packet;
    this.#socket.send(bytes, at, length, address, port, slab.done, whole);
  }

  #doneOf(slab: PooledSlab): SendDone {
    return (code, at) => {
      if (code !== undefined) this.#counters.of.send_errors += 1;
      else this.#counters.of.datagrams_sent += 1;
      if (code === "EMSGSIZE") this.sessions?.handleTooBig(slab.table, slab.routes, at);
      this.#sendDone(slab);
    };
  }

  #sendDone(slab: PooledSlab): void {
    slab.outstanding -= 1;
    if (slab.outstanding > 0) return;
    this.#pool.release(slab);
    this.wake();
  }

  #pump(): void {
    const now = this.#clock.now();
    const wallNs = this.#clock.wallNs();
    this.#endpoint.handleTimeout(now, wallNs);
    this.#connector.handleTimeout(now);
    if (this.#sealing) while (this.#endpoint.pollSeal(now, wallNs, this.#pool));
    this.sessions?.pump(now, wallNs);
    this.#pool.flush();
    this.#store.flush(now, wallNs);
    for (
      let host = this.#endpoint.pollResolve();
      host !== undefined;
      host = this.#endpoint.pollResolve()
    ) {
      this.#connector.resolve(host);
    }
    this.onTick(now);
    this.#sleep(now);
  }

  /** A timer that is set for no later than that stays: one that comes early costs less than a new one. */
  #sleep(now: Nanoseconds): void {
    if (this.#stopped) return;
    const at = Math.min(
      this.#endpoint.pollDeadline(now),
      this.#store.pollDeadline(now),
      this.#connector.pollDeadline(),
      this.sessions?.pollDeadline(now) ?? Number.POSITIVE_INFINITY,
    );
    if (this.#wakesAt <= at) return;
    clearTimeout(this.#timer);
    const delayMs = Math.min(Math.max(0, Math.ceil((at - now) / NS_PER_MS)), TIMER_MS_MAX);
    this.#wakesAt = now + delayMs * NS_PER_MS;
    this.#timer = setTimeout(this.#alarm, delayMs);
  }

  readonly #alarm = (): void => {
    this.#wakesAt = Number.POSITIVE_INFINITY;
    this.wake();
  };
}
