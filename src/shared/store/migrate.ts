// Brings an older daemon's file (user_version 0), or one of an earlier version, up to date in one
// transaction, rows intact; makes the schema of a new file; says what is wrong with a file that claims to be of a
// version.

import type { Connection } from "./driver.js";
import {
  ADDED_IN_VERSION_2,
  INBOUND_COLUMNS_ADDED,
  INBOUND_COLUMNS_OLD,
  OLD_INDEXES,
  OUTBOUND_COLUMNS_OLD,
  OWN_OBJECTS,
  outboundColumnsAdded,
  PAYLOAD_COLUMN,
  REMOVED_IN_VERSION_2,
  SCHEMA_SQL,
  SCHEMA_VERSION,
  tablesOfVersion,
} from "./schema.js";

/** BLAKE2b-256 of the canonical form of a stored payload, 32 bytes. */
export type DigestOf = (payload: Uint8Array) => Uint8Array;

const INBOUND = "inbound_messages";
const OUTBOUND = "outbound_messages";
const MIGRATE_ROWS = 512;
/** Ids above this cannot have been given by the sequence; near 2^63 they block every insert. */
export const ID_SANE_MAX = 2 ** 52;

/** Runs inside the caller's transaction, on a file without tables. */
export function createSchema(db: Connection): void {
  for (const sql of SCHEMA_SQL) db.exec(sql);
  db.pragma(`user_version = ${SCHEMA_VERSION}`);
}

/** Runs inside the caller's transaction, on a file of `version` in which no fault was found. */
export function migrateSchema(db: Connection, version: number, digestOf: DigestOf): void {
  if (version === 0) migrateOld(db, digestOf);
  else migrateOwn(db, version);
  db.pragma(`user_version = ${SCHEMA_VERSION}`);
}

function migrateOwn(db: Connection, version: number): void {
  addColumns(db, OUTBOUND, outboundColumnsAdded(SCHEMA_VERSION));
  const before = tablesOfVersion(version);
  if (version === 1) {
    for (const trigger of REMOVED_IN_VERSION_2) db.exec(`DROP TRIGGER IF EXISTS ${trigger}`);
  }
  for (const { name } of before) db.exec(`ALTER TABLE ${name} RENAME TO ${name}_before`);
  for (const { name, sql } of OWN_OBJECTS) {
    const isNew = version === 1 && ADDED_IN_VERSION_2.includes(name);
    if (isNew || before.some((object) => object.name === name)) db.exec(sql);
  }
  for (const { name } of before) {
    const columns = [...columnsOf(db, `${name}_before`).keys()].join(", ");
    db.exec(`INSERT INTO ${name}(${columns}) SELECT ${columns} FROM ${name}_before`);
    db.exec(`DROP TABLE ${name}_before`);
  }
}

function migrateOld(db: Connection, digestOf: DigestOf): void {
  addColumns(db, OUTBOUND, outboundColumnsAdded(SCHEMA_VERSION));
  addColumns(db, INBOUND, INBOUND_COLUMNS_ADDED);
  for (const index of OLD_INDEXES) db.exec(`DROP INDEX IF EXISTS ${index}`);
  db.exec("DROP INDEX IF EXISTS idx_outbound_message_id");
  bringIdsDown(db);
  fillDigests(db, digestOf);
  for (const { sql } of OWN_OBJECTS) db.exec(sql);
  db.exec(
    `INSERT INTO inbound_usage(peer, rows, bytes)
     SELECT peer, count(*), coalesce(sum(length(CAST(payload AS BLOB))), 0)
     FROM inbound_messages GROUP BY peer`,
  );
}

function addColumns(
  db: Connection,
  table: string,
  columns: readonly { readonly name: string; readonly definition: string }[],
): void {
  const present = columnsOf(db, table);
  for (const { name, definition } of columns) {
    if (!present.has(name)) db.exec(`ALTER TABLE ${table} ADD COLUMN ${definition}`);
  }
}

function fillDigests(db: Connection, digestOf: DigestOf): void {
  const read = db
    .prepare(`SELECT id, CAST(payload AS BLOB) FROM ${INBOUND} WHERE id > ? ORDER BY id LIMIT ?`)
    .raw();
  const write = db.prepare(`UPDATE ${INBOUND} SET digest = ? WHERE id = ?`);
  let last = Number.MIN_SAFE_INTEGER;
  for (;;) {
    const rows = read.all(last, MIGRATE_ROWS) as [number, Uint8Array][];
    if (rows.length === 0) return;
    for (const [id, payload] of rows) {
      write.run(digestOf(payload), id);
      last = id;
    }
  }
}

/**
 * Gives rows with ids that no sequence gave (2^63 and its neighbours, which block every later
 * insert) the next ordinary ones, and the sequence its place. Runs inside a transaction.
 */
