// Finds lanes that have work. New rows are seen by their ids as soon as another process committed;
// that misses rows that became work again (redriven, re-addressed, given a low id by hand), so a walk
// over the lane index, a few lanes a step, finds whatever is worked on and not out. The walk jumps
// from lane to lane: a million rows of one destination cost it one step.

import type { Connection, Statement } from "../shared/store/driver.js";
import { ID_SANE_MAX } from "../shared/store/migrate.js";
import { WORKED } from "../shared/store/schema.js";
import {
  BEFORE_FIRST,
  type Destination,
  isAddressable,
  type Lane,
  type Lanes,
  PRIORITY_CLASSES,
} from "./lanes.js";

/** New rows looked at in one step, and ids passed over because their lane is being read. */
const NEW_ROWS_MAX = 512;
const NEW_IDS_MAX = 4_096;
/** Lanes visited in one step of the walk, and ids looked at in one lane at a time. */
const LANES_MAX = 64;
const IDS_MAX = 512;
/** Rows of one unusable lane put right or given up at a time. */
const BAD_ROWS_MAX = 256;
/** Least time between two walks, ms; a walk takes at most a 50th of the time. */
const WALK_INTERVAL_MS = 250;
const WALK_SHARE = 50;

const READY = `${WORKED} AND not_before IS NULL`;
const LANE = "dst_addr = ? AND dst_port = ? AND priority = ?";
const HEAD = `SELECT typeof(dst_addr), CAST(dst_addr AS BLOB), dst_port, priority, id
  FROM outbound_messages INDEXED BY outbound_work WHERE ${READY}`;
const TAIL = "ORDER BY dst_addr, dst_port, priority LIMIT 1";

type NewRow = readonly [number, unknown, unknown, unknown, unknown];
type LaneHead = readonly [string, Buffer, unknown, unknown, bigint];
/** Sorts behind every number and every text. */
const LAST = Buffer.alloc(8, 0xff);

const numberOf = (value: unknown): unknown => (typeof value === "bigint" ? Number(value) : value);
const isPriority = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value < PRIORITY_CLASSES;

export interface Finds {
  readonly lanes: Lanes;
  /** A row with a destination that nothing can be sent to. */
  readonly unusable: (ids: readonly number[]) => void;
  /** A row with a priority that is none. */
  readonly oddPriority: (ids: readonly number[]) => void;
  /** A new row that is to wait; its time may be no time. */
  readonly delayed: (id: number, notBefore: unknown) => void;
}

export class Discovery {
  readonly #lanes: Lanes;
  readonly #finds: Finds;
  readonly #top: Statement;
  readonly #newRows: Statement;
  readonly #firstLane: Statement;
  readonly #nextLane: Statement;
  readonly #idsBelow: Statement;
  readonly #anyAbove: Statement;
  readonly #badRows: Statement;
  /** Commits of others so far. */
  #changes = 0;
  #seen: number;
  #newRowsLeft = true;
  #walking = true;
  #walkWanted = false;
  #walkAllowedAt = 0;
  #walkStartedAt = 0;
  #walkCost = 0;
  #at: readonly [Buffer, unknown, unknown] | undefined;
  #inLane: { readonly lane: Lane; after: number } | undefined;

  constructor(db: Connection, finds: Finds) {
    this.#lanes = finds.lanes;
    this.#finds = finds;
    this.#top = db
      .prepare(`SELECT max(id) FROM outbound_messages WHERE id <= ${ID_SANE_MAX}`)
      .pluck();
    this.#newRows = db
      .prepare(
        `SELECT id, dst_addr, dst_port, priority, not_before
         FROM outbound_messages NOT INDEXED
         WHERE id > ? AND id <= ? AND ${WORKED}
           AND NOT (dst_addr IS ? AND dst_port IS ? AND priority IS ? AND id > ? AND not_before IS NULL)
         ORDER BY id LIMIT ${NEW_ROWS_MAX}`,
      )
      .raw();
    this.#firstLane = db.prepare(`${HEAD} ${TAIL}`).raw().safeIntegers();
    this.#nextLane = db
      .prepare(`${HEAD} AND (dst_addr, dst_port, priority) > (CAST(? AS TEXT), ?, ?) ${TAIL}`)
      .raw()
      .safeIntegers();
    this.#idsBelow = db
      .prepare(
        `SELECT id FROM outbound_messages INDEXED BY outbound_work
         WHERE ${LANE} AND id > ? AND id <= ? AND ${READY} ORDER BY id LIMIT ${IDS_MAX}`,
      )
      .pluck();
    this.#anyAbove = db
      .prepare(
        `SELECT 1 FROM outbound_messages INDEXED BY outbound_work
         WHERE ${LANE} AND id > ? AND id <= ${ID_SANE_MAX} AND ${READY} LIMIT 1`,
      )
      .pluck();
    this.#badRows = db
      .prepare(
        `SELECT id FROM outbound_messages INDEXED BY outbound_work
         WHERE dst_addr = CAST(? AS TEXT) AND dst_port = ? AND priority = ? AND ${READY}
         LIMIT ${BAD_ROWS_MAX}`,
      )
      .pluck();
    this.#seen = this.#newest();
    this.#newRowsLeft = false;
  }

  /** Another process committed. */
  changed(): void {
    this.#changes += 1;
    this.#newRowsLeft = true;
    this.#walkWanted = true;
    this.#lanes.stirRecent();
  }

  /** Something was redriven or re-addressed that no new id tells of. */
  wantWalk(): void {
    this.#walkWanted = true;
  }

