// The writes to single outbound rows, inside a transaction of the caller: an id into a row that has
// none, and the reason into a row that cannot be sent.

import { MESSAGE_ID_BYTES } from "../shared/protocol/constants.js";
import { messageIdToHex } from "../shared/protocol/message-id.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import { WORKED } from "../shared/store/schema.js";
import { sqliteCode } from "../shared/store/sqlite-error.js";
import { timeText } from "../shared/store/text-time.js";
import { type Circumstances, type Judged, judge, type RawRow } from "./outbound-row.js";

const CLOCK_BYTES = 6;
/** Made ids that may collide in a row before something else must be wrong. */
const COLLISIONS_MAX = 8;

export type Sendable = Extract<Judged, { payload: Uint8Array }>;

export class RowWriter {
  readonly #randomBytes: (into: Uint8Array) => void;
  readonly #now: () => number;
  readonly #setId: Statement;
  readonly #setIdOnly: Statement;
  readonly #current: Statement;
  readonly #fail: Statement;

  constructor(
    db: Connection,
    options: {
      /** Wall ms since the epoch. */
      readonly now: () => number;
      readonly randomBytes: (into: Uint8Array) => void;
    },
  ) {
    this.#randomBytes = options.randomBytes;
    this.#now = options.now;
    this.#setId = db.prepare(
      `UPDATE OR FAIL outbound_messages SET message_id = ?, payload = CAST(? AS TEXT), updated_at = ?
       WHERE id = ?`,
    );
    this.#setIdOnly = db.prepare(
      "UPDATE OR FAIL outbound_messages SET message_id = ?, updated_at = ? WHERE id = ?",
    );
    this.#current = db
      .prepare("SELECT generation, state FROM outbound_messages WHERE id = ?")
      .raw();
    this.#fail = db.prepare(
      `UPDATE OR FAIL outbound_messages SET state = 'send_failed', last_error = ?, updated_at = ?
       WHERE id = ? AND ${WORKED}`,
    );
  }

  /**
   * Twelve bytes: six of the ms clock, big-endian, and six random ones. Ids in the order of time
   * keep the unique index growing at one end: 3.7 us a row instead of 15 and more.
   */
  freshId(): Uint8Array {
    const id = new Uint8Array(MESSAGE_ID_BYTES);
    this.#randomBytes(id.subarray(CLOCK_BYTES));
    let clock = Math.max(0, Math.floor(this.#now()));
    for (let i = CLOCK_BYTES - 1; i >= 0; i--) {
      id[i] = clock % 256;
      clock = Math.floor(clock / 256);
    }
    return id;
  }

  /** Gives the row up with a reason. */
  fail(rowId: number, reason: string): void {
    this.#fail.run(reason, timeText(this.#now()), rowId);
  }

  /** Writes what `judged` says must be written; the row as it may leave, or why it may not. */
  write(row: RawRow, judged: Sendable, circumstances: Circumstances): Judged {
    const hadId = judged.writes === "payload";
    let attempt: Judged = judged;
    for (let collisions = 0; collisions < COLLISIONS_MAX; collisions++) {
      if ("refused" in attempt) return attempt;
      const id = messageIdToHex(attempt.id);
      try {
        const now = timeText(this.#now());
        if (attempt.session !== undefined) this.#setIdOnly.run(id, now, row[0]);
        else this.#setId.run(id, asBuffer(attempt.payload), now, row[0]);
        if (!hadId) return attempt;
        // To the triggers this is another payload, as it would be if its owner had written it.
        const [generation, state] = this.#current.get(row[0]) as [number, string];
        return { ...attempt, generation, released: state === "sent" };
      } catch (thrown) {
        if (!sqliteCode(thrown).startsWith("SQLITE_CONSTRAINT")) throw thrown;
        if (attempt.writes !== "id and payload" && attempt.writes !== "fresh id") {
          return { refused: `message_id ${id} is the id of another row; use a fresh one` };
        }
        attempt = judge(row, circumstances);
      }
    }
    return { refused: "no message_id is free; set one by hand" };
  }
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
