// The check behind every end-to-end figure: what the sender calls acknowledged lies in the receiver's
// table, once, byte for byte. A figure of messages that were lost or stored twice is worth nothing.

import { openDatabase } from "../src/shared/store/open.js";

export interface Delivery {
  readonly sent: number;
  readonly acknowledged: number;
  readonly stored: number;
  /** ms from the first insert to the last row stored, by the tables' own times. */
  readonly storedMs: number;
}

/**
 * Compares the two files, both daemons stopped; throws when a message is missing, double, changed or
 * not acknowledged. Rows in front of `warmUpFirstRow` at the sender, and rows of the receiver from
 * another peer, are left out: they lay there before. `firstRow`: where the measured rows begin.
 */
export function verifyDelivery(
  sender: string,
  receiver: string,
  warmUpFirstRow: number,
  firstRow: number,
): Delivery {
  const db = openDatabase(sender, { role: "client", create: false });
  try {
    db.prepare("ATTACH DATABASE ? AS receiver").run(receiver);
    const count = (sql: string): number => db.prepare(sql).pluck().get() as number;
    const sent = count("SELECT count(*) FROM main.outbound_messages");
    const acknowledged = count(
      "SELECT count(*) FROM main.outbound_messages WHERE state = 'acknowledged'",
    );
    const stored = count("SELECT count(*) FROM receiver.inbound_messages");
    const distinct = count("SELECT count(DISTINCT message_id) FROM receiver.inbound_messages");
    const scope = db.prepare("SELECT peer FROM receiver.inbound_messages LIMIT 1").pluck().get();
    // Each in the words of its partial index.
    const from = scope === "" ? "i.peer = ''" : "i.peer = :scope AND i.peer <> ''";
    const same = db
      .prepare(
        `SELECT count(*) FROM main.outbound_messages AS o CROSS JOIN receiver.inbound_messages AS i
         ON ${from} AND i.message_id = o.message_id
         WHERE o.state = 'acknowledged' AND i.payload = o.payload`,
      )
      .pluck()
      .get(scope === "" ? {} : { scope });
    const found = { sent, acknowledged, stored, distinct, same };
    if (Object.values(found).some((value) => value !== sent) || sent === 0) {
      throw new Error(`the receiver does not have what was acknowledged: ${JSON.stringify(found)}`);
    }
    const storedMs = db
      .prepare(
        `SELECT (julianday((SELECT max(received_at) FROM receiver.inbound_messages))
           - julianday((SELECT created_at FROM main.outbound_messages WHERE id = ?))) * 86400000`,
      )
      .pluck()
      .get(firstRow) as number;
    return { sent, acknowledged, stored, storedMs };
  } finally {
    db.close();
  }
}
