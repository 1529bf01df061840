// Rows in the table whose time has come: delayed ones that may go, and waiting ones that expired.
// Rows in flight are not touched: main knows their expiry. Finding is cheap and needs no lock;
// what was found is written in one small transaction.

import type { Connection, Statement } from "../shared/store/driver.js";
import { ID_SANE_MAX } from "../shared/store/migrate.js";
import { WORKED } from "../shared/store/schema.js";
import { parseTime, timeText } from "../shared/store/text-time.js";
import { type Destination, isAddressable, type Lane, type Lanes } from "./lanes.js";
import { expiredReason, expiryOf, LANE_TIMES_SQL, type RawRow, STATE } from "./outbound-row.js";
import type { RowWriter } from "./row-writer.js";

/** Rows found before the next write. */
const FOUND_MAX = 1_024;
const STEP_ROWS = 256;
/** Destinations whose waiting rows are looked at in one step. */
const DESTINATIONS_STEP = 32;
const UNUSABLE =
  "dst_addr or dst_port cannot be sent to; correct them, then set state to 'pending'";

type Timed = readonly [id: number, time: unknown, state: string];

interface Retime {
  readonly id: number;
  readonly column: "not_before" | "expires_at";
  readonly was: unknown;
  /** The same time as the tables write it; null: it has come, or is none. */
  readonly text: string | null;
}

export class Calendar {
  readonly #lanes: Lanes;
  readonly #now: () => number;
  readonly #lifeMs: () => number;
  readonly #writer: RowWriter;
  readonly #dueRows: Statement;
  readonly #laterRows: Statement;
  readonly #expiredRows: Statement;
  readonly #laneTimes: Statement;
  readonly #setNotBefore: Statement;
  readonly #setExpiresAt: Statement;
  readonly #clampPriority: Statement;
  readonly #where: Statement;
  #failures = new Map<number, string>();
  #retimes: Retime[] = [];
  #clamps = new Set<number>();
  #swept: readonly [unknown, number] | undefined = ["", 0];
  #turn = 0;

