// The producer of bench/pipeline, a process of its own: inserts rows through our client, 512 to a
// transaction, and rings the doorbell; then watches until the last one is acknowledged. It inserts as
// fast as it can while the oldest row that waits is fewer than `backlogRows` rows back, so that the
// rate is a steady one.

import type { Draft } from "../src/client/drafts.js";
import { Outbox } from "../src/client/outbox.js";
import { nap } from "../src/shared/store/busy.js";
import type { Connection, Statement } from "../src/shared/store/driver.js";
import { openDatabase } from "../src/shared/store/open.js";
import { WORKED } from "../src/shared/store/schema.js";
import { optionsOf, tell } from "./child.js";
import { message } from "./payload.js";

export interface ProducerOptions {
  readonly database: string;
  readonly address: string;
  readonly port: number;
  readonly bytes: number;
  readonly rowsPerTransaction: number;
  readonly backlogRows: number;
  readonly warmUpRows: number;
  readonly seconds: number;
}

export interface Produced {
  readonly rows: number;
  readonly warmUpRows: number;
  /** From the begin of the first insert to the commit of the last acknowledgement seen, ms. */
  readonly elapsedMs: number;
  /** Part of it in which rows were inserted or room was waited for, ms. */
  readonly insertingMs: number;
  /** Part of that in which the backlog was full, ms. */
  readonly waitedMs: number;
  /** outbound_messages.id of the first and last measured row. */
  readonly firstRow: number;
  readonly lastRow: number;
}

const TERMS = { priority: "normal", notBefore: undefined, expiresAt: undefined } as const;
/** No acknowledgement for this long ends the run. */
const STILL_MS_MAX = 15_000;
const LOOK_MS = 1;
/** Between two looks while the backlog is full. */
const ROOM_NAP_MS = 5;

class Producer {
  readonly #options: ProducerOptions;
  readonly #db: Connection;
  readonly #outbox: Outbox;
  readonly #oldest: Statement;
  #n = 0;
  #lastRow = 0;
  /** Rows that may be inserted before it must be looked again. */
  #room: number;

  constructor(options: ProducerOptions) {
    this.#options = options;
    this.#db = openDatabase(options.database, { role: "client", create: false });
    this.#outbox = new Outbox(options.database, this.#db);
    this.#oldest = this.#db
      .prepare(
        `SELECT id FROM outbound_messages INDEXED BY outbound_work
         WHERE dst_addr = ? AND dst_port = ? AND priority = 1
           AND ${WORKED} AND not_before IS NULL
         ORDER BY id LIMIT 1`,
      )
      .pluck();
    this.#room = options.backlogRows;
  }

  get lastRow(): number {
    return this.#lastRow;
  }

  /** One transaction; ids and JSON are ready before it begins. */
  insert(): void {
    const { address, port, bytes, rowsPerTransaction } = this.#options;
    const drafts: Draft[] = [];
    for (let i = 0; i < rowsPerTransaction; i++) {
      const { hex, text } = message(this.#n++, bytes);
      drafts.push({ payload: text, messageId: hex });
    }
    const rowIds = this.#outbox.enqueue({ address, port }, TERMS, drafts);
    this.#lastRow = rowIds[rowIds.length - 1];
  }

  /** Naps until there is room for a transaction in the backlog; returns the ms that it took. */
  waitForRoom(): number {
    const { address, port, backlogRows, rowsPerTransaction } = this.#options;
    this.#room -= rowsPerTransaction;
    if (this.#room >= rowsPerTransaction) return 0;
    const startedAt = performance.now();
    for (;;) {
      const oldest = this.#oldest.get(address, port) as number | undefined;
      this.#room = backlogRows - (oldest === undefined ? 0 : this.#lastRow - oldest + 1);
      const tookMs = performance.now() - startedAt;
      if (this.#room >= rowsPerTransaction) return tookMs;
      if (tookMs > STILL_MS_MAX) throw stuck("the backlog");
      nap(ROOM_NAP_MS);
    }
  }

  /** Naps until every row is acknowledged. */
  waitForAll(): void {
    const { address, port } = this.#options;
    let movedAt = performance.now();
    let before = -1;
    for (;;) {
      const oldest = this.#oldest.get(address, port) as number | undefined;
      if (oldest === undefined) return;
      const now = performance.now();
      if (oldest !== before) movedAt = now;
      if (now - movedAt > STILL_MS_MAX) throw stuck(`row ${oldest}`);
      before = oldest;
      nap(LOOK_MS);
    }
  }
}

const stuck = (what: string): Error =>
  new Error(`${what} did not move for ${STILL_MS_MAX / 1_000} s`);

async function main(options: ProducerOptions): Promise<void> {
  const producer = new Producer(options);
  while (producer.lastRow < options.warmUpRows) producer.insert();
  producer.waitForAll();
  const warmUpRows = producer.lastRow;
  await tell<Produced>({ kind: "started" });

  const startedAt = performance.now();
  const end = startedAt + options.seconds * 1_000;
  let waitedMs = 0;
  while (performance.now() < end) {
    producer.insert();
    waitedMs += producer.waitForRoom();
  }
  const insertingMs = performance.now() - startedAt;
  producer.waitForAll();
  const elapsedMs = performance.now() - startedAt;

  const result: Produced = {
    rows: producer.lastRow - warmUpRows,
    warmUpRows,
    elapsedMs,
    insertingMs,
    waitedMs,
    firstRow: warmUpRows + 1,
    lastRow: producer.lastRow,
  };
  await tell<Produced>({ kind: "finished", result });
}

await main(optionsOf<ProducerOptions>());
