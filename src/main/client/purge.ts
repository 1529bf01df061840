// Deletes old rows in pieces, so that the daemon gets the write lock between them. Which ids were
// seen survives in tombstones: a trigger of the schema writes them, whoever deletes. The log stays short
// also where no daemon runs that would see to it.

import { statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Direction } from "../../client/message-pages.js";
import { whenFree, writeTransaction } from "../../shared/store/busy.js";
import type { Connection } from "../../shared/store/driver.js";
import { restartLog, WAL_BYTES_KEPT } from "../../shared/store/log-length.js";

const LOCK_DEADLINE_MS = 5_000;
/** Rows of one transaction at most: about 50 ms of the write lock. */
const DELETE_ROWS_MAX = 2_000;
/** Leaves the lock free between two transactions, ms; the daemon naps for 0.2. */
const PAUSE_MS = 2;
/** Longest wait for readers and writers while the log is to begin anew, ms. */
const LOG_DEADLINE_MS = 20;
/** Pages of one step of an incremental vacuum. */
const VACUUM_PAGES = 1_000;
const AUTO_VACUUM_INCREMENTAL = 2;

/** States in which nothing more happens to a row. */
const FINAL: Readonly<Record<Direction, readonly string[]>> = {
  outbound: ["acknowledged", "send_failed"],
  inbound: ["ack_sent", "ack_failed"],
};
/** All states of both tables. */
export const STATES: Readonly<Record<Direction, readonly string[]>> = {
  outbound: ["pending", "sending", "sent", ...FINAL.outbound],
  inbound: ["received", ...FINAL.inbound],
};

export interface PurgeRule {
  /** Text time of the store: rows last updated before it are old. */
  readonly cutoff: string;
  /** One state instead of the final ones; "all" for every state. */
  readonly state: string | undefined;
  readonly includeUnread: boolean;
}

export interface StateCount {
  readonly state: string;
  readonly rows: number;
}

export class Purge {
  readonly #db: Connection;
  readonly #direction: Direction;
  readonly #condition: string;
  readonly #values: Readonly<Record<string, string>>;

  constructor(db: Connection, direction: Direction, rule: PurgeRule) {
    this.#db = db;
    this.#direction = direction;
    const conditions = ["replace(updated_at, ' ', 'T') < @cutoff"];
    if (rule.state === undefined) {
      conditions.push(`state IN (${FINAL[direction].map((state) => `'${state}'`).join(", ")})`);
    } else if (rule.state !== "all") {
      conditions.push("state = @state");
    }
    if (direction === "inbound" && !rule.includeUnread) conditions.push("read_count > 0");
    this.#condition = conditions.join(" AND ");
    this.#values = { cutoff: rule.cutoff, state: rule.state ?? "" };
  }

  /** Rows that fit the rule now, by state, the largest group first. */
  count(): readonly StateCount[] {
    return this.#db
      .prepare(
        `SELECT state, count(*) AS rows FROM ${this.#direction}_messages
         WHERE ${this.#condition} GROUP BY state ORDER BY rows DESC, state`,
      )
      .all(this.#values) as StateCount[];
  }

  /** Deletes them; returns how many there were. A row that changed meanwhile stays. */
  async delete(): Promise<number> {
    const table = `${this.#direction}_messages`;
    // Searching is done outside of the transaction: it may walk over millions of rows that stay.
    const find = this.#db
      .prepare(
        `SELECT id FROM ${table} WHERE id > @after AND ${this.#condition}
         ORDER BY id LIMIT ${DELETE_ROWS_MAX}`,
      )
      .pluck();
    const remove = this.#db.prepare(`DELETE FROM ${table} WHERE id = @id AND ${this.#condition}`);
    let deleted = 0;
    let after = -Infinity;
    for (;;) {
      const ids = find.all({ ...this.#values, after }) as number[];
      const chunk = (): void => {
        for (const id of ids) deleted += remove.run({ ...this.#values, id }).changes;
      };
      if (ids.length > 0) writeTransaction(this.#db, chunk, { deadlineMs: LOCK_DEADLINE_MS });
      if (ids.length < DELETE_ROWS_MAX) return deleted;
      after = ids[ids.length - 1];
      if (this.#logBytes > WAL_BYTES_KEPT) restartLog(this.#db, LOG_DEADLINE_MS);
      await delay(PAUSE_MS);
    }
  }

  get #logBytes(): number {
    return statSync(`${this.#db.name}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  }
}

/**
 * Gives free pages back to the disk. ERR_DB_BUSY when the lock was not to be had within
 * `deadlineMs`. Step by step where the file allows it, otherwise in one go.
 */
export async function vacuum(db: Connection, deadlineMs: number): Promise<void> {
  if (db.pragma("auto_vacuum", { simple: true }) !== AUTO_VACUUM_INCREMENTAL) {
    whenFree(() => db.exec("VACUUM"), deadlineMs);
    return;
  }
  while (Number(db.pragma("freelist_count", { simple: true })) > 0) {
    whenFree(() => db.pragma(`incremental_vacuum(${VACUUM_PAGES})`), deadlineMs);
    await delay(PAUSE_MS);
  }
}
