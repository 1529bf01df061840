// An older daemon's file becomes ours in place, with every row as it was.

import assert from "node:assert/strict";
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { DaemonError } from "../../src/shared/base/errors.js";
import { STORED } from "../../src/shared/runtime/inbound-batch.js";
import { type Connection, connect } from "../../src/shared/store/driver.js";
import { openDatabase, openDatabaseFile } from "../../src/shared/store/open.js";
import { SCHEMA_SQL, SCHEMA_VERSION } from "../../src/shared/store/schema.js";
import { payloadDigest } from "../../src/workers/payload-digest.js";
import { recover } from "../../src/workers/recover.js";
import { idOf, oldSchema, payloadOf, StoreUnderTest, temporaryFolder } from "./fixture.js";

const ID = idOf(0xc1);

function oldDatabase(t: TestContext, readCount: boolean, fill: (db: Connection) => void): string {
  const path = join(temporaryFolder(t), "old.db");
  const db = connect(path, {});
  db.exec(oldSchema(readCount));
  fill(db);
  db.close();
  chmodSync(path, 0o600);
  return path;
}

const open = (path: string) =>
  openDatabaseFile(path, { role: "daemon", create: true, digestOf: payloadDigest });

for (const readCount of [true, false]) {
  test(`rows survive the migration ${readCount ? "" : "of a file without read_count"}`, (t) => {
    const outbound = `SELECT id, message_id, dst_addr, dst_port, payload, state, retry_count,
      created_at, sent_at, ack_received_at, last_error, updated_at FROM outbound_messages`;
    const inbound = `SELECT id, message_id, src_addr, src_port, payload, crypto_timestamp, state,
      ack_sent, received_at, ack_sent_at, updated_at FROM inbound_messages`;
    let before: unknown[] = [];
    const path = oldDatabase(t, readCount, (db) => {
      for (const state of ["pending", "sending", "sent", "acknowledged", "send_failed"]) {
        db.exec(`INSERT INTO outbound_messages(message_id, dst_addr, dst_port, payload, state,
          last_error) VALUES (NULL, '192.0.2.1', 5000, '{"räk":"${state}"}', '${state}', 'e')`);
      }
      db.exec("DELETE FROM outbound_messages WHERE id = 5");
      for (let i = 0; i < 700; i++) {
        db.prepare(
          `INSERT INTO inbound_messages(message_id, src_addr, src_port, payload, crypto_timestamp,
             state) VALUES (?, 'a', 1, ?, '2026-01-01T00:00:00.000000001', ?)`,
        ).run(idOf(i), payloadOf(idOf(i)), i % 2 === 0 ? "ack_sent" : "ack_failed");
      }
      before = [...db.prepare(outbound).all(), ...db.prepare(inbound).all()];
    });

    const { db, migrated } = open(path);
    t.after(() => db.close());

    assert.equal(migrated, true);
    assert.deepEqual([...db.prepare(outbound).all(), ...db.prepare(inbound).all()], before);
    assert.equal(db.pragma("user_version", { simple: true }), SCHEMA_VERSION);
    assert.equal(db.prepare("SELECT sum(read_count) FROM inbound_messages").pluck().get(), 0);
    const usage = db.prepare("SELECT peer, rows, bytes FROM inbound_usage").raw().all();
    assert.deepEqual(usage, [["", 700, 700 * payloadOf(ID).length]]);
    const next = db.exec(`INSERT INTO outbound_messages(dst_addr, dst_port, payload)
      VALUES ('a', 1, '{}')`);
    assert.equal(next.prepare("SELECT max(id) FROM outbound_messages").pluck().get(), 6);
  });
}

/** A file of an earlier schema version, as it was made then. */
function databaseOf(version: 1 | 2 | 3, t: TestContext, fill: (db: Connection) => void): string {
  const path = join(temporaryFolder(t), `version-${version}.db`);
  const text = new URL(`../../../test/fixtures/schema-${version}.sql`, import.meta.url);
  const db = connect(path, {});
  db.pragma("journal_mode = WAL");
  db.exec(readFileSync(text, "utf8"));
  fill(db);
  db.close();
  chmodSync(path, 0o600);
  return path;
}

