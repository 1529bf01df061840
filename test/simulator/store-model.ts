// A database file and its worker: one job at a time, each with a delay, a commit, a sync behind it, and
// an answer that takes a moment to arrive. Jobs may fail; the process or the power may, at any step.

import { DELIVERED } from "../../src/shared/protocol/session/ports.js";
import {
  DELIVERY_KIND,
  type DeliveryBatch,
  DeliveryBatchReader,
} from "../../src/shared/runtime/delivery-batch.js";
import { InboundBatchReader, type Stored } from "../../src/shared/runtime/inbound-batch.js";
import type { StoreJob, StoreResult } from "../../src/shared/runtime/messages.js";
import type { Faults } from "./faults.js";
import { NO_STORE_PLANTS, type StorePlants } from "./plants.js";
import type { OutputKind, StoreFault } from "./scenario.js";
import { SessionDeliveries, type Step, StoreHalted } from "./session-deliveries.js";
import { StoreJobs, type StoreWitness } from "./store-jobs.js";
import type { Tables } from "./tables.js";
import type { Tally } from "./tally.js";

const WORK_NS = 100_000;
const SYNC_NS = 300_000;
const POST_NS = 30_000;
const POLL_NS = 25e6;
const TEND_NS = 1e9;
/** Once nothing goes wrong any more. */
const TEND_CALM_NS = 60e9;
const LAZY_SYNC_NS = 2e9;

/** What the model needs of the world around it. */
export interface StoreSurroundings {
  readonly host: number;
  readonly tally: Tally;
  readonly faults: Faults;
  readonly tables: Tables;
  readonly witness: StoreWitness;
  readonly plants: Partial<StorePlants>;
  readonly quotaBytes: () => number;
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
  readonly freshId: () => Uint8Array;
  /** Calls `run` after so much true time, unless the process ended in between. */
  readonly later: (delayNs: number, kind: string, detail: number, run: () => void) => void;
  readonly deliver: (result: StoreResult) => void;
  /** An armed crash may happen here. */
  readonly passed: (output: OutputKind) => void;
  /** The process has to end. */
  readonly broken: () => void;
}

type WritingJob = Extract<StoreJob, { kind: "store" | "settle" | "reserve" | "stamp" | "confirm" }>;

export class StoreModel {
  readonly #around: StoreSurroundings;
  readonly #jobs: StoreJobs;
  readonly #deliveries: SessionDeliveries;
  readonly #plants: StorePlants;
  readonly #queue: StoreJob[] = [];
  /** On their way to main: they arrive in their order. */
  readonly #posted: StoreResult[] = [];
  #working = false;
  #polls = false;
  #done = 0;

  constructor(around: StoreSurroundings, jobsDone: number) {
    this.#around = around;
    this.#done = jobsDone;
    this.#plants = { ...NO_STORE_PLANTS, ...around.plants };
    const plants = this.#plants;
    this.#jobs = new StoreJobs({ ...around, plants, quotaBytes: Number.POSITIVE_INFINITY });
    const { tables, witness, quotaBytes } = around;
    this.#deliveries = new SessionDeliveries({ tables, witness, plants, quotaBytes });
    // A start syncs the log that it finds: a process may have been killed between write and sync, and
    // a copy of what is in there will be called known, which writes nothing and so syncs nothing.
    if (!this.#plants.trustsUnsyncedLog) around.tables.layers.sync();
    this.#tendLater();
  }

  /** Jobs that this file has seen, over all processes: the number of the next one's fate. */
  get jobsDone(): number {
    return this.#done;
  }
  get idle(): boolean {
    return !this.#working && this.#queue.length === 0;
  }

  submit(job: StoreJob): void {
    this.#queue.push(job);
    this.#next();
  }

  /** Another process committed. */
  changed(): void {
    if (!this.#jobs.waiting || this.#polls) return;
    this.#polls = true;
    this.#around.later(POLL_NS, "poll", 0, () => {
      this.#polls = false;
      this.#poll();
    });
  }

