// Ordered streams between real daemons, whose rows have all priorities, under a backlog of bulk, over
// a kill of either daemon: at the other end each stream is in the order in which it was inserted.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Place } from "./harness.js";
import { SessionPair, sendAll, streamOf } from "./session-hosts.js";

const STREAMS = ["orders", "räksmörgås", "x".repeat(64)];
const ROUNDS = 12;
const ROWS = 20;

test("rows of one stream arrive in the order of insertion, whatever their priorities", async (t) => {
  const pair = await (await SessionPair.make(new Place(t))).start();
  const { alice, bob } = pair;
  const bulk = { payload: "b".repeat(8_000), priority: 0 };
  let sent = 0;

  for (let round = 0; round < ROUNDS; round++) {
    sendAll(alice, "bob", Array(50).fill(bulk));
    for (const stream of STREAMS) {
      const rows = Array.from({ length: ROWS }, (_, n) => ({
        payload: String(sent + n),
        stream,
        // Each of them would overtake the one in front of it, or be overtaken.
        priority: (sent + n + round) % 4,
      }));
      sendAll(alice, "bob", rows);
    }
    sent += ROWS;
    if (round === 4) await bob.kill();
    if (round === 5) await bob.start();
    if (round === 8) await alice.kill();
    if (round === 9) await alice.start();
  }
  await pair.settled();

  const expected = Array.from({ length: sent }, (_, n) => String(n));
  for (const stream of STREAMS) assert.deepEqual(streamOf(bob, stream), expected, stream);
  assert.equal(bob.count("inbound", "stream IS NULL"), 50 * ROUNDS);
  assert.equal(bob.db.prepare("SELECT count(*) FROM stream_gaps").pluck().get(), 0);
});
