// A short and narrow path that loses a third both ways and changes the order: what is large arrives, in
// few sessions, since each new one would begin it anew. A host that forgot its session is found all the
// same.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LayerWorld } from "./layer-world.js";

const LOSS_SHARE = 0.3;
const DELAY_MS_MAX = 10;
const PAYLOAD_BYTES_MAX = 548;
const SEEDS = 5;
const TIME_MS_MAX = 900_000;
const SESSIONS_MAX = 12;

/** Messages 2 that left. */
const answers = (it: LayerWorld): number =>
  [...it.greetings.values()].filter(({ type }) => type === 2).length;

test("200 KiB cross a path that loses a third, and hardly any new session begins", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const it = new LayerWorld({
      seed,
      network: (random, bytes) => {
        if (bytes > PAYLOAD_BYTES_MAX || random.next() < LOSS_SHARE) return [];
        return [random.next() * DELAY_MS_MAX];
      },
    });
    const [a] = it.hosts;

    a.send(1, new Uint8Array(200 * 1_024));
    it.run(TIME_MS_MAX, () => a.acknowledged.length > 0);

    assert.deepEqual(a.acknowledged, [1], `seed ${seed}`);
    const seconds = it.now / 1e9;
    assert.ok(answers(it) <= SESSIONS_MAX, `seed ${seed}: ${answers(it)} in ${seconds} s`);
  }
});
