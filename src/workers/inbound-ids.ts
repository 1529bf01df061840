// Ids of new inbound rows. The daemon gives them itself: an id near 2^63 that some program wrote would
// end those that SQLite gives, and a trigger against it makes SQLite copy every row of a statement
// that inserts many (1.4 us a row, the store bench).

import type { Connection, Statement } from "../shared/store/driver.js";
import { ID_SANE_MAX } from "../shared/store/migrate.js";

export class InboundIds {
  readonly #newest: Statement;
  readonly #sequence: Statement;
  #next: number | undefined;

  constructor(db: Connection) {
    this.#newest = db
      .prepare(`SELECT max(id) FROM inbound_messages WHERE id <= ${ID_SANE_MAX}`)
      .pluck();
    this.#sequence = db
      .prepare(
        `SELECT seq FROM sqlite_sequence WHERE name = 'inbound_messages' AND seq <= ${ID_SANE_MAX}`,
      )
      .pluck();
  }

  /** At the start of each transaction: others may have inserted, too. */
  begin(): void {
    this.#next = undefined;
  }

  /** The first of so many ids that follow one another, and were never given; a copy uses one up. */
  take(rows: number): number {
    const newest = (): number => (this.#newest.get() as number | null) ?? 0;
    const sequence = (): number => (this.#sequence.get() as number | undefined) ?? 0;
    this.#next ??= Math.max(0, newest(), sequence()) + 1;
    const first = this.#next;
    this.#next += rows;
    return first;
  }
}
