// The file beside the database that says which consumer has which message in hand. Apart from the
// database, because it is written before every hand-out and needs no sync: it takes neither the write lock
// nor the disk away from the daemon. Lost, it costs no message: what was in hand comes once more.

import { chownSync } from "node:fs";
import { DaemonError } from "../base/errors.js";
import { whenFree, writeTransaction } from "./busy.js";
import { type Connection, connect } from "./driver.js";
import { databasePath, lookAt, makePrivate, requirePrivate, unusable } from "./file-guard.js";
import { storeError } from "./sqlite-error.js";

/** Behind the name of the database. */
const SUFFIX = "-leases";
const OPEN_DEADLINE_MS = 5_000;
/** PRAGMA user_version. */
const LEASES_VERSION = 1;

/**
 * id: inbound_messages.id. holder: one inbox of one process; "" for a message that was given back and
 * rests. until: when it lapses, ms of the host's monotonic clock; span: its length, ms: what lies further
 * ahead than that is of an earlier boot, and void. stream: peer and stream, where order is to be kept.
 */
const LEASES_TABLE = `CREATE TABLE leases (
  id INTEGER PRIMARY KEY,
  holder TEXT NOT NULL,
  consumer TEXT NOT NULL,
  until REAL NOT NULL,
  span REAL NOT NULL,
  stream TEXT
)`;

export interface LeaseFile {
  readonly path: string;
  readonly db: Connection;
}

/** Opens the leases of a database that exists, or makes them. The caller closes the connection. */
export function openLeases(database: string): LeaseFile {
  const file = databasePath(database);
  const path = file + SUFFIX;
  try {
    prepareFile(file, path);
    const db = connect(path, { fileMustExist: true, timeout: 0 });
    try {
      whenFree(() => configure(db), OPEN_DEADLINE_MS);
      writeTransaction(db, () => createTable(db), { deadlineMs: OPEN_DEADLINE_MS });
      return { path, db };
    } catch (thrown) {
      db.close();
      throw thrown;
    }
  } catch (thrown) {
    throw leaseError(path, thrown);
  }
}

/** The operating error for a person; a DaemonError passes through. */
export function leaseError(path: string, thrown: unknown): DaemonError {
  const error = storeError(path, thrown);
  if (error.code !== "ERR_DB_DAMAGED") return error;
  const next = "end all consumers and remove the file: it holds nothing but who works on what";
  return new DaemonError(error.code, error.message, next, thrown);
}

/** A private file, the owner's of the database even when root makes it. */
function prepareFile(database: string, path: string): void {
  try {
    if (lookAt(path) === undefined) {
      makePrivate(path);
      const owner = lookAt(database);
      if (process.geteuid?.() === 0 && owner !== undefined) chownSync(path, owner.uid, owner.gid);
    }
  } catch (thrown) {
    if (thrown instanceof DaemonError) throw thrown;
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "EEXIST")) {
      throw unusable(path, thrown);
    }
  }
  const stats = lookAt(path);
  if (stats !== undefined) requirePrivate(path, stats, "client");
}

function configure(db: Connection): void {
  db.pragma("trusted_schema = OFF");
  db.pragma("journal_mode = WAL");
  // Not synced at commits: a power failure ends the consumers as well.
  db.pragma("synchronous = NORMAL");
  db.prepare("SELECT count(*) FROM sqlite_schema").get();
}

function createTable(db: Connection): void {
  const version = Number(db.pragma("user_version", { simple: true }));
  if (version === LEASES_VERSION) return;
  if (version !== 0) {
    throw new DaemonError(
      "ERR_DB_SCHEMA",
      `the leases have version ${version}; this program knows ${LEASES_VERSION}`,
      "end all consumers and remove the file, or use the newer program that wrote it",
    );
  }
  db.exec(LEASES_TABLE);
  db.pragma(`user_version = ${LEASES_VERSION}`);
}
