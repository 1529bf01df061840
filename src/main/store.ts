// Actor: handle on the DB worker. Opened messages gather here while a transaction runs, so the commit
// groups what comes in meanwhile; nothing waits when nothing is under way. An ACK is queued in one
// place of the project, `#stored`, and only for a record that the worker reports as committed.

import { MessageChannel, Worker } from "node:worker_threads";
import { assert } from "../shared/base/assert.js";
import { DaemonError, daemonError, reasonOf } from "../shared/base/errors.js";
import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../shared/base/units.js";
import type { Endpoint } from "../shared/protocol/endpoint.js";
import type { StampSpan } from "../shared/protocol/sealed-stamps.js";
import type { Settlement } from "../shared/protocol/settlement.js";
import type { OpenedPacket, StoreSink } from "../shared/protocol/slot.js";
import { type Handlers, type Port, port, receive, send } from "../shared/runtime/channel.js";
import { type ControlHandle, controlOf } from "../shared/runtime/control.js";
import type { Counters } from "../shared/runtime/counters.js";
import {
  InboundBatchReader,
  InboundBatchWriter,
  RECORD_SUSPECT_FLAG,
  STORED,
} from "../shared/runtime/inbound-batch.js";
import type {
  SessionStoreJob,
  SessionStoreResult,
  StoreControl,
  StoreOpened,
  StoreOptions,
  StoreResult,
} from "../shared/runtime/messages.js";
import { OutboundBatchReader } from "../shared/runtime/outbound-batch.js";
import { Burst } from "./burst.js";

/** Opened messages that wait for a transaction: rows and bytes at most. One more batch is in it. */
export const STORE_BATCH_ROWS_MAX = 8_192;
export const STORE_BATCH_BYTES_MAX = 8 * 1_024 * 1_024;
/** Payload bytes of one lease at most. */
export const LEASE_BYTES_MAX = 1_024 * 1_024;
/** Worst case of what lies between main and the store, bytes: two batches each way. */
export const STORE_MEMORY_BYTES_MAX = 2 * 2 * STORE_BATCH_BYTES_MAX + 2 * LEASE_BYTES_MAX;
assert(STORE_MEMORY_BYTES_MAX <= 40 * 1_024 * 1_024, "the store's queues stay below 40 MiB");

const WORKER_URL = new URL("../workers/db.worker.js", import.meta.url);
/** Opening may migrate a file of ten million rows. */
const CONTROL_DEADLINE_MS = 600_000;
/** A transaction waits for this many rows, or this long after the one before. Source: store.md. */
const STORE_BURST = { rowsMax: 2_048, spanNs: 5 * NS_PER_MS } as const;
const SETTLE_BURST = { rowsMax: 2_048, spanNs: 10 * NS_PER_MS } as const;
/** Wait after a store that was busy or full, ns. */
const PAUSE_NS = 250 * NS_PER_MS;

/** What the sessions hear of the store. */
export interface SessionStore {
  readonly results: Handlers<SessionStoreResult>;
  /**
   * A batch was leased. `isMixed`: rows for session peers are in it, and theirs; the cursor is moved
   * then.
   */
  readonly onLeased: (rows: OutboundBatchReader, isMixed: boolean) => void;
  /** The store takes the outcomes that are queued; later: they are committed. */
  readonly onTaken: () => void;
  readonly onCommitted: () => void;
}

export interface StoreEvents {
  /** Results arrived: time to pump. */
  readonly onProgress: () => void;
  /** A sentence for the log, once per event. */
  readonly onReport: (sentence: string) => void;
  /** The store came to a halt, or goes on again: one line each. */
  readonly onState: (state: "busy" | "full" | "well") => void;
  /** The store must not go on: the daemon stops, non-zero. */
  readonly onBroken: (error: DaemonError) => void;
}

export class Store implements StoreSink {
  readonly #counters: Counters;
  readonly #events: StoreEvents;
  readonly #worker: Worker;
  readonly #control: ControlHandle<StoreControl>;
  readonly #jobs: Port<"storeJobs">;
  readonly #pending = new InboundBatchWriter(STORE_BATCH_BYTES_MAX);
  readonly #stores = new Burst(STORE_BURST);
  readonly #settles = new Burst(SETTLE_BURST);
  #storing = false;
  #settling: Settlement | undefined;
  #settleAgain: Settlement | undefined;
  #pausedUntil: Nanoseconds = nanoseconds(0);
  #state: "busy" | "full" | "well" = "well";
  #reading = true;
  #stopping = false;
  #endpoint: Endpoint | undefined;
  #sessions: SessionStore | undefined;
  #now: () => Nanoseconds;

