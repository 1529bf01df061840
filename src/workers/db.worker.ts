// Entry of the DB worker: the only thread of the daemon that touches the database. Jobs come on the
// data port and are done one after another; opening and closing are control calls.

import { type MessagePort, workerData } from "node:worker_threads";
import { port, receive, send } from "../shared/runtime/channel.js";
import { exposeControl } from "../shared/runtime/control.js";
import type { StoreControl } from "../shared/runtime/messages.js";
import { StoreService } from "./store-service.js";

const { data, control } = workerData as {
  readonly data: MessagePort;
  readonly control: MessagePort;
};
const results = port<"storeResults">(data);
const service = new StoreService((result, transfer) => send(results, result, transfer));

receive<"storeJobs">(port<"storeJobs">(data), {
  lease: (job) => service.handle(job),
  limit: (job) => service.handle(job),
  store: (job) => service.handle(job),
  settle: (job) => service.handle(job),
  reserve: (job) => service.handle(job),
  configure: (job) => service.handle(job),
  deliver: (job) => service.handle(job),
  stamp: (job) => service.handle(job),
  confirm: (job) => service.handle(job),
  payload: (job) => service.handle(job),
  peers: (job) => service.handle(job),
  note: (job) => service.handle(job),
});

exposeControl<StoreControl>(control, {
  open: (options) => service.open(options),
  counters: () => service.counters(),
  close(sealed) {
    const closed = service.close(sealed);
    data.close();
    return closed;
  },
});

// The driver must not be torn down around open statements: better-sqlite3 issue 1476.
process.once("exit", () => void service.close());
