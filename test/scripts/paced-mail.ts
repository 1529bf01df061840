// Messages at a steady rate, whatever becomes of those before them, and how long each took from its
// insert to `acknowledged` in the sender's table.

import { setTimeout as nap } from "node:timers/promises";
import type { TestDaemon } from "../daemon/harness.js";
import { quantileOf } from "../daemon/kill-rounds.js";
import { type Message, sendAll } from "../daemon/session-hosts.js";

const LOOK_MS = 1;

export interface PacedMail {
  readonly sent: number;
  /** How long each that was acknowledged took. */
  readonly ms: readonly number[];
  /** When each of those was due, of performance.now(). */
  readonly dueMs: readonly number[];
}

export interface Pace {
  readonly perSecond: number;
  /** Rows an insert at most; what could not be inserted in time is inserted late, and counts. */
  readonly atOnce: number;
  readonly message: Message;
  /** False ends it. */
  readonly goesOn: (spentMs: number, sent: number) => boolean;
  /** Wait for the last ones, ms. */
  readonly graceMs: number;
  /** Wait between two looks at the table, ms. */
  readonly lookMs?: number;
}

export async function pacedMail(from: TestDaemon, to: string, pace: Pace): Promise<PacedMail> {
  const { perSecond, atOnce, message, goesOn, graceMs, lookMs = LOOK_MS } = pace;
  const states = from.db
    .prepare("SELECT id FROM outbound_messages WHERE id >= ? AND state = 'acknowledged'")
    .pluck();
  /** When each row that is open was due. */
  const dueAt = new Map<number, number>();
  const [ms, dueMs]: [number[], number[]] = [[], []];
  let [sent, startedAt] = [0, performance.now()];
  const look = (): void => {
    const [oldest] = dueAt.keys();
    if (oldest === undefined) return;
    const now = performance.now();
    for (const id of states.all(oldest) as number[]) {
      const at = dueAt.get(id);
      if (at === undefined) continue;
      dueAt.delete(id);
      ms.push(now - at);
      dueMs.push(at);
    }
  };
  for (let now = startedAt; goesOn(now - startedAt, sent); now = performance.now()) {
    const due = Math.floor(((now - startedAt) * perSecond) / 1_000) + 1 - sent;
    if (due > 0) {
      const rows = sendAll(from, to, Array(Math.min(due, atOnce)).fill(message));
      for (const [n, id] of rows.entries()) {
        dueAt.set(id, startedAt + ((sent + n) * 1_000) / perSecond);
      }
      sent += rows.length;
    }
    look();
    await nap(lookMs);
  }
  const end = performance.now() + graceMs;
  while (dueAt.size > 0 && performance.now() < end) {
    look();
    await nap(lookMs);
  }
  return { sent, ms, dueMs };
}

/** p50, p99 and the worst, ms. */
export const quantilesOf = (values: readonly number[]): string =>
  [0.5, 0.99, 1].map((share) => quantileOf(values, share).toFixed(1)).join(" / ");