  #next(): void {
    if (this.#working) return;
    const job = this.#queue.shift();
    if (job === undefined) return;
    switch (job.kind) {
      case "limit":
        this.#jobs.limit(job.address, job.port, job.rowsMax);
        this.#poll();
        this.#next();
        return;
      case "lease":
        this.#jobs.order(job);
        this.#poll();
        this.#next();
        return;
      case "store":
      case "settle":
      case "reserve":
      case "stamp":
      case "confirm":
        this.#work(job);
        return;
      case "deliver":
        this.#deliver(job.batch);
        return;
      case "payload":
        this.#post({ ...job, kind: "read", bytes: this.#jobs.read(job) });
        this.#next();
        return;
      case "peers":
        this.#jobs.configure(job.peers);
        this.#next();
        return;
      default:
        this.#next();
    }
  }

  // --- Jobs that write ----------------------------------------------------------------------------

  #work(job: WritingJob): void {
    this.#working = true;
    this.#done += 1;
    const { faults, host, later } = this.#around;
    const fault = faults.store(host, this.#done);
    if (this.#isReported(job)) this.#report(job, []);
    later(WORK_NS + (fault?.delayNs ?? 0), `${job.kind} commits`, this.#done, () =>
      this.#commit(job, fault),
    );
  }

  #commit(job: WritingJob, fault: StoreFault | undefined): void {
    const { tables, passed, broken, later } = this.#around;
    const outcome = fault?.outcome ?? "well";
    this.#note(fault);
    if (outcome === "busy" || outcome === "full") {
      if (!this.#isReported(job)) this.#refuse(job, outcome);
      this.#finish();
      return;
    }
    if (outcome === "broken") return broken();
    const outcomes: Stored[] = [];
    const number = tables.layers.transaction(() => {
      if (job.kind === "store") outcomes.push(...this.#jobs.store(job.batch));
      else if (job.kind === "settle") this.#jobs.settle(job.settlement);
      else if (job.kind === "stamp") this.#raise(job);
      else if (job.kind === "confirm") {
        tables.layers.put(tables.meta, `session since ${job.peer}`, 1);
      } else if (!this.#plants.keepsNoStamps) this.#jobs.reserve(job.spans);
    });
    passed("store job");
    if (outcome === "half broken") return broken();
    const synced = (): void => {
      // A transaction that changed nothing writes nothing, and syncs nothing.
      const isLazy = this.#plants.trustsUnsyncedLog && job.kind === "reserve";
      if (number !== 0 && !isLazy) tables.layers.sync();
      if (job.kind === "settle") this.#jobs.settled(job.settlement);
      if (!this.#isReported(job)) this.#report(job, outcomes);
      this.#finish();
    };
    if (!this.#plants.reportsBeforeSync) {
      later(number === 0 ? 0 : SYNC_NS, `${job.kind} synced`, this.#done, synced);
      return;
    }
    if (job.kind === "settle") this.#jobs.settled(job.settlement);
    this.#report(job, outcomes);
    later(LAZY_SYNC_NS, "lazy sync", 0, () => tables.layers.sync());
    this.#finish();
  }

  #note(fault: StoreFault | undefined): void {
    if (fault !== undefined && fault.outcome !== "well") {
      this.#around.tally.add(`store ${fault.outcome}`);
    }
  }

  /** Whether a plant has it reported in front of its commit. */
  #isReported({ kind }: WritingJob): boolean {
    if (kind === "store") return this.#plants.reportsBeforeCommit;
    return kind === "stamp" && this.#plants.stampsBeforeCommit;
  }

  #report(job: WritingJob, outcomes: readonly Stored[]): void {
    if (job.kind === "reserve") this.#post({ kind: "reserved", stamp: job.stamp });
    else if (job.kind === "stamp") this.#post({ ...job, kind: "stamped", failure: undefined });
    else if (job.kind === "confirm") this.#post({ ...job, kind: "confirmed", failure: undefined });
    else if (job.kind === "settle") this.#post({ kind: "settled", rows: 0 });
    else {
      const records = new InboundBatchReader(job.batch);
      for (let row = 0; records.next(); row++) records.outcome = outcomes[row] ?? 1;
      this.#post({ kind: "stored", batch: job.batch });
    }
  }

  #refuse(job: WritingJob, failure: "busy" | "full"): void {
    if (job.kind === "stamp") this.#post({ ...job, kind: "stamped", failure });
    else if (job.kind === "confirm") this.#post({ ...job, kind: "confirmed", failure });
    else this.#post({ kind: "failed", job: job.kind, code: failure });
  }

  #raise({ peer, sent, accepted }: Extract<StoreJob, { kind: "stamp" }>): void {
    const { layers, stamps } = this.#around.tables;
    const before = stamps.get(peer) ?? { sent: 0n, accepted: 0n };
    layers.put(stamps, peer, {
      sent: sent > before.sent ? sent : before.sent,
      accepted: accepted > before.accepted ? accepted : before.accepted,
    });
  }

