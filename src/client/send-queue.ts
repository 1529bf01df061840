// Calls of `send` and `sendBatch` on their way into the table. Calls that come while the thread is busy,
// or a commit is being synced, share the next transaction; each call is in one transaction as a whole.
// In order of the calls, and a call that waits for room lets nobody overtake it.

import { setTimeout as delay, setImmediate as turn } from "node:timers/promises";
import { DaemonError } from "../shared/base/errors.js";
import { storeError } from "../shared/store/sqlite-error.js";
import type { Outbox, Row } from "./outbox.js";
import type { OutboxRoom } from "./outbox-room.js";
import { busyFor, isBusyError, pause } from "./patience.js";
import type { CommitWatch, Version } from "./watch.js";

/** What one transaction holds at most, unless a single call has more. Source: store.md, contention. */
const GROUP_ROWS_MAX = 1_024;
const GROUP_BYTES_MAX = 4 * 1_024 * 1_024;
/** The thread is blocked for this long at a time at most when another process has the write lock, ms. */
const BLOCKED_MS_MAX = 2;
/** Longest wait for a commit that makes room, before it is counted again, ms. */
const ROOM_WAIT_MS = 250;
/** Calls that are over are kept in the queue until they are that many. */
const OVER_CALLS_MAX = 1_024;

/** One call: its rows go together. */
export interface Load {
  readonly rows: readonly Row[];
  /** Those that take room in the outbox, and their payloads. */
  readonly counted: number;
  readonly bytes: number;
  readonly whenFull: "wait" | "refuse";
}

interface Call extends Load {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
  /** Has its share of the room. */
  admitted: boolean;
  /** Since when it waits for the write lock, monotonic ms; 0 as long as it does not. */
  busySince: number;
  /** Settled, or aborted. */
  isOver: boolean;
}

export class SendQueue {
  readonly #path: string;
  readonly #outbox: Outbox;
  readonly #room: OutboxRoom;
  readonly #watch: CommitWatch;
  readonly #busyDeadlineMs: number;
  readonly #calls: Call[] = [];
  /** Where in the queue the first call may be that is not over. */
  #head = 0;
  #isClosing = false;
  /** The head of the queue waits for room. */
  #isFull = false;
  /** Ends the wait for room: a call is over, or all are to be. */
  #stirred = new AbortController();
  #running: Promise<void> | undefined;

  constructor(parts: {
    readonly path: string;
    readonly outbox: Outbox;
    readonly room: OutboxRoom;
    readonly watch: CommitWatch;
    /** How long a call waits for the write lock. */
    readonly busyDeadlineMs: number;
  }) {
    this.#path = parts.path;
    this.#outbox = parts.outbox;
    this.#room = parts.room;
    this.#watch = parts.watch;
    this.#busyDeadlineMs = parts.busyDeadlineMs;
  }