for (const version of [1, 2, 3] as const) {
  test(`a file of version ${version} gets what was added since, every row as it was`, (t) => {
    const tables = ["outbound_messages", "inbound_messages", "tombstones", "inbound_usage"];
    const rowsOf = (db: Connection): unknown =>
      [...tables, "handshake_stamps", "meta"].map((name) =>
        (db.prepare(`SELECT * FROM ${name}`).all() as Record<string, unknown>[]).map(
          ({ reserve: _, ...row }) => row,
        ),
      );
    let before: unknown;
    const path = databaseOf(version, t, (db) => {
      db.exec(`INSERT INTO outbound_messages(message_id, dst_addr, dst_port, payload)
      VALUES ('${ID}', 'a', 1, '{}')`);
      for (const [id, scope] of ["", "alice", "alice"].entries()) {
        db.exec(`INSERT INTO inbound_messages(message_id, src_addr, src_port, crypto_timestamp, peer,
        digest, payload) VALUES ('${idOf(id)}', 'a', 1, 'x', '${scope}', x'0${id}', '{}')`);
      }
      db.exec("DELETE FROM inbound_messages WHERE id = 3");
      db.exec("INSERT INTO handshake_stamps VALUES (x'aa', 5, 9223372036854775807)");
      db.exec(`INSERT INTO peers(public_key, name, session_since)
      VALUES (x'aa', 'alice', '2026-01-01T00:00:00.000')`);
      if (version > 1) db.exec("UPDATE peers SET skew_ms = -7, handshakes_unanswered = 3");
      db.exec("INSERT INTO meta VALUES ('sealed_until', 7)");
      before = rowsOf(db);
    });

    const { db, migrated } = open(path);
    t.after(() => db.close());

    assert.equal(migrated, true);
    assert.deepEqual(rowsOf(db), before);
    assert.equal(db.pragma("user_version", { simple: true }), SCHEMA_VERSION);
    assert.deepEqual(
      db
        .prepare(
          `SELECT name, session_since, session_up_since, skew_ms, handshakes_unanswered FROM peers`,
        )
        .raw()
        .all(),
      [["alice", "2026-01-01T00:00:00.000", null, ...(version > 1 ? [-7, 3] : [null, 0])]],
    );
    // A column that is added stands at the end of its table, so the text of that is another one.
    const [outbound, ...others] = SCHEMA_SQL;
    const objects = db
      .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
      .pluck()
      .all() as string[];
    const isOutbound = (sql: string): boolean => sql.startsWith("CREATE TABLE outbound_messages");
    assert.deepEqual(objects.filter((sql) => !isOutbound(sql)).sort(), others.sort());
    const made = connect(":memory:", {});
    made.exec(outbound as string);
    const columnsOf = (of: Connection): unknown =>
      of
        .prepare('SELECT name, type, "notnull", dflt_value FROM pragma_table_xinfo(?) ORDER BY 1')
        .all("outbound_messages");
    assert.deepEqual(columnsOf(db), columnsOf(made));
    made.close();
  });

  test(`a file that says version ${version} and lacks something of it is refused, and stays`, (t) => {
    for (const harm of ["DROP TRIGGER inbound_deleted", "DROP TABLE peers"]) {
      const path = databaseOf(version, t, (db) => db.exec(harm));

      assert.throws(
        () => open(path),
        (thrown) => thrown instanceof DaemonError && thrown.code === "ERR_DB_DAMAGED",
      );

      const db = connect(path, {});
      assert.equal(db.pragma("user_version", { simple: true }), version);
      db.close();
    }
  });
}

test("a migrated file opens again without a migration, also by clients", (t) => {
  const path = oldDatabase(t, true, () => {});
  open(path).db.close();

  const again = open(path);
  assert.equal(again.migrated, false);
  again.db.close();
  openDatabase(path, { role: "client", create: false }).close();
});

test("a client does not migrate, and says who does", (t) => {
  const path = oldDatabase(t, true, () => {});

  assert.throws(
    () => openDatabase(path, { role: "client", create: false }),
    (thrown) =>
      thrown instanceof DaemonError &&
      thrown.code === "ERR_DB_SCHEMA" &&
      /start the daemon once/.test(thrown.next),
  );

  const db = connect(path, {});
  assert.equal(db.pragma("user_version", { simple: true }), 0);
  db.close();
});

