// Sending and receipts, with no daemon running: the test does to the rows what a daemon would.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as nap } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Mailbox, type OutgoingMessage } from "../../src/client/mailbox.js";
import { Outbox } from "../../src/client/outbox.js";
import { OutboxRoom } from "../../src/client/outbox-room.js";
import { OutgoingDesk } from "../../src/client/outgoing.js";
import { SendQueue } from "../../src/client/send-queue.js";
import { CommitWatch } from "../../src/client/watch.js";
import { DaemonError } from "../../src/shared/base/errors.js";
import { openDatabase } from "../../src/shared/store/open.js";
import { acknowledge, count, errorOf, fail, makePlace, openMailbox, write } from "./place.js";

const ID = "0123456789abcdef01234567";
const hello: OutgoingMessage = { to: "beta", payload: { text: "hello" } };

test("a message is a row as any program may insert it, with a time-ordered id", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);

  const first = await mailbox.send(hello);
  await nap(2);
  const second = await mailbox.send({
    to: "192.0.2.9",
    port: 5_000,
    payload: "text",
    stream: "orders",
    inReplyTo: ID,
    priority: "urgent",
    notBefore: new Date("2090-01-01T00:00:00Z"),
    expiresAt: Date.parse("2090-01-02T00:00:00Z"),
  });
  const third = await mailbox.send({ to: "beta", payload: Uint8Array.of(0, 255) });

  assert.match(first, /^[0-9a-f]{24}$/);
  assert.ok(first < second, `${first} before ${second}`);
  const rows = place.db
    .prepare(
      `SELECT message_id, dst_addr, dst_port, priority, stream, in_reply_to, not_before, expires_at,
         state, typeof(payload) AS type, CAST(payload AS BLOB) AS payload
       FROM outbound_messages ORDER BY id`,
    )
    .raw()
    .all();
  const none = [null, null, null, null];
  assert.deepEqual(rows, [
    [first, "beta", 61_773, 1, ...none, "pending", "text", Buffer.from('{"text":"hello"}')],
    [
      ...[second, "192.0.2.9", 5_000, 3, "orders", ID],
      ...["2090-01-01T00:00:00.000", "2090-01-02T00:00:00.000", "pending", "text"],
      Buffer.from("text"),
    ],
    [third, "beta", 61_773, 1, ...none, "pending", "blob", Buffer.of(0, 255)],
  ]);
});

test("a batch is one transaction, its ids in the order of its messages", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  const batch = (from: number, more: object = {}) =>
    Array.from({ length: 100 }, (_, n) => ({ ...hello, payload: `${from + n}`, ...more }));

  const ids = await mailbox.sendBatch(batch(0));
  const clash = [...batch(100), { ...hello, id: ids[7] }];
  await assert.rejects(mailbox.sendBatch(clash), errorOf("ERR_MESSAGE_ID", new RegExp(ids[7])));
  const more = await mailbox.sendBatch([...batch(100), { ...hello, id: ID }]);

  const stored = place.db.prepare("SELECT message_id FROM outbound_messages ORDER BY id").pluck();
  assert.deepEqual(stored.all(), [...ids, ...more]);
  assert.equal(more[100], ID);
  assert.deepEqual(await mailbox.sendBatch([]), []);
});

test("calls that come together share transactions, and one that fails fails alone", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  await mailbox.send({ ...hello, id: ID });

  const calls = Array.from({ length: 2_000 }, (_, n) =>
    mailbox.send({ ...hello, payload: `${n}` }),
  );
  const clash = mailbox.send({ ...hello, id: ID });
  const last = mailbox.send({ ...hello, payload: "last" });
  await assert.rejects(clash, errorOf("ERR_MESSAGE_ID", /already queued/));
  const ids = await Promise.all(calls);
  await last;

  assert.equal(new Set(ids).size, 2_000);
  const payloads = place.db.prepare("SELECT payload FROM outbound_messages ORDER BY id").pluck();
  const expected = ['{"text":"hello"}', ...calls.map((_, n) => `${n}`), "last"];
  assert.deepEqual(payloads.all(), expected);
});

