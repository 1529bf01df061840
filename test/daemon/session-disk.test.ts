// A receiver whose disk is full, under sessions: refused for a while, never acknowledged without a row,
// and stored once there is room, large messages too.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Place, until } from "./harness.js";
import { requireIntegrity } from "./ledger.js";
import { SessionPair, sendAll } from "./session-hosts.js";

/** A little more than an empty database has. */
const PAGES_MAX = 80;
const ROWS = 120;
const LARGE_BYTES = 600_000;

test("rows wait while the peer's disk is full, streams in their order, and arrive when it is not", async (t) => {
  const hosts = { bob: { pagesMax: PAGES_MAX } };
  const pair = await (await SessionPair.make(new Place(t), { hosts })).start();
  const { alice, bob } = pair;
  const text = "x".repeat(3_000);

  const messages = Array.from({ length: ROWS }, (_, n) => ({
    payload: `${n} ${text}`,
    stream: n % 2 === 0 ? "even" : "odd",
  }));
  sendAll(alice, "bob", [...messages, { payload: "x".repeat(LARGE_BYTES) }]);
  await until(() => bob.log.some((line) => line.includes("the disk is full")), "a full disk");
  const waits = () => alice.count("outbound", "state = 'sent' AND retry_count > 0");
  await until(() => waits() > 0, "a refusal");
  assert.equal(alice.count("outbound", "state = 'send_failed'"), 0);
  const early = alice.count("outbound", "state = 'acknowledged'");
  assert.ok(early <= bob.count("inbound") && early < ROWS, `${early} of ${bob.count("inbound")}`);
  requireIntegrity(bob);
  assert.equal(await bob.stop(), 0);
  bob.host = { config: "securedgram.toml" };
  await bob.start();
  await alice.settled();

  assert.equal(bob.count("inbound"), ROWS + 1);
  for (const [stream, first] of [
    ["even", 0],
    ["odd", 1],
  ] as const) {
    const order = bob.db
      .prepare("SELECT payload FROM inbound_messages WHERE stream = ? ORDER BY id")
      .pluck()
      .all(stream)
      .map((payload) => Number.parseInt(String(payload), 10));
    assert.deepEqual(
      order,
      Array.from({ length: ROWS / 2 }, (_, n) => first + 2 * n),
    );
  }
  requireIntegrity(bob);
});
