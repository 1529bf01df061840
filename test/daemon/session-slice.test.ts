// Real daemons under the simulator's kind of trouble, on the socket that the suite runs with; test/run.ts
// plays them again on the other one. `npm run slice -- --seeds N` plays more.

import { test } from "node:test";
import { Place } from "./harness.js";
import { playSlice } from "./session-slice.js";

const SEEDS = [1, 2];

for (const seed of SEEDS) {
  test(`seed ${seed}: loss, copies, bit flips, kills and partitions break no promise`, async (t) => {
    const report = await playSlice(new Place(t), seed);
    t.diagnostic(JSON.stringify(report));
  });
}
