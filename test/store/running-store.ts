// The real worker thread behind its two ports, for tests: jobs go in, results are kept until asked for.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { inspect } from "node:util";
import { MessageChannel, Worker } from "node:worker_threads";
import { type Port, port, receive, send } from "../../src/shared/runtime/channel.js";
import { type ControlHandle, controlOf } from "../../src/shared/runtime/control.js";
import type {
  StoreControl,
  StoreJob,
  StoreOpened,
  StoreOptions,
  StoreResult,
} from "../../src/shared/runtime/messages.js";
import { type Connection, connect } from "../../src/shared/store/driver.js";
import { idOf, inboundBatch, LIFE_SECONDS, temporaryFolder } from "./fixture.js";

const WORKER = new URL("../../src/workers/db.worker.js", import.meta.url);
const DEADLINE_MS = 10_000;

type Kind = StoreResult["kind"];
type Result<K extends Kind> = Extract<StoreResult, { kind: K }>;

export class RunningStore {
  readonly path: string;
  readonly results: StoreResult[] = [];
  readonly control: ControlHandle<StoreControl>;
  readonly worker: Worker;
  readonly #jobs: Port<"storeJobs">;

  /** `switches`: of Node, for the worker's thread. */
  constructor(
    t: TestContext,
    path = join(temporaryFolder(t), "queue.db"),
    switches: readonly string[] = [],
  ) {
    this.path = path;
    const data = new MessageChannel();
    const control = new MessageChannel();
    this.worker = new Worker(WORKER, {
      workerData: { data: data.port2, control: control.port2 },
      transferList: [data.port2, control.port2],
      execArgv: [...switches],
    });
    this.#jobs = port<"storeJobs">(data.port1);
    const keep = (result: StoreResult): void => void this.results.push(result);
    receive<"storeResults">(port<"storeResults">(data.port1), {
      leased: keep,
      stored: keep,
      settled: keep,
      reserved: keep,
      failed: keep,
      broken: keep,
      reported: keep,
      delivered: keep,
      stamped: keep,
      confirmed: keep,
      read: keep,
    });
    this.control = controlOf<StoreControl>(control.port1, this.worker, DEADLINE_MS);
    t.after(async () => {
      await this.control.call("close", []).catch(() => {});
      this.control.release();
      data.port1.close();
      await this.worker.terminate();
    });
  }

  open(more: Partial<StoreOptions> = {}) {
    return this.control.call("open", [
      {
        path: this.path,
        lifeSeconds: LIFE_SECONDS,
        quotaBytes: Number.MAX_SAFE_INTEGER,
        pagesMax: 0,
        synchronous: "FULL",
        ...more,
      },
    ]);
  }

  async opened(more: Partial<StoreOptions> = {}): Promise<StoreOpened> {
    const opened = await this.open(more);
    assert.ok(!("error" in opened), inspect(opened));
    return opened;
  }

  send(job: StoreJob, transfer: readonly ArrayBuffer[] = []): void {
    send(this.#jobs, job, transfer);
  }

  lease(rowsMax = 1_024): void {
    const again = { rowIds: new Float64Array(0), tickets: new Uint32Array(0) };
    this.send({ kind: "lease", rowsMax, bytesMax: 1_048_576, again });
  }

  store(ids: readonly number[]): void {
    const batch = inboundBatch(ids.map((id) => ({ id: idOf(id) })));
    this.send({ kind: "store", batch }, [batch.bytes]);
  }

  /** The next result of a kind; fails when another failure or nothing comes within the deadline. */
  async next<K extends Kind>(kind: K): Promise<Result<K>> {
    const deadline = performance.now() + DEADLINE_MS;
    const isWanted = (result: StoreResult): result is Result<K> => result.kind === kind;
    for (;;) {
      const found = this.results.find(isWanted);
      if (found !== undefined) {
        this.results.splice(this.results.indexOf(found), 1);
        return found;
      }
      assert.ok(performance.now() < deadline, `no ${kind}; got ${inspect(this.results)}`);
      await delay(1);
    }
  }
}

/** Another process's connection; closed after the test. */
export function outside(t: TestContext, path: string): Connection {
  const db = connect(path, { timeout: 5_000 });
  t.after(() => void db.close());
  return db;
}
