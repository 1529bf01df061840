// Receiving: marks, leases, filters and waits of one process. Several processes: consumers.test.ts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as nap } from "node:timers/promises";
import type { IncomingMessage, MessageInbox } from "../../src/client/mailbox.js";
import { openLeases } from "../../src/shared/store/lease-file.js";
import { arrive, count, errorOf, makePlace, openMailbox, until, write } from "./place.js";

const UNREAD = "inbound_messages WHERE read_count = 0";
const payloads = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, n) => ({ payload: `${from + n}` }));

/** The next `messages` of an inbox. */
async function take(inbox: MessageInbox, messages: number): Promise<readonly IncomingMessage[]> {
  const taken: IncomingMessage[] = [];
  while (taken.length < messages) {
    const { done, value } = await inbox.next();
    if (done) break;
    taken.push(value);
  }
  return taken;
}
const texts = (messages: readonly IncomingMessage[]) => messages.map(({ payload }) => payload);

/** What comes within a moment; undefined when nothing does. The inbox goes on waiting. */
async function soon<T>(promise: Promise<T>): Promise<T | undefined> {
  return await Promise.race([promise, nap(150, undefined)]);
}

test("a message shows what its row says, and done marks it as sg-recv does", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  const [rowId] = arrive(place, [{ peer: "key=", stream: "s", payload: '{"a":[1]}' }]);
  arrive(place, [{ payload: Uint8Array.of(0, 200) }]);
  const inbox = mailbox.inbox();

  const [text, bytes] = await take(inbox, 2);

  assert.match(text.id, /^[0-9a-f]{24}$/);
  assert.deepEqual(
    [text.rowId, text.peer, text.address, text.port, text.stream, text.sequence, text.inReplyTo],
    [rowId, "key=", "10.0.0.1", 61_773, "s", undefined, undefined],
  );
  assert.equal(text.sentAt.toISOString(), "2026-01-02T03:04:05.006Z");
  assert.ok(Math.abs(text.receivedAt.getTime() - Date.now()) < 60_000);
  assert.deepEqual([text.payload, text.json()], ['{"a":[1]}', { a: [1] }]);
  assert.deepEqual(bytes.payload, Buffer.of(0, 200));
  assert.throws(() => bytes.json(), SyntaxError);
  text.done();
  text.done();
  await inbox.flush();
  const row = place.db.prepare("SELECT read_count FROM inbound_messages WHERE id = ?").pluck();
  assert.equal(row.get(rowId), 1);
  assert.equal(count(place, UNREAD), 1, "nothing else is marked");
});

test("a loop that never waits waits for marks that find the database locked", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  arrive(place, payloads(0, 3_000));
  place.db.exec("BEGIN IMMEDIATE");
  let got = 0;
  let gotWhileLocked = 0;
  setTimeout(() => {
    gotWhileLocked = got;
    place.db.exec("COMMIT");
  }, 50);

  for await (const message of mailbox.inbox({ batch: 256 })) {
    message.done();
    got += 1;
    if (got === 3_000) break;
  }

  // 512 marks wait at most, and what of a batch was handed out besides.
  assert.ok(gotWhileLocked >= 1 && gotWhileLocked <= 768, `${gotWhileLocked} were handed out`);
  assert.equal(count(place, UNREAD), 0);
});

test("messages come in order, each once, also beyond a batch", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  arrive(place, payloads(0, 1_000));
  const got: unknown[] = [];

  for await (const message of mailbox.inbox({ batch: 64 })) {
    got.push(message.payload);
    message.done();
    if (got.length === 1_000) break;
  }

  assert.deepEqual(
    got,
    payloads(0, 1_000).map(({ payload }) => payload),
  );
  assert.equal(count(place, UNREAD), 0, "leaving the loop commits the marks");
});

test("with autoDone a message is done when the loop comes back, and not when it is left", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  arrive(place, payloads(0, 3));

  for await (const message of mailbox.inbox({ autoDone: true })) {
    if (message.payload === "2") break;
  }
  const failing = (async () => {
    for await (const message of mailbox.inbox({ autoDone: true }))
      throw new Error(`${message.json()}`);
  })();
  await assert.rejects(failing, /^Error: 2$/);

  assert.equal(count(place, UNREAD), 1);
  const [again] = await take(mailbox.inbox(), 1);
  assert.equal(again.payload, "2");
});

