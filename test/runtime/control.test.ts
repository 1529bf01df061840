// Control calls: answers, and what happens when none comes.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { MessageChannel, Worker } from "node:worker_threads";
import { type ControlHandle, controlOf, exposeControl } from "../../src/shared/runtime/control.js";

interface Greeter {
  greet(name: string): string;
  refuse(): { readonly error: string };
  blow(): void;
}

const greeter: Greeter = {
  greet: (name) => `hello ${name}`,
  refuse: () => ({ error: "no" }),
  blow() {
    throw new Error("blown");
  },
};

/** A worker that does nothing; the answers, if any, come from this thread. */
function handle(t: TestContext, deadlineMs: number, answers: boolean) {
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker("setInterval(() => {}, 1000)", { eval: true });
  const control: ControlHandle<Greeter> = controlOf<Greeter>(port1, worker, deadlineMs);
  if (answers) exposeControl<Greeter>(port2, greeter);
  t.after(async () => {
    control.release();
    port2.close();
    await worker.terminate();
  });
  return { control, worker };
}

test("a call is answered with a value, a refusal comes as data", async (t) => {
  const { control } = handle(t, 10_000, true);

  assert.equal(await control.call("greet", ["you"]), "hello you");
  assert.deepEqual(await control.call("refuse", []), { error: "no" });
});

test("what the other side throws is an operating error here", async (t) => {
  const { control } = handle(t, 10_000, true);

  await assert.rejects(control.call("blow", []), { code: "ERR_WORKER", message: /blow: blown/ });
});

test("a call without an answer is rejected at its deadline", async (t) => {
  const { control } = handle(t, 50, false);

  await assert.rejects(control.call("greet", ["you"]), { code: "ERR_TIMEOUT" });
});

test("calls under way are rejected when the worker ends, later ones at once", async (t) => {
  const { control, worker } = handle(t, 10_000, false);
  const call = assert.rejects(control.call("greet", ["you"]), { code: "ERR_WORKER" });

  await worker.terminate();

  await call;
  await assert.rejects(control.call("greet", ["you"]), { code: "ERR_WORKER" });
});

test("calls under way are rejected when the port is released", async (t) => {
  const { control } = handle(t, 10_000, false);
  const call = assert.rejects(control.call("greet", ["you"]), { code: "ERR_WORKER" });

  control.release();

  await call;
});
