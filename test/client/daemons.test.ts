// The library between two real daemons: classic and sessions, requests and their answers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Mailbox } from "../../src/client/mailbox.js";
import { LOOPBACK, makePair, Place, type TestDaemon } from "../daemon/harness.js";
import { SessionPair } from "../daemon/session-hosts.js";

const open = async (place: Place, daemon: TestDaemon): Promise<Mailbox> => {
  const mailbox = await Mailbox.open({ database: daemon.database });
  place.after(() => mailbox.close());
  return mailbox;
};

test("in sessions text, bytes and streams arrive as they are, and receipts say so", async (t) => {
  const place = new Place(t);
  const { alice, bob } = await (await SessionPair.make(place)).start();
  const [atAlice, atBob] = [await open(place, alice), await open(place, bob)];
  const bytes = new Uint8Array(100_000).fill(7);
  const ordered = Array.from({ length: 50 }, (_, n) => ({ to: "bob", payload: n, stream: "s" }));

  const inbox = atBob.inbox();
  const ids = await atAlice.sendBatch([...ordered, { to: "bob", payload: bytes }]);
  const got = new Map<string, string | Uint8Array>();
  while (got.size < ids.length) {
    const { value } = await inbox.next();
    if (value === undefined) break;
    got.set(value.id, value.payload);
    value.done();
  }
  const receipts = await Promise.all(ids.map((id) => atAlice.receipt(id)));

  assert.ok(receipts.every(({ state }) => state === "acknowledged"));
  assert.deepEqual([...got.keys()].slice().sort(), [...ids].sort());
  const texts = [...got.values()].filter((payload) => typeof payload === "string");
  assert.deepEqual(
    texts,
    ordered.map(({ payload }) => `${payload}`),
  );
  assert.deepEqual(got.get(ids[50]), Buffer.from(bytes));
});

test("an answer names the message that it answers", async (t) => {
  const place = new Place(t);
  const { alice, bob } = await (await SessionPair.make(place)).start();
  const [atAlice, atBob] = [await open(place, alice), await open(place, bob)];
  const answers = (async () => {
    for await (const request of atBob.inbox({ peer: "alice", autoDone: true })) {
      await atBob.send({ to: "alice", payload: `${request.payload}!`, inReplyTo: request.id });
    }
  })();

  const id = await atAlice.send({ to: "bob", payload: "ping" });
  const { value } = await atAlice.inbox({ peer: "bob" }).next();

  assert.deepEqual([value?.payload, value?.inReplyTo], ["ping!", id]);
  await atBob.close();
  await answers;
});

test("by classic a message waits for its daemon, and what classic cannot carry fails with a reason", async (t) => {
  const place = new Place(t);
  const [alice, bob] = await makePair(place);
  const [atAlice, atBob] = [await open(place, alice), await open(place, bob)];
  const to = { to: LOOPBACK, port: bob.port };
  assert.equal(await alice.stop(), 0);

  const good = await atAlice.send({ ...to, payload: { n: 1 }, classic: true });
  const also = await atAlice.send({ ...to, payload: { n: 2 } });
  const bad = await atAlice.send({ ...to, payload: "no JSON" });
  await alice.start();

  assert.equal((await atAlice.receipt(good)).state, "acknowledged");
  assert.equal((await atAlice.receipt(also)).state, "acknowledged");
  const receipt = await atAlice.receipt(bad);
  assert.equal(receipt.state, "failed");
  assert.match("reason" in receipt ? receipt.reason : "", /^payload is not a JSON object/);
  const inbox = atBob.inbox();
  const found = [await inbox.next(), await inbox.next()].map(({ value }) => value?.json());
  assert.deepEqual(
    new Set(found.map((each) => JSON.stringify(each))),
    new Set([
      JSON.stringify({ n: 1, message_id: good }),
      JSON.stringify({ n: 2, message_id: also }),
    ]),
  );
});
