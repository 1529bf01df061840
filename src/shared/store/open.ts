// Opens the one database, the same way for the daemon and for clients: private files, WAL, FULL read
// back, a schema that is known. A file that cannot be trusted is refused; no path leads from a damaged
// file to an empty queue.

import { DaemonError } from "../base/errors.js";
import { whenFree, writeTransaction } from "./busy.js";
import { type Connection, connect } from "./driver.js";
import {
  COMPANIONS,
  damaged,
  databasePath,
  lookAt,
  makePrivate,
  putInPlace,
  removeAll,
  requireLocal,
  requirePrivate,
  requireWholeFile,
  syncFolderOf,
  unusable,
} from "./file-guard.js";
import { WAL_BYTES_KEPT } from "./log-length.js";
import {
  createSchema,
  type DigestOf,
  migrateSchema,
  oldSchemaFault,
  schemaFault,
} from "./migrate.js";
import { SCHEMA_VERSION } from "./schema.js";
import { isBusy, sqliteCode, storeError } from "./sqlite-error.js";

/** Longest wait for a lock while opening; recovery of a long WAL by another process takes that. */
const OPEN_DEADLINE_MS = 10_000;
/** Pages of new files. Source: store.md (6 to 24 % at 1 kB). */
const PAGE_BYTES = 8_192;
/** The daemon checkpoints at this many pages; larger ones only stall longer. Source: store.md. */
const CHECKPOINT_PAGES = 1_000;
/** PRAGMA synchronous, as numbers. */
const SYNCHRONOUS = { NORMAL: 1, FULL: 2 } as const;

export interface OpenOptions {
  /** `client`: another process than the daemon; never creates, migrates or checkpoints. */
  readonly role: "daemon" | "client";
  /** Makes the file when there is none. Only the daemon may. */
  readonly create: boolean;
  /** Default FULL; anything else exists to prove that the power-loss test can fail. */
  readonly synchronous?: "FULL" | "NORMAL";
  /** PRAGMA max_page_count; 0 or absent leaves SQLite's own. */
  readonly pagesMax?: number;
  /** Digest of a stored payload; the daemon needs it to migrate an older file. */
  readonly digestOf?: DigestOf;
}

export interface OpenedDatabase {
  readonly db: Connection;
  readonly path: string;
  readonly created: boolean;
  readonly migrated: boolean;
}

/** Opens the database at `path`; every refusal is a DaemonError. The caller closes it. */
export function openDatabase(path: string, options: OpenOptions): Connection {
  return openDatabaseFile(path, options).db;
}

/** As {@link openDatabase}, and says what was done to the file. */
export function openDatabaseFile(path: string, options: OpenOptions): OpenedDatabase {
  const file = databasePath(path);
  try {
    requireLocal(file);
    const created = prepareFile(file, options);
    const db = connect(file, { fileMustExist: true, timeout: 0 });
    try {
      whenFree(() => configure(db, options), OPEN_DEADLINE_MS);
      // The first read made the log, whose name must be there when a commit in it counts.
      if (options.role === "daemon") syncFolderOf(file);
      const migrated = settleSchema(db, file, options);
      return { db, path: file, created, migrated };
    } catch (thrown) {
      db.close();
      throw thrown;
    }
  } catch (thrown) {
    throw storeError(file, thrown);
  }
}

/** Checks what lies at the path, or puts a new database there. True when it made one. */
function prepareFile(file: string, options: OpenOptions): boolean {
  const stats = lookAt(file);
  const walBytes = companionBytes(file, options.role);
  if (stats !== undefined) {
    requirePrivate(file, stats, options.role);
    requireWholeFile(file, walBytes);
    return false;
  }
  if (walBytes > 0) {
    throw damaged(file, "the file is missing, but its -wal is there and holds messages");
  }
  if (!options.create) {
    throw new DaemonError(
      "ERR_DB_MISSING",
      `Database not found at ${file}`,
      "start the daemon once, which makes the file, or name the right one with --db",
    );
  }
  const made = makeDatabase(file);
  return made || prepareFile(file, { ...options, create: false });
}

/** Bytes in the -wal; refuses companions that others may read. */
function companionBytes(file: string, role: OpenOptions["role"]): number {
  let walBytes = 0;
  for (const suffix of COMPANIONS) {
    const stats = lookAt(file + suffix);
    if (stats === undefined) continue;
    requirePrivate(file + suffix, stats, role);
    if (suffix === "-wal") walBytes = stats.size;
  }
  return walBytes;
}

/**
 * Makes a new database under another name, complete and synced, then names it: whoever finds the
 * path finds a whole database, and an empty file there is always a damaged one. False when another
 * process was faster.
 */
