// Who watches the simulator: every bug that is planted must be found within 2,000 seeds, or the seeds
// that find nothing prove nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PLANTS } from "./plants.js";
import { playSeedsInThreads } from "./seeds.js";

const SEEDS_MAX = 2_000;
const THREADS = 2;

for (const { name, protocol } of PLANTS) {
  test(`the simulator finds the planted bug "${name}"`, async (t) => {
    const order = { from: 1, count: SEEDS_MAX, stopsAtFirst: true, protocol };

    const { failed, seeds } = await playSeedsInThreads(order, { threads: THREADS, plant: name });

    const [first] = failed;
    assert.ok(first !== undefined, `nobody noticed in ${seeds} seeds`);
    t.diagnostic(`seed ${first.seed} (${first.profile}): ${first.message.split("\n")[0]}`);
    assert.doesNotMatch(
      first.message,
      /^exception: .*assertion/s,
      "an oracle finds it, no accident",
    );
  });
}
