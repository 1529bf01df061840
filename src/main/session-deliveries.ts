// What sessions bring, on its way to the store: gathers while a transaction runs, one batch at a time,
// and waits when the store is busy or full.

import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../shared/base/units.js";
import {
  DELIVERED,
  type DeliveredRecord,
  type DeliverySink,
  type MessageDelivery,
  type PieceDelivery,
} from "../shared/protocol/session/ports.js";
import type { Counters } from "../shared/runtime/counters.js";
import { DELIVERY_KIND, DeliveryBatchReader } from "../shared/runtime/delivery-batch.js";
import { type DeliveryLane, DeliveryLanes } from "../shared/runtime/delivery-lanes.js";
import type { SessionStoreResult } from "../shared/runtime/messages.js";
import { Burst } from "./burst.js";
import type { Clock } from "./clock.js";
import type { Store } from "./store.js";

const MESSAGE_BURST = { rowsMax: 2_048, spanNs: 5 * NS_PER_MS } as const;
/** Half a batch of pieces as long as packets on most paths. */
const PIECE_BURST = { rowsMax: 384, spanNs: 5 * NS_PER_MS } as const;
/** Wait after a store that was busy or full, ns. */
const PAUSE_NS = 250 * NS_PER_MS;

export type StoreFailure = "busy" | "full";

export class SessionDeliveries implements DeliverySink {
  readonly #store: Store;
  readonly #counters: Counters;
  readonly #clock: Clock;
  readonly #lanes: DeliveryLanes;
  readonly #bursts: Readonly<Record<DeliveryLane, Burst>> = {
    messages: new Burst(MESSAGE_BURST),
    pieces: new Burst(PIECE_BURST),
  };
  #delivering = false;
  #full = false;
  #pausedUntil: Nanoseconds = nanoseconds(0);

  constructor(options: {
    readonly store: Store;
    readonly counters: Counters;
    readonly clock: Clock;
    /** Public key, in base64, of a peer. */
    readonly keyOf: (peer: number) => string;
  }) {
    this.#store = options.store;
    this.#counters = options.counters;
    this.#clock = options.clock;
    this.#lanes = new DeliveryLanes(options.keyOf);
  }

  get accepting(): boolean {
    return !this.#full || !this.paused(this.#clock.now());
  }
  message(delivery: MessageDelivery): boolean {
    return this.accepting && this.#lanes.message(delivery);
  }
  piece(delivery: PieceDelivery): boolean {
    return this.accepting && this.#lanes.piece(delivery);
  }
  settled(peer: number, boot: Uint8Array, below: number): boolean {
    return this.#lanes.settled(peer, boot, below);
  }
  drop(peer: number, messageId: Uint8Array): boolean {
    return this.#lanes.drop(peer, messageId);
  }

  /** The store was busy or full a moment ago. */
  paused(now: Nanoseconds): boolean {
    return now < this.#pausedUntil;
  }
  get pausedUntil(): Nanoseconds {
    return this.#pausedUntil;
  }
  /** True while the store works for it, or is about to. */
  get busy(): boolean {
    return this.#delivering || !this.#lanes.isEmpty;
  }
  /** When the next batch goes; Infinity: not by time. */
  get deadline(): number {
    if (this.#delivering) return Number.POSITIVE_INFINITY;
    let at = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes.turns) {
      if (this.#lanes.mayGo(lane)) at = Math.min(at, this.#bursts[lane].nextAt);
    }
    return Math.max(at, this.#pausedUntil);
  }

  pump(now: Nanoseconds): void {
    if (this.#delivering || this.paused(now)) return;
    for (const lane of this.#lanes.turns) {
      if (!this.#lanes.mayGo(lane)) continue;
      const burst = this.#bursts[lane];
      if (!burst.ready(now, this.#lanes.rowsOf(lane))) continue;
      const batch = this.#lanes.take(lane);
      burst.began(now, batch.rows);
      this.#delivering = true;
      this.#store.order({ kind: "deliver", batch }, [batch.bytes]);
      return;
    }
  }

  /** A batch came back: each record with its outcome goes to `each`. */
  handleDelivered(
    { batch, failure }: Extract<SessionStoreResult, { kind: "delivered" }>,
    each: (record: DeliveredRecord) => void,
  ): void {
    this.#delivering = false;
    this.#full = failure === "full";
    if (failure !== undefined) this.pause(failure);
    const records = new DeliveryBatchReader(batch);
    let inserted = false;
    while (records.next()) {
      const { kind } = records;
      if (kind !== DELIVERY_KIND.message && kind !== DELIVERY_KIND.piece) continue;
      this.#count(records.outcome);
      inserted ||= records.outcome === DELIVERED.inserted;
      each(records);
    }
    this.#lanes.recycle(batch);
    if (inserted && failure === undefined) this.#store.became("well");
  }

  #count(outcome: number): void {
    const { of } = this.#counters;
    if (outcome === DELIVERED.inserted) of.messages_stored += 1;
    else if (outcome === DELIVERED.known) of.messages_known += 1;
    else if (outcome === DELIVERED.conflict) of.messages_conflicting += 1;
    else if (outcome === DELIVERED.quota) of.messages_over_quota += 1;
    else if (outcome !== DELIVERED.spooled) of.messages_unstored += 1;
  }

  pause(failure: StoreFailure): void {
    this.#store.became(failure);
    this.#counters.of[failure === "full" ? "store_full" : "store_busy"] += 1;
    this.#pausedUntil = nanoseconds(this.#clock.now() + PAUSE_NS);
  }
}