  constructor(options: {
    readonly counters: Counters;
    readonly events: StoreEvents;
    readonly now: () => Nanoseconds;
  }) {
    this.#counters = options.counters;
    this.#events = options.events;
    this.#now = options.now;
    const data = new MessageChannel();
    const control = new MessageChannel();
    this.#worker = new Worker(WORKER_URL, {
      name: "store",
      workerData: { data: data.port2, control: control.port2 },
      transferList: [data.port2, control.port2],
    });
    this.#worker.on("error", (error) => this.#lost(reasonOf(error)));
    this.#worker.on("exit", (code) => this.#lost(`exit code ${code}`));
    this.#control = controlOf<StoreControl>(control.port1, this.#worker, CONTROL_DEADLINE_MS);
    this.#jobs = port<"storeJobs">(data.port1);
    receive<"storeResults">(port<"storeResults">(data.port1), {
      leased: (result) => this.#leased(result),
      stored: (result) => this.#stored(result),
      settled: (result) => this.#settled(result),
      reserved: ({ stamp }) => {
        this.#endpoint?.handleReserved(Number(stamp));
        this.#events.onProgress();
      },
      failed: (result) => this.#failed(result),
      broken: ({ error }) => this.#events.onBroken(daemonError(error)),
      reported: ({ sentence }) => this.#events.onReport(sentence),
      delivered: (result) => this.#sessions?.results.delivered(result),
      stamped: (result) => this.#sessions?.results.stamped(result),
      confirmed: (result) => this.#sessions?.results.confirmed(result),
      read: (result) => this.#sessions?.results.read(result),
    });
  }

  /** Opens the database; throws the worker's DaemonError. */
  async open(options: StoreOptions): Promise<StoreOpened> {
    const opened = await this.#control.call("open", [options]);
    if ("error" in opened) throw daemonError(opened.error);
    return opened;
  }

  /** Names the core that results go to. */
  serve(endpoint: Endpoint): void {
    this.#endpoint = endpoint;
  }

  /** Names what results of session jobs go to. */
  serveSessions(sessions: SessionStore): void {
    this.#sessions = sessions;
  }

  /** Posts a job of the sessions; memory named in `transfer` belongs to the worker afterwards. */
  order(job: SessionStoreJob, transfer: readonly ArrayBuffer[] = []): void {
    send(this.#jobs, job, transfer);
  }

  /** How many rows of a destination of sessions may be out. */
  limit(address: string, port: number, rowsMax: number): void {
    send(this.#jobs, { kind: "limit", address, port, rowsMax });
  }

  configure(lifeSeconds: number, quotaBytes: number): void {
    send(this.#jobs, { kind: "configure", lifeSeconds, quotaBytes });
  }

  // --- StoreSink --------------------------------------------------------------------------------

  /** False while the queue is full or the store halts: then no datagram is worth a key. */
  get accepting(): boolean {
    if (this.#pending.rows >= STORE_BATCH_ROWS_MAX) return false;
    // A full disk is tried again after each pause: nobody else says when there is room.
    return this.#state !== "full" || this.#now() >= this.#pausedUntil;
  }

  append(packet: OpenedPacket, scope: string, suspect: boolean): boolean {
    const pending = this.#pending;
    if (pending.rows >= STORE_BATCH_ROWS_MAX || !pending.fits(packet.bodyLength)) return false;
    pending.append(
      scope,
      packet.address,
      packet.port,
      packet.stampLow,
      packet.stampHigh,
      suspect ? RECORD_SUSPECT_FLAG : 0,
      packet.ring,
      packet.bytes,
      packet.messageIdAt,
      packet.digestAt,
      packet.bodyAt,
      packet.bodyLength,
    );
    return true;
  }

  // --- Jobs -------------------------------------------------------------------------------------

  /** Sends what may go: one store and one settle at a time, an order, limits, a reservation. */
  flush(now: Nanoseconds, wallNs: number): void {
    const endpoint = this.#endpoint;
    if (endpoint === undefined) return;
    for (let limit = endpoint.pollLimit(); limit !== undefined; limit = endpoint.pollLimit()) {
      send(this.#jobs, { kind: "limit", ...limit });
    }
    const reserve = endpoint.pollReserve(wallNs);
    if (reserve !== undefined) {
      const { untilNs, spans } = reserve;
      send(this.#jobs, { kind: "reserve", stamp: BigInt(untilNs), spans });
    }
    if (now >= this.#pausedUntil) {
      this.#store(now);
      this.#settle(now, endpoint);
    }
    if (this.#reading) this.#lease(endpoint);
  }

  #store(now: Nanoseconds): void {
    const { rows } = this.#pending;
    if (this.#storing || rows === 0 || !this.#stores.ready(now, rows)) return;
    this.#stores.began(now, rows);
    const batch = this.#pending.take();
    this.#storing = true;
    send(this.#jobs, { kind: "store", batch }, [batch.bytes]);
  }

  #settle(now: Nanoseconds, endpoint: Endpoint): void {
    if (this.#settling !== undefined) return;
    const rows = endpoint.settlementsQueued;
    if (this.#settleAgain === undefined && !this.#settles.ready(now, rows)) return;
    this.#settles.began(now, rows);
    const again = this.#settleAgain !== undefined;
    const settlement = this.#settleAgain ?? endpoint.pollSettlement();
    this.#settleAgain = undefined;
    if (settlement === undefined) return;
    if (!again) this.#sessions?.onTaken();
    this.#settling = settlement;
    send(this.#jobs, { kind: "settle", settlement });
  }

  #lease(endpoint: Endpoint): void {
    const order = endpoint.pollLease();
    if (order === undefined) return;
    send(this.#jobs, { kind: "lease", bytesMax: LEASE_BYTES_MAX, ...order });
  }

  // --- Results ----------------------------------------------------------------------------------

  #leased({ batch, gone }: Extract<StoreResult, { kind: "leased" }>): void {
    this.#counters.of.rows_leased += batch.rows;
    const rows = new OutboundBatchReader(batch);
    const isMixed = batch.destinations.some(({ peer }) => peer !== undefined);
    this.#sessions?.onLeased(rows, isMixed);
    if (isMixed) rows.rewindToClassic();
    this.#endpoint?.handleLeased(this.#now(), rows, gone);
    this.#events.onProgress();
  }

  #stored({ batch }: Extract<StoreResult, { kind: "stored" }>): void {
    this.#storing = false;
    this.became("well");
    const counters = this.#counters.of;
    const records = new InboundBatchReader(batch);
    while (records.next()) {
      switch (records.outcome) {
        case STORED.inserted:
          counters.messages_stored += 1;
          this.#acknowledge(records);
          break;
        case STORED.known:
          counters.messages_known += 1;
          this.#acknowledge(records);
          break;
        case STORED.conflict:
          counters.messages_conflicting += 1;
          break;
        case STORED.reflected:
          counters.messages_reflected += 1;
          break;
        case STORED.quota:
          counters.messages_over_quota += 1;
          break;
        default:
          counters.messages_unstored += 1;
      }
    }
    this.#events.onProgress();
  }

  #acknowledge(record: InboundBatchReader): void {
    this.#endpoint?.handleStored(
      record.bytes,
      record.messageIdAt,
      record.ring,
      record.source,
      record.port,
    );
  }

  #settled({ rows }: Extract<StoreResult, { kind: "settled" }>): void {
    const settlement = this.#settling;
    assert(settlement !== undefined, "one settlement is under way at a time");
    this.#settling = undefined;
    this.became("well");
    this.#counters.of.rows_acknowledged += settlement.acknowledged.rowIds.length;
    this.#counters.of.rows_failed += settlement.failed.length;
    this.#sessions?.onCommitted();
    if (rows >= 0) this.#events.onProgress();
  }

  /** Nothing of the job happened: messages are not acknowledged, settlements are kept. */
  #failed({ job, code }: Extract<StoreResult, { kind: "failed" }>): void {
    this.#counters.of[code === "full" ? "store_full" : "store_busy"] += 1;
    this.became(code);
    this.#pausedUntil = nanoseconds(this.#now() + PAUSE_NS);
    switch (job) {
      case "store":
        this.#storing = false;
        break;
      case "settle":
        this.#settleAgain = this.#settling;
        this.#settling = undefined;
        break;
      case "reserve":
        this.#endpoint?.handleReserveFailed();
        break;
    }
    this.#events.onProgress();
  }

  /** Instant at which a pause ends, or what waits for a burst may go; Infinity without one. */
  pollDeadline(now: Nanoseconds): Nanoseconds {
    if (this.#pausedUntil > now) return this.#pausedUntil;
    const storeAt =
      this.#pending.rows > 0 && !this.#storing ? this.#stores.nextAt : Number.POSITIVE_INFINITY;
    const settles = (this.#endpoint?.settlementsQueued ?? 0) > 0 && this.#settling === undefined;
    const settleAt = settles ? this.#settles.nextAt : Number.POSITIVE_INFINITY;
    return nanoseconds(Math.min(storeAt, settleAt));
  }

  /** What a job said about the database: each change of it is told once. */
  became(state: "busy" | "full" | "well"): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#events.onState(state);
  }

  // --- End --------------------------------------------------------------------------------------

  /** True while a transaction, or something for one, is under way. */
  get busy(): boolean {
    return this.#storing || this.#settling !== undefined || this.#pending.rows > 0;
  }

  /** No new rows from now on; what is in flight is settled. */
  drain(): void {
    this.#reading = false;
    const none = { rowIds: new Float64Array(0), tickets: new Uint32Array(0) };
    send(this.#jobs, { kind: "lease", rowsMax: 0, bytesMax: 0, again: none });
  }

  counters(): Promise<Readonly<Record<string, number>>> {
    return this.#control.call("counters", []);
  }

  /** `sealed`: which stamps were; whoever says it seals nothing any more. */
  async stop(sealed?: readonly StampSpan[]): Promise<void> {
    this.#stopping = true;
    const closed = await this.#control.call("close", [sealed]);
    this.#control.release();
    this.#jobs.close();
    await this.#worker.terminate();
    if (closed !== undefined) throw daemonError(closed.error);
  }

  /** Ends the worker as it is; for a store that is broken. */
  async abandon(): Promise<void> {
    this.#stopping = true;
    await this.#worker.terminate();
  }

  #lost(why: string): void {
    if (this.#stopping) return;
    this.#stopping = true;
    const message = `the store's worker died: ${why}`;
    this.#events.onBroken(
      new DaemonError(
        "ERR_WORKER",
        message,
        "start the daemon again; nothing acknowledged is lost",
      ),
    );
  }
}
