// The schema, version 4, as texts that SQLite keeps literally: what `share/schema.sql` says in prose
// is tested to be this. Two tables are the contract with other programs (names, columns, states and
// defaults never change; columns are added); the rest is ours. Triggers are plain SQL because they
// must fire in every process that writes, whatever program it runs.

/** PRAGMA user_version of files that this code makes and works on. */
export const SCHEMA_VERSION = 4;

const NOW = "strftime('%Y-%m-%dT%H:%M:%f','now')";

/**
 * Rows that are still worked on. Queries must repeat it to use the partial indexes. Not `IN`: SQLite
 * builds a table for a list of three, 2 us at every insert.
 */
export const WORKED = "(state = 'pending' OR state = 'sending' OR state = 'sent')";

/** How far above the sequence a producer may choose an id. */
export const ID_JUMP_MAX = 1_000_000;

/**
 * Bytes of a row that wait for what its acknowledgement adds: two times, `acknowledged` for `pending`, and
 * a number of attempts.
 * SQLite writes a row of another length anew, payload included, and one of the same length in place
 * (64 KiB: 355 us and 46). At most 57: then its length takes one byte in the row, as 0 does.
 */
export const RESERVE_BYTES = 23 + 23 + 5 + 2;

interface Column {
  readonly name: string;
  readonly definition: string;
}
const column = (text: string): Column => ({
  name: text.slice(0, text.indexOf(" ")),
  definition: text,
});

/** Columns that every older daemon's file has. */
export const OUTBOUND_COLUMNS_OLD: readonly Column[] = [
  column("id INTEGER PRIMARY KEY AUTOINCREMENT"),
  column("message_id TEXT"),
  column("dst_addr TEXT NOT NULL"),
  column("dst_port INTEGER NOT NULL"),
  column("state TEXT NOT NULL DEFAULT 'pending'"),
  column("retry_count INTEGER NOT NULL DEFAULT 0"),
  column(`created_at TEXT NOT NULL DEFAULT (${NOW})`),
  column("sent_at TEXT"),
  column("ack_received_at TEXT"),
  column("last_error TEXT"),
  column(`updated_at TEXT NOT NULL DEFAULT (${NOW})`),
];
const OUTBOUND_COLUMNS_OF_VERSION_3: readonly Column[] = [
  column("peer TEXT NOT NULL DEFAULT ''"),
  column("stream TEXT"),
  column("sequence INTEGER"),
  column("boot BLOB"),
  column("number INTEGER"),
  column("priority INTEGER NOT NULL DEFAULT 1"),
  column("not_before TEXT"),
  column("expires_at TEXT"),
  column("in_reply_to TEXT"),
  column("next_attempt_at TEXT"),
  column("redriven_at TEXT"),
  column("generation INTEGER NOT NULL DEFAULT 0"),
  column("digest BLOB"),
];
export const INBOUND_COLUMNS_OLD: readonly Column[] = [
  column("id INTEGER PRIMARY KEY AUTOINCREMENT"),
  column("message_id TEXT NOT NULL"),
  column("src_addr TEXT NOT NULL"),
  column("src_port INTEGER NOT NULL"),
  column("crypto_timestamp TEXT NOT NULL"),
  column("state TEXT NOT NULL DEFAULT 'received'"),
  column("ack_sent INTEGER NOT NULL DEFAULT 0"),
  column(`received_at TEXT NOT NULL DEFAULT (${NOW})`),
  column("ack_sent_at TEXT"),
  column(`updated_at TEXT NOT NULL DEFAULT (${NOW})`),
];
/** What a file of version 3 has not. Its value means nothing. */
const RESERVE_COLUMN = column(`reserve BLOB NOT NULL DEFAULT x'${"00".repeat(RESERVE_BYTES)}'`);
/** read_count is missing in the oldest files. */
export const INBOUND_COLUMNS_ADDED: readonly Column[] = [
  column("read_count INTEGER NOT NULL DEFAULT 0"),
  column("peer TEXT NOT NULL DEFAULT ''"),
  column("stream TEXT"),
  column("sequence INTEGER"),
  column("boot BLOB"),
  column("number INTEGER"),
  column("in_reply_to TEXT"),
  column("digest BLOB"),
];
/** Last, so that SQLite finds every other column without walking over its pages. */
export const PAYLOAD_COLUMN = column("payload TEXT NOT NULL");

/** Columns of outbound_messages that an older daemon's file has not and one of this version has. */
export function outboundColumnsAdded(version: number): readonly Column[] {
  return version < 4
    ? OUTBOUND_COLUMNS_OF_VERSION_3
    : [...OUTBOUND_COLUMNS_OF_VERSION_3, RESERVE_COLUMN];
}

