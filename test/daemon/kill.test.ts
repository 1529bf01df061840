// SIGKILL under load, in short rounds. The long run is `npm run kill-rounds`.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { Place } from "./harness.js";
import { killRounds, quantileOf } from "./kill-rounds.js";

const ROUNDS = 20;
const LIFE_MS_MAX = 1_500;
const RECOVERY_MS_MEDIAN_MAX = 1_000;
/** A round whose last retransmission came just before the restart waits for the next one. */
const RECOVERY_MS_WORST_MAX = 5_000;

test("a daemon killed at any moment under load loses nothing, repeats nothing and is back at once", async (t) => {
  const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));
  t.diagnostic(`SEED=${seed}`);

  const { recoveries, balances } = await killRounds(new Place(t), {
    rounds: ROUNDS,
    seed,
    lifeMsMax: LIFE_MS_MAX,
    say: () => {},
  });

  const rows = balances[0].stored + balances[1].stored;
  const shown = (["receivedMs", "waitedMs", "readyMs"] as const).map((what) => {
    const values = recoveries.map((each) => each[what]);
    return `${what} ${quantileOf(values, 0.5)} (worst ${quantileOf(values, 1)})`;
  });
  t.diagnostic(`${rows} messages; medians: ${shown.join(", ")}`);
  // What other processes took is theirs.
  const ownMs = recoveries.map(({ receivedMs, waitedMs }) => receivedMs - waitedMs);
  const [median, worst] = [quantileOf(ownMs, 0.5), quantileOf(ownMs, 1)];
  assert.ok(median < RECOVERY_MS_MEDIAN_MAX, `median ${median} ms`);
  assert.ok(worst < RECOVERY_MS_WORST_MAX, `worst ${worst} ms`);
});
