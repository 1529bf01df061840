// Waits for what becomes of messages. All that wait share one watch on commits; after each the rows are
// looked at in turn, a few hundred at a time, so that a hundred thousand waits do not hold the thread.

import { DaemonError } from "../shared/base/errors.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import { storeError } from "../shared/store/sqlite-error.js";
import { parseTime } from "../shared/store/text-time.js";
import { requiredId } from "./drafts.js";
import type { Receipt } from "./messages.js";
import { pause } from "./patience.js";
import type { CommitWatch } from "./watch.js";

/** Rows looked at before the thread is given back: about half a millisecond. */
const LOOKS_MAX = 256;
/** How the daemon's reasons begin when a life ended. */
const EXPIRED = "expired, ";
const EXPIRED_UNSENT = "expired, not sent";

interface Wait {
  readonly id: string;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (reason: unknown) => void;
}

type Row = readonly [state: string, reason: unknown, acknowledgedAt: unknown, updatedAt: unknown];

export class Receipts {
  readonly #path: string;
  readonly #row: Statement;
  readonly #watch: CommitWatch;
  readonly #waits = new Set<Wait>();
  /** Ends when nobody waits any more. */
  #idle = new AbortController();
  #running: Promise<void> | undefined;

  constructor(path: string, db: Connection, watch: CommitWatch) {
    this.#path = path;
    this.#watch = watch;
    this.#row = db
      .prepare(
        `SELECT state, last_error, ack_received_at, updated_at FROM outbound_messages
         WHERE message_id = ?`,
      )
      .raw();
  }

  /** Resolves when the row is final. Rejects with ERR_MESSAGE_ID when there is no such row. */
  wait(id: string, signal: AbortSignal | undefined): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      requiredId(id);
      signal?.throwIfAborted();
      const now = this.#look(id);
      if (now !== undefined) {
        resolve(now);
        return;
      }
      const abort = (): void => wait.reject(signal?.reason);
      const over = (): void => {
        signal?.removeEventListener("abort", abort);
        this.#waits.delete(wait);
        if (this.#waits.size === 0) this.#idle.abort();
      };
      const wait: Wait = {
        id,
        resolve: (receipt) => {
          over();
          resolve(receipt);
        },
        reject: (reason) => {
          over();
          reject(reason);
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waits.add(wait);
      this.#running ??= this.#run();
    });
  }

  /** Rejects every wait with `reason`. */
  async close(reason: DaemonError): Promise<void> {
    for (const wait of [...this.#waits]) wait.reject(reason);
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#waits.size > 0) {
      try {
        await this.#round();
      } catch (thrown) {
        // The file can be read no more: nobody waits for it in vain.
        for (const wait of [...this.#waits]) wait.reject(storeError(this.#path, thrown));
      }
    }
    this.#running = undefined;
  }

  async #round(): Promise<void> {
    this.#idle = new AbortController();
    // Older than the looks: a commit between them ends the wait at once.
    const seen = this.#watch.version();
    await this.#lookAtAll();
    if (this.#waits.size > 0) await this.#watch.changedSince(seen, this.#idle.signal);
  }

  async #lookAtAll(): Promise<void> {
    let looks = 0;
    for (const wait of this.#waits) {
      try {
        const receipt = this.#look(wait.id);
        if (receipt !== undefined) wait.resolve(receipt);
      } catch (thrown) {
        wait.reject(thrown);
      }
      looks += 1;
      if (looks % LOOKS_MAX === 0) await pause();
    }
  }

  /** Undefined while it is not final. */
  #look(id: string): Receipt | undefined {
    let row: Row | undefined;
    try {
      row = this.#row.get(id) as Row | undefined;
    } catch (thrown) {
      throw storeError(this.#path, thrown);
    }
    if (row === undefined) throw unknown(id);
    const [state, lastError, acknowledgedAt, updatedAt] = row;
    if (state === "acknowledged") return { state, id, at: dateOf(acknowledgedAt ?? updatedAt) };
    if (state !== "send_failed") return undefined;
    const reason = typeof lastError === "string" ? lastError : "no reason was given";
    const at = dateOf(updatedAt);
    if (!reason.startsWith(EXPIRED)) return { state: "failed", id, at, reason };
    return { state: "expired", id, at, reason, mayHaveArrived: reason !== EXPIRED_UNSENT };
  }
}

export const dateOf = (text: unknown): Date => new Date(parseTime(text) ?? Number.NaN);

const unknown = (id: string): DaemonError =>
  new DaemonError(
    "ERR_MESSAGE_ID",
    `there is no message ${id} in the outbox`,
    "it was never queued here, or its row was deleted since",
  );
