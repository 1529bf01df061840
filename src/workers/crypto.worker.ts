// Entry of a crypto worker: works through a slab and posts the same slab back. Owns its keys.
// Slabs come on the data port, installation of keys on the control port; nothing else.

import { type MessagePort, workerData } from "node:worker_threads";
import { exposeControl } from "../shared/runtime/control.js";
import type { CryptoControl } from "../shared/runtime/messages.js";
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

data.on("message", (memory: ArrayBuffer) => {
  run(memory);
  data.postMessage(memory, [memory]);
});
