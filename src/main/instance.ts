// One daemon a database. Who runs is what the kernel says about the lock file beside the database,
// not what a pid file says: a file can be planted, a held lock cannot. `stop` signals a process
// only when it belongs to the owner of the lock file, so nobody can aim root's signal at a process
// of another.

import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as nap } from "node:timers/promises";
import { DaemonError, reasonOf } from "../shared/base/errors.js";
import { acquireLock, holdsLock, releaseLock } from "../shared/store/instance-lock.js";
import { readPidFile } from "./pid-file.js";
import { hasProc, isAlive, type ProcessFacts, processFacts } from "./process-facts.js";

export interface InstanceLock {
  readonly path: string;
  /** False when somebody removed or replaced the lock file: a second daemon could start. */
  isIntact(): boolean;
  release(): void;
}

/** The process that holds a database. */
export interface Holder {
  readonly pid: number;
  /** Wall clock, ms since the epoch; undefined where the system does not say. */
  readonly startedAtMs: number | undefined;
}

/** Where a daemon is looked for. */
export interface DaemonPlace {
  readonly db: string;
  readonly pidFile: string;
}

/**
 * First byte that SQLite locks for an exclusive transaction. Source: its file format, PENDING_BYTE.
 */
const LOCKED_BYTE = 0x4000_0000;
/** Wait between two looks at whether a process has ended, ms. */
const LOOK_MS = 20;
/** A file's time and a process's start are known to the second. */
const CLOCK_SLACK_MS = 2_000;
/** What a command line of ours contains: the program's name, or its entry file. */
const OUR_COMMAND = /securedgram|[/]cli\.js/;

/**
 * Takes the lock of a database for the life of this process, or throws ERR_ALREADY_RUNNING. Call it
 * as the user that the daemon runs as: the owner of the lock file is who may be stopped through it.
 */
export function holdInstanceLock(db: string): InstanceLock {
  const path = lockPathOf(db);
  if (holdsLock(path)) throw alreadyRunning(db, process.pid);
  const { dev, ino } = makeLockFile(path);
  let isHeld: boolean;
  try {
    isHeld = acquireLock(path);
  } catch (error) {
    if (error instanceof DaemonError) throw error;
    throw new DaemonError(
      "ERR_DB_OPEN",
      `lock file ${path}: ${reasonOf(error)}`,
      "Remove it, if no daemon runs.",
      error,
    );
  }
  if (!isHeld) throw alreadyRunning(db, lockHolder(db)?.pid);
  const isIntact = (): boolean => {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    return stats?.dev === dev && stats.ino === ino;
  };
  if (isIntact()) return { path, isIntact, release: () => releaseLock(path) };
  releaseLock(path);
  throw new DaemonError(
    "ERR_DB_OPEN",
    `lock file ${path} was replaced while it was being locked`,
    "See who writes to its directory.",
  );
}

/**
 * Who holds a database's lock, asked of the kernel. Undefined when nobody does, or it cannot tell.
 */
export function lockHolder(db: string): Holder | undefined {
  const path = lockPathOf(db);
  if (holdsLock(path))
    return { pid: process.pid, startedAtMs: processFacts(process.pid)?.startedAtMs };
  const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (!stats?.isFile()) return undefined;
  const pid = lockingPid(stats.dev, stats.ino);
  return pid === undefined ? undefined : { pid, startedAtMs: processFacts(pid)?.startedAtMs };
}

/**
 * The daemon of a database: by its lock, or where that cannot be seen, by a pid file that proves
 * true.
 */
export function findDaemon(place: DaemonPlace): Holder | undefined {
  return lockHolder(place.db) ?? pidFileHolder(place);
}

export interface StopOptions extends DaemonPlace {
  /** How long the daemon may take to end, ms. */
  readonly deadlineMs: number;
  /** Kill what has not ended by then. */
  readonly force?: boolean;
}

