// Figure: how many round trips it takes until a session is back when either end was killed. Measured on
// two paths that differ in nothing but their delay, on the wire, from the first datagram of the new life
// to its first packet: what grows with the delay is round trips, the rest is work of the two hosts.

import { setTimeout as nap } from "node:timers/promises";
import { type Place, type TestDaemon, until } from "../daemon/harness.js";
import { quantileOf } from "../daemon/kill-rounds.js";
import { type SessionPair, sendAll } from "../daemon/session-hosts.js";
import { layPath } from "./bad-path.js";
import type { RelayProcess, Shape, Side } from "./relay-process.js";

const ROUND_TRIPS_MS = [20, 120] as const;
const ENDS = ["sender", "receiver"] as const;
type End = (typeof ENDS)[number];
const ROUNDS = 10;
/** One, and what timers and a busy machine add to the difference of two medians. */
const ROUND_TRIPS_MAX = 1.1;
/** After a kill: the other end has found out, and waits for its own next try. */
const SILENCE_MS = 300;
const KEEP_DATAGRAMS = 1_000;
const UDP_BYTES_MAX = 65_507;

export async function back(place: Place, seed: number, rounds = ROUNDS): Promise<boolean> {
  const [short, long] = ROUND_TRIPS_MS;
  const { pair, relay } = await layPath(place, {
    ...shapeOf(short),
    linkBytes: 0,
    seed,
    relayed: true,
  });
  if (relay === undefined) throw new Error("the path has a relay");
  await pair.start();
  sendAll(pair.alice, "bob", [{ payload: "first" }]);
  await pair.settled();
  const near = await mediansOver({ pair, relay, roundTripMs: short, rounds });
  const far = await mediansOver({ pair, relay, roundTripMs: long, rounds });
  const codes = [await pair.alice.stop(), await pair.bob.stop()];
  if (codes.some((code) => code !== 0)) throw new Error(`exit codes ${codes}`);
  let isReached = true;
  for (const end of ENDS) {
    const roundTrips = (far[end] - near[end]) / (long - short);
    isReached &&= roundTrips <= ROUND_TRIPS_MAX;
    const workMs = near[end] - roundTrips * short;
    console.log(
      `back, the ${end} killed: ${roundTrips.toFixed(2)} round trips, and ${workMs.toFixed(1)} ms ` +
        "of work and synced commits",
    );
  }
  return isReached;
}

const shapeOf = (roundTripMs: number): Shape => ({
  lossShare: 0,
  delayMs: roundTripMs / 2,
  jitterMs: 0,
  bytesMax: UDP_BYTES_MAX,
});

interface Over {
  readonly pair: SessionPair;
  readonly relay: RelayProcess;
  readonly roundTripMs: number;
  readonly rounds: number;
}

/** What it takes on the wire, median, ms, by who was killed. */
async function mediansOver({
  pair,
  relay,
  roundTripMs,
  rounds,
}: Over): Promise<Readonly<Record<End, number>>> {
  relay.shape = shapeOf(roundTripMs);
  const medians = { sender: 0, receiver: 0 };
  for (const end of ENDS) {
    const victim = end === "sender" ? pair.alice : pair.bob;
    const [wireMs, acknowledgedMs]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      const { wire, acknowledged } = await once(pair, victim, relay);
      wireMs.push(wire);
      acknowledgedMs.push(acknowledged);
    }
    medians[end] = quantileOf(wireMs, 0.5);
    const shown = (values: readonly number[]) =>
      `median ${quantileOf(values, 0.5).toFixed(1)}, worst ${quantileOf(values, 1).toFixed(1)} ms`;
    console.log(
      `back, ${roundTripMs} ms, the ${end} killed ${rounds} times: first datagram to first packet ` +
        `of the session ${shown(wireMs)}; ready to acknowledged ${shown(acknowledgedMs)}`,
    );
  }
  return medians;
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