function makeDatabase(file: string): boolean {
  const draft = `${file}.new-${process.pid}`;
  const drafts = [draft, ...COMPANIONS.map((suffix) => draft + suffix)];
  try {
    removeAll(drafts);
    makePrivate(draft);
  } catch (thrown) {
    throw unusable(draft, thrown);
  }
  try {
    const db = connect(draft, { fileMustExist: true, timeout: 0 });
    try {
      db.pragma(`page_size = ${PAGE_BYTES}`);
      db.pragma("journal_mode = WAL");
      db.pragma("synchronous = FULL");
      writeTransaction(db, () => createSchema(db), { deadlineMs: 0 });
      // Closing would do it as well, and keep a failed sync to itself.
      db.pragma("wal_checkpoint(TRUNCATE)");
    } finally {
      db.close();
    }
    return putInPlace(draft, file);
  } finally {
    removeAll(drafts);
  }
}

/** Settings of this connection. The first read of the file comes before FULL is read back. */
function configure(db: Connection, options: OpenOptions): void {
  db.pragma("trusted_schema = OFF");
  db.pragma("foreign_keys = ON");
  db.pragma("cell_size_check = ON");
  db.pragma("temp_store = MEMORY");
  const mode = db.pragma("journal_mode = WAL", { simple: true });
  if (mode !== "wal") {
    throw new DaemonError(
      "ERR_DB_OPEN",
      `the file system does not allow a write-ahead log (SQLite says ${String(mode)})`,
      "put the database on a local disk",
    );
  }
  const wanted = options.synchronous ?? "FULL";
  db.pragma(`synchronous = ${wanted}`);
  db.pragma(`journal_size_limit = ${WAL_BYTES_KEPT}`);
  db.pragma(`wal_autocheckpoint = ${options.role === "daemon" ? CHECKPOINT_PAGES : 0}`);
  if (options.pagesMax !== undefined && options.pagesMax > 0) {
    db.pragma(`max_page_count = ${Math.trunc(options.pagesMax)}`);
  }
  db.prepare("SELECT count(*) FROM sqlite_schema").get();
  requireSynchronous(db, wanted);
}

/** Refuses a connection that would acknowledge before the disk has it. */
export function requireSynchronous(db: Connection, wanted: "FULL" | "NORMAL"): void {
  const found = db.pragma("synchronous", { simple: true });
  if (found === SYNCHRONOUS[wanted]) return;
  throw new DaemonError(
    "ERR_DB_OPEN",
    `SQLite did not take synchronous = ${wanted} (it says ${String(found)})`,
    "reinstall the program; messages would be lost at a power failure",
  );
}

/** Migrates an older daemon's file, refuses a newer or a damaged one. True when it migrated. */
function settleSchema(db: Connection, file: string, options: OpenOptions): boolean {
  const version = Number(db.pragma("user_version", { simple: true }));
  if (version > SCHEMA_VERSION) {
    throw new DaemonError(
      "ERR_DB_SCHEMA",
      `${file} has schema version ${version}; this program knows up to ${SCHEMA_VERSION}`,
      "use the newer program that wrote it",
    );
  }
  const encoding = db.pragma("encoding", { simple: true });
  if (encoding !== "UTF-8") throw damaged(file, `its text is ${String(encoding)}, not UTF-8`);
  if (version === SCHEMA_VERSION) {
    const fault = schemaFault(db);
    if (fault !== undefined) throw damaged(file, fault);
    return false;
  }
  const fault =
    version < 0
      ? `it says schema version ${version}`
      : version === 0
        ? oldSchemaFault(db)
        : schemaFault(db, version);
  if (fault !== undefined) throw damaged(file, fault);
  const digestOf = options.digestOf;
  if (options.role === "client" || digestOf === undefined) {
    throw new DaemonError(
      "ERR_DB_SCHEMA",
      `${file} was written by an older daemon`,
      "start the daemon once: it brings the file up to date, rows intact",
    );
  }
  writeTransaction(db, () => migrateSchema(db, version, digestOf), {
    deadlineMs: OPEN_DEADLINE_MS,
  });
  const left = schemaFault(db);
  if (left !== undefined) throw damaged(file, left);
  return true;
}

/**
 * Everything wrong that a full reading of the file finds, a sentence each; for `doctor`. Takes
 * about a second per GB and holds a read snapshot meanwhile.
 */
export function integrityFindings(db: Connection): readonly string[] {
  try {
    const rows = db.prepare("PRAGMA quick_check(20)").pluck().all();
    const findings = rows.map(String).filter((row) => row !== "ok");
    const schema = schemaFault(db);
    return schema === undefined ? findings : [...findings, schema];
  } catch (thrown) {
    if (isBusy(thrown)) return ["another process holds a lock: the file was not checked"];
    return [`${sqliteCode(thrown)}: ${storeError("the database", thrown).message}`];
  }
}
