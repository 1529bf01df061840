// `npm run kill-rounds [-- rounds [sessions]]`: many rounds of SIGKILL under load, with a line for each,
// by classic or in sessions. Exit 0 when nothing acknowledged is missing, nothing is stored twice and
// every start was quick.

import { randomInt } from "node:crypto";
import { Place } from "../daemon/harness.js";
import { killRounds, quantileOf } from "../daemon/kill-rounds.js";
import { makeSessionPair } from "../daemon/session-hosts.js";

const ROUNDS = 200;
const LIFE_MS_MAX = 1_500;
/** Start to first receive, median of all rounds. */
const RECOVERY_MS_MEDIAN_MAX = 1_000;

const rounds = Number(process.argv[2] ?? ROUNDS);
const inSessions = process.argv[3] === "sessions";
const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));
const place = new Place();
console.log(`${rounds} rounds; SEED=${seed} repeats their choices`);
try {
  const { recoveries, balances } = await killRounds(place, {
    rounds,
    seed,
    lifeMsMax: LIFE_MS_MAX,
    say: console.log,
    ...(inSessions ? { makePair: makeSessionPair } : {}),
  });
  const recoveryMs = recoveries.map(({ receivedMs }) => receivedMs);
  const at = (share: number) => quantileOf(recoveryMs, share);
  const late = recoveryMs.filter((ms) => ms >= RECOVERY_MS_MEDIAN_MAX).length;
  const [readyMs, waitedMs] = (["readyMs", "waitedMs"] as const).map((what) =>
    quantileOf(
      recoveries.map((each) => each[what]),
      0.5,
    ),
  );
  const rows = balances[0].stored + balances[1].stored;
  console.log(`${rows} messages, all acknowledged and stored once; every file is sound`);
  console.log(
    `start to first receive: median ${at(0.5)} ms, 90 % ${at(0.9)} ms, worst ${at(1)} ms, ` +
      `${late} of ${rounds} rounds a second or more; ready after ${readyMs} ms; ${waitedMs} ms without a core`,
  );
  if (at(0.5) >= RECOVERY_MS_MEDIAN_MAX) throw new Error("starts take a second or more");
} finally {
  await place.end();
}
