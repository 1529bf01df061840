// `npm run session-figures [-- NAME ...] [-- NAME=COUNT ...]`: the long runs behind the figures of
// docs/BENCHMARKS.md, section Sessions; all of them unless some are named. COUNT: packets, datagrams,
// samples, rounds, or ms, in place of the figure's own. A figure that was missed is said, and the exit
// code is 1 then. `npm run netns` is the one beside these.

import type { Place } from "../daemon/harness.js";
import { inPlace, sayMachine, scriptSeed } from "./bounded.js";
import { back } from "./figure-back.js";
import { clock } from "./figure-clock.js";
import { hostile } from "./figure-hostile.js";
import { spoofed } from "./figure-spoofed.js";
import { statistics } from "./figure-statistics.js";
import { urgent } from "./figure-urgent.js";

type Figure = (place: Place, seed: number, count?: number) => Promise<boolean>;

const FIGURES: Readonly<Record<string, Figure>> = {
  clock,
  back,
  urgent,
  spoofed,
  hostile,
  statistics,
};
const MINUTES_MAX = 20;

const wanted = process.argv.slice(2).map((word) => word.split("="));
for (const [name = ""] of wanted) {
  if (FIGURES[name] !== undefined) continue;
  console.error(`no figure is called ${name}; there are ${Object.keys(FIGURES).join(", ")}`);
  process.exit(2);
}
const seed = scriptSeed();
const missed: string[] = [];
for (const [name, figure] of Object.entries(FIGURES)) {
  const named = wanted.find(([each]) => each === name);
  if (wanted.length > 0 && named === undefined) continue;
  sayMachine(seed);
  const count = named?.[1] === undefined ? undefined : Number(named[1]);
  await inPlace(MINUTES_MAX, async (place) => {
    if (!(await figure(place, seed, count))) missed.push(name);
  });
}
console.log(missed.length === 0 ? "all figures reached" : `MISSED: ${missed.join(", ")}`);
process.exitCode = missed.length === 0 ? 0 : 1;