  /** Resolves when the commit is synced. */
  submit(load: Load, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        call.isOver = true;
        this.#stirred.abort();
        reject(signal?.reason);
      };
      const settled = (settle: () => void): void => {
        call.isOver = true;
        signal?.removeEventListener("abort", abort);
        settle();
      };
      const call: Call = {
        ...load,
        resolve: () => settled(resolve),
        reject: (reason) => settled(() => reject(reason)),
        admitted: false,
        busySince: 0,
        isOver: false,
      };
      if (this.#isFull && load.whenFull === "refuse") {
        reject(full());
        return;
      }
      signal?.addEventListener("abort", abort, { once: true });
      this.#calls.push(call);
      this.#running ??= this.#run();
    });
  }

  /** Commits what can be committed at once, and rejects the rest with `reason`. */
  async close(reason: DaemonError): Promise<void> {
    this.#isClosing = true;
    this.#stirred.abort();
    await this.#running;
    for (const call of this.#calls.splice(0)) if (!call.isOver) call.reject(reason);
  }

  async #run(): Promise<void> {
    // Let what is called in this turn of the event loop come along.
    await turn();
    while (this.#skipOver()) {
      try {
        if (!(await this.#step())) break;
      } catch (thrown) {
        // The file can be read no more: nobody waits for it in vain.
        for (const call of this.#calls)
          if (!call.isOver) call.reject(storeError(this.#path, thrown));
      }
    }
    this.#running = undefined;
  }

  /** A transaction, or a wait for what it lacks; false when all that is left is to be rejected. */
  async #step(): Promise<boolean> {
    // Older than the counting: a commit in between ends the wait at once.
    const seen = this.#watch.version();
    const group = this.#admit();
    const went = group.length > 0 && this.#commit(group);
    if (!this.#skipOver()) return true;
    if (this.#isClosing && !went) return false;
    if (group.length === 0) await this.#roomMade(seen);
    else if (went) await turn();
    else await pause();
    return true;
  }

  /** Passes over what is over; false when nothing is left. */
  #skipOver(): boolean {
    while (this.#calls[this.#head]?.isOver === true) this.#head += 1;
    if (this.#head >= OVER_CALLS_MAX || this.#head === this.#calls.length) {
      this.#calls.splice(0, this.#head);
      this.#head = 0;
    }
    return this.#calls.length > 0;
  }

  /** The calls at the head that fit into one transaction and into the outbox. */
  #admit(): readonly Call[] {
    const group: Call[] = [];
    let [rows, bytes] = [0, 0];
    for (let at = this.#head; at < this.#calls.length; at++) {
      const call = this.#calls[at];
      if (call.isOver) continue;
      rows += call.rows.length;
      bytes += call.bytes;
      if (group.length > 0 && (rows > GROUP_ROWS_MAX || bytes > GROUP_BYTES_MAX)) break;
      const refuses = call.whenFull === "refuse";
      const counting = group.length > 0 ? "no" : refuses ? "at once" : "when it is time";
      call.admitted ||= this.#room.take(call.counted, call.bytes, counting);
      if (call.admitted) group.push(call);
      else if (group.length > 0) break;
      else if (refuses) call.reject(full());
      else {
        this.#refuseBehind(at);
        break;
      }
    }
    return group;
  }

  /** Those that do not wait need not wait for one that does. */
  #refuseBehind(at: number): void {
    for (const call of this.#calls.slice(at + 1)) {
      if (!call.isOver && !call.admitted && call.whenFull === "refuse") call.reject(full());
    }
  }

  /** True when the group is settled; false when another process holds the write lock. */
  #commit(group: readonly Call[]): boolean {
    const rows = group.length === 1 ? group[0].rows : group.flatMap((call) => call.rows);
    try {
      this.#outbox.insert(rows, BLOCKED_MS_MAX);
    } catch (thrown) {
      if (isBusyError(thrown)) return this.#wasBusy(group, thrown);
      // One id that is taken fails the transaction: each call gets one of its own.
      if (group.length > 1) {
        for (const call of group) if (!this.#commit([call])) return false;
        return true;
      }
      group[0].reject(thrown);
      return true;
    }
    for (const call of group) call.resolve();
    return true;
  }

  #wasBusy(group: readonly Call[], thrown: unknown): boolean {
    const now = performance.now();
    for (const call of group) {
      if (call.busySince === 0) call.busySince = now;
      if (now - call.busySince < this.#busyDeadlineMs) continue;
      call.reject(busyFor(this.#busyDeadlineMs, thrown));
    }
    return false;
  }

  async #roomMade(seen: Version): Promise<void> {
    this.#stirred = new AbortController();
    const { signal } = this.#stirred;
    this.#isFull = true;
    await this.#watch.changedSince(seen, signal, ROOM_WAIT_MS);
    const waitMs = this.#room.waitMs(performance.now());
    if (waitMs > 0 && !signal.aborted) await delay(waitMs, undefined, { signal }).catch(() => {});
    this.#isFull = false;
  }
}

const full = (): DaemonError =>
  new DaemonError(
    "ERR_OUTBOX_FULL",
    "the outbox is full: its messages wait to be acknowledged",
    "try again later, or see with securedgram status what holds them up",
  );
