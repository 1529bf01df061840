// Figure: urgent messages while 64 MiB are under way to the same peer, 20 ms of round trip. They may take
// three round trips from their insert to `acknowledged`, with two synced commits in them. Those that meet
// the two ends of the transfer, where one transaction holds 64 MiB, are shown apart.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { type Place, type TestDaemon, until } from "../daemon/harness.js";
import { quantileOf } from "../daemon/kill-rounds.js";
import { sendAll } from "../daemon/session-hosts.js";
import { layPath } from "./bad-path.js";
import { pacedMail, quantilesOf } from "./paced-mail.js";

const MIB = 1 << 20;
const TRANSFER_BYTES = 64 * MIB;
const ROUND_TRIP_MS = 20;
const ROUND_TRIPS_MAX = 3;
const PER_SECOND = 50;
const SAMPLES = 1_000;
const ALONE_SAMPLES = 200;
const GRACE_MS = 10_000;
const UDP_BYTES_MAX = 65_507;
const LOOK_MS = 10;
/** Of the transfer, in datagrams to bob, between its begin and its end. */
const MIDDLE = { from: 0.01, to: 0.98 } as const;

/** `samples`: urgent messages beside transfers, of which one follows the other. */
export async function urgent(place: Place, seed: number, samples = SAMPLES): Promise<boolean> {
  const { pair } = await layPath(place, {
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
  const [middle, ends]: [number[], number[]] = [[], []];
  let [transfers, seconds, unanswered] = [0, 0, 0];
  while (middle.length < samples) {
    const watch = watchArrivals(bob);
    place.after(() => void watch.end());
    const startedAt = performance.now();
    // With an id of its own, as our client gives one: else the row is written once more.
    const [large = 0] = sendAll(alice, "bob", [
      {
        payload: new Uint8Array(TRANSFER_BYTES),
        priority: 0,
        messageId: randomBytes(12).toString("hex"),
      },
    ]);
    const beside = await pacedMail(alice, "bob", {
      ...pace,
      goesOn: () => alice.state(large) !== "acknowledged",
    });
    transfers += 1;
    seconds += (performance.now() - startedAt) / 1_000;
    unanswered += beside.sent - beside.ms.length;
    const span = watch.end();
    for (const [n, ms] of beside.ms.entries()) {
      const dueMs = beside.dueMs[n] ?? 0;
      (dueMs >= span.from && dueMs < span.to ? middle : ends).push(ms);
    }
    await until(() => bob.running, "the receiver to live");
  }
  const codes = [await alice.stop(), await bob.stop()];
  if (codes.some((code) => code !== 0)) throw new Error(`exit codes ${codes}`);
  const most = ROUND_TRIPS_MAX * ROUND_TRIP_MS;
  const isReached = quantileOf(middle, 0.99) <= most && unanswered === 0;
  const shown = (values: readonly number[]) => `${quantilesOf(values)} ms of ${values.length}`;
  console.log(
    `urgent, ${ROUND_TRIP_MS} ms of round trip, insert to acknowledged, p50 / p99 / worst: alone ` +
      `${shown(alone.ms)}; beside 64 MiB on their way ${shown(middle)}; beside their two ends ` +
      `${shown(ends)}; ${transfers} transfers of ${(seconds / transfers).toFixed(1)} s, ` +
      `${unanswered} unanswered; p99 on the way ${isReached ? "within" : "MISSED:"} ${most} ms`,
  );
  return isReached;
}

/** When the middle of what reaches a host, in datagrams, began and ended, of performance.now(). */
function watchArrivals(host: TestDaemon): { end(): { from: number; to: number } } {
  const seen: { readonly atMs: number; readonly datagrams: number }[] = [];
  const look = (): void => {
    seen.push({ atMs: performance.now(), datagrams: arrivals(host) });
  };
  look();
  const timer = setInterval(look, LOOK_MS);
  return {
    end() {
      clearInterval(timer);
      const [first = 0, last = 0] = [seen[0]?.datagrams, seen.at(-1)?.datagrams];
      const at = (share: number): number =>
        seen.find(({ datagrams }) => datagrams >= first + share * (last - first))?.atMs ?? 0;
      return { from: at(MIDDLE.from), to: at(MIDDLE.to) };
    },
  };
}

/** Packets that all devices of a host's network namespace received. */
const arrivals = (host: TestDaemon): number =>
  readFileSync(`/proc/${host.pid}/net/dev`, "latin1")
    .split("\n")
    .slice(2)
    .reduce((sum, line) => sum + Number(line.trim().split(/[:\s]+/)[2] ?? 0), 0);
