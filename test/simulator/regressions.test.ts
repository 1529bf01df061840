// Runs that found a bug once.

import assert from "node:assert/strict";
import { test } from "node:test";
import { REGRESSIONS } from "./regressions.js";
import { adapterOf } from "./seeds.js";
import { run } from "./simulation.js";

for (const { was, scenario } of REGRESSIONS) {
  test(`no more: ${was}`, () => {
    const result = run(scenario, { adapter: adapterOf(scenario.setting.protocol) });

    assert.equal(result.violation, undefined);
    assert.ok(result.acknowledged > 0, "the run is about something");
  });
}
