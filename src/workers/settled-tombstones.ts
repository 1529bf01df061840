// Removes tombstones whose number the sender has settled: no copy of those messages is under way any
// more. Rows are deleted at any time, so what is settled is remembered, and looked for again when
// nothing else is to do.

import { writeTransaction } from "../shared/store/busy.js";
import type { Connection, Statement } from "../shared/store/driver.js";

/** Tombstones removed in one statement. */
const STEP_ROWS = 1_024;
/** Statements of one record; what is left goes later. */
const STEPS_PER_RECORD = 8;
/** Peers that one visit looks at. */
const PEERS_PER_VISIT = 32;

interface Settled {
  readonly boot: Buffer;
  readonly below: number;
}

export class SettledTombstones {
  readonly #db: Connection;
  readonly #remove: Statement;
  readonly #count: Statement;
  readonly #any: Statement;
  readonly #of = new Map<string, Settled>();
  #visit: IterableIterator<[string, Settled]> | undefined;

  constructor(db: Connection) {
    this.#db = db;
    this.#remove = db.prepare(
      `DELETE FROM tombstones WHERE (peer, message_id, digest) IN (
         SELECT peer, message_id, digest FROM tombstones INDEXED BY tombstones_number
         WHERE peer = ? AND boot = ? AND number < ? LIMIT ${STEP_ROWS})`,
    );
    this.#any = db
      .prepare(
        `SELECT 1 FROM tombstones INDEXED BY tombstones_number
         WHERE peer = ? AND boot = ? AND number < ? LIMIT 1`,
      )
      .pluck();
    this.#count = db.prepare(
      "UPDATE inbound_usage SET tombstones = max(0, tombstones - ?) WHERE peer = ?",
    );
  }

  /** Inside a transaction: removes what numbers of `boot` below `below` left behind. */
  remove(scope: string, boot: Buffer, below: number): void {
    for (let steps = 0; steps < STEPS_PER_RECORD; steps++) {
      if (this.#step(scope, boot, below) < STEP_ROWS) return;
    }
  }

  /** Once that transaction is committed. */
  remember(scope: string, boot: Buffer, below: number): void {
    const before = this.#of.get(scope);
    if (before?.boot.equals(boot) === true && before.below >= below) return;
    this.#of.set(scope, { boot: Buffer.from(boot), below });
  }

  /** A visit to some peers; true when there is more to do at once. */
  tend(deadlineMs: number): boolean {
    this.#visit ??= this.#of.entries();
    for (let peers = 0; peers < PEERS_PER_VISIT; peers++) {
      const { value, done } = this.#visit.next();
      if (done === true) {
        this.#visit = undefined;
        return false;
      }
      const [scope, { boot, below }] = value;
      if (this.#any.get(scope, boot, below) === undefined) continue;
      writeTransaction(this.#db, () => this.#step(scope, boot, below), { deadlineMs });
      return true;
    }
    return false;
  }

  #step(scope: string, boot: Buffer, below: number): number {
    const removed = this.#remove.run(scope, boot, below).changes;
    if (removed > 0) this.#count.run(removed, scope);
    return removed;
  }
}
