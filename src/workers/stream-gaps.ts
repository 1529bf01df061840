// Notices of ordered messages that never came, for whoever reads a stream: at most a thousand of each
// peer, since a peer can cause one with every message.

import { BOOT_ID_BYTES } from "../shared/protocol/session/limits.js";
import type { DeliveryBatchReader } from "../shared/runtime/delivery-batch.js";
import type { Connection, Statement } from "../shared/store/driver.js";

/** Notices kept of one peer; beyond, the oldest go first. */
export const STREAM_GAPS_MAX = 1_000;
/** Notices above that before they are trimmed: sorting a thousand is not for every message. */
const TRIM_AT_EXCESS = 128;

export class StreamGaps {
  readonly #insert: Statement;
  readonly #count: Statement;
  readonly #trim: Statement;
  /** Never less than there are: a transaction that fails leaves it too high. */
  readonly #counts = new Map<string, number>();

  constructor(db: Connection) {
    this.#insert = db.prepare(
      `INSERT INTO stream_gaps(peer, stream, boot, first, last, noticed_at) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT(peer, stream, boot, first) DO UPDATE SET last = max(last, excluded.last)`,
    );
    this.#count = db.prepare("SELECT count(*) FROM stream_gaps WHERE peer = ?").pluck();
    // The unary plus keeps SQLite from walking over the notices of all peers.
    this.#trim = db.prepare(
      `DELETE FROM stream_gaps WHERE peer = ? AND id <= (SELECT id FROM stream_gaps
         WHERE peer = ? ORDER BY +id DESC LIMIT 1 OFFSET ${STREAM_GAPS_MAX})`,
    );
  }

  /** Inside a transaction: notes the gap in front of the message at the cursor. `now`: text. */
  note(record: DeliveryBatchReader, now: string): void {
    const { scope } = record;
    const boot = Buffer.from(record.bytes.buffer, record.bootAt, BOOT_ID_BYTES);
    const before = this.#counts.get(scope) ?? (this.#count.get(scope) as number);
    this.#insert.run(scope, record.stream, boot, record.gapFirst, record.gapLast, now);
    const trims = before + 1 > STREAM_GAPS_MAX + TRIM_AT_EXCESS;
    if (trims) this.#trim.run(scope, scope);
    this.#counts.set(scope, trims ? STREAM_GAPS_MAX : before + 1);
  }
}
