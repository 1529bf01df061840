// Figure: urgent messages while 64 MiB are under way to the same peer, 20 ms of round trip. They may take
// three round trips from their insert to `acknowledged`, with two synced commits in them.

import { type Place, until } from "../daemon/harness.js";
import { quantileOf } from "../daemon/kill-rounds.js";
import { sendAll } from "../daemon/session-hosts.js";
import { layPath } from "./bad-path.js";
import { pacedMail, quantilesOf } from "./paced-mail.js";

const MIB = 1 << 20;
const ROUND_TRIP_MS = 20;
const ROUND_TRIPS_MAX = 3;
const PER_SECOND = 50;
const SAMPLES = 1_000;
const ALONE_SAMPLES = 200;
const GRACE_MS = 10_000;
const UDP_BYTES_MAX = 65_507;

/** `samples`: urgent messages beside transfers, of which one follows the other. */
export async function urgent(place: Place, seed: number, samples = SAMPLES): Promise<boolean> {
  const { pair, relay } = await layPath(place, {
    lossShare: 0,
    delayMs: ROUND_TRIP_MS / 2,
    jitterMs: 0,
    bytesMax: UDP_BYTES_MAX,
    linkBytes: 0,
    seed,
  });
  const { alice, bob } = await pair.start();
  sendAll(alice, "bob", [{ payload: "first" }]);
  await alice.settled();
  const message = { payload: "urgent".padEnd(200), priority: 3 } as const;
  const pace = { perSecond: PER_SECOND, atOnce: 1, message, graceMs: GRACE_MS } as const;
  const alone = await pacedMail(alice, "bob", {
    ...pace,
    goesOn: (_, sent) => sent < ALONE_SAMPLES,
  });
  const busy: number[] = [];
  let [transfers, seconds, sent] = [0, 0, 0];
  while (sent < samples) {
    const before = relay === undefined ? 0 : (await relay.report()).carried.toBob;
    const [large = 0] = sendAll(alice, "bob", [{ payload: new Uint8Array(64 * MIB), priority: 0 }]);
    await until(() => alice.state(large) !== "pending", "the transfer");
    const startedAt = performance.now();
    const beside = await pacedMail(alice, "bob", {
      ...pace,
      goesOn: () => alice.state(large) !== "acknowledged",
    });
    transfers += 1;
    seconds += (performance.now() - startedAt) / 1_000;
    sent += beside.sent;
    busy.push(...beside.ms);
    if (relay === undefined) continue;
    const { carried } = await relay.report();
    console.log(`  transfer ${transfers}: ${carried.toBob - before} datagrams to bob`);
  }
  const codes = [await alice.stop(), await bob.stop()];
  if (codes.some((code) => code !== 0)) throw new Error(`exit codes ${codes}`);
  const p99 = quantileOf(busy, 0.99);
  const isReached = p99 <= ROUND_TRIPS_MAX * ROUND_TRIP_MS && busy.length === sent;
  console.log(
    `urgent, ${ROUND_TRIP_MS} ms: insert to acknowledged p50 / p99 / worst: alone ` +
      `${quantilesOf(alone.ms)} ms (${alone.ms.length}), beside 64 MiB ${quantilesOf(busy)} ms ` +
      `(${busy.length} of ${sent}; ${transfers} transfers of ${(seconds / transfers).toFixed(1)} s); ` +
      `p99 ${isReached ? "within" : "MISSED:"} ${ROUND_TRIPS_MAX * ROUND_TRIP_MS} ms`,
  );
  return isReached;
}
