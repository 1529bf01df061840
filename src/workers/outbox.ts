// Outbound walk step 1: leases rows to main. One standing order at a time, answered when there is
// something to say. A row is written to before it leaves only when an id must go into it; then the
// lease takes the write lock and hands the row out after the commit, so an id that was on the wire
// is in the table. No row's content ends the queue: what cannot be sent becomes send_failed.

import type { Settlement, StoreResult } from "../shared/runtime/messages.js";
import { OutboundBatchWriter, TICKET_NONE } from "../shared/runtime/outbound-batch.js";
import { writeTransaction } from "../shared/store/busy.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import { writeFailure } from "../shared/store/sqlite-error.js";
import { Calendar } from "./calendar.js";
import { Discovery } from "./discovery.js";
import { type Destination, isAddressable, Lanes } from "./lanes.js";
import { type Answer, append, type Order, recordBytes } from "./lease-answer.js";
import { type Attempt, LeaseTurns } from "./lease-turns.js";
import { type Circumstances, judge } from "./outbound-row.js";
import { RowReader } from "./row-reader.js";
import { RowWriter, type Sendable } from "./row-writer.js";
import type { SessionRoutes } from "./session-row.js";

type Leased = Extract<StoreResult, { kind: "leased" }>;

/** Wait for the write lock while leasing, ms. Short: rows that need no write can go meanwhile. */
const LEASE_DEADLINE_MS = 50;
/** Rest after the lock was not to be had, or the disk was full, ms. */
const WRITE_REST_MS = 100;
/** Steps of discovery in one poll. */
const STEPS_MAX = 16;
/** Rows in flight of which one audit step asks whether they are still what was leased. */
const AUDIT_ROWS = 128;

export interface OutboxOptions {
  /** Wall ms since the epoch. */
  readonly now: () => number;
  /** Monotonic ms. */
  readonly monotonic: () => number;
  readonly randomBytes: (into: Uint8Array) => void;
  readonly report: (sentence: string) => void;
  readonly lifeSeconds: number;
  /** Absent: all rows go by classic. */
  readonly routes?: SessionRoutes;
}

export class Outbox {
  readonly lanes = new Lanes();
  readonly #db: Connection;
  readonly #options: OutboxOptions;
  readonly #writer: RowWriter;
  readonly #calendar: Calendar;
  readonly #discovery: Discovery;
  readonly #rows: RowReader;
  readonly #turns: LeaseTurns;
  readonly #where: Statement;
  readonly #dataVersion: Statement;
  #version: unknown;
  #lifeMs: number;
  #order: Order | undefined;
  #again: { readonly rowId: number; readonly ticket: number }[] = [];
  /** The last lease had to write: probably the next one has to. */
  #writing = false;
  #writesAllowedAt = Number.NEGATIVE_INFINITY;
  /** Record size of late, to read about as many rows as there is room for. */
  #recordBytes = 512;
  /** Memory that the next batch begins with. */
  #batchBytes = 16_384;
  #audit: IterableIterator<number> | undefined;

