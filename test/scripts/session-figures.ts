// `npm run session-figures [-- hostile | statistics | urgent | spoofed ...]`: the long runs behind the
// figures of docs/BENCHMARKS.md, section Sessions. A figure that was missed is said.

import { fork } from "node:child_process";
import { randomInt } from "node:crypto";
import { setTimeout as nap } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Place, type TestDaemon, until } from "../daemon/harness.js";
import { quantileOf, randomFrom } from "../daemon/kill-rounds.js";
import { randomnessOf, suspicions } from "../daemon/randomness.js";
import { flood } from "../daemon/session-flood.js";
import { SessionPair, sendAll, sumOf } from "../daemon/session-hosts.js";
import { randomLike, sampleWire } from "../daemon/wire-sample.js";

const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));
const MIB = 1 << 20;
const FLOODER = fileURLToPath(new URL("./flooder.js", import.meta.url));

const FIGURES: Readonly<Record<string, (place: Place) => Promise<void>>> = {
  hostile,
  statistics,
  urgent,
  spoofed,
};

console.log(`SEED=${seed}`);
const wanted = process.argv.slice(2);
for (const [name, work] of Object.entries(FIGURES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const place = new Place();
  try {
    await work(place);
  } finally {
    await place.end();
  }
}

/** 10^6 hostile packets, a tenth of them under a true identity. */
async function hostile(place: Place): Promise<void> {
  const report = await flood(place, {
    keyless: 900_000,
    keyed: 100_000,
    random: randomFrom(seed),
  });
  const { honestMs, ...rest } = report;
  console.log(
    `hostile: ${JSON.stringify(rest)}; an honest message meanwhile: median ` +
      `${quantileOf(honestMs, 0.5).toFixed(0)}, worst ${quantileOf(honestMs, 1).toFixed(0)} ms`,
  );
}

/** 10^5 datagrams against random bytes of the same lengths. */
async function statistics(place: Place): Promise<void> {
  const pair = await SessionPair.make(place, { relayed: true });
  const { datagrams, firsts } = await sampleWire(pair, { datagrams: 100_000, restarts: 20 });
  const seen = randomnessOf(datagrams, 4);
  const os = randomnessOf(randomLike(datagrams), 4);
  // Ids that come once only: handshakes and session ids themselves.
  console.log(`statistics: ${JSON.stringify(seen)}; ${firsts.length} ids`);
  console.log(`the system's random bytes: ${JSON.stringify(os)}`);
  const found = suspicions(seen);
  console.log(found.length === 0 ? "not to be told apart" : `MISSED: ${found.join(", ")}`);
}

/** Urgent messages while 64 MiB are under way, 20 ms of round trip. */
async function urgent(place: Place): Promise<void> {
  const pair = await SessionPair.make(place, { relayed: true });
  pair.relay.delayMs = () => 10;
  const { alice, bob } = await pair.start();
  sendAll(alice, "bob", [{ payload: "first" }]);
  await alice.settled();
  const idle = await timed(alice, 20, () => true);
  const [large = 0] = sendAll(alice, "bob", [{ payload: new Uint8Array(64 * MIB), priority: 0 }]);
  await until(() => pair.relay.bytes.toBob > 2 * MIB, "the transfer");
  const startedAt = performance.now();
  const busy = await timed(alice, 10_000, () => alice.state(large) !== "acknowledged");
  const seconds = (performance.now() - startedAt) / 1_000;
  await bob.stop();
  const shown = (values: readonly number[]) =>
    [0.5, 0.99, 1].map((share) => quantileOf(values, share).toFixed(1)).join(" / ");
  console.log(
    `urgent, 20 ms: insert to acknowledged p50 / p99 / worst: alone ${shown(idle)} ms, beside 64 MiB ` +
      `${shown(busy)} ms (${busy.length} messages in ${seconds.toFixed(1)} s)`,
  );
}

/** Urgent messages one after the other, 25 ms apart; how long each took, ms. */
async function timed(
  from: TestDaemon,
  count: number,
  goesOn: () => boolean,
): Promise<readonly number[]> {
  const times: number[] = [];
  while (times.length < count && goesOn()) {
    const sentAt = performance.now();
    const [row = 0] = sendAll(from, "bob", [{ payload: "urgent", priority: 3 }]);
    while (from.state(row) !== "acknowledged") await nap(1);
    times.push(performance.now() - sentAt);
    await nap(25);
  }
  return times;
}

/** 500 messages a second between peers while a stranger sends 1,200 B as fast as a core can. */
async function spoofed(place: Place): Promise<void> {
  const { alice, bob } = await (await SessionPair.make(place)).start();
  sendAll(alice, "bob", [{ payload: "first" }]);
  await alice.settled();
  const calm = await pace(alice, 5_000);
  const residentBytes = bob.residentBytes;
  const lines = bob.log.length;
  const child = fork(FLOODER, [String(bob.port)], { stdio: "inherit" });
  place.after(() => {
    child.kill("SIGKILL");
  });
  await nap(1_000);
  const flooded = await pace(alice, 15_000);
  const growthMiB = (bob.residentBytes - residentBytes) / MIB;
  child.kill("SIGKILL");
  await bob.stop();
  const said = (name: string, { sent, inTime, ms }: Paced) =>
    `${name}: ${sent} messages, ${((100 * inTime) / sent).toFixed(2)} % acknowledged within 1 s, p50 ` +
    `${quantileOf(ms, 0.5).toFixed(0)}, p99 ${quantileOf(ms, 0.99).toFixed(0)} ms`;
  console.log(said("spoofed, before", calm));
  console.log(said("spoofed, during", flooded));
  console.log(
    `memory +${growthMiB.toFixed(1)} MiB, ${bob.log.length - lines} lines of log, ` +
      `${sumOf(bob, "datagrams_received")} datagrams read`,
  );
}

interface Paced {
  readonly sent: number;
  readonly inTime: number;
  readonly ms: readonly number[];
}

/** 500 messages a second for a while. */
async function pace(from: TestDaemon, forMs: number): Promise<Paced> {
  const sentAt = new Map<number, number>();
  const ms: number[] = [];
  const startedAt = performance.now();
  let sent = 0;
  const states = from.db.prepare(
    "SELECT id FROM outbound_messages WHERE state = 'acknowledged' AND id > ?",
  );
  let first = Number.POSITIVE_INFINITY;
  const look = (): void => {
    const now = performance.now();
    for (const id of states.pluck().all(Math.min(...sentAt.keys(), first) - 1) as number[]) {
      const at = sentAt.get(id);
      if (at === undefined) continue;
      sentAt.delete(id);
      ms.push(now - at);
    }
  };
  for (let now = startedAt; now - startedAt < forMs; now = performance.now()) {
    const due = Math.min(100, Math.floor(((now - startedAt) * 500) / 1_000) - sent);
    if (due > 0) {
      const messages = Array.from({ length: due }, () => ({ payload: "x".repeat(200) }));
      for (const id of sendAll(from, "bob", messages)) {
        sentAt.set(id, now);
        first = Math.min(first, id);
      }
      sent += due;
    }
    look();
    await nap(10);
  }
  const end = performance.now() + 5_000;
  while (sentAt.size > 0 && performance.now() < end) {
    look();
    await nap(10);
  }
  return { sent, inTime: ms.filter((each) => each <= 1_000).length, ms };
}
