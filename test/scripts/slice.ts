// `npm run slice -- [--seeds N] [--from S]`: more seeds of real daemons under the simulator's kind of
// trouble than the suite plays; SECUREDGRAM_TEST_SOCKET=dgram takes the other socket. Exit 1 at the first
// seed that breaks a promise.

import { parseArgs } from "node:util";
import { SOCKET } from "../daemon/harness.js";
import { playSlice } from "../daemon/session-slice.js";
import { inPlace, sayMachine } from "./bounded.js";

const MINUTES_OF_SEED_MAX = 3;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "20" },
    from: { type: "string", default: "1" },
  },
});
const from = Number(values.from);
const seeds = Number(values.seeds);
sayMachine(from);
for (let seed = from; seed < from + seeds; seed++) {
  await inPlace(MINUTES_OF_SEED_MAX, async (place) => {
    const startedAt = performance.now();
    try {
      const report = await playSlice(place, seed);
      const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
      console.log(`seed ${seed}, socket ${SOCKET}, ${seconds} s: ${JSON.stringify(report)}`);
    } catch (thrown) {
      console.error(`seed ${seed} FAILED; again: npm run slice -- --seeds 1 --from ${seed}`);
      throw thrown;
    }
  });
}
