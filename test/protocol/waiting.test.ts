// What a row that is ready to be sealed waits for, and the timer meanwhile: only the pacer names an
// instant. A slab or a reservation comes with an event of its own, and a timer would spin for it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Nanoseconds, NS_PER_MS } from "../../src/shared/base/units.js";
import { SEAL_RESERVE_RETRY_NS } from "../../src/shared/protocol/constants.js";
import type { SealSink } from "../../src/shared/protocol/slot.js";
import { defaultConfig, type Host, World } from "../simulator/world.js";
import { A, B } from "./classic-pair.js";

const waitNs = (world: World, { endpoint }: Host): number =>
  endpoint.pollDeadline(world.now) - world.now;

test("a row that waits for the pacer is looked at when the pacer lets it go", () => {
  const world = new World();
  const a = world.host({ address: A, config: { ...defaultConfig, ratePerSecond: 10, burst: 1 } });
  for (let i = 0; i < 3; i++) a.insert(B, `{"i":${i}}`);

  a.pump();
  world.run(1);

  assert.equal(world.sent.length, 1);
  assert.equal(waitNs(world, a), 99 * NS_PER_MS);
  world.run(250);
  assert.equal(world.sent.length, 3);
});

test("a row that waits for a slab sets no timer, and goes when there is one", () => {
  const world = new World();
  const a = world.host({ address: A });
  const { endpoint } = a;
  const poll = endpoint.pollSeal.bind(endpoint);
  let isRoom = false;
  endpoint.pollSeal = (now: Nanoseconds, wallNs: number, sink: SealSink): boolean =>
    poll(now, wallNs, isRoom ? sink : Object.create(sink, { room: { value: () => false } }));
  a.insert(B, '{"text":"hello"}');

  for (let i = 0; i < 5; i++) a.pump();

  assert.equal(world.sent.length, 0);
  assert.equal(waitNs(world, a), Number.POSITIVE_INFINITY);
  isRoom = true;
  a.pump();
  assert.equal(world.sent.length, 1);
});

test("a row that waits for a reservation sets no timer, and one that failed is asked for again", () => {
  const world = new World();
  const a = world.host({ address: A });
  const { endpoint } = a;
  const reserved = endpoint.handleReserved.bind(endpoint);
  let answer: "none" | "failed" | "made" = "none";
  let asked = 0;
  endpoint.handleReserved = (untilNs) => {
    asked += 1;
    if (answer === "failed") endpoint.handleReserveFailed();
    else if (answer === "made") reserved(untilNs);
  };
  a.insert(B, '{"text":"hello"}');

  for (let i = 0; i < 5; i++) a.pump();
  assert.deepEqual([asked, waitNs(world, a)], [1, Number.POSITIVE_INFINITY]);

  answer = "failed";
  endpoint.handleReserveFailed();
  world.run(10_000);
  a.pump();
  const failed = asked;
  assert.ok(waitNs(world, a) > 0 && waitNs(world, a) <= SEAL_RESERVE_RETRY_NS);
  answer = "made";
  world.run(1_000);

  assert.ok(failed >= 35 && failed <= 42, `${failed} times in 10 s`);
  assert.equal(world.sent.length, 1);
});
