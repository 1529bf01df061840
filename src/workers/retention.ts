// Forgets tombstones: after eight days, a day more than a classic message lives, or when a peer has
// more than a million. Small steps, when nothing else is to do. Ages are of the wall clock: when that
// steps on by much, what was deleted while it was behind looks old, so all are kept for a life more.

import { writeTransaction } from "../shared/store/busy.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import { timeText } from "../shared/store/text-time.js";

/** Age at which no copy can arrive any more, ms. Source: store.md. */
export const TOMBSTONE_LIFE_MS = 8 * 86_400_000;
/** Tombstones of one peer at most; beyond, the oldest go first. Source: store.md. */
export const TOMBSTONES_MAX = 1_000_000;
const STEP_ROWS = 256;
/** A wall clock that went on by so much more than time did was set, ms: the day that
 * {@link TOMBSTONE_LIFE_MS} has beyond the life of a message covers less. */
export const CLOCK_STEP_MS = 86_400_000 / 2;
/** In `meta`: wall ms until which no tombstone is too old. */
const KEPT_UNTIL = "tombstones_kept_until";

export class Retention {
  readonly #db: Connection;
  readonly #now: () => number;
  readonly #monotonic: () => number;
  readonly #keep: Statement;
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
  #keptUntil: number;
  /** Wall ms at monotonic zero, when last looked at. */
  #offset: number;
  /** Tombstones given up before their time, since the start. */
  evicted = 0;

  constructor(
    db: Connection,
    options: {
      /** Wall ms since the epoch. */
      readonly now: () => number;
      /** Ms that no setting of the clock moves. */
      readonly monotonic: () => number;
      readonly report: (sentence: string) => void;
      readonly tombstonesMax?: number;
    },
  ) {
    this.#db = db;
    this.#now = options.now;
    this.#monotonic = options.monotonic;
    this.#offset = this.#now() - this.#monotonic();
    const kept = db.prepare("SELECT value FROM meta WHERE key = ?").pluck().get(KEPT_UNTIL);
    this.#keptUntil = typeof kept === "number" ? kept : 0;
    this.#keep = db.prepare(
      `INSERT INTO meta(key, value) VALUES ('${KEPT_UNTIL}', ?)
       ON CONFLICT(key) DO UPDATE SET value = excluded.value`,
    );
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
    this.#watchClock(deadlineMs);
    this.#peer ??= this.#first();
    const peer = this.#peer;
    if (peer === undefined) return false;
    const before = timeText(this.#now() - TOMBSTONE_LIFE_MS);
    if (this.#now() >= this.#keptUntil && this.#old.get(peer, before) !== undefined) {
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

  /** A clock that is set right may be set wrong again: what is kept is never kept for ever. */
  #watchClock(deadlineMs: number): void {
    const now = this.#now();
    const offset = now - this.#monotonic();
    const steppedOn = offset - this.#offset > CLOCK_STEP_MS;
    if (steppedOn || this.#keptUntil > now + TOMBSTONE_LIFE_MS) {
      const until = now + TOMBSTONE_LIFE_MS;
      writeTransaction(this.#db, () => this.#keep.run(until), { deadlineMs });
      this.#keptUntil = until;
    }
    // Slewing adds up to no step.
    this.#offset = offset;
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