test("what is wrong with a message is said at once, and its nearest neighbour is taken", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  const table: [OutgoingMessage, RegExp, OutgoingMessage][] = [
    [{ ...hello, to: "" }, /no address/, { ...hello, to: "b" }],
    [{ ...hello, to: "a b" }, /no address/, { ...hello, to: "a-b" }],
    [{ ...hello, port: 0 }, /port 0/, { ...hello, port: 1 }],
    [{ ...hello, port: 65_536 }, /port 65536/, { ...hello, port: 65_535 }],
    [{ ...hello, id: ID.toUpperCase() }, /24 hex digits/, { ...hello, id: ID }],
    [{ ...hello, stream: "" }, /stream/, { ...hello, stream: "s" }],
    [{ ...hello, stream: "ä".repeat(33) }, /stream/, { ...hello, stream: "ä".repeat(32) }],
    [{ ...hello, inReplyTo: "x" }, /24 hex digits/, { ...hello, inReplyTo: ID }],
    [{ ...hello, expiresAt: 1 }, /is over/, { ...hello, expiresAt: Date.now() + 60_000 }],
    [{ ...hello, notBefore: Number.NaN }, /no time/, { ...hello, notBefore: 0 }],
    [{ ...hello, payload: "\ud800" }, /surrogate/, { ...hello, payload: "\ud83d\ude00" }],
    [
      { ...hello, payload: new Uint8Array(64 * 1_024 * 1_024 + 1) },
      /67108865 bytes, and a message has at most 67108864/,
      { ...hello, payload: new Uint8Array(70_000) },
    ],
    [
      { ...hello, payload: "no JSON", classic: true },
      /not valid JSON|not a JSON object/,
      { ...hello, payload: "no JSON" },
    ],
    [
      { ...hello, payload: { x: "x".repeat(65_471) }, classic: true },
      /classic datagram carries at most/,
      { ...hello, payload: { x: "x".repeat(65_000) }, classic: true },
    ],
  ];

  for (const [wrong, message, right] of table) {
    const isOurs = (thrown: unknown) =>
      thrown instanceof DaemonError && message.test(thrown.message);
    await assert.rejects(mailbox.send(wrong), isOurs, String(message));
    await mailbox.send(right);
  }
  assert.equal(count(place, "outbound_messages"), table.length);
});

test("what JavaScript lets through and JSON cannot say is refused", async (t) => {
  const mailbox = await openMailbox(t, makePlace(t));
  const circle: { self?: object } = {};
  circle.self = circle;
  for (const payload of [undefined, () => 1, 1n, circle] as readonly unknown[]) {
    const message = { to: "beta", payload } as OutgoingMessage;
    await assert.rejects(mailbox.send(message), errorOf("ERR_PAYLOAD", /^payload /));
  }
  await mailbox.send({ to: "beta", payload: null });
});

test("a classic message gets its id into the payload", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);

  await mailbox.send({ to: "192.0.2.1", payload: { a: 1 }, id: ID, classic: true });

  const payload = place.db.prepare("SELECT payload FROM outbound_messages").pluck().get();
  assert.equal(payload, `{"a":1,"message_id":"${ID}"}`);
});

test("receipts say what became of messages, before and after a restart of the program", async (t) => {
  const place = makePlace(t);
  const before = await Mailbox.open({ database: place.path });
  const [good, bad, late, lost] = await before.sendBatch([hello, hello, hello, hello]);
  await before.close();
  const mailbox = await openMailbox(t, place);

  const waits = [good, bad, late, lost].map((id) => mailbox.receipt(id));
  acknowledge(place, [good]);
  fail(place, bad, "payload is not valid JSON");
  fail(place, late, "expired, may have been delivered");
  fail(place, lost, "expired, not sent");
  const receipts = await Promise.all(waits);

  assert.deepEqual(
    receipts.map(({ at, ...rest }) => rest),
    [
      { state: "acknowledged", id: good },
      { state: "failed", id: bad, reason: "payload is not valid JSON" },
      {
        ...{ state: "expired", id: late, reason: "expired, may have been delivered" },
        mayHaveArrived: true,
      },
      { state: "expired", id: lost, reason: "expired, not sent", mayHaveArrived: false },
    ],
  );
  assert.equal(receipts[0].at.toISOString(), "2026-02-03T04:05:06.789Z");
  assert.deepEqual(await mailbox.receipt(good), receipts[0]);
});

