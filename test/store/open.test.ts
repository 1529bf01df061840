// Opening: durability that is read back, files that nobody else can read, and refusals.

import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DaemonError } from "../../src/shared/base/errors.js";
import {
  connect,
  driverName,
  requireVersion,
  sqliteVersion,
} from "../../src/shared/store/driver.js";
import {
  integrityFindings,
  openDatabase,
  requireSynchronous,
} from "../../src/shared/store/open.js";
import { SCHEMA_SQL, SCHEMA_VERSION } from "../../src/shared/store/schema.js";
import { daemonDatabase, temporaryFolder } from "./fixture.js";

const refusal =
  (code: string, text: RegExp = /./) =>
  (thrown: unknown): boolean =>
    thrown instanceof DaemonError &&
    thrown.code === code &&
    text.test(thrown.message + thrown.next);

const client = (path: string) => openDatabase(path, { role: "client", create: false });

test("every connection syncs each commit, on a reopened file too", (t) => {
  const path = join(temporaryFolder(t), "queue.db");
  for (const open of [daemonDatabase, daemonDatabase, client]) {
    const db = open(path);
    assert.equal(db.pragma("synchronous", { simple: true }), 2);
    assert.equal(db.pragma("journal_mode", { simple: true }), "wal");
    assert.equal(db.pragma("foreign_keys", { simple: true }), 1);
    assert.equal(db.pragma("trusted_schema", { simple: true }), 0);
    assert.equal(db.pragma("busy_timeout", { simple: true }), 0);
    db.close();
  }
});

test("a connection that does not sync is refused", (t) => {
  const path = join(temporaryFolder(t), "queue.db");
  daemonDatabase(path).close();
  const db = connect(path, {});
  t.after(() => db.close());
  db.prepare("SELECT count(*) FROM sqlite_schema").get();

  assert.equal(db.pragma("synchronous", { simple: true }), 1, "the driver's own default");
  assert.throws(() => requireSynchronous(db, "FULL"), refusal("ERR_DB_OPEN", /synchronous/));
  db.pragma("synchronous = FULL");
  requireSynchronous(db, "FULL");
});

test("only the daemon checkpoints", (t) => {
  const path = join(temporaryFolder(t), "queue.db");
  const daemon = daemonDatabase(path);
  const other = client(path);
  t.after(() => {
    daemon.close();
    other.close();
  });

  assert.equal(daemon.pragma("wal_autocheckpoint", { simple: true }), 1_000);
  assert.equal(other.pragma("wal_autocheckpoint", { simple: true }), 0);
  assert.equal(daemon.pragma("page_size", { simple: true }), 8_192);
});

test("the database and its companions are private whatever the umask", (t) => {
  const folder = temporaryFolder(t);
  for (const umask of [0, 0o777, 0o022]) {
    const path = join(folder, `queue-${umask}.db`);
    const before = process.umask(umask);
    try {
      const db = daemonDatabase(path);
      db.exec("INSERT INTO meta VALUES ('a', 1)");
      for (const name of [path, `${path}-wal`, `${path}-shm`]) {
        assert.equal(statSync(name).mode & 0o777, 0o600, `${name} at umask ${umask}`);
      }
      db.close();
    } finally {
      process.umask(before);
    }
  }
  assert.ok(readdirSync(folder).every((name) => !name.includes(".new-")));
});

test("files that others can read are refused, with the remedy", (t) => {
  const path = join(temporaryFolder(t), "queue.db");
  const db = daemonDatabase(path);
  db.exec("INSERT INTO meta VALUES ('a', 1)");
  for (const name of [path, `${path}-wal`, `${path}-shm`]) {
    for (const mode of [0o640, 0o604, 0o620, 0o601]) {
      chmodSync(name, mode);
      const expected = refusal("ERR_FILE_MODE", new RegExp(`chmod 0600 ${name}`));
      assert.throws(() => daemonDatabase(path), expected);
      assert.throws(() => client(path), expected);
    }
    chmodSync(name, 0o600);
  }
  db.close();

  client(path).close();
});

test("links and folders are no databases", (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "queue.db");
  daemonDatabase(path).close();
  const link = join(folder, "link.db");
  symlinkSync(path, link);
  const dangling = join(folder, "dangling.db");
  symlinkSync(join(folder, "nowhere"), dangling);
  const directory = join(folder, "folder.db");
  mkdirSync(directory);

  assert.throws(() => daemonDatabase(link), refusal("ERR_FILE_MODE", /symbolic link/));
  assert.throws(() => daemonDatabase(dangling), refusal("ERR_FILE_MODE", /symbolic link/));
  assert.throws(() => daemonDatabase(directory), refusal("ERR_FILE_MODE", /no regular file/));
  assert.ok(!existsSync(join(folder, "nowhere")));
});

test("a missing database is named, with what makes one; a missing folder too", (t) => {
  const path = join(temporaryFolder(t), "queue.db");

  assert.throws(() => client(path), refusal("ERR_DB_MISSING", /Database not found at .*start the/));
  assert.throws(() => daemonDatabase(join(path, "no", "x.db")), refusal("ERR_DB_OPEN"));
  assert.ok(!existsSync(path));
});

