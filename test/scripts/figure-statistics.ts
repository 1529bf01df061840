// Figure: 100,000 datagrams of real daemons, thousands of handshakes among them, beside as many random
// bytes from the system: no statistic may tell them apart, the session id within its session aside.

import type { Place } from "../daemon/harness.js";
import { randomnessOf, shownRandomness, suspicions } from "../daemon/randomness.js";
import { randomLike, sampleWire } from "../daemon/wire-sample.js";

const DATAGRAMS = 100_000;
const HANDSHAKES_SHARE = 0.03;
const SESSION_ID_BYTES = 4;

export async function statistics(
  place: Place,
  _seed: number,
  datagramsMin = DATAGRAMS,
): Promise<boolean> {
  const wanted = {
    datagrams: datagramsMin,
    handshakes: Math.ceil(datagramsMin * HANDSHAKES_SHARE),
  };
  const { datagrams, handshakes, firsts } = await sampleWire(place, wanted);
  let found: readonly string[] = [];
  for (const [what, seen] of [
    ["all, behind the session id", randomnessOf(datagrams, SESSION_ID_BYTES)],
    ["one of each session id", randomnessOf(firsts, 0)],
    ["handshakes", randomnessOf(datagrams.slice(0, handshakes), 0)],
    ["/dev/urandom, same lengths", randomnessOf(randomLike(datagrams), 0)],
  ] as const) {
    console.log(`statistics, ${what}: ${seen.datagrams} datagrams, ${seen.bytes} bytes:`);
    console.log(`  ${shownRandomness(seen)}`);
    found = [...found, ...suspicions(seen).map((each) => `${what}: ${each}`)];
  }
  console.log(
    found.length === 0
      ? "statistics: not to be told from random bytes"
      : `MISSED: ${found.join("; ")}`,
  );
  return found.length === 0;
}
