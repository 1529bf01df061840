// Waiting for the write lock in a program that has other things to do: the thread is blocked for short
// naps only, which take the lock within a producer's or the daemon's commit; between them it is free.

import { setTimeout as delay } from "node:timers/promises";
import { DaemonError } from "../shared/base/errors.js";
import { writeTransaction } from "../shared/store/busy.js";
import type { Connection } from "../shared/store/driver.js";

/** The thread is blocked for at most this long at a time, ms, beside the transaction itself. */
const BLOCKED_MS_MAX = 2;
/** Between two tries, ms. */
const PAUSE_MS = 1;

export const isBusyError = (thrown: unknown): boolean =>
  thrown instanceof DaemonError && thrown.code === "ERR_DB_BUSY";

/** One try; throws ERR_DB_BUSY when the lock is not to be had at once. Blocks the thread meanwhile. */
export function tryWrite<T>(db: Connection, work: () => T): T {
  return writeTransaction(db, work, { deadlineMs: BLOCKED_MS_MAX });
}

/** Resolves when the next try may be made. */
export const pause = (): Promise<void> => delay(PAUSE_MS);

/**
 * Runs `work` in a write transaction and resolves with its result once the commit is synced. Tries for
 * `deadlineMs`, then rejects with ERR_DB_BUSY. `work` may run more than once.
 */
export async function writePatiently<T>(
  db: Connection,
  work: () => T,
  deadlineMs: number,
): Promise<T> {
  const endAt = performance.now() + deadlineMs;
  for (;;) {
    try {
      return tryWrite(db, work);
    } catch (thrown) {
      if (!isBusyError(thrown)) throw thrown;
      if (performance.now() >= endAt) throw busyFor(deadlineMs, thrown);
    }
    await pause();
  }
}

export const busyFor = (deadlineMs: number, cause: unknown): DaemonError =>
  new DaemonError(
    "ERR_DB_BUSY",
    `another process holds the database's write lock for more than ${deadlineMs} ms`,
    "end that process or its transaction, then try again",
    cause,
  );