test("a receipt for a row that is not there, or goes away, is refused", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  const gone = errorOf("ERR_MESSAGE_ID", /no message/);
  await assert.rejects(mailbox.receipt(ID), gone);
  await assert.rejects(mailbox.receipt("x"), errorOf("ERR_MESSAGE_ID", /24 hex digits/));
  const id = await mailbox.send(hello);

  const waiting = mailbox.receipt(id);
  write(place, () => place.db.exec("DELETE FROM outbound_messages"));

  await assert.rejects(waiting, gone);
});

test("ten thousand receipts are waited for at once", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  const ids = await mailbox.sendBatch(Array.from({ length: 10_000 }, () => hello));

  const waits = ids.map((id) => mailbox.receipt(id));
  for (let from = 0; from < ids.length; from += 1_000) {
    acknowledge(place, ids.slice(from, from + 1_000));
    await nap(1);
  }

  const receipts = await Promise.all(waits);
  assert.ok(receipts.every(({ state }) => state === "acknowledged"));
});

test("an aborted wait rejects with the signal's reason and leaves the others alone", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place, { outboxMessagesMax: 1 });
  const id = await mailbox.send(hello);
  const abort = new AbortController();
  const reason = new Error("enough");
  const { signal } = abort;

  const waits = [mailbox.receipt(id, { signal }), mailbox.send(hello, { signal })];
  const other = mailbox.receipt(id);
  const behind = mailbox.send({ ...hello, payload: "behind" });
  abort.abort(reason);

  for (const wait of waits) await assert.rejects(wait, (thrown) => thrown === reason);
  await assert.rejects(mailbox.send(hello, { signal }), (thrown) => thrown === reason);
  acknowledge(place, [id]);
  assert.equal((await other).state, "acknowledged");
  await behind;
  assert.equal(count(place, "outbound_messages"), 2);
});

test("close ends every wait, commits what can be committed, and leaves nothing running", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place, { outboxMessagesMax: 2 });
  const id = await mailbox.send(hello);
  const receipt = mailbox.receipt(id);
  const [sent, waits] = [mailbox.send(hello), mailbox.send(hello)];
  const loop = (async () => {
    for await (const message of mailbox.inbox()) message.done();
  })();
  const cancelled = errorOf("ERR_CANCELLED", /closed/);

  const ended = Promise.all([assert.rejects(receipt, cancelled), assert.rejects(waits, cancelled)]);
  await Promise.all([mailbox.close(), mailbox.close()]);

  await ended;
  await sent;
  await loop;
  await assert.rejects(mailbox.send(hello), cancelled);
  await assert.rejects(mailbox.receipt(id), cancelled);
  assert.throws(() => mailbox.inbox(), cancelled);
  assert.equal(count(place, "outbound_messages"), 2);
});

test("a program that closed its mailbox ends by itself, and one that waits does not", (t) => {
  const place = makePlace(t);
  const entry = fileURLToPath(new URL("./ends.js", import.meta.url));
  const run = (how: string) =>
    spawnSync(process.execPath, [entry, place.path, how], { timeout: 2_000, encoding: "utf8" });

  const closed = run("close");
  assert.equal(closed.error, undefined, `it ends: ${closed.stderr}`);
  assert.deepEqual([closed.status, closed.stdout], [0, "closed\n"]);
  assert.notEqual(run("wait").error, undefined, "a wait keeps the process alive");
});