/**
 * Tells the daemon to end and waits until it has. Throws ERR_NOT_RUNNING, ERR_PERMISSION,
 * ERR_TIMEOUT.
 */
export async function stopDaemon(options: StopOptions): Promise<Holder> {
  const holder = findDaemon(options);
  if (holder === undefined) throw notRunning(options);
  const facts = verifiedFacts(holder, options);
  signal(facts, "SIGTERM");
  if (await ended(facts, options.deadlineMs)) return holder;
  if (options.force === true) {
    signal(facts, "SIGKILL");
    if (await ended(facts, options.deadlineMs)) return holder;
  }
  throw new DaemonError(
    "ERR_TIMEOUT",
    `the daemon (process ${holder.pid}) has not ended in ${options.deadlineMs / 1_000} s`,
    "See its log; what it holds is safe in the database.",
  );
}

/** Waits until the daemon has ended, at most `deadlineMs`. Returns at once when none runs. */
export async function pollDaemon(
  place: DaemonPlace,
  deadlineMs: number = Number.POSITIVE_INFINITY,
): Promise<Holder | undefined> {
  const holder = findDaemon(place);
  const facts = holder && processFacts(holder.pid);
  if (facts === undefined || (await ended(facts, deadlineMs))) return holder;
  throw new DaemonError(
    "ERR_TIMEOUT",
    `the daemon (process ${facts.pid}) still runs`,
    "Stop it with `securedgram stop`.",
  );
}

/** Lock file of a database: beside the file itself, whatever links lead there. */
export function lockPathOf(db: string): string {
  const path = resolve(db);
  try {
    return `${realpathSync(path)}-lock`;
  } catch {
    // No database yet: its directory decides.
  }
  try {
    return `${join(realpathSync(dirname(path)), basename(path))}-lock`;
  } catch {
    return `${path}-lock`;
  }
}

// --- Lock file ---------------------------------------------------------------------------------

/** Makes or judges the lock file. Opened and closed before the lock is taken, never after. */
function makeLockFile(path: string): { readonly dev: number; readonly ino: number } {
  const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants;
  let fd: number;
  try {
    fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw new DaemonError(
        "ERR_DB_OPEN",
        `the database's directory ${dirname(path)} does not exist`,
        "Make it, or name another database with --db.",
        error,
      );
    }
    const isLink = code === "ELOOP";
    const trouble = isLink ? "is a symbolic link" : `cannot be opened: ${reasonOf(error)}`;
    throw new DaemonError(
      isLink ? "ERR_FILE_MODE" : "ERR_PERMISSION",
      `lock file ${path} ${trouble}`,
      isLink ? "Remove it." : "Give the database's directory and this file to the daemon's user.",
      error,
    );
  }
  try {
    const stats = fstatSync(fd);
    const own = process.geteuid?.() ?? stats.uid;
    const trouble = !stats.isFile()
      ? "is no regular file"
      : stats.nlink !== 1
        ? "has a second name"
        : stats.uid !== own
          ? `belongs to user id ${stats.uid}`
          : (stats.mode & 0o077) !== 0
            ? "is open to other users"
            : undefined;
    if (trouble === undefined) {
      fchmodSync(fd, 0o600);
      return stats;
    }
    throw new DaemonError(
      "ERR_FILE_MODE",
      `lock file ${path} ${trouble}`,
      "Remove it, if no daemon runs.",
    );
  } finally {
    closeSync(fd);
  }
}

const alreadyRunning = (db: string, pid: number | undefined): DaemonError =>
  new DaemonError(
    "ERR_ALREADY_RUNNING",
    `a daemon${pid === undefined ? "" : ` (process ${pid})`} already serves ${db}`,
    "Stop it with `securedgram stop`, or name another database with --db.",
  );

/**
 * Process of a write lock on an inode. Lines: `1: POSIX ADVISORY WRITE 5849 fe:00:2146450 0 EOF`.
 */