test("a loop that does not say done waits with a full batch in hand until it does", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  arrive(place, payloads(0, 5));
  const inbox = mailbox.inbox({ batch: 3 });

  const [first] = await take(inbox, 3);
  const next = inbox.next();
  assert.equal(await soon(next), undefined);
  first.done();

  assert.equal((await next).value?.payload, "3");
});

test("a message that is given back comes again after its rest, its stream waits for it", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  arrive(place, [
    { stream: "s", payload: "s1" },
    { stream: "s", payload: "s2" },
    { payload: "free" },
  ]);
  const inbox = mailbox.inbox({ batch: 1 });

  const [first] = await take(inbox, 1);
  first.release(300);
  const startedAt = performance.now();
  const [free] = await take(inbox, 1);
  free.done();
  const [again] = await take(inbox, 1);
  again.done();
  const [second] = await take(inbox, 1);

  assert.deepEqual(texts([first, free, again, second]), ["s1", "free", "s1", "s2"]);
  assert.ok(performance.now() - startedAt >= 290);
  assert.throws(() => second.release(-1), errorOf("ERR_USAGE", /afterMs/));
  second.release(0);
  assert.deepEqual(texts(await take(inbox, 1)), ["s2"]);
});

test("two inboxes never have a message at a time, and what one gives back the other gets", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  const other = await openMailbox(t, place);
  arrive(place, payloads(0, 10));
  const [left, right] = [mailbox.inbox({ batch: 4 }), other.inbox({ batch: 20 })];

  const inLeft = await take(left, 1);
  const inRight = await take(right, 6);
  const next = right.next();
  assert.equal(await soon(next), undefined, "three more are leased by the other");
  await left.close();

  assert.deepEqual(texts(inLeft), ["0"]);
  assert.deepEqual(texts(inRight), ["4", "5", "6", "7", "8", "9"]);
  assert.equal((await next).value?.payload, "0");
  assert.throws(() => inLeft[0].done(), errorOf("ERR_CANCELLED", /closed before/));
  assert.deepEqual(texts(await take(right, 3)), ["1", "2", "3"]);
});

test("order within a stream holds across inboxes; other streams and peers go on", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  arrive(place, [
    { stream: "s", payload: "s1" },
    { stream: "s", payload: "s2" },
    { stream: "s", peer: "bob", payload: "bob's" },
    { stream: "u", payload: "u1" },
    { payload: "free" },
  ]);
  const [left, right] = [mailbox.inbox({ batch: 1 }), mailbox.inbox({ batch: 10 })];

  const [first] = await take(left, 1);
  const besides = await take(right, 3);
  const next = right.next();
  assert.equal(await soon(next), undefined);
  first.done();

  assert.deepEqual(texts(besides), ["bob's", "u1", "free"]);
  assert.equal((await next).value?.payload, "s2");
});

test("filters by peer, under its name and its keys, and by stream", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  const key = Buffer.alloc(32, 7);
  const insert = place.db.prepare("INSERT INTO peers(public_key, name) VALUES (?, 'bob')");
  write(place, () => insert.run(key));
  arrive(place, [
    { peer: "alice", stream: "s", payload: "a" },
    { peer: "bob", payload: "b" },
    { peer: key.toString("base64"), stream: "s", payload: "k" },
  ]);
  const some = async (options: object, messages: number) => {
    const inbox = mailbox.inbox(options);
    const found = texts(await take(inbox, messages));
    assert.equal(await soon(inbox.next()), undefined);
    await inbox.close();
    return found;
  };

  assert.deepEqual(await some({ peer: "bob" }, 2), ["b", "k"]);
  assert.deepEqual(await some({ peer: key.toString("base64") }, 1), ["k"]);
  assert.deepEqual(await some({ stream: "s" }, 2), ["a", "k"]);
  assert.deepEqual(await some({ stream: "s", peer: "alice" }, 1), ["a"]);
  assert.deepEqual(await some({}, 3), ["a", "b", "k"]);
});

