// What a daemon with nothing to do costs its host. The figure of the issue: less than 0.5 % of a core and
// 150 MB. `npm run bench -- idle` measures it in peace; here other tests run beside it, so the quietest of
// some spans counts: what a daemon can do without in one span it does not need.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as nap } from "node:timers/promises";
import { threadTimes } from "../../bench/proc.js";
import { makePair, Place, type TestDaemon } from "./harness.js";

const CPU_PERCENT_MAX = 0.5;
const RESIDENT_BYTES_MAX = 150_000_000;
/** After the start, and after the last message: timers slow down a second later. */
const SETTLE_MS = 2_500;
const SPAN_MS = 4_000;
/** V8 collects once what the start left behind, some twenty seconds after it. */
const SPANS = 8;

test("a daemon that sent and received, and has nothing more to do, costs next to nothing", async (t) => {
  if (process.platform !== "linux") return t.diagnostic("NOT RUN: needs /proc");
  const [alice, bob] = await makePair(new Place(t));
  alice.insert(bob.port, "{}");
  bob.insert(alice.port, "{}");
  await Promise.all([alice.settled(), bob.settled()]);
  for (const daemon of [alice, bob]) daemon.closeDb();
  await nap(SETTLE_MS);

  const percents: number[] = [];
  while (percents.length < SPANS && !percents.some((percent) => percent < CPU_PERCENT_MAX)) {
    percents.push(Math.max(...(await cpuPercents([alice, bob]))));
  }

  t.diagnostic(`the dearer one, each span: ${percents.map((each) => each.toFixed(3))} % of a core`);
  const least = Math.min(...percents);
  assert.ok(least < CPU_PERCENT_MAX, `${least} % of a core`);
  for (const { residentBytes } of [alice, bob]) {
    assert.ok(residentBytes < RESIDENT_BYTES_MAX, `${residentBytes} bytes`);
  }
  assert.deepEqual([await alice.stop(), await bob.stop()], [0, 0]);
});

/** CPU time of all threads over one span, % of a core. */
async function cpuPercents(daemons: readonly TestDaemon[]): Promise<readonly number[]> {
  const spentUs = (daemon: TestDaemon): number =>
    [...threadTimes(daemon.pid).values()].reduce((sum, { us }) => sum + us, 0);
  const before = daemons.map(spentUs);
  const startedAt = performance.now();
  await nap(SPAN_MS);
  const wallUs = (performance.now() - startedAt) * 1_000;
  return daemons.map((daemon, i) => (100 * (spentUs(daemon) - (before[i] as number))) / wallUs);
}
