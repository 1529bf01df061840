// Keeps the write-ahead log short. SQLite begins it anew only when a writer finds all of it copied into
// the database; where two processes write without a pause, one always commits behind the other's
// checkpoint, and the log grows with every commit. Then it takes a checkpoint that holds the write lock.

import { nap } from "./busy.js";
import type { Connection } from "./driver.js";

/** What the file of a log is cut back to; longer means that it was not begun anew for long. */
export const WAL_BYTES_KEPT = 64 * 1_024 * 1_024;
/** Between two tries while others write or read, ms. */
const NAP_MS = 0.5;

/**
 * Copies the log into the database and lets the next writer begin it anew; false: readers or writers
 * were in the way for `deadlineMs`. Blocks the thread; other writers wait for the part of the copying
 * that is left once the log was copied beside them.
 */
export function restartLog(db: Connection, deadlineMs: number): boolean {
  const startedAt = performance.now();
  db.pragma("wal_checkpoint(PASSIVE)");
  for (;;) {
    const [row] = db.pragma("wal_checkpoint(RESTART)") as { readonly busy: number }[];
    if (row?.busy === 0) return true;
    if (performance.now() - startedAt >= deadlineMs) return false;
    nap(NAP_MS);
  }
}
