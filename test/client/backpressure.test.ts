// What send does while the outbox is full.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as nap } from "node:timers/promises";
import { acknowledge, count, errorOf, makePlace, openMailbox, write } from "./place.js";

const WAITING = "outbound_messages WHERE state = 'pending'";
const message = (payload: string) => ({ to: "beta", payload });

test("send waits while the outbox has as many messages as it may, and goes on in order", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place, { outboxMessagesMax: 10 });
  const ids = await mailbox.sendBatch(Array.from({ length: 9 }, (_, n) => message(`${n}`)));

  let isThrough = false;
  const batch = mailbox.sendBatch([message("9"), message("10")]).then(() => (isThrough = true));
  const single = mailbox.send(message("11"));
  await nap(50);
  assert.equal(isThrough, false);
  assert.equal(count(place, WAITING), 9, "the single message does not overtake the batch");
  acknowledge(place, ids.slice(0, 2));
  await Promise.all([batch, single]);

  const payloads = place.db.prepare("SELECT payload FROM outbound_messages ORDER BY id").pluck();
  assert.deepEqual(
    payloads.all(),
    Array.from({ length: 12 }, (_, n) => `${n}`),
  );
});

test("send refuses instead, by the mailbox's choice or the call's", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place, { outboxMessagesMax: 2, whenFull: "refuse" });
  const [id] = await mailbox.sendBatch([message("a"), message("b")]);
  const full = errorOf("ERR_OUTBOX_FULL", /outbox is full/);

  await assert.rejects(mailbox.send(message("c")), full);
  const waiting = mailbox.send(message("d"), { whenFull: "wait" });
  await assert.rejects(mailbox.send(message("e"), { whenFull: "refuse" }), full);
  acknowledge(place, [id]);
  await waiting;

  assert.equal(count(place, "outbound_messages"), 3);
});

test("payload bytes count, also those of other programs, and messages for later do not", async (t) => {
  const place = makePlace(t);
  const mailbox = await openMailbox(t, place, { outboxBytesMax: 10_000, whenFull: "refuse" });
  const full = errorOf("ERR_OUTBOX_FULL", /outbox is full/);
  const foreign = place.db.prepare(
    "INSERT INTO outbound_messages(dst_addr, dst_port, payload) VALUES ('beta', 1, ?)",
  );
  write(place, () => foreign.run("x".repeat(6_000)));
  const later = { ...message("x".repeat(9_000)), notBefore: Date.now() + 3_600_000 };

  await mailbox.send(message("x".repeat(3_000)));
  await assert.rejects(mailbox.send(message("x".repeat(2_000))), full);
  write(place, () => place.db.exec("DELETE FROM outbound_messages WHERE message_id IS NULL"));
  await mailbox.send(later);
  await mailbox.send(message("x".repeat(6_900)));
});

test("a hundred thousand messages pass a small outbox in bounded memory", async (t) => {
  const place = makePlace(t);
  const [total, rowsMax, batch] = [100_000, 5_000, 500];
  const mailbox = await openMailbox(t, place, { outboxMessagesMax: rowsMax });
  const text = "x".repeat(400);
  // A daemon that lags behind until the outbox is full.
  const settle = place.db.prepare(
    `UPDATE outbound_messages SET state = 'acknowledged' WHERE id IN
       (SELECT id FROM outbound_messages WHERE state = 'pending' ORDER BY id LIMIT 4000)`,
  );
  let most = 0;
  const daemon = setInterval(() => {
    const waiting = count(place, WAITING);
    most = Math.max(most, waiting);
    if (waiting > rowsMax - batch) write(place, () => settle.run());
  }, 5);
  t.after(() => clearInterval(daemon));
  const before = process.memoryUsage().heapUsed;
  let peak = before;

  for (let sent = 0; sent < total; sent += batch) {
    await mailbox.sendBatch(
      Array.from({ length: batch }, (_, n) => message(`${sent + n} ${text}`)),
    );
    peak = Math.max(peak, process.memoryUsage().heapUsed);
  }

  assert.equal(count(place, "outbound_messages"), total);
  assert.ok(most > rowsMax / 2 && most <= rowsMax, `${most} waited at most`);
  const grownMiB = (peak - before) / 1_048_576;
  assert.ok(grownMiB < 48, `the heap grew by ${grownMiB.toFixed(0)} MiB, for 40 MB of payloads`);
});
