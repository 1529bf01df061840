// Figure: hostile datagrams, mutated and replayed by strangers and under a peer's address, and packets
// that peers with true identities seal around whatever they like, while an honest peer sends.

import type { Place } from "../daemon/harness.js";
import { quantileOf, randomFrom } from "../daemon/kill-rounds.js";
import { flood } from "../daemon/session-flood.js";

const PACKETS = 1_000_000;
const KEYED_SHARE = 0.1;
const MIB = 1 << 20;
/**
 * What all partial messages of all peers may hold together, and what 1,024 peers may have of their own:
 * resident memory does not tell the one from the other.
 */
const REASSEMBLY_MIB_MAX = 64;
const PEERS_MIB_MAX = 64;
const GROWTH_MIB_MAX = REASSEMBLY_MIB_MAX + PEERS_MIB_MAX;

/** Throws at an answer to a stranger, an error in the log, or a damaged file. */
export async function hostile(place: Place, seed: number, packets = PACKETS): Promise<boolean> {
  const keyed = Math.round(packets * KEYED_SHARE);
  const report = await flood(place, { keyless: packets - keyed, keyed, random: randomFrom(seed) });
  const { honestMs, growthBytes, ...rest } = report;
  const growthMib = growthBytes / MIB;
  const isReached = growthMib < GROWTH_MIB_MAX;
  console.log(
    `hostile: ${JSON.stringify(rest)}; no exception, no answer to strangers; memory ` +
      `+${growthMib.toFixed(1)} MiB, ${isReached ? "within" : "MISSED:"} ${GROWTH_MIB_MAX}; an ` +
      `honest message meanwhile: median ${quantileOf(honestMs, 0.5).toFixed(0)}, worst ` +
      `${quantileOf(honestMs, 1).toFixed(0)} ms of ${honestMs.length}`,
  );
  return isReached;
}
