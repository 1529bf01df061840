// `npm run power-loss [-- messages]`: hundreds of power failures behind ACKs of a real daemon. Exit 0
// when FULL lost nothing and NORMAL, the proof that the model can tell, lost something.

import { randomInt } from "node:crypto";
import { Place } from "../daemon/harness.js";
import { losePower, type PowerLossReport } from "../daemon/power-loss.js";
import { straceTrouble } from "../daemon/strace.js";

const MESSAGES = 200;
/** Large enough for checkpoints between the crashes. */
const TEXT_BYTES_MAX = 60_000;
const OTHERS = 60;

const messages = Number(process.argv[2] ?? MESSAGES);
const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));

const run = async (synchronous: "FULL" | "NORMAL"): Promise<PowerLossReport> => {
  const place = new Place();
  try {
    const report = await losePower(place, {
      synchronous,
      messages,
      textBytesMax: TEXT_BYTES_MAX,
      others: OTHERS,
      seed,
    });
    const { points, crashes, lossy, lostMost, unsound, checkpoints } = report;
    console.log(
      `${synchronous}: ${points} moments, ${crashes} crashes, ${checkpoints} checkpoints: ` +
        `${lossy} crashes lost acknowledged messages (${lostMost} at most), ` +
        `${unsound.length} left a file that is not sound`,
    );
    for (const sentence of unsound.slice(0, 10)) console.log(`  ${sentence}`);
    return report;
  } finally {
    await place.end();
  }
};

const trouble = straceTrouble();
if (trouble !== undefined) {
  console.log(`NOT RUN: ${trouble}`);
} else {
  console.log(`SEED=${seed}; the -shm file is dropped at each crash, SQLite makes it anew`);
  const full = await run("FULL");
  const normal = await run("NORMAL");
  if (full.lossy > 0 || full.unsound.length > 0) throw new Error("FULL did not keep its promise");
  if (normal.lossy === 0) throw new Error("NORMAL lost nothing, so this test proves nothing");
}
