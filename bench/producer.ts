// The producer of bench/pipeline, a process of its own: inserts rows through our client, 512 to a
// transaction, and rings the doorbell; then watches until the last one is acknowledged. It inserts as
// fast as it can while the oldest row that waits is fewer than `backlogRows` rows back, so that the
// rate is a steady one.

import type { Draft } from "../src/client/drafts.js";
import { freshMessageId } from "../src/client/message-ids.js";
import { type Destination, Outbox } from "../src/client/outbox.js";
import { nap, writeTransaction } from "../src/shared/store/busy.js";
import type { Connection, Statement } from "../src/shared/store/driver.js";
import { openDatabase } from "../src/shared/store/open.js";
import { optionsOf, tell } from "./child.js";
import { textMessage } from "./payload.js";
import { oldestWaiting } from "./waiting.js";

/** Our client; or any program, by plain SQL, that gives ids itself or leaves them to the daemon. */
export type ProducerKind = "client" | "foreign" | "foreign without id";

export interface ProducerOptions {
  readonly database: string;
  /** Where transactions go in turn. */
  readonly destinations: readonly Destination[];
  readonly bytes: number;
  readonly rowsPerTransaction: number;
  readonly backlogRows: number;
  readonly warmUpRows: number;
  readonly seconds: number;
  readonly kind: ProducerKind;
  /** One more row at the end, `{"end":N}`: N came before it. */
  readonly endMark: boolean;
}

export interface Produced {
  readonly rows: number;
  readonly warmUpRows: number;
  /** Wall clock at the begin of the first measured insert, ms since the epoch, with a fraction. */
  readonly startedAtMs: number;
  /** From the begin of the first insert to the commit of the last acknowledgement seen, ms. */
  readonly elapsedMs: number;
  /** Part of it in which rows were inserted or room was waited for, ms. */
  readonly insertingMs: number;
  /** Part of that in which the backlog was full, ms. */
  readonly waitedMs: number;
  /** outbound_messages.id of the first row of all, and of the first and last measured row. */
  readonly warmUpFirstRow: number;
  readonly firstRow: number;
  readonly lastRow: number;
}

const TERMS = { priority: "normal", notBefore: undefined, expiresAt: undefined } as const;
/** No acknowledgement for this long ends the run. */
const STILL_MS_MAX = 15_000;
const LOOK_MS = 1;
/** Between two looks while the backlog is full. */
const ROOM_NAP_MS = 5;
const LOCK_DEADLINE_MS = 10_000;

class Producer {
  readonly #options: ProducerOptions;
  readonly #db: Connection;
  readonly #outbox: Outbox;
  readonly #oldest: ReturnType<typeof oldestWaiting>;
  readonly #insert: Statement;
  /** Transactions of which rows may wait, the oldest first. */
  readonly #underWay: { readonly to: Destination; readonly lastRow: number }[] = [];
  #n = 0;
  #turn = 0;
  #firstRow = 0;
  #lastRow = 0;
  /** Rows that may be inserted before it must be looked again. */
  #room: number;

