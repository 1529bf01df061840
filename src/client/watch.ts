// Waits for commits of other processes. The WAL file changes before a commit can be seen (frames,
// sync, then the shared index, which raises no event), so each event is followed by looks at
// PRAGMA data_version with growing naps, and what slips through is found by the slow poll.
// Never holds a read transaction while it waits.

import { type FSWatcher, watch } from "node:fs";
import type { Connection, Statement } from "../shared/store/driver.js";

/** Waits between the looks after an event, ms: a sync takes 0.3 to 100 ms. */
const LOOKS_MS: readonly number[] = [0, 1, 1, 2, 4, 8, 16, 32, 64, 128];
/** Longest wait between two looks where events come, and where the system has none, ms. */
const POLL_WATCHED_MS = 250;
const POLL_BLIND_MS = 25;
/**
 * Events that nobody waited for, after which the files are watched no longer. Our own commits raise them,
 * too: they made a program that only sends spend 8 us a row on them.
 */
const VAIN_EVENTS_MAX = 16;

/** A mark to compare with; differs once another connection has committed. */
export type Version = string;

/** A database file that is watched, and a connection to it. */
export interface Watched {
  readonly path: string;
  readonly db: Connection;
}

export class CommitWatch {
  readonly #files: readonly Watched[];
  readonly #versions: readonly Statement[];
  #watchers: readonly (FSWatcher | undefined)[] = [];
  #vainEvents = 0;
  #stirs = 0;
  readonly #pollMs: number | undefined;
  readonly #wakes = new Set<() => void>();
  #closed = false;

  /**
   * `pollMs`: longest wait between two looks when no event comes; if absent, 250 ms, or 25 ms where the
   * system cannot watch files.
   */
  constructor(files: readonly Watched[], pollMs?: number) {
    this.#versions = files.map(({ db }) => db.prepare("PRAGMA data_version").pluck());
    this.#files = files;
    this.#pollMs = pollMs;
  }

  /** The mark of now. Take it before the query whose answer may be outdated later. */
  version(): Version {
    return `${this.#versions.map((version) => String(version.get())).join(" ")} ${this.#stirs}`;
  }

  /** Wakes all who wait for a commit on these very connections, of which SQLite tells them nothing. */
  stir(): void {
    this.#stirs += 1;
    this.#wake();
  }

  /**
   * Resolves when another process has committed since `seen`, when `signal` aborts, after `withinMs`,
   * or when the watch is closed. Any number may wait at a time.
   */
  async changedSince(seen: Version, signal: AbortSignal, withinMs = Infinity): Promise<void> {
    const endAt = performance.now() + withinMs;
    this.#watchFiles();
    const stop = (): void => this.#wake();
    signal.addEventListener("abort", stop);
    try {
      // An event may have come while nobody waited, so begin with the short looks.
      let look = 0;
      while (!this.#closed && !signal.aborted && this.version() === seen) {
        const leftMs = endAt - performance.now();
        if (leftMs <= 0) return;
        const waitMs = Math.min(LOOKS_MS[look] ?? Infinity, this.#pollWait(), Math.ceil(leftMs));
        look = (await this.#event(waitMs)) ? 0 : look + 1;
      }
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /** Ends every wait. The connections stay the caller's. */
  close(): void {
    this.#closed = true;
    this.#watchFilesNoMore();
    this.#wake();
  }

  #watchFiles(): void {
    this.#vainEvents = 0;
    if (this.#watchers.length > 0 || this.#closed) return;
    const heard = (): void => {
      if (this.#wakes.size > 0) this.#wake();
      else if (++this.#vainEvents > VAIN_EVENTS_MAX) this.#watchFilesNoMore();
    };
    this.#watchers = this.#files.map(({ path }) => watchFile(`${path}-wal`, heard));
  }

  #watchFilesNoMore(): void {
    for (const watcher of this.#watchers) watcher?.close();
    this.#watchers = [];
  }

  #pollWait(): number {
    const blind = this.#watchers.includes(undefined);
    return this.#pollMs ?? (blind ? POLL_BLIND_MS : POLL_WATCHED_MS);
  }

  #wake(): void {
    for (const wake of [...this.#wakes]) wake();
  }

  /** True when woken, false when the time is over. */
  #event(waitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (woken: boolean): void => {
        clearTimeout(timer);
        this.#wakes.delete(wake);
        resolve(woken);
      };
      const timer = setTimeout(done, waitMs, false);
      const wake = (): void => done(true);
      this.#wakes.add(wake);
    });
  }
}

/** Undefined where the system has no room for another watch, or the file is not there. */
function watchFile(path: string, onChange: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(path, { persistent: false }, onChange);
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}