test("a busy database is waited for without holding the thread, up to the deadline", async (t) => {
  const place = makePlace(t);
  const patient = await openMailbox(t, place);
  const hasty = await openMailbox(t, place, { busyDeadlineMs: 60 });
  place.db.exec("BEGIN IMMEDIATE");
  let turns = 0;
  const ticker = setInterval(() => (turns += 1), 5);
  t.after(() => clearInterval(ticker));

  const waits = patient.send(hello);
  const startedAt = performance.now();
  await assert.rejects(hasty.send(hello), errorOf("ERR_DB_BUSY", /write lock for more than 60 ms/));

  assert.ok(performance.now() - startedAt >= 60);
  assert.ok(turns >= 3, `the thread was free ${turns} times`);
  place.db.exec("COMMIT");
  await waits;
  await hasty.send(hello);
  assert.equal(count(place, "outbound_messages"), 2);
});

test("a full disk gives a sentence, and room makes the next call good", async (t) => {
  const place = makePlace(t);
  const { path } = place;
  const pagesMax = Number(place.db.pragma("page_count", { simple: true })) + 4;
  const db = openDatabase(path, { role: "client", create: false, pagesMax });
  t.after(() => db.close());
  const watch = new CommitWatch([{ path, db }]);
  t.after(() => watch.close());
  const room = new OutboxRoom(db, { rowsMax: 1_000, bytesMax: 1e9 });
  const queue = new SendQueue({
    ...{ path, outbox: new Outbox(path, db), room, watch, busyDeadlineMs: 1_000 },
  });
  const desk = new OutgoingDesk();
  const send = (payload: string) => {
    const { row, bytes } = desk.take({ to: "beta", payload });
    return queue.submit({ rows: [row], counted: 1, bytes, whenFull: "wait" }, undefined);
  };

  const [small, large] = [send("fits"), send("x".repeat(100_000))];
  await assert.rejects(large, errorOf("ERR_DB_FULL", /^no room left on the disk for /));
  await small;
  db.pragma("max_page_count = 1000000");
  await send("x".repeat(100_000));

  assert.equal(count(place, "outbound_messages"), 2);
});

test("a file that others may read, or that is not there, is refused in one sentence", async (t) => {
  const place = makePlace(t);
  const open = () => Mailbox.open({ database: place.path });
  chmodSync(place.path, 0o644);
  await assert.rejects(open(), errorOf("ERR_FILE_MODE", /has mode 0644/));
  chmodSync(place.path, 0o600);
  await (await open()).close();
  const database = join(place.folder, "none.db");
  await assert.rejects(Mailbox.open({ database }), errorOf("ERR_DB_MISSING", /not found/));
});

test("a user who may not use the file is told so in one sentence", (t) => {
  const { folder, path } = makePlace(t);
  const isRoot = process.getuid?.() === 0;
  if (!isRoot) chmodSync(path, 0);
  const entry = fileURLToPath(new URL("./ends.js", import.meta.url));
  const user = isRoot ? ["65534"] : [];

  const line = [entry, path, "close", ...user];
  const { stdout } = spawnSync(process.execPath, line, { cwd: folder, encoding: "utf8" });

  assert.match(stdout, /^ERR_(PERMISSION|FILE_MODE) [^\n]+\n$/);
});

test("options out of range are refused", async (t) => {
  const place = makePlace(t);
  const database = place.path;
  for (const options of [{ outboxMessagesMax: 0 }, { outboxBytesMax: 0 }, { busyDeadlineMs: -1 }]) {
    await assert.rejects(Mailbox.open({ database, ...options }), errorOf("ERR_USAGE", / is /));
  }
  const mailbox = await openMailbox(t, place, { outboxMessagesMax: 1, busyDeadlineMs: 0 });
  await mailbox.send(hello);
  const many = Array.from({ length: 16_385 }, () => hello);
  await assert.rejects(mailbox.sendBatch(many), errorOf("ERR_USAGE", /16385 messages/));
  await assert.rejects(mailbox.sendBatch([hello, hello]), errorOf("ERR_USAGE", /outbox may hold/));
  for (const options of [{ batch: 0 }, { batch: 4_097 }, { leaseMs: 99 }]) {
    assert.throws(() => mailbox.inbox(options), errorOf("ERR_USAGE", / is /));
  }
});
