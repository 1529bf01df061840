// How the long scripts begin and end: a place of their own that goes away on success, on failure and on
// a signal, a bound on their time, and a line that says on which machine, beside what load, by which seed.

import { randomInt } from "node:crypto";
import { thisMachine } from "../../bench/machine.js";
import { Place } from "../daemon/harness.js";

/** Seed of a run: that of the environment repeats an earlier one. */
export const scriptSeed = (): number => Number(process.env["SEED"] ?? randomInt(2 ** 32));

/** Says what a figure without it would be worth nothing. */
export function sayMachine(seed: number): void {
  const { cpu, cores, memoryGb, kernel, node, load } = thisMachine();
  console.log(
    `${new Date().toISOString().slice(0, 16)}Z, ${cores} x ${cpu}, ${memoryGb} GB, ${kernel}, Node ` +
      `${node}, load average before ${load.toFixed(1)}; SEED=${seed} repeats the choices`,
  );
}

/** Runs `work` in a place; a signal, or the end of its time, takes the place away and ends with 1. */
export async function inPlace(
  minutesMax: number,
  work: (place: Place) => Promise<void>,
): Promise<void> {
  const place = new Place();
  let isEnding = false;
  const end = (why: string): void => {
    if (isEnding) return;
    isEnding = true;
    console.error(`ended by ${why}`);
    void place.end().finally(() => process.exit(1));
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, end);
  const late = setTimeout(() => end(`its limit of ${minutesMax} minutes`), minutesMax * 60_000);
  try {
    await work(place);
  } catch (thrown) {
    // What fails because the place is being taken away is no news.
    if (!isEnding) throw thrown;
  } finally {
    clearTimeout(late);
    if (isEnding) await new Promise(() => {});
    else await place.end();
    for (const signal of signals) process.off(signal, end);
  }
}