const table = (name: string, columns: readonly Column[], options = ""): string =>
  `CREATE TABLE ${name} (\n${columns.map((each) => `  ${each.definition}`).join(",\n")}\n)${options}`;

/** The two tables that others know, as a new file gets them. */
export const SHARED_TABLES: readonly string[] = [
  table("outbound_messages", [
    ...OUTBOUND_COLUMNS_OLD,
    ...outboundColumnsAdded(SCHEMA_VERSION),
    PAYLOAD_COLUMN,
  ]),
  table("inbound_messages", [...INBOUND_COLUMNS_OLD, ...INBOUND_COLUMNS_ADDED, PAYLOAD_COLUMN]),
];

// ROLLBACK, not ABORT: whatever may abort makes SQLite copy each page that a statement touches
// (measured: 10 us a row). For the same reason our own statements say OR FAIL.
const refusesFarIds = (trigger: string, event: string): string =>
  `CREATE TRIGGER ${trigger} BEFORE ${event} ON outbound_messages
WHEN (NEW.id > ${ID_JUMP_MAX} OR NEW.id < -1)
  AND (NEW.id < -1 OR NEW.id > ${ID_JUMP_MAX} + coalesce(
    (SELECT seq FROM sqlite_sequence WHERE name = 'outbound_messages'), 0))
BEGIN
  SELECT RAISE(ROLLBACK, 'id is negative or far above the sequence; leave it out');
END`;

const PEER_COLUMNS_OF_VERSION_2: readonly Column[] = [
  column("boot BLOB"),
  column("last_handshake_at TEXT"),
  column("skew_ms INTEGER"),
  column("endpoint TEXT"),
  column("rotation TEXT"),
  column("classic_since TEXT"),
  column("handshakes_unanswered INTEGER NOT NULL DEFAULT 0"),
];

