// Where log lines go: a file descriptor, a file of our own, or syslog by way of logger(1), since
// Node has no socket that reaches /dev/log. A sink never throws and never waits long: a line that
// cannot be written is counted by its caller and forgotten.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, constants, fstatSync, openSync, statSync, writeSync } from "node:fs";
import { DaemonError, reasonOf } from "../shared/base/errors.js";

/** Severity of a line, as syslog(3) numbers it. */
export type Priority = 3 | 4 | 6 | 7;

export interface Sink {
  /** What the lines go to, in a word or a path. */
  readonly name: string;
  /** Takes a line with its line end; false when it was lost. */
  write(line: string, priority: Priority): boolean;
  /**
   * Opens the target anew, after it was renamed. Throws DaemonError and goes on with the old one.
   */
  reopen(): void;
  /** Writes out what waits; bounded. */
  close(): Promise<void>;
}

/** Nap between two tries of a full pipe, and how many of them: 20 ms in all. */
const FULL_NAP_MS = 2;
const FULL_NAPS_MAX = 10;
/** Lines that wait for logger(1) at most, bytes. */
const QUEUE_LOGGER_BYTES_MAX = 1_048_576;
const LOGGER_PATHS = ["/usr/bin/logger", "/bin/logger"];
const LOGGER_DEADLINE_MS = 1_000;
const SYSLOG_SOCKET = "/dev/log";

const napCell = new Int32Array(new SharedArrayBuffer(4));

/** Writes to a descriptor that is open already, such as stdout. */
export class DescriptorSink implements Sink {
  readonly name: string;
  readonly #fd: number;
  readonly #withPriority: boolean;
  readonly #writer = new LineWriter();

  /** `withPriority`: each line starts with `<n>`, which journald reads and removes. */
  constructor(name: string, fd: number, withPriority: boolean) {
    this.name = name;
    this.#fd = fd;
    this.#withPriority = withPriority;
  }

  write(line: string, priority: Priority): boolean {
    return this.#writer.write(this.#fd, this.#withPriority ? `<${priority}>${line}` : line);
  }

  reopen(): void {}

  async close(): Promise<void> {}
}

/** Appends to a file, mode 0600, that is no link and that nobody else can write. */
export class FileSink implements Sink {
  readonly name: string;
  #fd: number;
  readonly #writer = new LineWriter();

  constructor(path: string) {
    this.name = path;
    this.#fd = openLogFile(path);
  }

  write(line: string): boolean {
    return this.#writer.write(this.#fd, line);
  }

  reopen(): void {
    const fd = openLogFile(this.name);
    closeSync(this.#fd);
    this.#fd = fd;
  }

  async close(): Promise<void> {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

/** Feeds logger(1) of util-linux, which reads the priority in front of each line. */
export class SyslogSink implements Sink {
  readonly name = "syslog";
  readonly #path: string;
  readonly #onLost: () => void;
  #child: ChildProcess | undefined;

  /** `onLost`: logger(1) ended by itself; called once until the next reopen. */
  constructor(path: string, onLost: () => void) {
    this.#path = path;
    this.#onLost = onLost;
    this.#start();
  }

  write(line: string, priority: Priority): boolean {
    const pipe = this.#child?.stdin;
    if (!pipe?.writable || pipe.writableLength > QUEUE_LOGGER_BYTES_MAX) return false;
    pipe.write(`<${priority}>${line}`);
    return true;
  }

  reopen(): void {
    if (this.#child === undefined) this.#start();
  }

  async close(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.ref();
    child.stdin?.end();
    const timer = setTimeout(() => child.kill(), LOGGER_DEADLINE_MS);
    await ended;
    clearTimeout(timer);
  }

  /** A session of its own, so that the interrupt key does not end it before our last line. */
  #start(): void {
    const options = ["-t", "securedgram", "-p", "daemon.notice", "--prio-prefix", "--size", "8192"];
    const child = spawn(this.#path, options, {
      detached: true,
      env: {},
      cwd: "/",
      stdio: ["pipe", "ignore", "ignore"],
    });
    const lost = (): void => {
      if (this.#child !== child) return;
      this.#child = undefined;
      this.#onLost();
    };
    child.once("error", lost);
    child.once("exit", lost);
    child.stdin.on("error", lost);
    child.unref();
    this.#child = child;
  }
}

/**
 * Path of a logger(1) that understands us, when there is a syslog to reach; else why there is none.
 */
export function findLogger(): { readonly path: string } | { readonly why: string } {
  if (!isSocket(SYSLOG_SOCKET)) return { why: `there is no ${SYSLOG_SOCKET}` };
  for (const path of LOGGER_PATHS) {
    const { stdout } = spawnSync(path, ["--version"], {
      encoding: "utf8",
      env: {},
      timeout: LOGGER_DEADLINE_MS,
    });
    if (stdout?.includes("util-linux")) return { path };
  }
  return { why: "logger(1) of util-linux is not installed" };
}

/** True when stderr is the journal's: systemd names its device and inode. */
export function stderrIsJournal(journalStream: string | undefined): boolean {
  if (journalStream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(2, { bigint: true });
    return journalStream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
}

/** Opens without following a link or waiting for a reader. */
function openLogFile(path: string): number {
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants;
  let fd: number;
  try {
    fd = openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (error) {
    const isLink = (error as NodeJS.ErrnoException).code === "ELOOP";
    throw new DaemonError(
      isLink ? "ERR_FILE_MODE" : "ERR_PERMISSION",
      isLink ? `log file ${path} is a symbolic link` : `log file ${path}: ${reasonOf(error)}`,
      isLink ? "Name the file itself." : "Make its directory writable to the daemon's user.",
      error,
    );
  }
  const refusal = logFileRefusal(fd, path);
  if (refusal === undefined) return fd;
  closeSync(fd);
  throw refusal;
}

function logFileRefusal(fd: number, path: string): DaemonError | undefined {
  const stats = fstatSync(fd);
  if (stats.isCharacterDevice()) return undefined;
  if (!stats.isFile()) {
    return new DaemonError("ERR_CONFIG", `log ${path} is no regular file`, "Name another.");
  }
  const own = process.geteuid?.() ?? stats.uid;
  if (stats.uid !== own && stats.uid !== 0) {
    return new DaemonError(
      "ERR_FILE_MODE",
      `log file ${path} belongs to user id ${stats.uid}`,
      `Run: chown ${own} ${path}`,
    );
  }
  if ((stats.mode & 0o022) === 0) return undefined;
  return new DaemonError(
    "ERR_FILE_MODE",
    `log file ${path} can be written by other users`,
    `Run: chmod go-w ${path}`,
  );
}

/** Whole lines to a descriptor, with a short patience for a full pipe. */
class LineWriter {
  #lineIsOpen = false;

  write(fd: number, line: string): boolean {
    const bytes = Buffer.from(this.#lineIsOpen ? `\n${line}` : line);
    let at = 0;
    let naps = 0;
    while (at < bytes.length) {
      try {
        at += writeSync(fd, bytes, at);
      } catch (error) {
        const isFull = (error as NodeJS.ErrnoException).code === "EAGAIN";
        if (!isFull || naps === FULL_NAPS_MAX) {
          this.#lineIsOpen ||= at > 0;
          return false;
        }
        naps += 1;
        Atomics.wait(napCell, 0, 0, FULL_NAP_MS);
      }
    }
    this.#lineIsOpen = false;
    return true;
  }
}
