// Forgets tombstones: of classic after eight days, a day more than a message lives; of sessions eight
// days after another boot of the sender took over (until then time frees none: their numbers must be
// settled, see settled-tombstones.ts); of a peer with more than a million, the oldest. Small steps, when
// nothing else is to do. What cannot be as old as its date says begins a life anew, see
// tombstone-ages.ts.

import { writeTransaction } from "../shared/store/busy.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import { timeText } from "../shared/store/text-time.js";
import { type AgedSpan, TombstoneAges, UNSEEN_MS } from "./tombstone-ages.js";

/** Tombstones of one peer at most; beyond, the oldest go first. Source: store.md. */
export const TOMBSTONES_MAX = 1_000_000;
const STEP_ROWS = 256;
/** In `meta`: see TombstoneAges. */
const VISITED = "tombstones_visited";

type Aged = readonly [messageId: string, digest: Buffer, deletedAt: string, boot: Buffer | null];
/** In front of every tombstone. */
const FIRST: Aged = ["", Buffer.alloc(0), "", null];

export class Retention {
  readonly #db: Connection;
  readonly #now: () => number;
  readonly #monotonic: () => number;
  readonly #keep: Statement;
  readonly #report: (sentence: string) => void;
  readonly #tombstonesMax: number;
  readonly #peerAfter: Statement;
  readonly #aged: Statement;
  readonly #removeAged: Statement;
  readonly #renew: Statement;
  readonly #future: Statement;
  readonly #renewFuture: Statement;
  readonly #bootOf: Statement;
  readonly #countOf: Statement;
  readonly #count: Statement;
  readonly #setCount: Statement;
  readonly #remove: Statement;
  #peer: string | undefined;
  /** The last of its old tombstones that this visit has looked at. */
  #after: Aged = FIRST;
  /** The peer whose tombstones were counted in this visit. */
  #counted: string | undefined;
  readonly #ages: TombstoneAges;
  /** Of the visit that is under way. */
  #span: AgedSpan | undefined;
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
    const kept = db.prepare("SELECT value FROM meta WHERE key = ?").pluck().get(VISITED);
    this.#ages = new TombstoneAges(typeof kept === "number" ? kept : undefined, this.#monotonic());
    this.#keep = db.prepare(
      `INSERT INTO meta(key, value) VALUES ('${VISITED}', ?)
       ON CONFLICT(key) DO UPDATE SET value = excluded.value`,
    );
    this.#report = options.report;
    this.#tombstonesMax = options.tombstonesMax ?? TOMBSTONES_MAX;
    this.#peerAfter = db
      .prepare("SELECT peer FROM tombstones WHERE peer > ? ORDER BY peer LIMIT 1")
      .pluck();
    this.#aged = db
      .prepare(
        `SELECT message_id, digest, deleted_at, boot FROM tombstones INDEXED BY tombstones_age
         WHERE peer = ? AND deleted_at < ? AND (deleted_at, message_id, digest) > (?, ?, ?)
         ORDER BY deleted_at, message_id, digest LIMIT ${STEP_ROWS}`,
      )
      .raw();
    this.#removeAged = db.prepare(
      `DELETE FROM tombstones
       WHERE peer = ? AND message_id = ? AND digest = ? AND deleted_at = ?`,
    );
    this.#renew = db.prepare(
      `UPDATE OR FAIL tombstones SET deleted_at = ?
       WHERE peer = ? AND message_id = ? AND digest = ? AND deleted_at = ?`,
    );
    this.#future = db
      .prepare("SELECT 1 FROM tombstones WHERE peer = ? AND deleted_at > ? LIMIT 1")
      .pluck();
    this.#renewFuture = db.prepare(
      `UPDATE OR FAIL tombstones SET deleted_at = ? WHERE (peer, message_id, digest) IN (
         SELECT peer, message_id, digest FROM tombstones INDEXED BY tombstones_age
         WHERE peer = ? AND deleted_at > ? LIMIT ${STEP_ROWS})`,
    );
    this.#bootOf = db.prepare("SELECT boot FROM peers WHERE public_key = ?").pluck();
    this.#countOf = db.prepare("SELECT tombstones FROM inbound_usage WHERE peer = ?").pluck();
    this.#count = db.prepare("SELECT count(*) FROM tombstones WHERE peer = ?").pluck();
    this.#setCount = db.prepare("UPDATE inbound_usage SET tombstones = ? WHERE peer = ?");
    this.#remove = db.prepare(
      `DELETE FROM tombstones WHERE (peer, message_id, digest) IN (
         SELECT peer, message_id, digest FROM tombstones INDEXED BY tombstones_age
         WHERE peer = ? ORDER BY deleted_at LIMIT ?)`,
    );
  }

  /** One small step; true when there is more to do at once. */
  step(deadlineMs: number): boolean {
    this.#span ??= this.#ages.begin(this.#now(), this.#monotonic());
    const span = this.#span;
    this.#peer ??= this.#first();
    const peer = this.#peer;
    if (peer === undefined) return this.#end(span, deadlineMs);
    if (this.#forgetAged(peer, span, deadlineMs)) return true;
    if (this.#datesFuture(peer, deadlineMs)) return true;
    const excess = this.#excess(peer);
    if (excess > 0) {
      const rows = Math.min(excess, STEP_ROWS);
      const removed = this.#forget(peer, rows, deadlineMs);
      if (this.evicted === 0) {
        this.#report(
          `${peer === "" ? "the shared secret" : peer} has more than ${this.#tombstonesMax} ` +
            "deleted messages that may come again: the oldest are forgotten, and a late copy of " +
            "one would be stored again",
        );
      }
      this.evicted += removed;
      return true;
    }
    this.#counted = undefined;
    this.#after = FIRST;
    this.#peer = this.#peerAfter.get(peer) as string | undefined;
    return this.#peer !== undefined || this.#end(span, deadlineMs);
  }

  #end(span: AgedSpan, deadlineMs: number): false {
    this.#span = undefined;
    const keep = this.#ages.end(span, this.#monotonic());
    if (keep !== undefined) {
      writeTransaction(this.#db, () => this.#keep.run(keep), { deadlineMs });
    }
    return false;
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

  /** Looks at the next old ones, and frees those that time may free; false: there is none left. */
  #forgetAged(peer: string, span: AgedSpan, deadlineMs: number): boolean {
    const [messageId, digest, deletedAt] = this.#after;
    const before = timeText(span.before);
    const found = this.#aged.all(peer, before, deletedAt, messageId, digest) as Aged[];
    const last = found.at(-1);
    if (last === undefined) return false;
    const boot = this.#bootOf.get(Buffer.from(peer, "base64")) as Buffer | null | undefined;
    const isOver = ([, , , of]: Aged): boolean =>
      of === null || (boot instanceof Uint8Array && !boot.equals(of));
    const over = found.filter(isOver);
    if (over.length > 0) {
      this.#removeAll(peer, () => this.#freeOrRenew(peer, over, span), deadlineMs);
    }
    this.#after = last;
    return true;
  }

  /** What was deleted while the clock was ahead would be kept until it gets there again. */
  #datesFuture(peer: string, deadlineMs: number): boolean {
    const now = this.#now();
    const future = timeText(now + UNSEEN_MS);
    if (this.#future.get(peer, future) === undefined) return false;
    const renew = (): number => this.#renewFuture.run(timeText(now), peer, future).changes;
    return writeTransaction(this.#db, renew, { deadlineMs }) > 0;
  }

  /** Inside a transaction; returns how many are gone. */
  #freeOrRenew(peer: string, rows: readonly Aged[], span: AgedSpan): number {
    const from = timeText(span.from);
    const to = timeText(span.to);
    const now = timeText(this.#now());
    let removed = 0;
    for (const [id, digest, at] of rows) {
      if (at >= from && at < to) removed += this.#removeAged.run(peer, id, digest, at).changes;
      else this.#renew.run(now, peer, id, digest, at);
    }
    return removed;
  }

  #forget(peer: string, rows: number, deadlineMs: number): number {
    return this.#removeAll(peer, () => this.#remove.run(peer, rows).changes, deadlineMs);
  }

  #removeAll(peer: string, remove: () => number, deadlineMs: number): number {
    return writeTransaction(
      this.#db,
      () => {
        const removed = remove();
        const stated = (this.#countOf.get(peer) as number | undefined) ?? 0;
        this.#setCount.run(Math.max(0, stated - removed), peer);
        return removed;
      },
      { deadlineMs },
    );
  }
}
