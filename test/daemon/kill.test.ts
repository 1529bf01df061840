// SIGKILL under load, in short rounds. The long run is `npm run kill-rounds`.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { Place } from "./harness.js";
import { killRounds } from "./kill-rounds.js";

const ROUNDS = 20;
const LIFE_MS_MAX = 1_500;
/** On an idle machine every round is below a second. The suite shares its cores with other tests, so
 * the promise is held against the median, and the worst must only show that nothing waits for long. */
const RECOVERY_MS_MEDIAN_MAX = 1_000;
const RECOVERY_MS_WORST_MAX = 5_000;

test("a daemon killed at any moment under load loses nothing, repeats nothing and is back at once", async (t) => {
  const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));
  t.diagnostic(`SEED=${seed}`);

  const { recoveryMs, balances } = await killRounds(new Place(t), {
    rounds: ROUNDS,
    seed,
    lifeMsMax: LIFE_MS_MAX,
    say: () => {},
  });

  const [median, worst] = [recoveryMs[ROUNDS / 2] ?? 0, recoveryMs.at(-1) ?? 0];
  const rows = balances[0].stored + balances[1].stored;
  t.diagnostic(`${rows} messages; start to first receive: median ${median} ms, worst ${worst} ms`);
  assert.ok(median < RECOVERY_MS_MEDIAN_MAX, `median ${median} ms`);
  assert.ok(worst < RECOVERY_MS_WORST_MAX, `worst ${worst} ms`);
});
