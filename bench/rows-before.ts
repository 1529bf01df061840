// A database with a past: rows that were acknowledged and rows that were received long ago, written
// before the daemon starts.

import { closeSync, copyFileSync, existsSync, fsyncSync, openSync } from "node:fs";
import { join } from "node:path";
import { writeTransaction } from "../src/shared/store/busy.js";
import { openDatabase } from "../src/shared/store/open.js";

const ROWS_A_TRANSACTION = 100_000;
const LOCK_DEADLINE_MS = 10_000;
const PAYLOAD_BYTES = 200;
/** Public key of a peer that nobody has any more, as the tables write it. */
const PEER = Buffer.alloc(32, 7).toString("base64");
/** Ids in the order of time, of 2001: what comes now goes behind them in each index. */
const ID_HEAD = "00e8d4a51000";

/** Makes each such database once, in a folder of the caller, and copies it from then on. */
export class PastDatabases {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** A database at `path` with `rows` in each of the two tables; none: no file. What is written is synced. */
  put(path: string, rows: number): void {
    if (rows === 0) return;
    const made = join(this.#folder, `${rows}.db`);
    if (!existsSync(made)) fill(made, rows);
    copyFileSync(made, path);
    // Otherwise it is written while the daemons are measured, and their syncs wait for it.
    const file = openSync(path, "r+");
    fsyncSync(file);
    closeSync(file);
  }
}

/** Makes the file and writes `rows` into each of the two tables, half a minute a million. */
function fill(path: string, rows: number): void {
  const db = openDatabase(path, { role: "daemon", create: true });
  try {
    const payload = "x".repeat(PAYLOAD_BYTES);
    const numbers = `WITH RECURSIVE n(i) AS (SELECT :from UNION ALL SELECT i + 1 FROM n WHERE i < :to)`;
    const outbound = db.prepare(
      `${numbers} INSERT INTO outbound_messages(message_id, dst_addr, dst_port, payload, state,
         created_at, updated_at, sent_at, ack_received_at)
       SELECT :head || printf('%012x', i), '192.0.2.7', 7777, :payload, 'acknowledged', :now, :now,
         :now, :now FROM n`,
    );
    const inbound = db.prepare(
      `${numbers} INSERT INTO inbound_messages(message_id, src_addr, src_port, crypto_timestamp,
         peer, payload, digest, read_count, received_at, updated_at, state)
       SELECT :head || printf('%012x', i), '192.0.2.7', 7777, :now, :peer, :payload, zeroblob(32), 1,
         :now, :now, 'ack_sent' FROM n`,
    );
    const now = new Date().toISOString().slice(0, -1);
    for (let from = 1; from <= rows; from += ROWS_A_TRANSACTION) {
      const span = { from, to: Math.min(rows, from + ROWS_A_TRANSACTION - 1) };
      const shared = { ...span, head: ID_HEAD, payload, now };
      writeTransaction(
        db,
        () => {
          outbound.run(shared);
          inbound.run({ ...shared, peer: PEER });
        },
        { deadlineMs: LOCK_DEADLINE_MS },
      );
    }
  } finally {
    db.close();
  }
}