  /** Its turn has come: a row of a higher priority may have joined behind a backlog. */
  lookAbove(destination: Destination): void {
    if (destination.looks === this.#changes) return;
    destination.looks = this.#changes;
    const { address, port, next, lanes } = destination;
    for (let i = (next?.priority ?? PRIORITY_CLASSES) + 1; i < PRIORITY_CLASSES; i++) {
      const lane = lanes[i];
      if (lane.dry && this.#anyAbove.get(address, port, i, lane.cursor) !== undefined) {
        this.#lanes.stir(lane);
      }
    }
  }

  /** A lane gave this row; when it is the next new one, it need not be looked at again. */
  passed(id: number): void {
    if (id === this.#seen + 1) this.#seen = id;
  }

  /** True while `step` has something to do at `now`, monotonic ms. */
  due(now: number): boolean {
    return this.#newRowsLeft || this.#walking || (this.#walkWanted && now >= this.#walkAllowedAt);
  }

  /** One bounded step, about a millisecond at most. */
  step(now: () => number): void {
    if (this.#newRowsLeft) {
      this.#lookAtNewRows();
      return;
    }
    const startedAt = now();
    if (!this.#walking) {
      this.#walking = true;
      this.#walkWanted = false;
      this.#at = undefined;
      this.#walkCost = 0;
      this.#walkStartedAt = startedAt;
    }
    this.#walking = this.#walk();
    const endedAt = now();
    this.#walkCost += endedAt - startedAt;
    const rest = Math.max(WALK_INTERVAL_MS, this.#walkCost * WALK_SHARE);
    if (!this.#walking) this.#walkAllowedAt = Math.max(this.#walkStartedAt, endedAt) + rest;
  }

  #newest(): number {
    return (this.#top.get() as number | null) ?? 0;
  }

  #lookAtNewRows(): void {
    const newest = this.#newest();
    const to = Math.min(newest, this.#seen + NEW_IDS_MAX);
    const rows = this.#newRows.all(this.#seen, to, ...this.#ownRows()) as NewRow[];
    const full = rows.length === NEW_ROWS_MAX;
    this.#newRowsLeft = full || to < newest;
    this.#seen = full ? rows[NEW_ROWS_MAX - 1][0] : Math.max(to, this.#seen);
    for (const [id, address, port, priority, notBefore] of rows) {
      if (notBefore !== null) this.#finds.delayed(id, notBefore);
      else if (!isAddressable(address, port)) this.#finds.unusable([id]);
      else if (!isPriority(priority)) this.#finds.oddPriority([id]);
      else {
        const destination = this.#lanes.of(address as string, port as number);
        if (destination === undefined) this.#walkWanted = true;
        else this.#lanes.note(destination.lanes[priority], id);
      }
    }
  }

  /** What need not be looked at: rows ahead in the busiest lane, which is being read anyway. */
  #ownRows(): readonly unknown[] {
    const lane = this.#lanes.reading;
    if (lane === undefined) return [null, null, null, 0];
    const { destination, priority, cursor } = lane;
    return [destination.address, destination.port, priority, cursor];
  }

  /** Visits the next lanes; false at the end. */
  #walk(): boolean {
    for (let visits = 0; visits < LANES_MAX; visits++) {
      if (this.#inLane !== undefined) {
        this.#lookBelow(this.#inLane);
        continue;
      }
      const head = (
        this.#at === undefined ? this.#firstLane.get() : this.#nextLane.get(...this.#at)
      ) as LaneHead | undefined;
      if (head === undefined) return false;
      this.#visit(head);
    }
    return true;
  }

  #visit([type, addressBytes, rawPort, rawPriority, id]: LaneHead): void {
    const plainPort = type === "text" && typeof rawPort === "bigint";
    const plain = plainPort && typeof rawPriority === "bigint";
    this.#at = [addressBytes, plainPort ? rawPort : LAST, plain ? rawPriority : LAST];
    const address = type === "text" ? addressBytes.toString() : undefined;
    const port = numberOf(rawPort);
    const priority = numberOf(rawPriority);
    const usable = isAddressable(address, port);
    if (!usable || !isPriority(priority)) {
      const ids = plain
        ? (this.#badRows.all(addressBytes, rawPort, rawPriority) as number[])
        : [Number(id)];
      if (usable) this.#finds.oddPriority(ids);
      else this.#finds.unusable(ids);
      this.#walkWanted = true;
      return;
    }
    const destination = this.#lanes.of(address as string, port as number);
    if (destination === undefined) {
      this.#walkWanted = true;
      return;
    }
    const lane = destination.lanes[priority];
    if (lane.dry && this.#anyAbove.get(address, port, lane.priority, lane.cursor) !== undefined) {
      this.#lanes.stir(lane);
    }
    if (Number(id) <= lane.cursor) this.#inLane = { lane, after: BEFORE_FIRST };
  }

  /** Rows that the cursor has passed and that are not out. */
  #lookBelow(position: { readonly lane: Lane; after: number }): void {
    const { lane } = position;
    const { destination } = lane;
    const { address, port } = destination;
    const ids = this.#idsBelow.all(
      address,
      port,
      lane.priority,
      position.after,
      lane.cursor,
    ) as number[];
    for (const id of ids) {
      const out = this.#lanes.outRows.get(id);
      if (out === undefined || out.destination !== destination) this.#lanes.note(lane, id);
      position.after = id;
    }
    if (ids.length < IDS_MAX) this.#inLane = undefined;
  }
}
