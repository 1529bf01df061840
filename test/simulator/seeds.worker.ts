// A thread that plays seeds: told from which to which, it answers with what came of them.

import { parentPort } from "node:worker_threads";
import { playSeeds, type SeedOrder } from "./seeds.js";

parentPort?.on("message", (order: SeedOrder) => {
  parentPort?.postMessage(playSeeds(order));
});
