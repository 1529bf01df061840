// The change of a pair's key through live sessions: who holds it is said inside them, handshakes go over
// to it, and a host that was off or forgot is found under whichever key is left.

import assert from "node:assert/strict";
import { test } from "node:test";
import { factsOf, rotationPhase } from "../../../src/shared/protocol/session/rotation.js";
import { FIRST_RING } from "./layer-parts.js";
import { type LayerHost, LayerWorld } from "./layer-world.js";

const text = (words: string): Uint8Array => new TextEncoder().encode(words);
const BOTH = { current: "01", next: "02", previous: undefined };
const SECOND = { current: "02", next: undefined, previous: undefined };
const FORCED = { current: "02", next: undefined, previous: "01" };

/** Two hosts in a session under the first key. */
function pair(): { it: LayerWorld; a: LayerHost; b: LayerHost } {
  const it = new LayerWorld({ seed: 5 });
  const [a, b] = it.hosts;
  a.send(1, text("first"));
  it.run(1_000);
  assert.deepEqual(a.acknowledged, [1]);
  return { it, a, b };
}

const phaseOf = (host: LayerHost): string => {
  const known = host.rotation();
  return known === undefined ? "unknown" : rotationPhase(known);
};

test("what is known of the one key of a pair is durable behind its first session", () => {
  const { a, b } = pair();

  for (const host of [a, b]) {
    const known = host.rotation();
    assert.ok(known !== undefined && factsOf(known, "01").usedMs > 0);
  }
});

test("a next key is shown within the session, taken up by the next handshake, and proven", () => {
  const { it, a, b } = pair();
  a.rings[0] = BOTH;
  a.reload();
  it.run(2_000);
  assert.deepEqual([phaseOf(a), phaseOf(b)], ["installed", "none"]);

  b.rings[0] = BOTH;
  b.reload();
  it.run(3_000);
  assert.deepEqual([phaseOf(a), phaseOf(b)], ["confirmed", "confirmed"]);
  assert.equal(a.layer.peers[0]?.session?.keyName, "01");

  for (let second = 4; second < 140; second += 4) {
    a.send(second, text(`${second}`));
    it.run(second * 1_000);
  }
  assert.equal(a.layer.peers[0]?.session?.keyName, "02");
  assert.deepEqual([phaseOf(a), phaseOf(b)], ["proven", "proven"]);

  a.rings[0] = SECOND;
  a.reload();
  a.send(1_000, text("after a finished"));
  it.run(141_000);
  b.rings[0] = SECOND;
  b.reload();
  b.send(1_001, text("after b finished"));
  it.run(142_000);
  assert.ok(a.acknowledged.includes(1_000) && b.acknowledged.includes(1_001));
  assert.deepEqual([phaseOf(a), phaseOf(b)], ["none", "none"]);
});

test("a peer that is off during a change by force is found under the previous key", () => {
  const { it, a, b } = pair();
  b.up = false;
  a.rings[0] = FORCED;
  a.reload();
  a.send(2, text("while b is off"));
  it.run(20_000);
  assert.equal(phaseOf(a), "switched");

  b.up = true;
  b.restart();
  b.layer.announce(b.now, 0);
  it.run(25_000);

  assert.deepEqual(a.acknowledged, [1, 2]);
  assert.equal(a.layer.peers[0]?.session?.keyName, "01");
  assert.equal(phaseOf(a), "switched");
  b.rings[0] = { current: "02", next: undefined, previous: "01" };
  b.reload();
  it.run(26_000);
  a.restart();
  a.send(3, text("anew"));
  it.run(60_000);
  assert.equal(a.layer.peers[0]?.session?.keyName, "02");
  assert.equal(phaseOf(a), "retirable");
});

test("a host whose database forgot everything of the keys still finds the other one", () => {
  const { it, a, b } = pair();
  a.rings[0] = BOTH;
  b.rings[0] = SECOND;
  const memory = a.memory[0];
  assert.ok(memory !== undefined);
  memory.rotation = undefined;

  a.restart();
  b.restart();
  a.send(2, text("under the only key that both have"));
  it.run(30_000);

  assert.deepEqual(a.acknowledged, [1, 2]);
  assert.equal(a.layer.peers[0]?.session?.keyName, "02");
});

test("a key that is taken away ends its sessions, and nothing goes under it any more", () => {
  const { it, a, b } = pair();

  a.rings[0] = SECOND;
  a.reload();
  a.send(2, text("to nobody"));
  it.run(20_000);

  assert.equal(a.layer.peers[0]?.session, undefined);
  assert.equal(b.stored.length, 1);
  a.rings[0] = FIRST_RING;
  a.reload();
  it.run(40_000);
  assert.deepEqual(a.acknowledged, [1, 2]);
});

test("a handshake that a reload ended begins anew at once", () => {
  const it = new LayerWorld({ seed: 6, network: () => [300] });
  const [a, b] = it.hosts;
  a.send(1, text("first"));
  it.run(400);

  a.reload();
  it.run(1_900);

  assert.deepEqual(a.acknowledged, [1]);
  assert.equal(b.stored.length, 1);
});

test("a handshake that began before its key went away is not completed behind it", () => {
  const it = new LayerWorld({ seed: 6, network: () => [300] });
  const [a, b] = it.hosts;
  a.send(1, text("first"));
  it.run(400);

  a.rings[0] = SECOND;
  a.reload();
  it.run(2_000);

  assert.equal(a.layer.peers[0]?.session, undefined);
  assert.equal(b.stored.length, 0);
});