test("plain SQL of another program wakes an inbox that waits", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  const inbox = mailbox.inbox();
  const waits: number[] = [];

  for (let n = 0; n < 20; n++) {
    const next = inbox.next();
    await nap(n % 4 === 0 ? 60 : 3);
    const startedAt = performance.now();
    arrive(place, [{ payload: `${n}` }]);
    const { value } = await next;
    waits.push(performance.now() - startedAt);
    assert.equal(value?.payload, `${n}`);
    value.done();
  }

  const [middle] = waits.toSorted((a, b) => a - b).slice(10);
  assert.ok(middle < 100, `woken after ${middle.toFixed(1)} ms`);
});

test("an abort rejects the wait with its reason and gives back what was in hand", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  arrive(place, payloads(0, 2));
  const abort = new AbortController();
  const inbox = mailbox.inbox({ signal: abort.signal });
  const [first] = await take(inbox, 2);
  first.done();
  const reason = new Error("enough");

  const next = inbox.next();
  abort.abort(reason);

  await assert.rejects(next, (thrown) => thrown === reason);
  assert.equal(count(place, UNREAD), 1);
  assert.deepEqual(texts(await take(mailbox.inbox(), 1)), ["1"]);
  const late = mailbox.inbox({ signal: abort.signal }).next();
  await assert.rejects(late, (thrown) => thrown === reason);
});

test("close ends a loop that waits, and await using closes", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  arrive(place, payloads(0, 1));
  let inside: MessageInbox;
  {
    await using inbox = mailbox.inbox();
    inside = inbox;
    (await take(inbox, 1))[0].done();
  }
  assert.equal(count(place, UNREAD), 0);
  assert.deepEqual(await inside.next(), { done: true, value: undefined });
  const waiting = mailbox.inbox();
  const end = waiting.next();
  await nap(20);

  await waiting.close();

  assert.deepEqual(await end, { done: true, value: undefined });
});

test("a lease lapses where its holder is stuck, and is renewed where it is not", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  const leases = openLeases(place.path);
  t.after(() => leases.db.close());
  arrive(place, payloads(0, 2));
  const holder = mailbox.inbox({ leaseMs: 300, batch: 1 });
  await take(holder, 1);
  const other = mailbox.inbox({ leaseMs: 300 });
  await take(other, 1);

  const next = other.next();
  await nap(700);
  assert.equal(await soon(next), undefined, "renewed twice over");
  // What a killed process leaves: a lease that nobody renews.
  leases.db.exec("UPDATE leases SET holder = 'gone' WHERE id = 1");

  assert.equal((await next).value?.payload, "0");
});

test("messages that are deleted or read by others while they are leased are passed over", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place);
  arrive(place, payloads(0, 4));
  const inbox = mailbox.inbox();

  const [first] = await take(inbox, 1);
  write(place, () => {
    place.db.exec("DELETE FROM inbound_messages WHERE id = 2");
    place.db.exec("UPDATE inbound_messages SET read_count = 1 WHERE id = 3");
  });
  const [next] = await take(inbox, 1);

  assert.deepEqual(texts([first, next]), ["0", "3"]);
});

test("marks wait for a busy database, and one that stays busy is said to the loop", async (t) => {
  const place = makePlace(t);
  const patient = await openMailbox(t, place);
  const hasty = await openMailbox(t, place, { busyDeadlineMs: 30 });
  arrive(place, payloads(0, 3));
  const [inHasty, inPatient] = [hasty.inbox({ batch: 1 }), patient.inbox({ batch: 1 })];
  const [[one], [two]] = [await take(inHasty, 1), await take(inPatient, 1)];

  place.db.exec("BEGIN IMMEDIATE");
  one.done();
  two.done();
  await assert.rejects(inHasty.flush(), errorOf("ERR_DB_BUSY", /more than 30 ms/));
  place.db.exec("COMMIT");
  await inPatient.flush();
  await until(() => count(place, UNREAD) <= 2, "the mark is on the disk");

  await inHasty.flush();
  assert.equal(count(place, UNREAD), 1, "the mark that could not be made was kept");
});
