// Sentences for a person: some pass, the rest is counted, and a new span begins with all of them again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Reporter } from "../../src/shared/runtime/reporter.js";

const SPAN_MS = 10_000;
const PASS = 5;

function arrange() {
  const clock = { ms: 0 };
  const said: string[] = [];
  const reporter = new Reporter(
    (sentence) => said.push(sentence),
    () => clock.ms,
  );
  return { clock, said, reporter };
}

test("a flood of sentences is some of them and one count, however long it lasts", () => {
  const { clock, said, reporter } = arrange();

  for (let n = 0; n < 1_000_000; n++) {
    clock.ms = n / 100;
    reporter.report(`event ${n}`);
  }
  clock.ms = SPAN_MS;
  reporter.flush();

  assert.deepEqual(said, [
    ...Array.from({ length: PASS }, (_, n) => `event ${n}`),
    `${1_000_000 - PASS} more events of the store in the last 10 s`,
  ]);
});

test("few sentences all pass, and nothing is said about none held back", () => {
  const { clock, said, reporter } = arrange();

  for (let n = 0; n < PASS; n++) reporter.report(`event ${n}`);
  clock.ms = 3 * SPAN_MS;
  reporter.flush();
  reporter.flush();

  assert.equal(said.length, PASS);
});

test("the next span lets sentences pass again, behind the count of the one before", () => {
  const { clock, said, reporter } = arrange();
  for (let n = 0; n <= PASS; n++) reporter.report("first");

  clock.ms = SPAN_MS;
  reporter.report("second");

  assert.deepEqual(said.slice(PASS), ["1 more events of the store in the last 10 s", "second"]);
});