export function lockingPid(
  dev: bigint,
  ino: bigint,
  locks: string | undefined = readLocks(),
): number | undefined {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xffff_f000n);
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xffff_ff00n);
  for (const line of locks?.split("\n") ?? []) {
    const match =
      /^\d+: POSIX +\S+ +WRITE (\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) (\d+) (\d+|EOF)$/.exec(line);
    if (match === null) continue;
    const [, pid, lineMajor, lineMinor, lineIno, first, last] = match;
    const isFile =
      BigInt(`0x${lineMajor}`) === major &&
      BigInt(`0x${lineMinor}`) === minor &&
      BigInt(lineIno) === ino;
    const end = last === "EOF" ? Number.POSITIVE_INFINITY : Number(last);
    const covers = Number(first) <= LOCKED_BYTE && LOCKED_BYTE <= end;
    if (isFile && covers && Number(pid) > 0) return Number(pid);
  }
  return undefined;
}

function readLocks(): string | undefined {
  try {
    return readFileSync("/proc/locks", "latin1");
  } catch {
    return undefined;
  }
}

// --- Pid file ----------------------------------------------------------------------------------

/**
 * Some file systems number their devices differently in /proc/locks; other systems have no /proc.
 */
function pidFileHolder({ db, pidFile }: DaemonPlace): Holder | undefined {
  const content = readPidFile(pidFile);
  const facts = content && processFacts(content.pid);
  if (content === undefined || facts === undefined) return undefined;
  const isProven = hasProc()
    ? hasOpen(facts.pid, lockPathOf(db))
    : OUR_COMMAND.test(facts.command) &&
      facts.startedAtMs <= content.writtenAtMs + CLOCK_SLACK_MS &&
      (content.uid === facts.uid || content.uid === 0);
  return isProven ? { pid: facts.pid, startedAtMs: facts.startedAtMs } : undefined;
}

/** True when a process has a file open; false too when we may not look. */
function hasOpen(pid: number, path: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`) === path;
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}

// --- Signals -----------------------------------------------------------------------------------

function notRunning({ db, pidFile }: DaemonPlace): DaemonError {
  const content = readPidFile(pidFile);
  const isOther = content !== undefined && processFacts(content.pid) !== undefined;
  const stale = isOther ? `; process ${content.pid} in ${pidFile} is another program` : "";
  return new DaemonError(
    "ERR_NOT_RUNNING",
    `no daemon serves ${db}${stale}`,
    "Start one with `securedgram start`.",
  );
}

/**
 * Facts about a holder that may be signalled: a process of ours, of the user who owns the lock
 * file.
 */
function verifiedFacts(holder: Holder, { db }: DaemonPlace): ProcessFacts {
  const facts = processFacts(holder.pid);
  const stats = lstatSync(lockPathOf(db), { throwIfNoEntry: false });
  if (facts === undefined || stats === undefined) {
    throw new DaemonError("ERR_NOT_RUNNING", "the daemon ended just now", "Nothing is to be done.");
  }
  const isOurs =
    stats.isFile() &&
    stats.nlink === 1 &&
    stats.uid === facts.uid &&
    OUR_COMMAND.test(facts.command);
  if (isOurs) return facts;
  throw new DaemonError(
    "ERR_PERMISSION",
    `process ${holder.pid} holds the lock of ${db} and does not look like its daemon`,
    "Look at it with ps, and end it yourself if that is right.",
  );
}

function signal(facts: ProcessFacts, name: "SIGTERM" | "SIGKILL"): void {
  if (!isAlive(facts)) return;
  try {
    process.kill(facts.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return;
    throw new DaemonError(
      "ERR_PERMISSION",
      `process ${facts.pid} belongs to another user`,
      "Run this as its user or as root.",
      error,
    );
  }
}

async function ended(facts: ProcessFacts, deadlineMs: number): Promise<boolean> {
  const end = performance.now() + deadlineMs;
  while (isAlive(facts)) {
    if (performance.now() > end) return false;
    await nap(LOOK_MS);
  }
  return true;
}
