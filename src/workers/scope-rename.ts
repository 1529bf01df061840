// Moves everything that was received under one scope to another: a peer that was known by its name got
// a public key, or changed it, and its ids must stay known. Small transactions, each whole in itself,
// so that a crash or a lock in between costs nothing: what is left is found again by its usage row.

import { writeTransaction } from "../shared/store/busy.js";
import type { Connection, Statement } from "../shared/store/driver.js";

/** Rows of one transaction. Each is written anew, with its payload. */
const STEP_ROWS = 256;

type MovedRow = [id: number, messageId: string, bytes: number];
type MovedTombstone = [messageId: string, digest: Buffer, number: number | null];

export class ScopeRename {
  readonly #db: Connection;
  readonly #used: Statement;
  readonly #rows: Statement;
  readonly #moveRow: Statement;
  readonly #tombstones: Statement;
  readonly #copyTombstone: Statement;
  readonly #removeTombstone: Statement;
  readonly #moveGaps: Statement;
  readonly #addUsage: Statement;
  readonly #takeUsage: Statement;
  readonly #forget: Statement;

  constructor(db: Connection) {
    this.#db = db;
    this.#used = db.prepare("SELECT 1 FROM inbound_usage WHERE peer = ?").pluck();
    this.#rows = db
      .prepare(
        `SELECT id, message_id, octet_length(payload) FROM inbound_messages
         WHERE peer = ? AND peer <> '' AND message_id > ? ORDER BY message_id LIMIT ${STEP_ROWS}`,
      )
      .raw();
    this.#moveRow = db.prepare("UPDATE OR IGNORE inbound_messages SET peer = ? WHERE id = ?");
    this.#tombstones = db
      .prepare(
        `SELECT message_id, digest, number FROM tombstones WHERE peer = ? LIMIT ${STEP_ROWS}`,
      )
      .raw();
    this.#copyTombstone = db.prepare(
      `INSERT OR IGNORE INTO tombstones(peer, message_id, digest, boot, number, deleted_at)
       SELECT ?, message_id, digest, boot, number, deleted_at FROM tombstones
       WHERE peer = ? AND message_id = ? AND digest = ?`,
    );
    this.#removeTombstone = db.prepare(
      "DELETE FROM tombstones WHERE peer = ? AND message_id = ? AND digest = ?",
    );
    this.#moveGaps = db.prepare("UPDATE OR REPLACE stream_gaps SET peer = ? WHERE peer = ?");
    this.#addUsage = db.prepare(
      `INSERT INTO inbound_usage(peer, rows, bytes, tombstones) VALUES (?, ?, ?, ?)
       ON CONFLICT(peer) DO UPDATE SET rows = rows + excluded.rows,
         bytes = bytes + excluded.bytes, tombstones = tombstones + excluded.tombstones`,
    );
    this.#takeUsage = db.prepare(
      `UPDATE inbound_usage SET rows = max(0, rows - ?), bytes = max(0, bytes - ?),
         tombstones = max(0, tombstones - ?) WHERE peer = ?`,
    );
    this.#forget = db.prepare(
      `DELETE FROM inbound_usage WHERE peer = ?
         AND NOT EXISTS (SELECT 1 FROM inbound_messages WHERE peer = ? AND peer <> '')
         AND NOT EXISTS (SELECT 1 FROM tombstones WHERE peer = ?)`,
    );
  }

  /** Whether there is anything to move. */
  due(from: string): boolean {
    return this.#used.get(from) !== undefined;
  }

  /**
   * Moves all of it; throws when the lock is not to be had, and then goes on from there at the next
   * call. An id that both scopes have stays where it is: `to` knows it.
   */
  run(from: string, to: string, deadlineMs: number): void {
    const step = <T>(work: () => T): T => writeTransaction(this.#db, work, { deadlineMs });
    for (let last = ""; ; ) {
      const rows = this.#rows.all(from, last) as MovedRow[];
      const behind = rows[rows.length - 1];
      if (behind === undefined) break;
      last = behind[1];
      step(() => this.#move(from, to, rows));
    }
    while (step(() => this.#moveTombstones(from, to)) > 0);
    step(() => {
      this.#moveGaps.run(to, from);
      this.#forget.run(from, from, from);
    });
  }

  #move(from: string, to: string, rows: readonly MovedRow[]): void {
    let moved = 0;
    let bytes = 0;
    for (const [id, , length] of rows) {
      if (this.#moveRow.run(to, id).changes === 0) continue;
      moved += 1;
      bytes += length;
    }
    this.#count(from, to, moved, bytes, 0);
  }

  #moveTombstones(from: string, to: string): number {
    const found = this.#tombstones.all(from) as MovedTombstone[];
    for (const [messageId, digest] of found) {
      this.#copyTombstone.run(to, from, messageId, digest);
      this.#removeTombstone.run(from, messageId, digest);
    }
    this.#count(from, to, 0, 0, found.length);
    return found.length;
  }

  #count(from: string, to: string, rows: number, bytes: number, tombstones: number): void {
    this.#addUsage.run(to, rows, bytes, tombstones);
    this.#takeUsage.run(rows, bytes, tombstones, from);
  }
}
