// The files of the open database by their identities. SQLite goes on with files whose names are gone, and
// what it commits there dies with the process: this notices, and saves what was committed.

import { statSync } from "node:fs";
import { DaemonError } from "../shared/base/errors.js";
import type { Connection } from "../shared/store/driver.js";
import { makePrivate, removeAll } from "../shared/store/file-guard.js";
import { timeText } from "../shared/store/text-time.js";

export class OpenFiles {
  readonly #path: string;
  readonly #log: string;
  readonly #identity: string;
  readonly #logIdentity: string;

  /** `path`: of a database that is open, and was read from, so that its log is there. */
  constructor(path: string) {
    this.#path = path;
    this.#log = `${path}-wal`;
    this.#identity = identityOf(this.#path);
    this.#logIdentity = identityOf(this.#log);
  }

  /** Throws when a name is gone or stands for another file. What the database holds is saved first. */
  check(db: Connection): void {
    if (this.#isLost) {
      const saved = this.#save(db);
      throw new DaemonError(
        "ERR_DB_IO",
        `${this.#path} was deleted or replaced while it was in use; ${
          saved === undefined ? "its content could not be saved" : `its content is in ${saved}`
        }`,
        saved === undefined
          ? "put the file back, then start the daemon again"
          : `find out who did it, move ${saved} to its place, then start the daemon again`,
      );
    }
    if (identityOf(this.#log) !== this.#logIdentity) {
      throw new DaemonError(
        "ERR_DB_IO",
        `${this.#log} was deleted or replaced while it was in use`,
        "find out who did it, then start the daemon again; the database has what the log had",
      );
    }
  }

  /** Length of the log, bytes. */
  get logBytes(): number {
    return statSync(this.#log, { throwIfNoEntry: false })?.size ?? 0;
  }

  get #isLost(): boolean {
    return identityOf(this.#path) !== this.#identity;
  }

  /**
   * Writes everything that is committed to a file beside the lost one; its path, or undefined. The log
   * goes: whatever file takes the place of the lost one, its pages would be laid over that one's.
   */
  #save(db: Connection): string | undefined {
    const saved = `${this.#path}.saved-${timeText(Date.now()).replace(/\D/g, "")}`;
    try {
      makePrivate(saved);
      db.prepare("VACUUM INTO ?").run(saved);
    } catch {
      quietly(() => removeAll([saved]));
      return undefined;
    }
    // Whoever moved the file and moves it back finds it complete as well.
    quietly(() => db.pragma("wal_checkpoint(TRUNCATE)"));
    if (identityOf(this.#log) === this.#logIdentity) quietly(() => removeAll([this.#log]));
    return saved;
  }
}

/** The daemon ends with the loss of its file; what goes wrong while it tidies up adds nothing. */
function quietly(work: () => void): void {
  try {
    work();
  } catch {
    // See above.
  }
}

/** Device and inode that a path names; "" when it names nothing. */
function identityOf(path: string): string {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats === undefined ? "" : `${stats.dev}:${stats.ino}`;
}