  constructor(db: Connection, options: OutboxOptions) {
    this.#db = db;
    this.#options = options;
    this.#lifeMs = options.lifeSeconds * 1_000;
    this.#writer = new RowWriter(db, options);
    this.#calendar = new Calendar(db, {
      lanes: this.lanes,
      now: options.now,
      lifeMs: () => this.#lifeMs,
      writer: this.#writer,
    });
    this.#discovery = new Discovery(db, {
      lanes: this.lanes,
      unusable: (ids) => this.#calendar.giveUp(ids),
      oddPriority: (ids) => this.#calendar.clamp(ids),
      delayed: (id, notBefore) => this.#calendar.lookAt(id, notBefore),
    });
    this.#rows = new RowReader(db, options.routes);
    this.#turns = new LeaseTurns(db, {
      lanes: this.lanes,
      discovery: this.#discovery,
      rows: this.#rows,
      writer: this.#writer,
      routes: options.routes,
    });
    this.#where = db.prepare("SELECT dst_addr, dst_port FROM outbound_messages WHERE id = ?").raw();
    this.#dataVersion = db.prepare("PRAGMA data_version").pluck();
    this.#version = this.#dataVersion.get();
  }

  /** An order waits. */
  get waiting(): boolean {
    return this.#order !== undefined;
  }

  /** True when `poll` would find more to do at once. */
  get busy(): boolean {
    return this.waiting && this.#discovery.due(this.#options.monotonic());
  }

  configure(lifeSeconds: number): void {
    this.#lifeMs = lifeSeconds * 1_000;
  }

  limit(address: string, port: number, rowsMax: number): void {
    this.lanes.limit(address, port, rowsMax);
  }

  /** A new order replaces the one that waits; rows that the old one asked for again are kept. */
  order(order: Order): void {
    const { rowIds, tickets } = order.again;
    for (let i = 0; i < rowIds.length; i++) {
      this.#again.push({ rowId: rowIds[i], ticket: tickets[i] });
    }
    this.#order = order;
  }

  /** Whether another process committed since the last look. */
  changed(): boolean {
    const version = this.#dataVersion.get();
    if (version === this.#version) return false;
    this.#version = version;
    this.#discovery.changed();
    return true;
  }

  /** Rows that main answers for no more: they are found anew, and go as the table of peers says now. */
  takeBack(rows: Settlement["givenBack"]): void {
    // In the order of the table: those of a stream are released in the order in which they are leased.
    for (const { rowId, generation } of [...rows].sort((a, b) => a.rowId - b.rowId)) {
      if (this.lanes.outRows.get(rowId)?.generation === generation) this.#takeBack(rowId);
    }
  }

  /** A row was not what its settlement said, or came back: look for it. */
  wantWalk(): void {
    this.#discovery.wantWalk();
  }

  /** Answers the order that waits, if there is anything to say; bounded work. */
  poll(): Leased | undefined {
    const order = this.#order;
    if (order === undefined) return undefined;
    this.changed();
    const answer: Answer = {
      order,
      writer: new OutboundBatchWriter(order.bytesMax, this.#batchBytes),
      names: new Map(),
      rowsLeft: order.rowsMax,
      bytesLeft: order.bytesMax,
    };
    const gone = this.#readAgain(answer);
    this.#calendar.findDue();
    this.#writeFound();
    this.#fill(answer);
    for (let steps = 0; steps < STEPS_MAX && answer.rowsLeft > 0; steps++) {
      if (!this.#discovery.due(this.#options.monotonic())) break;
      this.#discovery.step(this.#options.monotonic);
      this.#writeFound();
      this.#fill(answer);
    }
    if (answer.writer.rows === 0 && gone.length === 0) return undefined;
    this.#order = undefined;
    const batch = answer.writer.take();
    if (batch.rows > 0) this.#recordBytes += (batch.used / batch.rows - this.#recordBytes) / 4;
    // The next one is probably as large: growing means copying.
    this.#batchBytes = Math.ceil(batch.used / 4_096 + 1) * 4_096;
    return { kind: "leased", batch, gone: Uint32Array.from(gone) };
  }

  /**
   * Now and then: gives up what expired in the table, and frees what nobody will settle. True when
   * there was more than one step may do.
   */
  tend(): boolean {
    this.#calendar.findExpired();
    const more = this.#calendar.full;
    this.#writeFound();
    this.#auditStep();
    return more;
  }

  // --- Rows in flight, once more ------------------------------------------------------------------

  /** Reads rows in flight again. Returns the tickets of those that became another row since. */
  #readAgain(answer: Answer): number[] {
    const gone: number[] = [];
    let done = 0;
    for (const { rowId, ticket } of this.#again) {
      const out = this.lanes.outRows.get(rowId);
      const row = out === undefined ? undefined : this.#inFlight(rowId, out.generation);
      if (out === undefined || row === undefined) {
        if (out !== undefined) this.#takeBack(rowId);
        gone.push(ticket);
      } else {
        const bytes = recordBytes(row.payload);
        if (bytes > answer.bytesLeft && answer.writer.rows > 0) break;
        answer.bytesLeft -= bytes;
        if (!this.#append(answer, out.destination, rowId, row, ticket)) gone.push(ticket);
      }
      done += 1;
    }
    this.#again.splice(0, done);
    return gone;
  }

  /** The row, while it is what was leased. */
  #inFlight(rowId: number, generation: number): Sendable | undefined {
    const where = this.#where.get(rowId) as [unknown, unknown] | undefined;
    if (where === undefined || !isAddressable(where[0], where[1])) return undefined;
    const [address, port] = where as [string, number];
    const row = this.#rows.row(rowId, address, port);
    if (row === undefined) return undefined;
    const judged = judge(row, { ...this.#circumstances(), inFlight: true });
    if ("refused" in judged || judged.writes !== "nothing") return undefined;
    return judged.generation === generation ? judged : undefined;
  }

  /** The row is not main's any more. If it is still work, it is found anew. */
  #takeBack(rowId: number): void {
    this.lanes.outRows.get(rowId)?.destination.rewind();
    this.lanes.free(rowId, undefined);
    this.#discovery.wantWalk();
    const where = this.#where.get(rowId) as [unknown, unknown] | undefined;
    if (where === undefined || !isAddressable(where[0], where[1])) return;
    const lane = this.lanes.of(where[0] as string, where[1] as number)?.lanes[1];
    if (lane !== undefined) this.lanes.note(lane, rowId);
  }

  #auditStep(): void {
    this.#audit ??= this.lanes.outRows.keys();
    for (let rows = 0; rows < AUDIT_ROWS; rows++) {
      const { value: rowId, done } = this.#audit.next();
      if (done === true) {
        this.#audit = undefined;
        return;
      }
      const out = this.lanes.outRows.get(rowId);
      if (out !== undefined && this.#inFlight(rowId, out.generation) === undefined) {
        this.#takeBack(rowId);
      }
    }
  }

  // --- New rows -----------------------------------------------------------------------------------

  #fill(answer: Answer): void {
    const { lanes } = this;
    const writable = this.#options.monotonic() >= this.#writesAllowedAt;
    if (writable) lanes.release();
    if (answer.rowsLeft <= 0 || lanes.nextReady === undefined) return;
    if (!this.#writing || !writable) this.#attempt(answer, false);
    if (!writable || (!this.#writing && !lanes.anyHeld)) return;
    lanes.release();
    this.#write(
      () => this.#attempt(answer, true),
      () => this.#attempt(answer, false),
    );
  }

  /** Writes what the calendar found. */
  #writeFound(): void {
    if (!this.#calendar.found || this.#options.monotonic() < this.#writesAllowedAt) return;
    this.#write(
      () => {
        const options = { deadlineMs: LEASE_DEADLINE_MS };
        this.#calendar.written(writeTransaction(this.#db, () => this.#calendar.write(), options));
      },
      () => this.#calendar.forget(),
    );
  }

  /** Runs a step that writes; when the lock or the room is not to be had, rests and does without. */
  #write(step: () => void, without: () => void): void {
    try {
      step();
    } catch (thrown) {
      const failure = writeFailure(thrown);
      if (failure === "broken") throw thrown;
      if (failure === "full") {
        this.#options.report("no room left on the disk: rows that need an id or a verdict wait");
      }
      this.#writesAllowedAt = this.#options.monotonic() + WRITE_REST_MS;
      without();
    }
  }

  /** Takes turns until the order is full; hands out only what is committed. */
  #attempt(answer: Answer, writing: boolean): void {
    const attempt: Attempt = {
      answer,
      circumstances: this.#circumstances(),
      writing,
      staged: [],
      before: new Map(),
      rowsLeft: answer.rowsLeft,
      bytesLeft: answer.bytesLeft,
    };
    const firstFits = answer.writer.rows === 0;
    try {
      const turns = (): void => this.#turns.take(attempt, firstFits, this.#recordBytes);
      if (writing) writeTransaction(this.#db, turns, { deadlineMs: LEASE_DEADLINE_MS });
      else turns();
    } catch (thrown) {
      this.#undo(attempt);
      throw thrown;
    }
    if (writing) this.#writing = attempt.staged.some(({ row }) => row.writes !== "nothing");
    for (const { lane, rowId, row } of attempt.staged) {
      if (!this.#append(answer, lane.destination, rowId, row, TICKET_NONE)) this.#takeBack(rowId);
    }
    answer.rowsLeft = attempt.rowsLeft;
    answer.bytesLeft = attempt.bytesLeft;
  }

  /** Puts a row into the answer; false when it is another one by now. */
  #append(
    answer: Answer,
    destination: Destination,
    rowId: number,
    row: Sendable,
    ticket: number,
  ): boolean {
    const to = row.session === undefined ? undefined : this.#rows.toPeer(destination, rowId, row);
    if (to === "gone") return false;
    append(answer, destination, rowId, row, ticket, to);
    return true;
  }

  #circumstances(): Circumstances {
    return {
      now: this.#options.now(),
      lifeMs: this.#lifeMs,
      inFlight: false,
      freshId: () => this.#writer.freshId(),
    };
  }

  #undo(attempt: Attempt): void {
    for (const { rowId, row } of attempt.staged) this.lanes.free(rowId, row.generation);
    for (const [lane, { cursor, missed }] of attempt.before) {
      lane.cursor = cursor;
      lane.destination.rewind();
      for (const id of missed) lane.missed.add(id);
      this.lanes.stir(lane);
    }
  }
}