test("what stands at the path and is no whole database is never taken for an empty queue", (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "queue.db");
  const broken = (make: () => void): void => {
    make();
    chmodSync(path, 0o600);
    assert.throws(() => daemonDatabase(path), refusal("ERR_DB_DAMAGED"));
    assert.throws(() => client(path), refusal("ERR_DB_DAMAGED"));
  };
  broken(() => writeFileSync(path, ""));
  broken(() => writeFileSync(path, "hello"));
  broken(() => writeFileSync(path, Buffer.alloc(65_536)));
  renameSync(path, join(folder, "away"));
  daemonDatabase(path).close();
  const whole = readFileSync(path);
  broken(() => truncateSync(path, 8_192));
  broken(() => truncateSync(path, 0));
  writeFileSync(path, whole);

  daemonDatabase(path).close();
});

test("a log without its database is refused, not replaced", (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "queue.db");
  const db = daemonDatabase(path);
  db.exec("INSERT INTO outbound_messages(dst_addr, dst_port, payload) VALUES ('a', 1, '{}')");
  renameSync(path, join(folder, "away"));

  assert.throws(() => daemonDatabase(path), refusal("ERR_DB_DAMAGED", /-wal/));
  writeFileSync(path, "", { mode: 0o600 });
  assert.throws(() => daemonDatabase(path), refusal("ERR_DB_DAMAGED", /empty/));
  db.close();
});

test("a newer schema is refused, also by clients", (t) => {
  const path = join(temporaryFolder(t), "queue.db");
  const db = daemonDatabase(path);
  db.pragma(`user_version = ${SCHEMA_VERSION + 1}`);
  db.close();

  for (const open of [daemonDatabase, client]) {
    assert.throws(() => open(path), refusal("ERR_DB_SCHEMA", /schema version 5.*knows up to 4/));
  }
});

test("a database of another program is refused", (t) => {
  const path = join(temporaryFolder(t), "queue.db");
  const db = connect(path, {});
  db.exec("CREATE TABLE recipes(id INTEGER PRIMARY KEY)");
  db.close();
  chmodSync(path, 0o600);

  assert.throws(
    () => daemonDatabase(path),
    refusal("ERR_DB_DAMAGED", /outbound_messages is missing/),
  );
});

test("a file that lost a trigger, an index or a default is refused", (t) => {
  const folder = temporaryFolder(t);
  for (const [i, sql] of [
    "DROP TRIGGER inbound_deleted",
    "DROP INDEX inbound_peer_message",
    "DROP TABLE tombstones",
    "ALTER TABLE outbound_messages DROP COLUMN in_reply_to",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'pending', 'ponding') WHERE name = 'outbound_messages'",
  ].entries()) {
    const path = join(folder, `queue-${i}.db`);
    daemonDatabase(path).close();
    const db = connect(path, {});
    db.unsafeMode(true);
    db.exec(sql);
    db.close();

    assert.throws(() => daemonDatabase(path), refusal("ERR_DB_DAMAGED"), sql);
  }
});

test("a whole file has no findings, a damaged one has", (t) => {
  const path = join(temporaryFolder(t), "queue.db");
  const db = daemonDatabase(path);
  assert.deepEqual(integrityFindings(db), []);

  db.exec("DROP INDEX inbound_unread");

  assert.match(integrityFindings(db).join(), /inbound_unread/);
  db.close();
});

test("paths that the driver would change are refused", () => {
  for (const path of ["", " queue.db", "queue.db\n", "a\0b"]) {
    assert.throws(() => client(path), refusal("ERR_CONFIG"), JSON.stringify(path));
  }
});

test("share/schema.sql makes the schema that a new file has", (t) => {
  const folder = temporaryFolder(t);
  const text = readFileSync(new URL("../../../share/schema.sql", import.meta.url), "utf8");
  const described = connect(join(folder, "described.db"), {});
  described.exec(text);
  const made = daemonDatabase(join(folder, "made.db"));
  t.after(() => {
    described.close();
    made.close();
  });
  const schemaOf = (db: typeof made) =>
    db.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name").all();

  assert.deepEqual(schemaOf(described), schemaOf(made));
  assert.equal(described.pragma("user_version", { simple: true }), SCHEMA_VERSION);
  for (const sql of SCHEMA_SQL) assert.ok(text.includes(`${sql};`));
});

test("the driver is chosen by the Node-API of the running Node", () => {
  assert.equal(driverName(9), "better-sqlite3-node20");
  assert.equal(driverName(10), "better-sqlite3");
  assert.equal(driverName(11), "better-sqlite3");
});

test("an SQLite that may lose commits is refused", () => {
  for (const version of ["3.51.2", "3.50.9", "2.99.99", "nonsense"]) {
    assert.throws(() => requireVersion("x", version), refusal("ERR_NATIVE_MODULE"), version);
  }
  for (const version of ["3.51.3", "3.52.0", "4.0.0", sqliteVersion()])
    requireVersion("x", version);
});
