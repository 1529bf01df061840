// SIGKILL under load, in short rounds, with sessions. The long run is `npm run kill-rounds -- 200
// sessions`.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { Place } from "./harness.js";
import { killRounds, quantileOf } from "./kill-rounds.js";
import { makeSessionPair } from "./session-hosts.js";

const ROUNDS = 6;
const LIFE_MS_MAX = 800;

test("with sessions, too, a daemon killed at any moment loses nothing and repeats nothing", async (t) => {
  const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));
  t.diagnostic(`SEED=${seed}`);

  const { recoveries, balances } = await killRounds(new Place(t), {
    rounds: ROUNDS,
    seed,
    lifeMsMax: LIFE_MS_MAX,
    say: () => {},
    makePair: makeSessionPair,
  });

  const behindReadyMs = recoveries.map(({ receivedMs, readyMs }) => receivedMs - readyMs);
  t.diagnostic(
    `${balances[0].stored + balances[1].stored} messages; ready to received: median ` +
      `${quantileOf(behindReadyMs, 0.5)}, worst ${quantileOf(behindReadyMs, 1)} ms`,
  );
  assert.equal(recoveries.length, ROUNDS);
});
