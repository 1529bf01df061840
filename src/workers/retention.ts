// Forgets tombstones: after eight days, a day more than a classic message lives, or when a peer has
// more than a million. Small steps, when nothing else is to do.

import { writeTransaction } from "../shared/store/busy.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import { timeText } from "../shared/store/text-time.js";

/** Age at which no copy can arrive any more, ms. Source: store.md. */
export const TOMBSTONE_LIFE_MS = 8 * 86_400_000;
/** Tombstones of one peer at most; beyond, the oldest go first. Source: store.md. */
export const TOMBSTONES_MAX = 1_000_000;
const STEP_ROWS = 256;

export class Retention {
  readonly #db: Connection;
  readonly #now: () => number;
  readonly #report: (sentence: string) => void;
  readonly #tombstonesMax: number;
  readonly #peerAfter: Statement;
  readonly #old: Statement;
  readonly #countOf: Statement;
  readonly #count: Statement;
  readonly #setCount: Statement;
  readonly #remove: Statement;
  #peer: string | undefined;
  /** The peer whose tombstones were counted in this visit. */
  #counted: string | undefined;
  /** Tombstones given up before their time, since the start. */
  evicted = 0;

  constructor(
    db: Connection,
    options: {
      /** Wall ms since the epoch. */
      readonly now: () => number;
      readonly report: (sentence: string) => void;
      readonly tombstonesMax?: number;
    },
  ) {
    this.#db = db;
    this.#now = options.now;
    this.#report = options.report;
    this.#tombstonesMax = options.tombstonesMax ?? TOMBSTONES_MAX;
    this.#peerAfter = db
      .prepare("SELECT peer FROM tombstones WHERE peer > ? ORDER BY peer LIMIT 1")
      .pluck();
    this.#old = db
      .prepare("SELECT 1 FROM tombstones WHERE peer = ? AND deleted_at < ? LIMIT 1")
      .pluck();
    this.#countOf = db.prepare("SELECT tombstones FROM inbound_usage WHERE peer = ?").pluck();
    this.#count = db.prepare("SELECT count(*) FROM tombstones WHERE peer = ?").pluck();
    this.#setCount = db.prepare("UPDATE inbound_usage SET tombstones = ? WHERE peer = ?");
    this.#remove = db.prepare(
      `DELETE FROM tombstones WHERE (peer, message_id, digest) IN (
         SELECT peer, message_id, digest FROM tombstones INDEXED BY tombstones_age
         WHERE peer = ? AND deleted_at < ? ORDER BY deleted_at LIMIT ?)`,
    );
  }

  /** One small step; true when there is more to do at once. */
  step(deadlineMs: number): boolean {
    this.#peer ??= this.#first();
    const peer = this.#peer;
    if (peer === undefined) return false;
    const before = timeText(this.#now() - TOMBSTONE_LIFE_MS);
    if (this.#old.get(peer, before) !== undefined) {
      this.#forget(peer, before, STEP_ROWS, deadlineMs);
      return true;
    }
    const excess = this.#excess(peer);
    if (excess > 0) {
      const rows = Math.min(excess, STEP_ROWS);
      const removed = this.#forget(peer, "~", rows, deadlineMs);
      if (this.evicted === 0) {
        this.#report(
          `${peer === "" ? "the shared secret" : peer} has more than ${this.#tombstonesMax} ` +
            "deleted messages within eight days: the oldest are forgotten, and a late copy of " +
            "one would be stored again",
        );
      }
      this.evicted += removed;
      return true;
    }
    this.#counted = undefined;
    this.#peer = this.#peerAfter.get(peer) as string | undefined;
    return this.#peer !== undefined;
  }

  #first(): string | undefined {
    return this.#countOf.get("") !== undefined
      ? ""
      : (this.#peerAfter.get("") as string | undefined);
  }

  /** The stored count may be too high, never too low: deleted twice counts twice. */
  #excess(peer: string): number {
    const stated = (this.#countOf.get(peer) as number | undefined) ?? 0;
    if (stated <= this.#tombstonesMax) return 0;
    if (this.#counted === peer) return stated - this.#tombstonesMax;
    this.#counted = peer;
    const counted = this.#count.get(peer) as number;
    if (counted !== stated) {
      writeTransaction(this.#db, () => this.#setCount.run(counted, peer), { deadlineMs: 50 });
    }
    return counted - this.#tombstonesMax;
  }

  #forget(peer: string, before: string, rows: number, deadlineMs: number): number {
    return writeTransaction(
      this.#db,
      () => {
        const removed = this.#remove.run(peer, before, rows).changes;
        const stated = (this.#countOf.get(peer) as number | undefined) ?? 0;
        this.#setCount.run(Math.max(0, stated - removed), peer);
        return removed;
      },
      { deadlineMs },
    );
  }
}
