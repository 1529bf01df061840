// What a start has to put right in the tables, in one transaction: rows that an earlier run had in
// hand, ids that would block the table, messages that an older daemon stored and did not acknowledge.

import { messageIdFromHex } from "../shared/protocol/message-id.js";
import type { StoreOpened } from "../shared/runtime/messages.js";
import { writeTransaction } from "../shared/store/busy.js";
import type { Connection } from "../shared/store/driver.js";
import { bringIdsDown } from "../shared/store/migrate.js";
import { WORKED } from "../shared/store/schema.js";
import { timeText } from "../shared/store/text-time.js";
import { noteAllDown } from "./peer-records.js";
import { readSealed } from "./sealed-spans.js";

/** Messages acknowledged for an older daemon at one start. */
const UNACKNOWLEDGED_MAX = 65_536;

export type Recovered = Pick<StoreOpened, "recoveredRows" | "sealed" | "unacknowledged">;

/** `now`: wall ms since the epoch. */
export function recover(db: Connection, now: number, deadlineMs: number): Recovered {
  return writeTransaction(
    db,
    () => {
      bringIdsDown(db);
      let recoveredRows = 0;
      for (const part of ["not_before IS NULL", "not_before IS NOT NULL"]) {
        recoveredRows += db
          .prepare(
            `UPDATE OR FAIL outbound_messages SET state = 'pending', updated_at = ?
             WHERE ${WORKED} AND ${part} AND state = 'sending'`,
          )
          .run(timeText(now)).changes;
      }
      const unacknowledged = acknowledgeOld(db, now);
      noteAllDown(db);
      noteStart(db, now);
      return { recoveredRows, unacknowledged, sealed: readSealed(db, now) };
    },
    { deadlineMs },
  );
}

/**
 * Always writes, for the sake of the sync: a run that was killed between writing to the log and syncing
 * it left rows that this run reads, and would acknowledge as known although a power failure takes them.
 * The commit of this transaction syncs the whole log.
 */
function noteStart(db: Connection, now: number): void {
  db.prepare(
    `INSERT INTO meta(key, value) VALUES ('started_at', ?)
     ON CONFLICT(key) DO UPDATE SET value = excluded.value`,
  ).run(timeText(now));
}

function acknowledgeOld(db: Connection, now: number): StoreOpened["unacknowledged"] {
  const found = db
    .prepare(
      `SELECT id, message_id, src_addr, src_port FROM inbound_messages
       WHERE state = 'received' ORDER BY id LIMIT ${UNACKNOWLEDGED_MAX}`,
    )
    .raw()
    .all() as [number, unknown, unknown, unknown][];
  const mark = db.prepare(
    `UPDATE OR FAIL inbound_messages SET state = ?, ack_sent = ?, ack_sent_at = ?, updated_at = ?
     WHERE id = ?`,
  );
  const text = timeText(now);
  const unacknowledged: { messageId: string; address: string; port: number }[] = [];
  for (const [id, messageId, address, port] of found) {
    const sound =
      typeof messageId === "string" &&
      messageIdFromHex(messageId) !== undefined &&
      typeof address === "string" &&
      typeof port === "number";
    if (sound) unacknowledged.push({ messageId, address, port });
    mark.run(sound ? "ack_sent" : "ack_failed", sound ? 1 : 0, sound ? text : null, text, id);
  }
  return unacknowledged;
}
