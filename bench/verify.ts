// The check behind every end-to-end figure: what the sender calls acknowledged lies in the receiver's
// table, once, byte for byte. A figure of messages that were lost or stored twice is worth nothing.

import type { Connection } from "../src/shared/store/driver.js";
import { openDatabase } from "../src/shared/store/open.js";

export interface Delivery {
  readonly sent: number;
  readonly acknowledged: number;
  readonly stored: number;
  /** ms from the first insert to the last row stored, by the tables' own times. */
  readonly storedMs: number;
}

/**
 * Compares the files, all daemons stopped; throws when a message is missing, double, changed or not
 * acknowledged. Rows in front of `warmUpFirstRow` at the sender, and rows of a receiver from another
 * peer, are left out: they lay there before. `firstRow`: where the measured rows begin.
 */
export function verifyDelivery(
  [sender, ...receivers]: readonly string[],
  warmUpFirstRow: number,
  firstRow: number,
): Delivery {
  const db = openDatabase(sender, { role: "client", create: false });
  try {
    const rows = { warmUpFirstRow };
    const count = (condition: string): number =>
      db
        .prepare(
          `SELECT count(*) FROM main.outbound_messages WHERE id >= :warmUpFirstRow AND ${condition}`,
        )
        .pluck()
        .get(rows) as number;
    const [sent, acknowledged] = [count("TRUE"), count("state = 'acknowledged'")];
    const sum = { stored: 0, distinct: 0, same: 0 };
    let storedMs = 0;
    for (const receiver of receivers) {
      const found = compare(db, receiver, { warmUpFirstRow, firstRow });
      sum.stored += found.stored;
      sum.distinct += found.distinct;
      sum.same += found.same;
      storedMs = Math.max(storedMs, found.storedMs);
    }
    const found = { sent, acknowledged, ...sum };
    if (Object.values(found).some((value) => value !== sent) || sent === 0) {
      throw new Error(`the receiver does not have what was acknowledged: ${JSON.stringify(found)}`);
    }
    return { sent, acknowledged, stored: sum.stored, storedMs };
  } finally {
    db.close();
  }
}

function compare(
  db: Connection,
  receiver: string,
  { warmUpFirstRow, firstRow }: { readonly warmUpFirstRow: number; readonly firstRow: number },
) {
  db.prepare("ATTACH DATABASE ? AS receiver").run(receiver);
  try {
    const scope = db
      .prepare("SELECT peer FROM receiver.inbound_messages ORDER BY id DESC LIMIT 1")
      .pluck()
      .get();
    // Each in the words of its partial index.
    const from = scope === "" ? "i.peer = ''" : "i.peer = :scope AND i.peer <> ''";
    const ofScope = scope === "" ? {} : { scope };
    const one = (sql: string, bound: object): number =>
      db.prepare(sql).pluck().get(bound) as number;
    const stored = one(
      `SELECT count(*) FROM receiver.inbound_messages AS i WHERE ${from}`,
      ofScope,
    );
    const distinct = one(
      `SELECT count(DISTINCT i.message_id) FROM receiver.inbound_messages AS i WHERE ${from}`,
      ofScope,
    );
    const same = one(
      `SELECT count(*) FROM main.outbound_messages AS o CROSS JOIN receiver.inbound_messages AS i
       ON ${from} AND i.message_id = o.message_id
       WHERE o.id >= :warmUpFirstRow AND o.state = 'acknowledged' AND i.payload = o.payload`,
      { warmUpFirstRow, ...ofScope },
    );
    const storedMs = one(
      `SELECT (julianday((SELECT max(received_at) FROM receiver.inbound_messages))
         - julianday((SELECT created_at FROM main.outbound_messages WHERE id = :firstRow))) * 86400000`,
      { firstRow },
    );
    return { stored, distinct, same, storedMs };
  } finally {
    db.prepare("DETACH DATABASE receiver").run();
  }
}
