// Entry of a crypto worker: works through a slab and posts its number back. Owns its keys.
// Slabs come on the data port, installation of keys on the control port; nothing else.

import { type MessagePort, workerData } from "node:worker_threads";
import { exposeControl } from "../shared/runtime/control.js";
import type { CryptoControl } from "../shared/runtime/messages.js";
import { SlabTable } from "../shared/runtime/slab.js";
import { inlineCrypto } from "./inline-crypto.js";

const { data, control: controlPort } = workerData as {
  readonly data: MessagePort;
  readonly control: MessagePort;
};
const { run, control } = inlineCrypto();

exposeControl<CryptoControl>(controlPort, {
  ...control,
  close() {
    control.close();
    data.close();
  },
});

/** Slabs by their number, which is the order in which they were introduced. */
const slabs: SlabTable[] = [];

data.on("message", (message: number | SharedArrayBuffer) => {
  if (typeof message !== "number") {
    slabs.push(new SlabTable(message));
    return;
  }
  run(slabs[message] as SlabTable);
  data.postMessage(message);
});
