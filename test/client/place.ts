// Databases as a daemon leaves them, mailboxes on them, and what a daemon would do to the rows.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as nap } from "node:timers/promises";
import { Mailbox, type MailboxOptions } from "../../src/client/mailbox.js";
import { DaemonError, type DaemonErrorCode } from "../../src/shared/base/errors.js";
import { writeTransaction } from "../../src/shared/store/busy.js";
import type { Connection } from "../../src/shared/store/driver.js";
import { openDatabase } from "../../src/shared/store/open.js";

const LOCK_DEADLINE_MS = 10_000;
const CONDITION_DEADLINE_MS = 20_000;
/** A wait that is too long for anything that was woken, ms. */
export const HANG_MS = 20_000;

export interface Place {
  readonly folder: string;
  readonly path: string;
  /** A connection as the daemon has it, or a foreign program: not the mailbox's. */
  readonly db: Connection;
}

/** A new database in a folder of its own, gone after the test. */
export function makePlace(t: TestContext): Place {
  const folder = mkdtempSync(join(tmpdir(), "securedgram-client-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "securedgram.db");
  const db = openDatabase(path, { role: "daemon", create: true });
  t.after(() => db.close());
  return { folder, path, db };
}

/** A mailbox that is closed after the test. */
export async function openMailbox(
  t: TestContext,
  place: Place,
  options: MailboxOptions = {},
): Promise<Mailbox> {
  const mailbox = await Mailbox.open({ database: place.path, ...options });
  t.after(() => mailbox.close());
  return mailbox;
}

export const write = <T>({ db }: Place, work: () => T): T =>
  writeTransaction(db, work, { deadlineMs: LOCK_DEADLINE_MS });

/** What the daemon writes when a receipt comes. */
export function acknowledge(place: Place, ids: readonly string[]): void {
  const update = place.db.prepare(
    `UPDATE outbound_messages SET state = 'acknowledged',
       ack_received_at = '2026-02-03T04:05:06.789' WHERE message_id = ?`,
  );
  write(place, () => {
    for (const id of ids) update.run(id);
  });
}

export function fail(place: Place, id: string, reason: string): void {
  const update = place.db.prepare(
    "UPDATE outbound_messages SET state = 'send_failed', last_error = ? WHERE message_id = ?",
  );
  write(place, () => update.run(reason, id));
}

export interface Arrival {
  readonly peer?: string;
  readonly stream?: string;
  readonly payload?: string | Uint8Array;
}

/** Messages as the daemon stores them, in one transaction; returns their row ids. */
export function arrive(place: Place, arrivals: readonly Arrival[]): readonly number[] {
  const insert = place.db.prepare(
    `INSERT INTO inbound_messages(message_id, src_addr, src_port, crypto_timestamp, state, ack_sent,
       peer, stream, digest, payload)
     VALUES (lower(hex(randomblob(12))), '10.0.0.1', 61773, '2026-01-02T03:04:05.006000007', 'ack_sent',
       1, ?, ?, randomblob(32), ?)`,
  );
  return write(place, () =>
    arrivals.map(({ peer = "alice", stream = null, payload = "{}" }) =>
      Number(insert.run(peer, stream, payload).lastInsertRowid),
    ),
  );
}

export const count = ({ db }: Place, sql: string): number =>
  db.prepare(`SELECT count(*) FROM ${sql}`).pluck().get() as number;

/** For assert.rejects: a DaemonError of this code whose message fits. */
export const errorOf = (code: DaemonErrorCode, message: RegExp) => (thrown: unknown) =>
  thrown instanceof DaemonError && thrown.code === code && message.test(thrown.message);

export async function until(condition: () => boolean, what: string): Promise<void> {
  const endAt = Date.now() + CONDITION_DEADLINE_MS;
  while (!condition()) {
    if (Date.now() > endAt) throw new Error(`waited in vain until ${what}`);
    await nap(5);
  }
}
