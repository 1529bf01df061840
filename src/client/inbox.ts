// Messages that came in, one after another to one consumer, while others take other ones. A message is
// leased, handed out, and marked when it is done; what was not marked comes again. The mark is committed
// before the lease ends, so nobody gets a message between the two.

import { randomBytes } from "node:crypto";
import { DaemonError } from "../shared/base/errors.js";
import type { Connection } from "../shared/store/driver.js";
import { type LeaseFile, leaseError } from "../shared/store/lease-file.js";
import { storeError } from "../shared/store/sqlite-error.js";
import { InboxRows } from "./inbox-rows.js";
import { HandedMessage } from "./incoming.js";
import { Leases, monotonicMs, type Taken } from "./leases.js";
import type { InboxOptions, IncomingMessage } from "./messages.js";
import { wrong } from "./outgoing.js";
import { writePatiently } from "./patience.js";
import type { CommitWatch } from "./watch.js";

const BATCH_MESSAGES = 256;
const BATCH_MESSAGES_MAX = 4_096;
const LEASE_MS = 30_000;
const LEASE_MS_MIN = 100;
const REST_MS = 1_000;
/** Longest lease and rest. */
const HOUR_MS = 3_600_000;
/** Leases are renewed so many times before they would lapse. */
const RENEWALS = 3;
/** Marks wait for company so long, ms, or until they are that many. */
const MARK_DELAY_MS = 20;
const MARKS_MAX = 512;
/** Marks of one transaction: it holds the daemon's write lock. */
const MARK_ROWS_MAX = 1_000;

export interface InboxParts {
  readonly path: string;
  readonly db: Connection;
  readonly leases: LeaseFile;
  /** On both files, for all inboxes of a mailbox: what one gives back another may take. */
  readonly watch: CommitWatch;
  readonly busyDeadlineMs: number;
  /** Called once the inbox is closed and uses the connections no more. */
  readonly onClosed: (inbox: Inbox) => void;
}