  constructor(
    db: Connection,
    options: {
      readonly lanes: Lanes;
      readonly now: () => number;
      readonly lifeMs: () => number;
      readonly writer: RowWriter;
    },
  ) {
    this.#lanes = options.lanes;
    this.#now = options.now;
    this.#lifeMs = options.lifeMs;
    this.#writer = options.writer;
    const delayed = `SELECT id, not_before, ${STATE} FROM outbound_messages
      INDEXED BY outbound_delayed WHERE not_before IS NOT NULL AND ${WORKED}
      AND id <= ${ID_SANE_MAX}`;
    this.#dueRows = db
      .prepare(`${delayed} AND not_before <= ? ORDER BY not_before LIMIT ${STEP_ROWS}`)
      .raw();
    this.#laterRows = db
      .prepare(
        `${delayed} AND (not_before, id) > (?, ?) ORDER BY not_before, id LIMIT ${STEP_ROWS}`,
      )
      .raw();
    this.#expiredRows = db
      .prepare(
        `SELECT id, expires_at, ${STATE} FROM outbound_messages INDEXED BY outbound_expiring
         WHERE expires_at IS NOT NULL AND ${WORKED} AND id <= ${ID_SANE_MAX} AND expires_at <= ?
         ORDER BY expires_at LIMIT ${FOUND_MAX}`,
      )
      .raw();
    this.#laneTimes = db.prepare(LANE_TIMES_SQL).raw();
    // Its life begins when it may first be sent: redriven_at is the start of a row's life.
    this.#setNotBefore = db.prepare(
      `UPDATE OR FAIL outbound_messages SET not_before = ?, updated_at = ?,
         redriven_at = CASE WHEN ? IS NULL THEN ? ELSE redriven_at END
       WHERE id = ? AND not_before IS ?`,
    );
    this.#setExpiresAt = db.prepare(
      "UPDATE OR FAIL outbound_messages SET expires_at = ? WHERE id = ? AND expires_at IS ?",
    );
    this.#clampPriority = db.prepare(
      `UPDATE OR FAIL outbound_messages
       SET priority = max(0, min(3, CAST(priority AS INTEGER))) WHERE id = ?`,
    );
    this.#where = db
      .prepare(
        `SELECT dst_addr, dst_port, priority FROM outbound_messages
         WHERE id = ? AND not_before IS NULL AND ${WORKED}`,
      )
      .raw();
  }

  /** True when something was found that is to be written. */
  get found(): boolean {
    return this.#found > 0;
  }

  /** No more can be found before the next write. */
  get full(): boolean {
    return !this.#room;
  }

  /** Rows with a destination that nothing can be sent to. */
  giveUp(ids: readonly number[]): void {
    for (const id of ids) if (this.#room) this.#failures.set(id, UNUSABLE);
  }

  /** Rows with a priority beyond 0 to 3, or none: brought into the range. */
  clamp(ids: readonly number[]): void {
    for (const id of ids) if (this.#room) this.#clamps.add(id);
  }

  /** A new row that is to wait: finds out whether its time is one, and spelt as the index needs. */
  lookAt(id: number, notBefore: unknown): void {
    if (this.#room) this.#judge(id, "not_before", notBefore);
  }

  /** Finds delayed rows that may go. */
  findDue(): void {
    const now = timeText(this.#now());
    for (const [id, time] of this.#dueRows.all(now) as Timed[]) this.lookAt(id, time);
    // Once after the start: times that other programs spelt otherwise sort in the wrong place.
    if (this.#swept === undefined || !this.#room) return;
    const rows = this.#laterRows.all(...this.#swept) as Timed[];
    for (const [id, time] of rows) this.lookAt(id, time);
    const last = rows[STEP_ROWS - 1];
    this.#swept = last === undefined ? undefined : [last[1], last[0]];
  }

  /** Finds rows that expired where they wait; a bounded step. */
  findExpired(): void {
    const now = this.#now();
    for (const [id, time, state] of this.#expiredRows.all(timeText(now)) as Timed[]) {
      if (!this.#room) return;
      if (this.#lanes.outRows.has(id)) continue;
      const expiresAt = parseTime(time);
      if (expiresAt !== undefined && expiresAt <= now) this.#failures.set(id, expiredReason(state));
      else this.#judge(id, "expires_at", time);
    }
    const all = [...this.#lanes.destinations.values()];
    for (let i = 0; i < Math.min(DESTINATIONS_STEP, all.length); i++) {
      this.#turn = (this.#turn + 1) % all.length;
      this.#findInLanes(all[this.#turn], now);
    }
  }

  /** Writes what was found; inside the caller's transaction. Returns the rows that may go now. */
  write(): readonly number[] {
    const now = timeText(this.#now());
    const promoted: number[] = [];
    for (const [id, reason] of this.#failures) this.#writer.fail(id, reason);
    for (const id of this.#clamps) {
      this.#clampPriority.run(id);
      promoted.push(id);
    }
    for (const { id, column, was, text } of this.#retimes) {
      if (column === "expires_at") this.#setExpiresAt.run(text, id, was);
      else if (this.#setNotBefore.run(text, now, text, now, id, was).changes > 0 && text === null) {
        promoted.push(id);
      }
    }
    return promoted;
  }

  /** The transaction of `write` is committed. */
  written(promoted: readonly number[]): void {
    this.forget();
    for (const id of promoted) {
      const row = this.#where.get(id) as [unknown, unknown, number] | undefined;
      if (row === undefined || !isAddressable(row[0], row[1])) continue;
      const destination = this.#lanes.of(row[0] as string, row[1] as number);
      // A row with an odd priority is found by the next walk, and clamped.
      const lane = destination?.lanes[row[2]];
      if (lane !== undefined) this.#lanes.note(lane, id);
    }
  }

  /** Drops what was found; it will be found again. */
  forget(): void {
    this.#failures = new Map();
    this.#retimes = [];
    this.#clamps = new Set();
  }

  get #room(): boolean {
    return this.#found < FOUND_MAX;
  }

  get #found(): number {
    return this.#failures.size + this.#retimes.length + this.#clamps.size;
  }

  #judge(id: number, column: Retime["column"], was: unknown): void {
    const time = parseTime(was);
    const come = time === undefined || (column === "not_before" && time <= this.#now());
    const text = come ? null : timeText(time);
    if (text !== was) this.#retimes.push({ id, column, was, text });
  }

  /** Waiting rows are in the order of their ids, so mostly of their age: the first ones, and, a few
   * at a time, all others. */
  #findInLanes(destination: Destination, now: number): void {
    for (const lane of destination.lanes) {
      if (!this.#room || (lane.dry && lane.held === false)) continue;
      const first = this.#findFrom(lane, lane.cursor, now);
      if (first === undefined) continue;
      lane.checked = this.#findFrom(lane, Math.max(lane.checked, first), now) ?? lane.cursor;
    }
  }

  /** Returns the last id looked at; undefined at the end of the lane. */
  #findFrom(lane: Lane, after: number, now: number): number | undefined {
    const { address, port } = lane.destination;
    const rows = this.#laneTimes.all(address, port, lane.priority, after, STEP_ROWS) as RawRow[];
    for (const row of rows) {
      if (!this.#room || this.#lanes.outRows.has(row[0])) continue;
      if (expiryOf(row, now, this.#lifeMs()) <= now) {
        this.#failures.set(row[0], expiredReason(row[3]));
      }
    }
    return rows[STEP_ROWS - 1]?.[0];
  }
}
