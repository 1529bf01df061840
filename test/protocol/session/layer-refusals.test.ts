// What a sender learns of a message that the other end does not take: for good, with a sentence for a
// person, or for a while, and why.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DELIVERED } from "../../../src/shared/protocol/session/ports.js";
import { LayerWorld } from "./layer-world.js";

test("a message that is too large for the peer fails and says so, in one packet, in pieces, as a file", () => {
  for (const bytes of [200, 5_000, 300_000]) {
    const it = new LayerWorld({ seed: 21, messageBytesMax: bytes - 1 });
    const [a, b] = it.hosts;

    a.send(1, new Uint8Array(bytes));
    a.send(2, new Uint8Array(bytes - 1));
    it.run(10_000);

    assert.deepEqual(
      a.failed.map(({ rowId }) => rowId),
      [1],
    );
    assert.match(a.failed[0]?.reason ?? "", /message_bytes_max/);
    assert.deepEqual(a.acknowledged, [2], "one byte less is taken");
    assert.equal(b.stored.length, 1);
    assert.equal(a.layer.outgoing.size, 0);
    assert.deepEqual(a.reports, []);
  }
});

test("a message that is refused for a while waits with the reason, and is counted", () => {
  const reasons = [
    [DELIVERED.quota, /quota/],
    [DELIVERED.full, /disk of the peer is full/],
    [DELIVERED.busy, /in time/],
  ] as const;
  for (const [outcome, sentence] of reasons) {
    const it = new LayerWorld({ seed: 22 });
    const [a, b] = it.hosts;
    let refusals = 2;
    b.outcome = () => {
      refusals -= 1;
      return refusals >= 0 ? outcome : undefined;
    };

    a.send(1, new Uint8Array(10));
    it.run(500);

    assert.match(a.waits.get(1) ?? "", sentence);
    assert.equal(a.layer.outgoing.postponements, 1);
    assert.deepEqual(a.acknowledged, []);
    it.run(60_000);
    assert.equal(a.layer.outgoing.postponements, 2);
    assert.deepEqual(a.acknowledged, [1]);
    assert.equal(b.stored.length, 1);
  }
});

test("a message that is taken at once waits without a reason", () => {
  const it = new LayerWorld({ seed: 23, storeDelayMs: 1_500 });
  const [a] = it.hosts;

  a.send(1, new Uint8Array(10));
  it.run(10_000);

  assert.deepEqual(a.acknowledged, [1]);
  assert.equal(a.waits.size, 0);
  assert.equal(a.layer.outgoing.postponements, 0);
});
