// Hears of commits of other processes. Our clients touch a doorbell file after COMMIT; for all others
// the WAL is watched, whose change event comes before the commit can be seen. Where neither works,
// the poll of the caller finds it. No event is trusted: each only means "look".

import { existsSync, type FSWatcher, statSync, watch } from "node:fs";
import { reasonOf } from "../shared/base/errors.js";
import { lookAt, makePrivate } from "../shared/store/file-guard.js";

export const DOORBELL_SUFFIX = "-doorbell";

export interface WakeEvents {
  /** A client committed. */
  readonly onDoorbell: () => void;
  /** Somebody, maybe this very thread, writes to the WAL. */
  readonly onWal: () => void;
  readonly report: (sentence: string) => void;
}

export class Wake {
  readonly #path: string;
  readonly #events: WakeEvents;
  readonly #watchers = new Map<string, FSWatcher>();
  #reported = false;

  constructor(path: string, events: WakeEvents) {
    this.#path = path;
    this.#events = events;
  }

  /** Watches what is there. Called again now and then: files are removed and made anew. */
  start(): void {
    const doorbell = this.#path + DOORBELL_SUFFIX;
    try {
      if (lookAt(doorbell) === undefined) makePrivate(doorbell);
      if (statSync(doorbell).isFile()) this.#watch(doorbell, this.#events.onDoorbell);
    } catch (thrown) {
      this.#complain(thrown);
    }
    this.#watch(`${this.#path}-wal`, this.#events.onWal);
  }

  /** True while both files are watched. */
  get watching(): boolean {
    return this.#watchers.size === 2;
  }

  stop(): void {
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #watch(path: string, onEvent: () => void): void {
    if (this.#watchers.has(path) || !existsSync(path)) return;
    try {
      const watcher = watch(path, { persistent: false });
      this.#watchers.set(path, watcher);
      watcher.on("change", (kind) => {
        if (kind === "rename") this.#drop(path);
        onEvent();
      });
      watcher.on("error", () => this.#drop(path));
    } catch (thrown) {
      this.#complain(thrown);
    }
  }

  #drop(path: string): void {
    this.#watchers.get(path)?.close();
    this.#watchers.delete(path);
  }

  #complain(thrown: unknown): void {
    if (this.#reported) return;
    this.#reported = true;
    this.#events.report(
      `files cannot be watched (${reasonOf(thrown)}): new messages are found by polling, ` +
        "some 25 ms later",
    );
  }
}