export function bringIdsDown(db: Connection): number {
  let moved = 0;
  for (const table of [OUTBOUND, INBOUND]) {
    const sequence = db
      .prepare("SELECT max(seq) FROM sqlite_sequence WHERE name = ?")
      .pluck()
      .get(table);
    const top = db.prepare(`SELECT max(id) FROM ${table}`).pluck().get();
    const low = db.prepare(`SELECT min(id) FROM ${table}`).pluck().get();
    const far = (id: unknown): boolean => typeof id === "number" && Math.abs(id) > ID_SANE_MAX;
    if (!far(sequence) && !far(top) && !far(low)) continue;
    const free = `(SELECT coalesce(max(id), 0) + 1 FROM ${table} WHERE id <= ${ID_SANE_MAX})`;
    const move = db.prepare(
      `UPDATE ${table} SET id = ${free} WHERE id =
         (SELECT id FROM ${table} WHERE id > ${ID_SANE_MAX} OR id < -${ID_SANE_MAX} LIMIT 1)`,
    );
    while (move.run().changes > 0) moved += 1;
    db.prepare(
      `UPDATE sqlite_sequence SET seq = (SELECT coalesce(max(id), 0) FROM ${table}) WHERE name = ?`,
    ).run(table);
  }
  return moved;
}

// --- What a file must have ------------------------------------------------------------------------

interface TableColumn {
  readonly name: string;
  readonly dflt_value: string | null;
}

function columnsOf(db: Connection, table: string): Map<string, TableColumn> {
  const rows = db.prepare("SELECT name, dflt_value FROM pragma_table_xinfo(?)").all(table);
  return new Map((rows as TableColumn[]).map((row) => [row.name, row]));
}

/** What keeps a file of user_version 0 from being an older daemon's; undefined when it is one. */
export function oldSchemaFault(db: Connection): string | undefined {
  return (
    columnFault(db, OUTBOUND, [...OUTBOUND_COLUMNS_OLD, PAYLOAD_COLUMN]) ??
    columnFault(db, INBOUND, [...INBOUND_COLUMNS_OLD, PAYLOAD_COLUMN]) ??
    foreignObject(db)
  );
}

/** What a file of this version, 1 or later, lacks or has otherwise; undefined when it is whole. */
export function schemaFault(db: Connection, version = SCHEMA_VERSION): string | undefined {
  const added = outboundColumnsAdded(version);
  const outbound = [...OUTBOUND_COLUMNS_OLD, ...added, PAYLOAD_COLUMN];
  const inbound = [...INBOUND_COLUMNS_OLD, ...INBOUND_COLUMNS_ADDED, PAYLOAD_COLUMN];
  const fault = columnFault(db, OUTBOUND, outbound) ?? columnFault(db, INBOUND, inbound);
  if (fault !== undefined) return fault;
  const rows = db.prepare("SELECT name, sql FROM sqlite_schema").raw().all();
  const stored = new Map(rows as [string, string | null][]);
  for (const { name, sql } of objectsOf(version)) {
    const found = stored.get(name);
    if (found === undefined) return `${name} is missing`;
    if (found !== sql) return `${name} is not what version ${version} made`;
  }
  return undefined;
}

function objectsOf(version: number): typeof OWN_OBJECTS {
  if (version >= SCHEMA_VERSION) return OWN_OBJECTS;
  const before = tablesOfVersion(version);
  return OWN_OBJECTS.filter(({ name }) => version > 1 || !ADDED_IN_VERSION_2.includes(name)).map(
    (object) => before.find(({ name }) => name === object.name) ?? object,
  );
}

/** A default that changed would make new rows invisible to the daemon. */
function columnFault(
  db: Connection,
  table: string,
  columns: readonly { readonly name: string; readonly definition: string }[],
): string | undefined {
  const present = columnsOf(db, table);
  if (present.size === 0) return `table ${table} is missing`;
  for (const { name, definition } of columns) {
    const found = present.get(name);
    if (found === undefined) return `column ${table}.${name} is missing`;
    const stated = / DEFAULT '(\w*)'/.exec(definition)?.[1];
    if (stated !== undefined && found.dflt_value !== `'${stated}'`) {
      return `column ${table}.${name} has another default`;
    }
  }
  return undefined;
}

/** Our own tables in a file that says user_version 0: its header lies. */
function foreignObject(db: Connection): string | undefined {
  const names = new Set(db.prepare("SELECT name FROM sqlite_schema").pluck().all() as string[]);
  for (const { name } of OWN_OBJECTS) {
    if (name !== "idx_outbound_message_id" && names.has(name)) {
      return `it has ${name} and yet says schema version 0`;
    }
  }
  return undefined;
}
