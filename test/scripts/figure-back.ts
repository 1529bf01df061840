// Figure: how soon a session is back when either end was killed, with 20 ms of round trip: on the wire
// from the first datagram of the new life to its first packet, and from its word that it is ready to
// the acknowledgement of what waited.

import { setTimeout as nap } from "node:timers/promises";
import { type Place, type TestDaemon, until } from "../daemon/harness.js";
import { quantileOf } from "../daemon/kill-rounds.js";
import { type SessionPair, sendAll } from "../daemon/session-hosts.js";
import { layPath } from "./bad-path.js";
import type { RelayProcess, Side } from "./relay-process.js";

const ROUND_TRIP_MS = 20;
const ROUNDS = 20;
/** Beside the one round trip: two commits of stamps, which are synced, and the handshake itself. */
const WORK_MS_MAX = 30;
/** After a kill: the other end has found out, and waits for its own next try. */
const SILENCE_MS = 300;
const KEEP_DATAGRAMS = 1_000;
const UDP_BYTES_MAX = 65_507;

export async function back(place: Place, seed: number, rounds = ROUNDS): Promise<boolean> {
  const { pair, relay } = await layPath(place, {
    lossShare: 0,
    delayMs: ROUND_TRIP_MS / 2,
    jitterMs: 0,
    bytesMax: UDP_BYTES_MAX,
    linkBytes: 0,
    seed,
    relayed: true,
  });
  if (relay === undefined) throw new Error("the path has a relay");
  await pair.start();
  sendAll(pair.alice, "bob", [{ payload: "first" }]);
  await pair.settled();
  let isReached = true;
  for (const name of ["alice", "bob"] as const) {
    const [wireMs, acknowledgedMs]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      const { wire, acknowledged } = await once(pair, pair[name], relay);
      wireMs.push(wire);
      acknowledgedMs.push(acknowledged);
    }
    const median = quantileOf(wireMs, 0.5);
    isReached &&= median <= ROUND_TRIP_MS + WORK_MS_MAX;
    const shown = (values: readonly number[]) =>
      `median ${quantileOf(values, 0.5).toFixed(1)}, worst ${quantileOf(values, 1).toFixed(1)} ms`;
    const end = name === "alice" ? "the sender" : "the receiver";
    console.log(
      `back, ${ROUND_TRIP_MS} ms, ${end} killed ${rounds} times: first datagram to first packet of ` +
        `the session ${shown(wireMs)} (${(median - ROUND_TRIP_MS).toFixed(1)} ms over one round ` +
        `trip); ready to acknowledged ${shown(acknowledgedMs)}`,
    );
  }
  const codes = [await pair.alice.stop(), await pair.bob.stop()];
  if (codes.some((code) => code !== 0)) throw new Error(`exit codes ${codes}`);
  return isReached;
}

async function once(
  { alice }: SessionPair,
  victim: TestDaemon,
  relay: RelayProcess,
): Promise<{ readonly wire: number; readonly acknowledged: number }> {
  await victim.kill();
  const [row = 0] = sendAll(alice, "bob", [{ payload: "waits" }]);
  await nap(SILENCE_MS);
  await relay.report();
  relay.keep(KEEP_DATAGRAMS);
  victim.spawn();
  await until(() => victim.ready, "a start");
  const readyAt = performance.now();
  await until(() => alice.state(row) === "acknowledged", "a receipt");
  const acknowledged = performance.now() - readyAt;
  const { kept } = await relay.report();
  relay.keep(0);
  // The victim's first is its message 1; it says nothing more before message 2 came.
  const from: Side = victim === alice ? "toBob" : "toAlice";
  const [first, second] = kept.filter(({ direction }) => direction === from);
  if (first === undefined || second === undefined) throw new Error("no session on the wire");
  return { wire: second.atMs - first.atMs, acknowledged };
}
