// An exclusive lock on a file that the kernel drops when the process ends, however it ends. Node
// has no flock, SQLite has: an exclusive transaction on an empty database that is never written.

import { assert } from "../base/assert.js";
import { type Connection, connect } from "./driver.js";

/** Held locks by path; also keeps the connections from being collected. */
const held = new Map<string, Connection>();

/**
 * Locks the file at `path`, which exists and is empty; false when another process has it. The lock
 * is the process's: it is lost as soon as any descriptor of the file is closed in this process, so
 * from here on nothing in it may open the file.
 */
export function acquireLock(path: string): boolean {
  assert(!held.has(path), "nobody asks for a lock that this process has");
  const connection = connect(path, { timeout: 0, fileMustExist: true });
  try {
    // No data, so no journal beside the file either.
    connection.pragma("journal_mode = MEMORY");
    connection.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    connection.close();
    const code = (error as { readonly code?: unknown }).code;
    if (typeof code === "string" && code.startsWith("SQLITE_BUSY")) return false;
    throw error;
  }
  held.set(path, connection);
  return true;
}

/**
 * Gives the lock back; the file stays, so that two starters can never lock two files of one name.
 */
export function releaseLock(path: string): void {
  held.get(path)?.close();
  held.delete(path);
}

/** True when this process has the lock. */
export const holdsLock = (path: string): boolean => held.has(path);
