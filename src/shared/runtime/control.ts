// Control calls between main and a worker: rare, answered one by one, over comlink on a port of their
// own. Packets and rows never come this way. The only importer of comlink.
// comlink has no deadline and no death notice, so both are added here; its errors lose class and code,
// so whatever a person should read comes back as data in the result.

import type { MessagePort, Worker } from "node:worker_threads";
import { expose, type Remote, releaseProxy, wrap } from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { DaemonError, reasonOf } from "../base/errors.js";

/** An interface that a worker offers: functions over data that can be cloned. */
type Methods<T> = { readonly [K in keyof T]: (...args: never[]) => unknown };
type Arguments<F> = F extends (...args: infer A) => unknown ? A : never;
type Answer<F> = F extends (...args: never[]) => infer R ? Awaited<R> : never;

/** Worker side: answers the calls that come in on `on`. */
export function exposeControl<T extends Methods<T>>(on: MessagePort, api: T): void {
  expose(api, nodeEndpoint(on));
}

/** Main's end of a worker's control port. */
export interface ControlHandle<T extends Methods<T>> {
  /** Calls one method; rejects with a DaemonError when the worker ends or the deadline passes. */
  call<K extends keyof T & string>(method: K, args: Arguments<T[K]>): Promise<Answer<T[K]>>;
  /** Lets go of the port, before the worker is terminated. Calls under way are rejected. */
  release(): void;
}

/** Main side of `port`, whose other end `worker` exposes. `deadlineMs` holds for each call. */
export function controlOf<T extends Methods<T>>(
  port: MessagePort,
  worker: Worker,
  deadlineMs: number,
): ControlHandle<T> {
  return new PortControl<T>(port, worker, deadlineMs);
}

type Refusal = (why: DaemonError) => void;
type Callable = (...args: unknown[]) => Promise<unknown>;

class PortControl<T extends Methods<T>> implements ControlHandle<T> {
  readonly #port: MessagePort;
  readonly #deadlineMs: number;
  /** Held for life: a proxy that is collected while a call is under way closes its port. */
  readonly #remote: Remote<Record<string, Callable>>;
  readonly #underWay = new Set<Refusal>();
  #ended: string | undefined;
  #released = false;

  constructor(port: MessagePort, worker: Worker, deadlineMs: number) {
    this.#port = port;
    this.#deadlineMs = deadlineMs;
    this.#remote = wrap<Record<string, Callable>>(nodeEndpoint(port));
    worker.once("error", (error) => this.#end(`the worker failed: ${reasonOf(error)}`));
    worker.once("exit", (code) => this.#end(`the worker ended with exit code ${code}`));
    // What keeps the process alive is a call under way, by its timer; not an idle control port.
    port.unref();
  }

  async call<K extends keyof T & string>(method: K, args: Arguments<T[K]>): Promise<Answer<T[K]>> {
    if (this.#ended !== undefined) throw lost(method, this.#ended);
    const answer = await new Promise<unknown>((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.#underWay.delete(refuse);
      };
      const refuse: Refusal = (why) => {
        settle();
        reject(why);
      };
      const timer = setTimeout(() => refuse(late(method, this.#deadlineMs)), this.#deadlineMs);
      this.#underWay.add(refuse);
      this.#remote[method](...(args as unknown[])).then(
        (value) => {
          settle();
          resolve(value);
        },
        (thrown: unknown) => refuse(lost(method, reasonOf(thrown))),
      );
    });
    return answer as Answer<T[K]>;
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#end("its control port was released");
    this.#remote[releaseProxy]();
    this.#port.close();
  }

  #end(why: string): void {
    this.#ended ??= why;
    for (const refuse of [...this.#underWay]) refuse(lost("a control call", this.#ended));
  }
}

const lost = (what: string, why: string): DaemonError =>
  new DaemonError(
    "ERR_WORKER",
    `no answer to ${what}: ${why}`,
    "start the daemon again; the log says what came before",
  );

const late = (method: string, deadlineMs: number): DaemonError =>
  new DaemonError(
    "ERR_TIMEOUT",
    `no answer to ${method} within ${deadlineMs / 1_000} s`,
    "look at the load of the host and at its disk, then try again",
  );
