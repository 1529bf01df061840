// Figure: hostile datagrams, mutated and replayed by strangers and under a peer's address, and packets
// that peers with true identities seal around whatever they like, while an honest peer sends.

import type { Place } from "../daemon/harness.js";
import { quantileOf, randomFrom } from "../daemon/kill-rounds.js";
import { flood } from "../daemon/session-flood.js";

const PACKETS = 1_000_000;
const KEYED_SHARE = 0.1;
const MIB = 1 << 20;
/** What all partial messages of all peers may hold together, and what 1,024 peers have of their own. */
const REASSEMBLY_MIB_MAX = 64;
const PEERS_MIB_MAX = 64;
const GROWTH_MIB_MAX = REASSEMBLY_MIB_MAX + PEERS_MIB_MAX;

/** Throws at an answer to a stranger, an error in the log, or a damaged file. */
export async function hostile(place: Place, seed: number, packets = PACKETS): Promise<boolean> {
  const keyed = Math.round(packets * KEYED_SHARE);
  const report = await flood(place, { keyless: packets - keyed, keyed, random: randomFrom(seed) });
  const { honestMs, growthBytes, reassemblyBytes, ...rest } = report;
  const growthMib = growthBytes / MIB;
  const reassemblyMib = reassemblyBytes / MIB;
  // Without partial messages, the packets were not hostile enough to say something about their bound.
  const isBounded = reassemblyBytes > 0 && reassemblyMib <= REASSEMBLY_MIB_MAX;
  const isReached = growthMib < GROWTH_MIB_MAX && isBounded;
  console.log(
    `hostile: ${JSON.stringify(rest)}; no exception, no answer to strangers; memory ` +
      `+${growthMib.toFixed(1)} MiB of ${GROWTH_MIB_MAX}, of it in partial messages at most ` +
      `${reassemblyMib.toFixed(1)} of ${REASSEMBLY_MIB_MAX}${isReached ? "" : ": MISSED"}; an ` +
      `honest message meanwhile: median ${quantileOf(honestMs, 0.5).toFixed(0)}, worst ` +
      `${quantileOf(honestMs, 1).toFixed(0)} ms of ${honestMs.length}`,
  );
  return isReached;
}