export class Inbox implements AsyncIterableIterator<IncomingMessage> {
  readonly #parts: InboxParts;
  readonly #rows: InboxRows;
  readonly #leases: Leases;
  readonly #watch: CommitWatch;
  readonly #batch: number;
  readonly #leaseMs: number;
  readonly #autoDone: boolean;
  readonly #signal: AbortSignal | undefined;
  /** Ends every wait: closed, or the caller's signal. */
  readonly #stop = new AbortController();
  readonly #halt = (): void => {
    this.#stop.abort();
    this.#settled?.();
  };
  #isClosed = false;
  /** Leased and not yet handed out, in order. */
  #queue: number[] = [];
  /** Handed out. */
  readonly #out = new Set<number>();
  /** To be marked; to be given back after a rest, ms; and leases of rows that are gone. */
  #done: number[] = [];
  readonly #rests = new Map<number, number>();
  #gone: number[] = [];
  /** When all leases may have lapsed unless they are renewed, monotonic ms. */
  #heldUntil = 0;
  #renewal: NodeJS.Timeout | undefined;
  #marking: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();
  #turns: Promise<unknown> = Promise.resolve();
  #taking: Promise<unknown> = Promise.resolve();
  #ended: Promise<void> | undefined;
  /** What went wrong while nobody waited. */
  #fault: unknown;
  #settled: (() => void) | undefined;
  /** The latest search found as many as were wanted. */
  #thereIsMore = true;
  #previous: number | undefined;

  /** Throws ERR_USAGE for options out of range. `parts` stay the caller's. */
  constructor(parts: InboxParts, options: InboxOptions) {
    const { batch = BATCH_MESSAGES, leaseMs = LEASE_MS } = options;
    requireRange("batch", batch, 1, BATCH_MESSAGES_MAX);
    requireRange("leaseMs", leaseMs, LEASE_MS_MIN, HOUR_MS);
    this.#parts = parts;
    this.#batch = Math.floor(batch);
    this.#leaseMs = leaseMs;
    this.#autoDone = options.autoDone ?? false;
    this.#rows = new InboxRows(parts.db, { stream: options.stream, peer: options.peer });
    this.#leases = new Leases(parts.leases.db, {
      name: randomBytes(16).toString("hex"),
      consumer: options.consumer ?? String(process.pid),
      spanMs: leaseMs,
    });
    this.#watch = parts.watch;
    this.#signal = options.signal;
    this.#signal?.addEventListener("abort", this.#halt, { once: true });
    if (this.#signal?.aborted) this.#halt();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /**
   * The next message; waits for one. Ends when the inbox or its mailbox is closed. Rejects with the
   * signal's reason, or with a DaemonError; the inbox is closed then.
   */
  next(): Promise<IteratorResult<IncomingMessage, undefined>> {
    const result = this.#turns.then(() => this.#nextInTurn());
    this.#turns = result.catch(() => undefined);
    return result;
  }

  /** Closes the inbox: a loop that is left calls it. */
  async return(): Promise<IteratorResult<IncomingMessage, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  /** Resolves when every mark that was made before is on the disk. */
  async flush(): Promise<void> {
    clearTimeout(this.#marking);
    this.#marking = undefined;
    this.#flushing = this.#flushing.catch(() => undefined).then(() => this.#flushAll());
    await this.#flushing;
  }

  /** Commits the marks that were made, gives back the rest, and ends a loop that waits. */
  close(): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #nextInTurn(): Promise<IteratorResult<IncomingMessage, undefined>> {
    try {
      if (this.#previous !== undefined && !this.#isClosed) this.#desk.done(this.#previous);
      this.#previous = undefined;
      const message = await this.#nextMessage();
      if (message === undefined) return { done: true, value: undefined };
      if (this.#autoDone) this.#previous = message.rowId;
      return { done: false, value: message };
    } catch (thrown) {
      // A loop does not call `return` when `next` failed.
      await this.close().catch(() => undefined);
      throw thrown;
    }
  }

  async #nextMessage(): Promise<IncomingMessage | undefined> {
    for (;;) {
      this.#signal?.throwIfAborted();
      if (this.#isClosed) return undefined;
      if (this.#fault !== undefined) throw this.#fault;
      const message = this.#handOut();
      if (message !== undefined) return message;
      if (this.#out.size >= this.#batch) {
        await this.#anySettled();
        continue;
      }
      // Older than the search: what is committed between them ends the wait at once.
      const seen = this.#watch.version();
      const taking = this.#take();
      this.#taking = taking.catch(() => undefined);
      const lapsesInMs = await taking;
      if (lapsesInMs !== undefined && !this.#stop.signal.aborted) {
        await this.#watch.changedSince(seen, this.#stop.signal, lapsesInMs);
      }
    }
  }

  /** The next message that is leased, and still there and unread. */
  #handOut(): IncomingMessage | undefined {
    if (monotonicMs() >= this.#heldUntil) this.#queue = [];
    for (let id = this.#queue.shift(); id !== undefined; id = this.#queue.shift()) {
      const row = guard(this.#parts.path, () => this.#rows.load(id));
      if (row !== undefined) {
        this.#out.add(id);
        return new HandedMessage(id, row, this.#desk);
      }
      this.#gone.push(id);
      this.#markSoon();
    }
    return undefined;
  }

  /** Leases what is there; where nothing is, returns the ms until a lease of somebody else lapses. */
  async #take(): Promise<number | undefined> {
    const { path, leases } = this.#parts;
    // What was given back holds up its stream only once all can see that. What is done and not marked is
    // found again by each search, and a loop that never waits leaves a mark that waits for the lock no turn.
    if (this.#rests.size > 0 || this.#done.length >= MARKS_MAX) await this.flush();
    const rowsMax = this.#batch - this.#out.size;
    const ours = new Set([...this.#out, ...this.#done, ...this.#gone, ...this.#rests.keys()]);
    const choose = (taken: Taken, rows = rowsMax) =>
      guard(path, () => this.#rows.choose(taken, ours, rows));
    if (!this.#thereIsMore) {
      // Most looks find nothing, and must not disturb others by a commit.
      const taken = guard(leases.path, () => this.#leases.taken(), leaseError);
      if (choose(taken, 1).length === 0) return taken.lapsesInMs;
    }
    const startedAt = monotonicMs();
    const rows = await guardLater(leases.path, this.#leases.take(choose));
    this.#thereIsMore = rows.length === rowsMax;
    if (rows.length === 0) return undefined;
    if (this.#renewal === undefined) {
      this.#heldUntil = startedAt + this.#leaseMs;
      this.#renewal = setInterval(() => this.#renew(), this.#leaseMs / RENEWALS);
    }
    this.#queue = rows.map(({ id }) => id);
    return undefined;
  }

  #renew(): void {
    const startedAt = monotonicMs();
    this.#leases.renew().then(
      (held) => {
        this.#heldUntil = startedAt + this.#leaseMs;
        this.#queue = this.#queue.filter((id) => held.has(id));
        if (this.#queue.length > 0 || this.#out.size > 0) return;
        clearInterval(this.#renewal);
        this.#renewal = undefined;
      },
      (thrown: unknown) => this.#fail(leaseError(this.#parts.leases.path, thrown)),
    );
  }

  readonly #desk = {
    done: (rowId: number): void => {
      if (!this.#isOut(rowId)) return;
      this.#done.push(rowId);
      this.#markSoon();
    },
    release: (rowId: number, afterMs: number = REST_MS): void => {
      requireRange("afterMs", afterMs, 0, HOUR_MS);
      if (!this.#isOut(rowId)) return;
      this.#rests.set(rowId, afterMs);
      this.#markSoon();
    },
  };

  /** Takes a message back that was handed out; false when that was done already. */
  #isOut(rowId: number): boolean {
    if (this.#isClosed && this.#out.has(rowId)) throw closedInbox();
    const wasOut = this.#out.delete(rowId);
    if (this.#previous === rowId) this.#previous = undefined;
    this.#settled?.();
    return wasOut;
  }

  #markSoon(): void {
    if (this.#done.length >= MARKS_MAX) this.#flushAside();
    else this.#marking ??= setTimeout(() => this.#flushAside(), MARK_DELAY_MS);
  }

  #flushAside(): void {
    this.flush().catch((thrown: unknown) => this.#fail(thrown));
  }

  #fail(thrown: unknown): void {
    this.#fault ??= thrown;
    this.#settled?.();
  }

  async #flushAll(): Promise<void> {
    const { path, db, busyDeadlineMs } = this.#parts;
    while (this.#done.length > 0) {
      const ids = this.#done.slice(0, MARK_ROWS_MAX);
      const mark = (): void => this.#rows.mark(ids, Date.now());
      await guardLater(path, writePatiently(db, mark, busyDeadlineMs), storeError);
      this.#done = this.#done.slice(ids.length);
      this.#gone.push(...ids);
    }
    const leasesPath = this.#parts.leases.path;
    const [gone, rests] = [[...this.#gone], new Map(this.#rests)];
    if (gone.length > 0) {
      await guardLater(leasesPath, this.#leases.release(gone));
      this.#gone = this.#gone.slice(gone.length);
    }
    if (rests.size > 0) {
      await guardLater(leasesPath, this.#leases.rest(rests));
      for (const id of rests.keys()) this.#rests.delete(id);
    }
    if (gone.length > 0 || rests.size > 0) this.#watch.stir();
  }

  /** Resolves when a message is done or given back, or something ends the wait. */
  async #anySettled(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#settled = resolve;
    });
    this.#settled = undefined;
  }

  async #end(): Promise<void> {
    this.#isClosed = true;
    this.#halt();
    this.#signal?.removeEventListener("abort", this.#halt);
    await this.#taking;
    clearInterval(this.#renewal);
    try {
      await this.flush();
    } finally {
      const back = [...this.#queue, ...this.#out];
      this.#queue = [];
      try {
        if (back.length > 0) await guardLater(this.#parts.leases.path, this.#leases.release(back));
      } finally {
        this.#watch.stir();
        this.#parts.onClosed(this);
      }
    }
  }
}

type AsError = (path: string, thrown: unknown) => DaemonError;

function guard<T>(path: string, work: () => T, asError: AsError = storeError): T {
  try {
    return work();
  } catch (thrown) {
    throw asError(path, thrown);
  }
}

async function guardLater<T>(path: string, work: Promise<T>, asError: AsError = leaseError) {
  try {
    return await work;
  } catch (thrown) {
    throw asError(path, thrown);
  }
}

function requireRange(name: string, value: number, min: number, max: number): void {
  if (value >= min && value <= max) return;
  throw wrong(`${name} is ${value}`, `give a number from ${min} to ${max}`);
}

const closedInbox = (): DaemonError =>
  new DaemonError(
    "ERR_CANCELLED",
    "the inbox was closed before the message was done",
    "it comes again; call done before the inbox is closed",
  );
