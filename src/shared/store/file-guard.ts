// What is checked, and made, in the file system before SQLite sees a path: nobody else may read the
// queue, and a file that is no whole database must never pass for an empty one.

import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  type Stats,
  statfsSync,
  unlinkSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { DaemonError, reasonOf } from "../base/errors.js";

/** Mode of the database, its -wal and -shm, and the doorbell. */
export const PRIVATE_MODE = 0o600;
/** SQLite keeps these next to the database while it is open. */
export const COMPANIONS = ["-wal", "-shm"] as const;

const OTHERS_MASK = 0o077;
const HEADER_BYTES = 100;
const MAGIC = "SQLite format 3\0";
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;
/** f_type of NFS, SMB, CIFS and SMB2: WAL needs memory shared between all users of the file. */
const NETWORK_FILE_SYSTEMS: readonly number[] = [0x6969, 0x517b, 0xff534d42, 0xfe534d42];

/** What link(2) says on a file system without hard links. */
const NO_LINKS: readonly string[] = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"];

const errorCode = (thrown: unknown): string =>
  thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";

/** The path that SQLite is given: absolute, and not one that its driver would change. */
export function databasePath(path: string): string {
  if (path === "" || path.includes("\0") || path.trim() !== path) {
    throw new DaemonError(
      "ERR_CONFIG",
      `not a database path: ${JSON.stringify(path)}`,
      "name a file, without white space at the ends",
    );
  }
  return resolve(path);
}

/** lstat, or undefined when nothing is there; ERR_PERMISSION or ERR_DB_OPEN otherwise. */
export function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (thrown) {
    if (errorCode(thrown) === "ENOENT") return undefined;
    throw unusable(path, thrown);
  }
}

export function unusable(path: string, thrown: unknown): DaemonError {
  const denied = ["EACCES", "EPERM", "EROFS"].includes(errorCode(thrown));
  return new DaemonError(
    denied ? "ERR_PERMISSION" : "ERR_DB_OPEN",
    `cannot use ${path}: ${reasonOf(thrown)}`,
    denied
      ? "run as the user of the daemon, or grant that user the folder"
      : "make the folder, or correct the path",
    thrown,
  );
}

/**
 * Refuses what others may read or replace: modes beyond 0600, links, anything but a regular file, a
 * stranger's file. Root, when it runs a client, may use the daemon's file.
 */
export function requirePrivate(path: string, stats: Stats, role: "daemon" | "client"): void {
  if (!stats.isFile()) {
    const kind = stats.isSymbolicLink() ? "a symbolic link" : "no regular file";
    throw new DaemonError(
      "ERR_FILE_MODE",
      `${path} is ${kind}`,
      "name the database file itself, and remove what lies at this path",
    );
  }
  const own = process.geteuid?.() ?? stats.uid;
  const trusted = stats.uid === own || stats.uid === 0 || (own === 0 && role === "client");
  if (!trusted) {
    throw new DaemonError(
      "ERR_FILE_MODE",
      `${path} belongs to user ${stats.uid}, not to user ${own} who runs this`,
      `run as its owner, or as root: chown ${own} ${path}`,
    );
  }
  if ((stats.mode & OTHERS_MASK) !== 0) {
    const mode = (stats.mode & 0o777).toString(8).padStart(4, "0");
    throw new DaemonError(
      "ERR_FILE_MODE",
      `${path} has mode ${mode}: other users of this host can get at the messages`,
      `run: chmod 0600 ${path}`,
    );
  }
}

/** Refuses a file that is no whole database. `walBytes`: length of the -wal beside it. */
export function requireWholeFile(path: string, walBytes: number): void {
  const header = Buffer.alloc(HEADER_BYTES);
  let bytes: number;
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      bytes = fstatSync(file).size;
      readSync(file, header, 0, HEADER_BYTES, 0);
    } finally {
      closeSync(file);
    }
  } catch (thrown) {
    throw unusable(path, thrown);
  }
  const why = wholeFileFault(header, bytes, walBytes);
  if (why !== undefined) throw damaged(path, why);
}

function wholeFileFault(header: Buffer, bytes: number, walBytes: number): string | undefined {
  if (bytes === 0) return "it is empty";
  if (header.toString("latin1", 0, MAGIC.length) !== MAGIC) return "it is no SQLite database";
  const stated = header.readUInt16BE(16);
  const pageBytes = stated === 1 ? PAGE_BYTES_MAX : stated;
  if (pageBytes < PAGE_BYTES_MIN || (pageBytes & (pageBytes - 1)) !== 0) {
    return `its header states pages of ${stated} bytes`;
  }
  // With a log beside it, a crash may have left the file shorter than its header says: SQLite
  // knows from the log. Without one nothing may be missing.
  const pages = header.readUInt32BE(28);
  const pagesAreValid = header.readUInt32BE(24) === header.readUInt32BE(92);
  if (walBytes === 0 && pagesAreValid && pages * pageBytes > bytes) {
    return `it has ${bytes} bytes of ${pages * pageBytes}`;
  }
  return undefined;
}

export const damaged = (path: string, why: string): DaemonError =>
  new DaemonError(
    "ERR_DB_DAMAGED",
    `${path} is damaged: ${why}`,
    "restore it from a backup (with its -wal), or move it away to begin with an empty queue",
  );

/** Refuses file systems on which two processes do not share a WAL index. */
export function requireLocal(path: string): void {
  let type: number;
  try {
    type = statfsSync(dirname(path)).type;
  } catch {
    return;
  }
  if (!NETWORK_FILE_SYSTEMS.includes(type)) return;
  throw new DaemonError(
    "ERR_DB_OPEN",
    `${path} is on a network file system, where SQLite's log loses commits`,
    "put the database on a local disk",
  );
}

/** Makes an empty file of mode 0600 whatever the umask; throws EEXIST when something is there. */
export function makePrivate(path: string): void {
  const flags = constants.O_CREAT | constants.O_EXCL | constants.O_RDWR | constants.O_NOFOLLOW;
  const file = openSync(path, flags, PRIVATE_MODE);
  try {
    fchmodSync(file, PRIVATE_MODE);
  } finally {
    closeSync(file);
  }
}

/** Gives a finished file its name, in one step and never over another; false when the name is taken. */
export function putInPlace(from: string, to: string): boolean {
  syncPath(from);
  try {
    linkSync(from, to);
  } catch (thrown) {
    if (errorCode(thrown) === "EEXIST") return false;
    if (!NO_LINKS.includes(errorCode(thrown))) throw unusable(to, thrown);
    // No hard links here: two daemons that start in the same moment could replace each other's file.
    if (lookAt(to) !== undefined) return false;
    renameSync(from, to);
  }
  removeAll([from]);
  syncFolderOf(to);
  return true;
}

/**
 * Makes the names in a file's folder durable. SQLite does so too when it makes a file, and does not
 * look at the result: a log whose name a power failure takes away takes the commits in it along.
 */
export function syncFolderOf(path: string): void {
  const folder = dirname(path);
  try {
    syncPath(folder);
  } catch (thrown) {
    throw new DaemonError(
      "ERR_DB_IO",
      `the system failed to sync the folder ${folder}: ${reasonOf(thrown)}`,
      "check the disk, then start again; a power failure could take the database's files away",
      thrown,
    );
  }
}

function syncPath(path: string): void {
  const file = openSync(path, constants.O_RDONLY);
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Removes files that may not be there. */
export function removeAll(paths: readonly string[]): void {
  for (const path of paths) {
    try {
      unlinkSync(path);
    } catch (thrown) {
      if (errorCode(thrown) !== "ENOENT") throw thrown;
    }
  }
}