  // --- Deliveries -----------------------------------------------------------------------------------

  #deliver(batch: DeliveryBatch): void {
    this.#working = true;
    this.#done += 1;
    const { faults, host, later } = this.#around;
    const fault = faults.store(host, this.#done);
    if (this.#plants.reportsBeforeCommit) this.#reportEarly(batch);
    const steps = this.#deliveries.deliver(batch);
    later(WORK_NS + (fault?.delayNs ?? 0), "deliver", this.#done, () => {
      this.#note(fault);
      this.#step(batch, steps, steps.next(), fault?.outcome ?? "well");
    });
  }

  #step(
    batch: DeliveryBatch,
    steps: ReturnType<SessionDeliveries["deliver"]>,
    step: IteratorResult<Step, "busy" | "full" | undefined>,
    outcome: StoreFault["outcome"],
  ): void {
    const { tables, passed, broken, later } = this.#around;
    if (step.done === true) {
      const failure = step.value;
      if (!this.#plants.reportsBeforeCommit) this.#post({ kind: "delivered", batch, failure });
      this.#finish();
      return;
    }
    if (outcome === "busy" || outcome === "full") {
      this.#step(batch, steps, steps.throw(new StoreHalted(outcome)), "well");
      return;
    }
    if (outcome === "broken") return broken();
    const { value } = step;
    const number = value.kind === "transaction" ? tables.layers.transaction(value.work) : 0;
    passed("store job");
    if (outcome === "half broken") return broken();
    const isFiles = value.kind === "files";
    const synced = (): void => {
      if (isFiles) tables.spool.sync();
      else if (number !== 0) tables.layers.sync();
    };
    const goOn = (): void => this.#step(batch, steps, steps.next(), outcome);
    if (this.#plants.reportsBeforeSync) {
      later(LAZY_SYNC_NS, "lazy sync", 0, synced);
      goOn();
      return;
    }
    later(number === 0 && !isFiles ? 0 : SYNC_NS, "delivery synced", this.#done, () => {
      synced();
      goOn();
    });
  }

  /** Says of everything that it is stored, before it is. */
  #reportEarly(batch: DeliveryBatch): void {
    const copy = { ...batch, bytes: batch.bytes.slice(0) };
    const record = new DeliveryBatchReader(copy);
    this.#deliveries.hash(record);
    record.rewind();
    while (record.next()) {
      const spools = record.kind === DELIVERY_KIND.piece && !record.last;
      record.outcome = spools ? DELIVERED.spooled : DELIVERED.inserted;
    }
    this.#post({ kind: "delivered", batch: copy, failure: undefined });
  }

  #finish(): void {
    this.#working = false;
    this.#poll();
    this.#next();
  }

  #post(result: StoreResult): void {
    const { later, deliver } = this.#around;
    this.#posted.push(result);
    later(POST_NS, result.kind, 0, () => deliver(this.#posted.shift() as StoreResult));
  }

  // --- Rows for the order that waits --------------------------------------------------------------

  #poll(): void {
    if (!this.#jobs.waiting || this.#working) return;
    const { tables, later } = this.#around;
    let leased: Extract<StoreResult, { kind: "leased" }> | undefined;
    const number = tables.layers.transaction(() => {
      leased = this.#jobs.poll();
    });
    const answer = leased;
    // Ids are on the disk before rows that have them go out.
    if (number === 0) {
      if (answer !== undefined) this.#post(answer);
      return;
    }
    this.#working = true;
    later(SYNC_NS, "lease synced", 0, () => {
      tables.layers.sync();
      if (answer !== undefined) this.#post(answer);
      this.#finish();
    });
  }

  #tendLater(): void {
    const { later, faults, tables } = this.#around;
    later(faults.frozen ? TEND_CALM_NS : TEND_NS, "tend", 0, () => {
      if (!this.#working) {
        const number = tables.layers.transaction(() => {
          this.#jobs.tend();
          this.#deliveries.tend();
        });
        if (number !== 0) tables.layers.sync();
        this.#poll();
      }
      this.#tendLater();
    });
  }
}
