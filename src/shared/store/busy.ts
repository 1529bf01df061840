// Write transactions that wait for the one write lock of the file by short naps of their own.
// SQLite's busy handler backs off up to 100 ms a step and made the daemon wait 864 ms in a trial;
// naps of 0.2 ms take the lock within one producer's commit.

import { DaemonError } from "../base/errors.js";
import type { Connection, Statement } from "./driver.js";
import { isBusy } from "./sqlite-error.js";

/** One nap, ms. Source: store.md, contention. */
const NAP_MS = 0.2;
/** Naps after which somebody holds the lock for long, and a longer nap costs nothing. */
const NAPS_SHORT = 250;
const NAP_LONG_MS = 2;

const never = new Int32Array(new SharedArrayBuffer(4));

/** Blocks this thread. Precise to about 0.1 ms. */
export function nap(ms: number): void {
  Atomics.wait(never, 0, 0, ms);
}

interface Brackets {
  readonly begin: Statement;
  readonly commit: Statement;
  readonly rollback: Statement;
}
const bracketsOf = new WeakMap<Connection, Brackets>();

function brackets(db: Connection): Brackets {
  let found = bracketsOf.get(db);
  if (found === undefined) {
    found = {
      begin: db.prepare("BEGIN IMMEDIATE"),
      commit: db.prepare("COMMIT"),
      rollback: db.prepare("ROLLBACK"),
    };
    bracketsOf.set(db, found);
  }
  return found;
}

/**
 * Runs `work` between BEGIN IMMEDIATE and COMMIT and returns its result once the commit is synced;
 * rolls back when it throws. ERR_DB_BUSY when the lock was not to be had within `deadlineMs`.
 * Blocks the thread while it waits.
 */
export function writeTransaction<T>(
  db: Connection,
  work: () => T,
  options: { readonly deadlineMs: number },
): T {
  const { begin, commit, rollback } = brackets(db);
  whenFree(() => begin.run(), options.deadlineMs);
  try {
    const result = work();
    commit.run();
    return result;
  } catch (thrown) {
    if (db.inTransaction) {
      try {
        rollback.run();
      } catch {
        // SQLite rolled back by itself; what it threw first says why.
      }
    }
    throw thrown;
  }
}

/**
 * Runs `step`, again and again while SQLite says busy; ERR_DB_BUSY after `deadlineMs`. What it throws
 * has no stack: busy is an answer, and a trace makes it five times as dear (speed.md, traps).
 */
export function whenFree<T>(step: () => T, deadlineMs: number): T {
  let startedAt = 0;
  for (let naps = 0; ; naps++) {
    try {
      return withoutTrace(step);
    } catch (thrown) {
      if (!isBusy(thrown)) throw thrown;
      const now = performance.now();
      if (naps === 0) startedAt = now;
      if (now - startedAt >= deadlineMs) throw busyFor(deadlineMs, thrown);
      nap(naps < NAPS_SHORT ? NAP_MS : NAP_LONG_MS);
    }
  }
}

function withoutTrace<T>(step: () => T): T {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return step();
  } finally {
    Error.stackTraceLimit = limit;
  }
}

const busyFor = (deadlineMs: number, cause: unknown): DaemonError =>
  new DaemonError(
    "ERR_DB_BUSY",
    `another process holds the database's write lock for more than ${deadlineMs} ms`,
    "end that process or its transaction, then try again",
    cause,
  );
