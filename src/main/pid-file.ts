// The pid file: for people and service managers. We never trust it where the kernel can tell who
// holds the lock (instance.ts), and never write through a link that somebody put in its place.

import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { DaemonError, reasonOf } from "../shared/base/errors.js";

export interface PidFile {
  readonly path: string;
  /** Removes the file if it is still the one that was written. */
  remove(): void;
}

/** What a pid file says, and what is known of the file itself. */
export interface PidFileContent {
  readonly pid: number;
  readonly uid: number;
  readonly writtenAtMs: number;
}

/** Digits of a pid and a line end. */
const PID_FILE_BYTES_MAX = 32;

/**
 * Writes our pid and a line end, mode 0644, by a rename that replaces links instead of following
 * them.
 */
export function writePidFile(path: string): PidFile {
  refuseForeign(path);
  const temporary = `${path}.${process.pid}.${randomBytes(6).toString("hex")}`;
  try {
    const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
    const fd = openSync(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    writeSync(fd, `${process.pid}\n`);
    fchmodSync(fd, 0o644);
    const { dev, ino } = fstatSync(fd);
    closeSync(fd);
    renameSync(temporary, path);
    return { path, remove: () => removeIf(path, dev, ino) };
  } catch (error) {
    removeQuietly(temporary);
    throw new DaemonError(
      "ERR_PERMISSION",
      `pid file ${path} cannot be written: ${reasonOf(error)}`,
      "Name another with --pidfile, or make its directory writable to this user.",
      error,
    );
  }
}

/**
 * Reads a pid file; undefined when there is none. Refuses what is no plain file or holds no pid.
 */
export function readPidFile(path: string): PidFileContent | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw refused(path, code === "ELOOP" ? "is a symbolic link" : reasonOf(error));
  }
  try {
    const stats = fstatSync(fd);
    const isPlain = stats.isFile() && stats.size <= PID_FILE_BYTES_MAX;
    const digits = isPlain ? /^\s*(\d{1,10})\s*$/.exec(readFileSync(fd, "latin1")) : null;
    if (digits === null) throw refused(path, "holds no process id");
    return { pid: Number(digits[1]), uid: stats.uid, writtenAtMs: stats.mtimeMs };
  } finally {
    closeSync(fd);
  }
}

/** Refuses to replace a link, another user's file, or a file that is no pid file at all. */
function refuseForeign(path: string): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  const own = process.geteuid?.() ?? stats.uid;
  if (stats.uid !== own && stats.uid !== 0) throw refused(path, `belongs to user id ${stats.uid}`);
  if (stats.isFile() && stats.size === 0) return;
  // Refuses links too, whoever owns them.
  readPidFile(path);
}

const refused = (path: string, trouble: string): DaemonError =>
  new DaemonError(
    "ERR_FILE_MODE",
    `pid file ${path} ${trouble}`,
    "Remove it, or name another with --pidfile.",
  );

function removeIf(path: string, dev: number, ino: number): void {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats?.dev === dev && stats.ino === ino) unlinkSync(path);
  } catch {
    // After the privilege drop the directory may be closed to us; a stale pid file harms nobody, and
    // the next start replaces it.
  }
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // What could not be written need not be there.
  }
}
