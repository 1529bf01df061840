// The producer of bench/soak, a process of its own: commits through our client, every 20 ms what has come
// due meanwhile. What it could not keep up with, it makes up for, while the backlog has room.

import { setTimeout as nap } from "node:timers/promises";
import type { Draft } from "../src/client/drafts.js";
import { ENQUEUE_ROWS_MAX, Outbox } from "../src/client/outbox.js";
import { openDatabase } from "../src/shared/store/open.js";
import { optionsOf, tell } from "./child.js";
import { BACKLOG_ROWS } from "./end-to-end.js";
import { textMessage } from "./payload.js";
import { oldestWaiting } from "./waiting.js";

export interface SoakProducerOptions {
  readonly database: string;
  readonly address: string;
  readonly port: number;
  readonly bytes: number;
  readonly perSecond: number;
  readonly seconds: number;
}

export interface SoakProduced {
  readonly rows: number;
  readonly seconds: number;
  /** How far behind its plan it was at most, in rows. */
  readonly behindMax: number;
  /** From the last insert to the last acknowledgement, ms. */
  readonly drainMs: number;
}

const TERMS = { priority: "normal", notBefore: undefined, expiresAt: undefined } as const;
const TICK_MS = 20;
/** Between two looks while the backlog is full. */
const ROOM_NAP_MS = 5;
const LOOK_MS = 20;
const STILL_MS_MAX = 60_000;

async function main(options: SoakProducerOptions): Promise<void> {
  const { database, address, port, bytes, perSecond, seconds } = options;
  const db = openDatabase(database, { role: "client", create: false });
  const outbox = new Outbox(database, db);
  const oldest = oldestWaiting(db);
  const oldestRow = (): number | undefined => oldest({ address, port });
  let rows = 0;
  let lastRow = 0;
  const hasRoom = (): boolean => lastRow - (oldestRow() ?? lastRow) < BACKLOG_ROWS;
  const insert = (count: number): void => {
    const drafts: Draft[] = [];
    for (let i = Math.min(count, ENQUEUE_ROWS_MAX); i > 0; i--) {
      const { hex, text } = textMessage(rows++, bytes);
      drafts.push({ payload: text, messageId: hex });
    }
    const rowIds = outbox.enqueue({ address, port }, TERMS, drafts);
    lastRow = rowIds[rowIds.length - 1];
  };

  await tell<SoakProduced>({ kind: "started" });
  const startedAt = performance.now();
  const end = startedAt + seconds * 1_000;
  const usual = Math.ceil((2 * TICK_MS * perSecond) / 1_000);
  let behindMax = 0;
  for (let now = startedAt; now < end; now = performance.now()) {
    const due = Math.floor(((now - startedAt) * perSecond) / 1_000);
    behindMax = Math.max(behindMax, due - rows - usual);
    while (rows < due && performance.now() < end && hasRoom()) insert(due - rows);
    await nap(rows < due ? ROOM_NAP_MS : TICK_MS);
  }
  const lastAt = performance.now();
  while (oldestRow() !== undefined) {
    if (performance.now() > lastAt + STILL_MS_MAX) throw new Error("rows are left that wait");
    await nap(LOOK_MS);
  }
  const drainMs = performance.now() - lastAt;
  await tell<SoakProduced>({ kind: "finished", result: { rows, seconds, behindMax, drainMs } });
}

await main(optionsOf<SoakProducerOptions>());
