// Waits for commits of other processes. The WAL file changes before a commit can be seen (frames,
// sync, then the shared index, which raises no event), so each event is followed by looks at
// PRAGMA data_version with growing naps, and what slips through is found by the slow poll.
// Never holds a read transaction while it waits.

import { type FSWatcher, watch } from "node:fs";
import type { Connection, Statement } from "../../shared/store/driver.js";

/** Waits between the looks after an event, ms: a sync takes 0.3 to 100 ms. */
const LOOKS_MS: readonly number[] = [0, 1, 1, 2, 4, 8, 16, 32, 64, 128];

/** A mark to compare with; differs once another connection has committed. */
export type Version = number;

export class CommitWatch {
  readonly #version: Statement;
  readonly #watcher: FSWatcher | undefined;
  readonly #pollMs: number;
  #wake: (() => void) | undefined;

  /** `pollMs`: longest wait between two looks when no event comes. */
  constructor(path: string, db: Connection, pollMs: number) {
    this.#version = db.prepare("PRAGMA data_version").pluck();
    this.#pollMs = pollMs;
    this.#watcher = watchFile(`${path}-wal`, () => this.#wake?.());
  }

  /** The mark of now. Take it before the query whose answer may be outdated later. */
  version(): Version {
    return this.#version.get() as number;
  }

  /** Resolves when another process has committed since `seen`, or when `signal` aborts. */
  async changedSince(seen: Version, signal: AbortSignal): Promise<void> {
    const stop = (): void => this.#wake?.();
    signal.addEventListener("abort", stop);
    try {
      // An event may have come while nobody waited, so begin with the short looks.
      let look = 0;
      while (!signal.aborted && this.version() === seen) {
        const waitMs = LOOKS_MS[look] ?? this.#pollMs;
        look = (await this.#event(Math.min(waitMs, this.#pollMs))) ? 0 : look + 1;
      }
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  close(): void {
    this.#watcher?.close();
  }

  /** True when woken, false when the time is over. */
  #event(waitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (woken: boolean): void => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve(woken);
      };
      const timer = setTimeout(done, waitMs, false);
      this.#wake = () => done(true);
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
