// What each scope has in inbound_messages, for its quota, as the running transaction sees it.

import type { Connection, Statement } from "../shared/store/driver.js";

interface Usage {
  bytes: number;
  readonly deleted: boolean;
  rowsAdded: number;
  bytesAdded: number;
}

export class InboundUsage {
  readonly #read: Statement;
  readonly #add: Statement;
  readonly #of = new Map<string, Usage>();

  constructor(db: Connection) {
    this.#read = db.prepare("SELECT bytes, tombstones FROM inbound_usage WHERE peer = ?").raw();
    this.#add = db.prepare(
      `INSERT INTO inbound_usage(peer, rows, bytes) VALUES (?, ?, ?)
       ON CONFLICT(peer) DO UPDATE SET rows = rows + excluded.rows, bytes = bytes + excluded.bytes`,
    );
  }

  /** At the start of each transaction: other processes delete rows. */
  begin(): void {
    this.#of.clear();
  }

  /** Payload bytes of a scope in the table. */
  bytesOf(scope: string): number {
    return this.#usage(scope).bytes;
  }

  /** Something of the scope was deleted: ids that are not in the table may be known nevertheless. */
  deletedFrom(scope: string): boolean {
    return this.#usage(scope).deleted;
  }

  /** A row was inserted. */
  added(scope: string, bytes: number): void {
    const usage = this.#usage(scope);
    usage.bytes += bytes;
    usage.rowsAdded += 1;
    usage.bytesAdded += bytes;
  }

  /** At the end of each transaction, inside it. */
  write(): void {
    for (const [scope, usage] of this.#of) {
      if (usage.rowsAdded > 0) this.#add.run(scope, usage.rowsAdded, usage.bytesAdded);
    }
  }

  #usage(scope: string): Usage {
    let usage = this.#of.get(scope);
    if (usage === undefined) {
      const [bytes, tombstones] = (this.#read.get(scope) as [number, number] | undefined) ?? [0, 0];
      usage = { bytes, deleted: tombstones > 0, rowsAdded: 0, bytesAdded: 0 };
      this.#of.set(scope, usage);
    }
    return usage;
  }
}