/** Everything else: ours alone, made anew in a migrated file, compared text by text at every open. */
export const OWN_OBJECTS: readonly { readonly name: string; readonly sql: string }[] = [
  table(
    "tombstones",
    [
      column("peer TEXT NOT NULL"),
      column("message_id TEXT NOT NULL"),
      column("digest BLOB NOT NULL"),
      column("boot BLOB"),
      column("number INTEGER"),
      column("deleted_at TEXT NOT NULL"),
      column("PRIMARY KEY (peer, message_id, digest)"),
    ],
    " WITHOUT ROWID",
  ),
  table("inbound_usage", [
    column("peer TEXT NOT NULL PRIMARY KEY"),
    column("rows INTEGER NOT NULL DEFAULT 0"),
    column("bytes INTEGER NOT NULL DEFAULT 0"),
    column("tombstones INTEGER NOT NULL DEFAULT 0"),
  ]),
  table("handshake_stamps", [
    column("peer_key BLOB NOT NULL PRIMARY KEY"),
    column("sent INTEGER NOT NULL DEFAULT 0"),
    column("accepted INTEGER NOT NULL DEFAULT 0"),
  ]),
  table("peers", [
    column("public_key BLOB NOT NULL PRIMARY KEY"),
    column("name TEXT"),
    column("session_since TEXT"),
    column("session_up_since TEXT"),
    ...PEER_COLUMNS_OF_VERSION_2,
  ]),
  table("stream_gaps", [
    column("id INTEGER PRIMARY KEY AUTOINCREMENT"),
    column("peer TEXT NOT NULL"),
    column("stream TEXT NOT NULL"),
    column("boot BLOB NOT NULL"),
    column("first INTEGER NOT NULL"),
    column("last INTEGER NOT NULL"),
    column(`noticed_at TEXT NOT NULL DEFAULT (${NOW})`),
  ]),
  table("meta", [column("key TEXT NOT NULL PRIMARY KEY"), column("value")]),
  "CREATE UNIQUE INDEX idx_outbound_message_id ON outbound_messages(message_id)",
  `CREATE INDEX outbound_work ON outbound_messages(
  dst_addr, dst_port, priority, id
) WHERE ${WORKED} AND not_before IS NULL`,
  `CREATE INDEX outbound_delayed ON outbound_messages(not_before)
WHERE not_before IS NOT NULL AND ${WORKED}`,
  `CREATE INDEX outbound_expiring ON outbound_messages(expires_at)
WHERE expires_at IS NOT NULL AND ${WORKED}`,
  `CREATE INDEX outbound_streams ON outbound_messages(dst_addr, dst_port, stream, id)
WHERE stream IS NOT NULL AND not_before IS NULL AND ${WORKED}`,
  `CREATE UNIQUE INDEX inbound_peer_message ON inbound_messages(peer, message_id)
WHERE peer <> ''`,
  `CREATE UNIQUE INDEX inbound_shared_message ON inbound_messages(message_id, digest)
WHERE peer = ''`,
  "CREATE INDEX inbound_unread ON inbound_messages(id) WHERE read_count = 0",
  "CREATE INDEX inbound_received ON inbound_messages(id) WHERE state = 'received'",
  "CREATE INDEX tombstones_age ON tombstones(peer, deleted_at)",
  `CREATE INDEX tombstones_number ON tombstones(peer, boot, number)
WHERE boot IS NOT NULL`,
  "CREATE UNIQUE INDEX stream_gaps_place ON stream_gaps(peer, stream, boot, first)",
  refusesFarIds("outbound_far_id", "INSERT"),
  refusesFarIds("outbound_far_id_set", "UPDATE OF id"),
  `CREATE TRIGGER outbound_redriven AFTER UPDATE OF state ON outbound_messages
WHEN NEW.state = 'pending' AND OLD.state IN ('acknowledged','send_failed')
BEGIN
  UPDATE outbound_messages SET
    generation = generation + 1,
    redriven_at = ${NOW},
    updated_at = ${NOW},
    retry_count = 0, sent_at = NULL, ack_received_at = NULL, last_error = NULL,
    next_attempt_at = NULL,
    expires_at = CASE WHEN julianday(expires_at) <= julianday('now') THEN NULL ELSE expires_at END
  WHERE id = NEW.id;
END`,
  `CREATE TRIGGER outbound_readdressed AFTER UPDATE OF dst_addr, dst_port, payload, message_id
ON outbound_messages
WHEN coalesce(OLD.message_id, '') <> '' AND (NEW.payload IS NOT OLD.payload
  OR NEW.message_id IS NOT OLD.message_id
  OR NEW.dst_addr IS NOT OLD.dst_addr OR NEW.dst_port IS NOT OLD.dst_port)
BEGIN
  UPDATE outbound_messages SET
    generation = generation + 1,
    digest = NULL,
    next_attempt_at = NULL,
    updated_at = ${NOW},
    redriven_at = CASE WHEN state IN ('sending','sent')
      THEN ${NOW} ELSE redriven_at END,
    retry_count = CASE WHEN state IN ('sending','sent') THEN 0 ELSE retry_count END,
    state = CASE WHEN state IN ('sending','sent') THEN 'pending' ELSE state END
  WHERE id = NEW.id;
END`,
  `CREATE TRIGGER inbound_deleted AFTER DELETE ON inbound_messages
BEGIN
  INSERT OR REPLACE INTO tombstones(peer, message_id, digest, boot, number, deleted_at)
  VALUES (OLD.peer, OLD.message_id, coalesce(OLD.digest, x''), OLD.boot, OLD.number,
    ${NOW});
  INSERT INTO inbound_usage(peer, tombstones) VALUES (OLD.peer, 1)
  ON CONFLICT(peer) DO UPDATE SET
    rows = max(0, rows - 1),
    bytes = max(0, bytes - length(CAST(OLD.payload AS BLOB))),
    tombstones = tombstones + 1;
END`,
].map((sql) => ({ name: nameOf(sql), sql }));

function nameOf(sql: string): string {
  const name = /^CREATE (?:UNIQUE )?(?:TABLE|INDEX|TRIGGER) (\w+)/.exec(sql)?.[1];
  if (name === undefined) throw new Error(`no name in ${sql}`);
  return name;
}

const PEER_COLUMNS_OF_VERSION_1: readonly Column[] = [
  column("public_key BLOB NOT NULL PRIMARY KEY"),
  column("name TEXT"),
  column("session_since TEXT"),
];

/** What a file of an earlier version has otherwise: tables, made anew by the migration. */
export function tablesOfVersion(version: number): typeof OWN_OBJECTS {
  if (version >= 3) return [];
  const added = version === 1 ? [] : PEER_COLUMNS_OF_VERSION_2;
  return [{ name: "peers", sql: table("peers", [...PEER_COLUMNS_OF_VERSION_1, ...added]) }];
}

/** What a file of version 1 has not. */
export const ADDED_IN_VERSION_2: readonly string[] = [
  "outbound_streams",
  "stream_gaps",
  "stream_gaps_place",
  "tombstones_number",
];

/** What a file of version 1 has beside: inbound ids are the daemon's own now. */
export const REMOVED_IN_VERSION_2: readonly string[] = ["inbound_far_id", "inbound_far_id_set"];

/** Indexes of older files that ours replace. */
export const OLD_INDEXES: readonly string[] = [
  "idx_outbound_state",
  "idx_inbound_message_id",
  "idx_inbound_state",
];

/** All statements of a new file, in order. */
export const SCHEMA_SQL: readonly string[] = [
  ...SHARED_TABLES,
  ...OWN_OBJECTS.map((object) => object.sql),
];
