// A large message that may not send for a while stands in nobody's way, and goes on afterwards.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "./layer-parts.js";
import { MessageWorld } from "./message-world.js";

const KIB = 1_024;
const TERMS = { creditMessages: 100, creditBytes: 512 * KIB, budgetBytes: 512 * KIB };

function worldOf(): MessageWorld {
  const fate = () => ({ arrives: [5], toldAfter: 10, acked: true });
  const world = new MessageWorld(new Random(1), TERMS, fate);
  world.connect(true);
  return world;
}

test("small messages pass a large one that is held back, of their class and below it", () => {
  const world = worldOf();
  const [alice] = world.hosts;
  const large = alice.send(new Uint8Array(900 * KIB).fill(1), "", 2);
  world.bulkAllowed = () => false;
  const small = [0, 1, 2, 3].map((priority) => alice.send(new Uint8Array(100), "", priority));
  const ordered = alice.send(new Uint8Array(100), "stream");

  world.run(2_000, () => small.every(({ state }) => state === "acknowledged"));
  world.run(2_000, () => ordered.state === "acknowledged");
  assert.ok(world.nowMs < 200, `${world.nowMs} ms`);
  assert.equal(large.number, 0, "nothing of it left");

  world.bulkAllowed = () => true;
  alice.send(new Uint8Array(1));
  world.run(10_000, () => large.state === "acknowledged");
  assert.equal(large.state, "acknowledged");
});

test("one that is held back in the middle goes on where it stood", () => {
  const world = worldOf();
  const [alice] = world.hosts;
  const large = alice.send(new Uint8Array(900 * KIB).fill(1));
  world.run(10_000, () => alice.flying > 5);
  world.bulkAllowed = (flying) => flying < 2;
  const urgent = alice.send(new Uint8Array(100), "", 3);

  world.run(10_000, () => urgent.state === "acknowledged");
  assert.equal(large.state, "leased");
  world.run(60_000, () => large.state === "acknowledged");
  assert.equal(large.state, "acknowledged");
});

test("what was lost of it is sent again also while it is held back", () => {
  const world = worldOf();
  const [alice] = world.hosts;
  const large = alice.send(new Uint8Array(300 * KIB).fill(1));
  let packets = 0;
  // That some in the middle are lost comes out when all the others have arrived.
  world.fate = () => {
    packets += 1;
    const lost = packets > 100 && packets < 104;
    return { arrives: lost ? [] : [5], toldAfter: lost ? 5_000 : 10, acked: !lost };
  };
  world.run(4_000);
  assert.equal(large.state, "leased");
  world.bulkAllowed = () => false;

  world.run(20_000, () => large.state === "acknowledged");
  assert.equal(large.state, "acknowledged");
});
