// Power failures in the model of disk-model.ts, a few of them. The long run is `npm run power-loss`.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { Place } from "./harness.js";
import { losePower } from "./power-loss.js";
import { straceTrouble } from "./strace.js";

const MESSAGES = 30;
const TEXT_BYTES_MAX = 3_000;
const OTHERS = 12;
const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));

test("no acknowledged message is missing after a power failure", async (t) => {
  const trouble = straceTrouble();
  if (trouble !== undefined) return t.diagnostic(`NOT RUN: ${trouble}`);
  t.diagnostic(`SEED=${seed}`);

  const report = await losePower(new Place(t), {
    synchronous: "FULL",
    messages: MESSAGES,
    textBytesMax: TEXT_BYTES_MAX,
    others: OTHERS,
    seed,
  });

  t.diagnostic(`${report.crashes} crashes`);
  assert.ok(report.points >= MESSAGES);
  assert.deepEqual([report.lossy, report.lostMost], [0, 0]);
  assert.deepEqual(report.unsound, []);
});

test("without a sync at each commit the same crashes lose acknowledged messages", async (t) => {
  const trouble = straceTrouble();
  if (trouble !== undefined) return t.diagnostic(`NOT RUN: ${trouble}`);

  const report = await losePower(new Place(t), {
    synchronous: "NORMAL",
    messages: MESSAGES,
    textBytesMax: TEXT_BYTES_MAX,
    others: 0,
    seed,
  });

  t.diagnostic(`${report.lossy} of ${report.crashes} crashes lost up to ${report.lostMost}`);
  assert.ok(report.lossy > report.points, "the model can tell");
  assert.deepEqual(report.unsound, []);
});
