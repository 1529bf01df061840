// Sessions need no clock: hosts that believe in 1970 and hosts that know the time connect, in both
// directions, and so they do when a clock is set right, or wrong, between two starts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Place, type TestDaemon } from "./harness.js";
import { requireOnce } from "./mixed-mail.js";
import { SessionPair, sendAll } from "./session-hosts.js";
import { clockAt, YEAR_1970_MS } from "./shifted-clock.js";

const NAMES = ["alice", "bob"] as const;

for (const wrong of [["alice"], ["bob"], ["alice", "bob"]] as const) {
  const who = wrong.join(" and ");
  test(`mail flows both ways with the clock of ${who} at 1970, then right, then at 1970`, async (t) => {
    const pair = await SessionPair.make(new Place(t));
    const set = (wrapper: readonly string[]): void => {
      for (const name of wrong) pair[name].wrapper = wrapper;
    };

    for (const wrapper of [clockAt(YEAR_1970_MS), [], clockAt(YEAR_1970_MS)]) {
      set(wrapper);
      await pair.start();
      for (const name of NAMES) {
        const isWrong = wrapper.length > 0 && wrong.some((each) => each === name);
        assert.equal(believes1970(pair[name]), isWrong, `${name} believes what it was told`);
      }
      sendAll(pair.alice, "bob", [{ payload: "from alice" }]);
      sendAll(pair.bob, "alice", [{ payload: "from bob" }]);
      await pair.settled();
      for (const name of NAMES) {
        const isWrong = wrapper.length > 0 && wrong.some((each) => each === name);
        assert.equal(settledIn1970(pair[name]), isWrong, `${name}'s store believes it, too`);
      }
      assert.deepEqual([await pair.alice.stop(), await pair.bob.stop()], [0, 0]);
    }

    requireOnce(pair.alice, pair.bob);
    requireOnce(pair.bob, pair.alice);
  });
}

/** What its newest line of log says of the time. */
function believes1970(daemon: TestDaemon): boolean {
  const { time } = JSON.parse(daemon.log.at(-1) ?? "{}") as { readonly time?: string | number };
  return new Date(time ?? Number.NaN).getUTCFullYear() === 1970;
}

/** What its store noted of its newest row. */
function settledIn1970(daemon: TestDaemon): boolean {
  const sql = "SELECT ack_received_at FROM outbound_messages ORDER BY id DESC LIMIT 1";
  return String(daemon.db.prepare(sql).pluck().get()).startsWith("1970-");
}
