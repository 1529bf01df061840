// Figure: a peer sends 500 messages a second while a stranger floods its host as fast as one core can,
// from many addresses and from the peer's own, with noise and with what was recorded between the two.

import { LOOPBACK, type Place, type TestDaemon } from "../daemon/harness.js";
import { requireIntegrity } from "../daemon/ledger.js";
import { sendAll, sumOf } from "../daemon/session-hosts.js";
import { layPath } from "./bad-path.js";
import { FloodProcess } from "./flood-process.js";
import { ADDRESSES } from "./namespaces.js";
import { type PacedMail, pacedMail, quantilesOf } from "./paced-mail.js";

const MIB = 1 << 20;
const PER_SECOND = 500;
const CALM_MS = 5_000;
const FLOOD_MS = 20_000;
const GRACE_MS = 10_000;
const IN_TIME_MS = 1_000;
const IN_TIME_SHARE_MIN = 0.99;
const GROWTH_MIB_MAX = 32;
const LINES_A_SECOND_MAX = 1;
const SOURCES = 61;
const RECORDED_DATAGRAMS = 400;
/** A handshake has its end in common with no packet; up to this many bytes, among the first, are some. */
const HANDSHAKE_BYTES_MAX = 460;
const UDP_BYTES_MAX = 65_507;
const LOOK_MS = 10;

export async function spoofed(place: Place, seed: number, floodMs = FLOOD_MS): Promise<boolean> {
  const { pair, relay, namespaces } = await layPath(place, {
    lossShare: 0,
    delayMs: 0,
    jitterMs: 0,
    bytesMax: UDP_BYTES_MAX,
    linkBytes: 0,
    seed,
    relayed: true,
  });
  if (relay === undefined) throw new Error("the path has a relay");
  const { alice, bob } = pair;
  relay.keep(RECORDED_DATAGRAMS);
  await pair.start();
  sendAll(alice, "bob", [{ payload: "first" }]);
  await alice.settled();
  const pace = (ms: number): Promise<PacedMail> =>
    pacedMail(alice, "bob", {
      perSecond: PER_SECOND,
      atOnce: 100,
      message: { payload: "x".repeat(200) },
      goesOn: (spentMs) => spentMs < ms,
      graceMs: GRACE_MS,
      lookMs: LOOK_MS,
    });
  const calm = await pace(CALM_MS);

  const { kept } = await relay.report();
  const toBob = kept.filter(({ direction }) => direction === "toBob");
  const base64 = toBob.map(({ datagram }) => datagram.toString("base64"));
  // A packet begins as others do; what begins like nothing else, and came early, is a handshake.
  const heads = toBob.map(({ datagram }) => datagram.readUInt32BE(0));
  const isHandshake = toBob.map(
    ({ datagram }, n) =>
      datagram.length <= HANDSHAKE_BYTES_MAX &&
      heads.indexOf(heads[n] as number) === n &&
      heads.lastIndexOf(heads[n] as number) === n,
  );
  const peer = {
    address: namespaces === undefined ? LOOPBACK : ADDRESSES.bob.router,
    port: namespaces === undefined ? 0 : relay.ports.toAlice,
  };
  namespaces?.addStranger([peer.address]);
  const foreign = Array.from({ length: SOURCES }, (_, n) => ({
    address: `${namespaces === undefined ? "127.0" : "198.18"}.${128 + (n & 63)}.${1 + n}`,
    port: 0,
  }));
  const lines = bob.log.length;
  const [before, readBefore] = [bob.residentBytes, sumOf(bob, "datagrams_received")];
  const flood = await FloodProcess.start(
    place,
    {
      target: { address: pair.addresses.bob, port: bob.port },
      sources: [peer, ...foreign],
      handshakes: base64.filter((_, n) => isHandshake[n]),
      packets: base64.filter((_, n) => !isHandshake[n]),
      seed,
    },
    namespaces?.wrapper("stranger"),
  );
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, bob.residentBytes);
  }, 250);
  place.after(() => clearInterval(watch));
  const [startedAt, sentBefore] = [performance.now(), flood.sent];
  const flooded = await pace(floodMs);
  const seconds = (performance.now() - startedAt) / 1_000;
  const perSecond = (flood.sent - sentBefore) / seconds;
  const logged = bob.log.length - lines;
  clearInterval(watch);
  await flood.end();
  await alice.settled();
  requireIntegrity(bob);
  const codes = [await alice.stop(), await bob.stop()];
  if (codes.some((code) => code !== 0)) throw new Error(`exit codes ${codes}`);

  const growthMib = (most - before) / MIB;
  const inTime = ({ ms, sent }: PacedMail) => ms.filter((each) => each <= IN_TIME_MS).length / sent;
  const share = inTime(flooded);
  for (const [name, mail] of [
    ["calm", calm],
    ["flooded", flooded],
  ] as const) {
    console.log(
      `spoofed, ${name}: ${mail.sent} messages, ${(100 * inTime(mail)).toFixed(2)} % acknowledged ` +
        `within 1 s, p50 / p99 / worst ${quantilesOf(mail.ms)} ms`,
    );
  }
  const drops = dropsOf(bob)
    .map(([reason, count]) => `${reason} ${count}`)
    .join(", ");
  const failures = [
    share < IN_TIME_SHARE_MIN ? "too few in time" : "",
    growthMib >= GROWTH_MIB_MAX ? "memory" : "",
    logged > LINES_A_SECOND_MAX * seconds ? "log" : "",
  ].filter((each) => each !== "");
  console.log(
    `spoofed: ${perSecond.toFixed(0)} hostile datagrams/s sent for ${seconds.toFixed(0)} s, ` +
      `${sumOf(bob, "datagrams_received") - readBefore} datagrams read in all, ` +
      `${isHandshake.filter(Boolean).length} recorded handshakes; memory at most ` +
      `+${growthMib.toFixed(1)} MiB, ${logged} lines of log; ` +
      `dropped as ${drops}; ` +
      (failures.length === 0 ? "reached" : `MISSED: ${failures.join(", ")}`),
  );
  return failures.length === 0;
}

/** Why its datagrams were dropped, and how many, most first. */
function dropsOf(daemon: TestDaemon): readonly (readonly [string, number])[] {
  const names = daemon.log.flatMap((line) =>
    Object.keys(JSON.parse(line) as object).filter((name) => name.startsWith("drop_")),
  );
  return [...new Set(names)]
    .map((name) => [name.slice("drop_".length), sumOf(daemon, name)] as const)
    .toSorted(([, a], [, b]) => b - a);
}
