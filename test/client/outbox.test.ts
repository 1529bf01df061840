import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Draft } from "../../src/client/drafts.js";
import { Outbox } from "../../src/client/outbox.js";
import { DaemonError } from "../../src/shared/base/errors.js";
import type { Connection } from "../../src/shared/store/driver.js";
import { openDatabase } from "../../src/shared/store/open.js";
import { parseTime } from "../../src/shared/store/text-time.js";

const TO = { address: "192.0.2.1", port: 5_000 } as const;
const TERMS = { priority: "high", notBefore: undefined, expiresAt: undefined } as const;

test("a batch of any length becomes rows in its order, and their ids come back in it", (t) => {
  const { db, outbox } = client(t);
  let rows = 0;
  for (const length of [1, 7, 8, 9, 16, 35, 0]) {
    const drafts = Array.from({ length }, (_, i) => draftOf(rows + i));

    const rowIds = outbox.enqueue(TO, TERMS, drafts);

    assert.deepEqual(
      rowIds.map((id) => payloadOf(db, id)),
      drafts.map(({ payload }) => payload),
    );
    rows += length;
  }
  assert.equal(countOf(db), rows);
});

test("rows carry their terms and the time of the insert", (t) => {
  const { db, outbox } = client(t);
  const before = Date.now();
  const [first] = outbox.enqueue(
    TO,
    { ...TERMS, notBefore: "2031-01-01T00:00:00.000" },
    Array.from({ length: 9 }, (_, i) => ({ payload: `{"n":${i}}`, messageId: undefined })),
  );

  const row = db.prepare("SELECT * FROM outbound_messages WHERE id = ?").get(first);

  const { created_at, updated_at, ...rest } = row as Readonly<Record<string, unknown>>;
  assert.equal(created_at, updated_at);
  const createdAt = parseTime(created_at) ?? 0;
  assert.ok(createdAt >= before && createdAt <= Date.now());
  assert.equal(rest.message_id, null);
  assert.equal(rest.state, "pending");
  assert.equal(rest.priority, 2);
  assert.equal(rest.not_before, "2031-01-01T00:00:00.000");
  assert.equal(rest.expires_at, null);
  assert.equal(rest.dst_addr, TO.address);
  assert.equal(rest.dst_port, TO.port);
});

test("an id that is queued refuses the whole batch by its name, wherever it stands", (t) => {
  const { db, outbox } = client(t);
  outbox.enqueue(TO, TERMS, [draftOf(12)]);
  for (const from of [3, 12]) {
    const drafts = Array.from({ length: 20 }, (_, i) => draftOf(from + i));

    assert.throws(() => outbox.enqueue(TO, TERMS, drafts), namesId(idOf(12)));

    assert.equal(countOf(db), 1);
  }
  const twice = [...Array.from({ length: 10 }, (_, i) => draftOf(100 + i)), draftOf(105)];
  assert.throws(() => outbox.enqueue(TO, TERMS, twice), namesId(idOf(105)));
  assert.equal(countOf(db), 1);

  assert.equal(outbox.enqueue(TO, TERMS, twice.slice(0, 10)).length, 10);
});

/** A new database, and our client on a connection of its own. */
function client(t: TestContext): { readonly db: Connection; readonly outbox: Outbox } {
  const folder = mkdtempSync(join(tmpdir(), "securedgram-enqueue-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "queue.db");
  openDatabase(path, { role: "daemon", create: true }).close();
  const db = openDatabase(path, { role: "client", create: false });
  t.after(() => db.close());
  return { db, outbox: new Outbox(path, db) };
}

const idOf = (n: number): string => n.toString(16).padStart(24, "0");
const draftOf = (n: number): Draft => ({ payload: `{"n":${n}}`, messageId: idOf(n) });
const payloadOf = (db: Connection, id: number): unknown =>
  db.prepare("SELECT payload FROM outbound_messages WHERE id = ?").pluck().get(id);
const countOf = (db: Connection): unknown =>
  db.prepare("SELECT count(*) FROM outbound_messages").pluck().get();
const namesId =
  (id: string) =>
  (thrown: unknown): boolean =>
    thrown instanceof DaemonError &&
    thrown.code === "ERR_MESSAGE_ID" &&
    thrown.message.includes(id);