  constructor(options: ProducerOptions) {
    this.#options = options;
    this.#db = openDatabase(options.database, { role: "client", create: false });
    this.#outbox = new Outbox(options.database, this.#db);
    this.#oldest = oldestWaiting(this.#db);
    this.#insert = this.#db.prepare(
      "INSERT INTO outbound_messages(message_id, dst_addr, dst_port, payload) VALUES (?, ?, ?, ?)",
    );
    this.#room = options.backlogRows;
  }

  get firstRow(): number {
    return this.#firstRow;
  }
  get lastRow(): number {
    return this.#lastRow;
  }
  get rows(): number {
    return this.#n;
  }

  /** One transaction; ids and JSON are ready before it begins. */
  insert(): void {
    const { bytes, rowsPerTransaction, kind } = this.#options;
    const drafts: Draft[] = [];
    for (let i = 0; i < rowsPerTransaction; i++) {
      if (kind === "foreign without id") {
        drafts.push({ payload: anonymousText(this.#n++, bytes), messageId: undefined });
        continue;
      }
      const { hex, text } = textMessage(this.#n++, bytes);
      drafts.push({ payload: text, messageId: hex });
    }
    this.#enqueue(drafts);
  }

  insertEnd(): void {
    this.#enqueue([{ payload: `{"end":${this.#n++}}`, messageId: freshMessageId() }]);
  }

  #enqueue(drafts: readonly Draft[]): void {
    const { destinations, kind } = this.#options;
    const to = destinations[this.#turn++ % destinations.length];
    const { address, port } = to;
    if (kind === "client") {
      const rowIds = this.#outbox.enqueue({ address, port }, TERMS, drafts);
      this.#lastRow = rowIds[rowIds.length - 1];
    } else {
      const insertAll = (): void => {
        for (const { messageId, payload } of drafts) {
          const { lastInsertRowid } = this.#insert.run(messageId ?? null, address, port, payload);
          this.#lastRow = Number(lastInsertRowid);
        }
      };
      writeTransaction(this.#db, insertAll, { deadlineMs: LOCK_DEADLINE_MS });
    }
    this.#underWay.push({ to, lastRow: this.#lastRow });
    if (this.#firstRow === 0) this.#firstRow = this.#lastRow - drafts.length + 1;
  }

  /** The oldest row that waits; one look-up, however many destinations there are. */
  #oldestRow(): number | undefined {
    for (let sent = this.#underWay[0]; sent !== undefined; sent = this.#underWay[0]) {
      const oldest = this.#oldest(sent.to);
      if (oldest !== undefined && oldest <= sent.lastRow) return oldest;
      this.#underWay.shift();
    }
    return undefined;
  }

  /** Naps until there is room for a transaction in the backlog; returns the ms that it took. */
  waitForRoom(): number {
    const { backlogRows, rowsPerTransaction } = this.#options;
    this.#room -= rowsPerTransaction;
    if (this.#room >= rowsPerTransaction) return 0;
    const startedAt = performance.now();
    for (;;) {
      const oldest = this.#oldestRow();
      this.#room = backlogRows - (oldest === undefined ? 0 : this.#lastRow - oldest + 1);
      const tookMs = performance.now() - startedAt;
      if (this.#room >= rowsPerTransaction) return tookMs;
      if (tookMs > STILL_MS_MAX) throw stuck("the backlog");
      nap(ROOM_NAP_MS);
    }
  }

  /** Naps until every row is acknowledged. */
  waitForAll(): void {
    let movedAt = performance.now();
    let before = -1;
    for (;;) {
      const oldest = this.#oldestRow();
      if (oldest === undefined) return;
      const now = performance.now();
      if (oldest !== before) movedAt = now;
      if (now - movedAt > STILL_MS_MAX) throw stuck(`row ${oldest}`);
      before = oldest;
      nap(LOOK_MS);
    }
  }
}

/** As long as `message` makes them, without an id. */
function anonymousText(n: number, bytes: number): string {
  const head = `{"n":${n},"text":"`;
  return `${head}${"x".repeat(bytes - head.length - 2)}"}`;
}

const stuck = (what: string): Error =>
  new Error(`${what} did not move for ${STILL_MS_MAX / 1_000} s`);

async function main(options: ProducerOptions): Promise<void> {
  const producer = new Producer(options);
  while (producer.rows < options.warmUpRows) producer.insert();
  producer.waitForAll();
  const warmUpRows = producer.rows;
  const lastWarmUpRow = producer.lastRow;
  await tell<Produced>({ kind: "started" });

  const startedAt = performance.now();
  const startedAtMs = performance.timeOrigin + startedAt;
  const end = startedAt + options.seconds * 1_000;
  let waitedMs = 0;
  while (performance.now() < end) {
    producer.insert();
    waitedMs += producer.waitForRoom();
  }
  if (options.endMark) producer.insertEnd();
  const insertingMs = performance.now() - startedAt;
  producer.waitForAll();
  const elapsedMs = performance.now() - startedAt;

  const result: Produced = {
    rows: producer.rows - warmUpRows,
    warmUpRows,
    startedAtMs,
    elapsedMs,
    insertingMs,
    waitedMs,
    warmUpFirstRow: producer.firstRow,
    firstRow: lastWarmUpRow + 1,
    lastRow: producer.lastRow,
  };
  await tell<Produced>({ kind: "finished", result });
}

await main(optionsOf<ProducerOptions>());
