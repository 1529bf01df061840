// The doorbell: a file beside the database that producers touch after COMMIT, because SQLite tells no
// other process of one. The daemon watches it (inotify) and finds the rows that are already visible.
// It carries no information: a missing or unwritable bell costs a few ms until the daemon polls.

import { closeSync, constants, fchownSync, openSync, statSync, writeSync } from "node:fs";

/** Where the bell of a database hangs. */
export const doorbellPath = (database: string): string => `${database}-doorbell`;

const TOUCH = Uint8Array.of(0x0a);
const OWNER_ONLY = 0o600;

/** Rings the bell of `database`; never fails, never lets the file grow beyond a byte. */
export function ringDoorbell(database: string): void {
  const path = doorbellPath(database);
  try {
    // Not through a link: whoever may write the folder could aim our byte at another file.
    const flags = constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const bell = openOrHang(path, flags, database);
    try {
      writeSync(bell, TOUCH, 0, 1, 0);
    } finally {
      closeSync(bell);
    }
  } catch {
    // The row is committed; the daemon finds it when it polls.
  }
}

function openOrHang(path: string, flags: number, database: string): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const bell = openSync(path, flags | constants.O_CREAT, OWNER_ONLY);
  // A bell hung by root must be one that the owner of the database can watch.
  if (process.getuid?.() === 0) {
    const { uid, gid } = statSync(database);
    fchownSync(bell, uid, gid);
  }
  return bell;
}
