// SIGKILL under load, in short rounds. The long run is `npm run kill-rounds`.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { Place } from "./harness.js";
import { killRounds, medianOf } from "./kill-rounds.js";

const ROUNDS = 20;
const LIFE_MS_MAX = 1_500;
const RECOVERY_MS_MEDIAN_MAX = 1_000;
/** A round whose last retransmission came just before the restart waits for the next one. */
const RECOVERY_MS_WORST_MAX = 5_000;
/** A bare Node starts in this on a machine with nothing else to do, ms; here other tests run too, and
 * what they make of it is made of the daemon's start as well. */
const BARE_MS = 60;

test("a daemon killed at any moment under load loses nothing, repeats nothing and is back at once", async (t) => {
  const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));
  t.diagnostic(`SEED=${seed}`);

  const { recoveryMs, readyMs, balances, bareMs } = await killRounds(new Place(t), {
    rounds: ROUNDS,
    seed,
    lifeMsMax: LIFE_MS_MAX,
    say: () => {},
  });

  const [median, worst] = [medianOf(recoveryMs), recoveryMs.at(-1) ?? 0];
  const rows = balances[0].stored + balances[1].stored;
  t.diagnostic(
    `${rows} messages; start to first receive: median ${median} ms, worst ${worst} ms; ` +
      `ready after ${readyMs} ms; a bare Node starts in ${bareMs} ms`,
  );
  const allowance = Math.max(1, bareMs / BARE_MS);
  assert.ok(median < RECOVERY_MS_MEDIAN_MAX * allowance, `median ${median} ms`);
  assert.ok(worst < RECOVERY_MS_WORST_MAX * allowance, `worst ${worst} ms`);
});
