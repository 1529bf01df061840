// Who watches the simulator: every bug that is planted must be found within 2,000 seeds, or the seeds
// that find nothing prove nothing.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { PLANTS } from "./plants.js";
import { SeedThreads } from "./seeds.js";

const SEEDS_MAX = 2_000;
const THREADS = 2;
const threads = new SeedThreads(THREADS);

after(() => threads.close());

for (const { name, protocol } of PLANTS) {
  test(`the simulator finds the planted bug "${name}" of ${protocol}`, async (t) => {
    const order = { from: 1, count: SEEDS_MAX, stopsAtFirst: true, protocol, plant: name };

    const { failed, seeds } = await threads.play(order);

    const [first] = failed;
    assert.ok(first !== undefined, `nobody noticed in ${seeds} seeds`);
    t.diagnostic(`seed ${first.seed} (${first.profile}): ${first.message.split("\n")[0]}`);
    assert.doesNotMatch(first.message, /^exception/, "an oracle finds it, no accident");
  });
}
