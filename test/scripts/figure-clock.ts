// Figure: two hosts, of which either, or both, believe that it is 1970: how long after their start the
// first mail of both directions is acknowledged.

import type { Place } from "../daemon/harness.js";
import { SessionPair, sendAll } from "../daemon/session-hosts.js";
import { clockAt, YEAR_1970_MS } from "../daemon/shifted-clock.js";

/** Throws when mail is not acknowledged. */
export async function clock(place: Place): Promise<boolean> {
  const pair = await SessionPair.make(place);
  const { alice, bob } = pair;
  for (const [who, wrong] of [
    ["alice", [alice]],
    ["bob", [bob]],
    ["both", [alice, bob]],
    ["none", []],
  ] as const) {
    for (const daemon of [alice, bob]) {
      daemon.wrapper = wrong.some((each) => each === daemon) ? clockAt(YEAR_1970_MS) : [];
    }
    await pair.start();
    const readyAt = performance.now();
    sendAll(alice, "bob", [{ payload: "from alice" }]);
    sendAll(bob, "alice", [{ payload: "from bob" }]);
    await pair.settled();
    const ms = performance.now() - readyAt;
    console.log(`clock, at 1970: ${who}; mail of both acknowledged after ${ms.toFixed(0)} ms`);
    const codes = [await alice.stop(), await bob.stop()];
    if (codes.some((code) => code !== 0)) throw new Error(`exit codes ${codes}`);
  }
  return true;
}