test("a retransmission of what the older daemon stored is known, in other white space too", (t) => {
  const path = oldDatabase(t, true, (db) => {
    db.prepare(
      `INSERT INTO inbound_messages(message_id, src_addr, src_port, payload, crypto_timestamp)
       VALUES (?, 'a', 1, ?, '2026-01-01T00:00:00.000000001')`,
    ).run(ID, payloadOf(ID));
  });
  const store = new StoreUnderTest(t, { path });

  const outcomes = store.store([
    { id: ID, scope: "", payload: payloadOf(ID).replaceAll(":", " : ") },
    { id: ID, scope: "", payload: payloadOf(ID, "other") },
  ]);

  assert.deepEqual(outcomes, [STORED.known, STORED.inserted]);
});

test("the older daemon's queue goes out, released rows as such", (t) => {
  const path = oldDatabase(t, true, (db) => {
    for (const state of ["pending", "sending", "sent", "acknowledged", "send_failed"]) {
      db.exec(`INSERT INTO outbound_messages(dst_addr, dst_port, payload, state)
        VALUES ('192.0.2.1', 5000, '{}', '${state}')`);
    }
  });
  const store = new StoreUnderTest(t, { path });

  const rows = store.leaseAll();

  assert.deepEqual(
    rows.map((row) => [row.id, row.released]),
    [
      [1, false],
      [2, false],
      [3, true],
    ],
  );
});

test("messages that the older daemon left unacknowledged are reported once", (t) => {
  const path = oldDatabase(t, true, (db) => {
    db.prepare(
      `INSERT INTO inbound_messages(message_id, src_addr, src_port, payload, crypto_timestamp)
       VALUES (?, '192.0.2.5', 5005, ?, '2026-01-01T00:00:00.000000001')`,
    ).run(ID, payloadOf(ID));
    db.exec(`INSERT INTO inbound_messages(message_id, src_addr, src_port, payload,
      crypto_timestamp) VALUES ('not an id', 'a', 1, '{}', 'x')`);
  });
  const { db } = open(path);
  t.after(() => db.close());

  const first = recover(db, Date.now(), 100);
  const second = recover(db, Date.now(), 100);

  assert.deepEqual(first.unacknowledged, [{ messageId: ID, address: "192.0.2.5", port: 5_005 }]);
  assert.deepEqual(second.unacknowledged, []);
  const states = db.prepare("SELECT state, ack_sent FROM inbound_messages").raw().all();
  assert.deepEqual(states, [
    ["ack_sent", 1],
    ["ack_failed", 0],
  ]);
});

test("a failing migration leaves the file as it was", (t) => {
  const path = oldDatabase(t, true, (db) => {
    db.exec("DROP INDEX idx_outbound_message_id");
    for (let i = 0; i < 2; i++) {
      db.exec(`INSERT INTO outbound_messages(message_id, dst_addr, dst_port, payload)
        VALUES ('${ID}', 'a', 1, '{}')`);
    }
  });

  assert.throws(
    () => open(path),
    (thrown) => thrown instanceof DaemonError,
  );

  const db = connect(path, {});
  t.after(() => db.close());
  assert.equal(db.pragma("user_version", { simple: true }), 0);
  const columns = db.prepare("SELECT count(*) FROM pragma_table_info('outbound_messages')");
  assert.equal(columns.pluck().get(), 12);
});

test("ids near 2^63 in an older file are brought down", (t) => {
  const path = oldDatabase(t, true, (db) => {
    db.exec(`INSERT INTO outbound_messages(id, dst_addr, dst_port, payload)
      VALUES (7, 'a', 1, '{}'), (9223372036854775807, 'a', 1, '{}'), (-9223372036854775808, 'a', 1, '{}')`);
  });
  const store = new StoreUnderTest(t, { path });

  assert.equal(store.enqueue(), 10);
  assert.deepEqual(
    store
      .leaseAll()
      .map((row) => row.id)
      .sort(),
    [10, 7, 8, 9],
  );
});
