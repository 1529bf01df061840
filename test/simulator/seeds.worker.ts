// A thread that plays seeds: told from which to which, it answers with what came of them.

import { parentPort, workerData } from "node:worker_threads";
import { playSeeds, type SeedOrder } from "./seeds.js";

const plant = (workerData as { readonly plant: string | undefined }).plant;

parentPort?.on("message", (order: SeedOrder) => {
  parentPort?.postMessage(playSeeds(order, plant));
});
