// Rows that classic has in hand when their peer turns out to speak sessions: each goes back to the table
// once, wherever it stands, what was sent of it is told, and classic is done with it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Datagram, defaultConfig, type Host, World } from "../simulator/world.js";
import { A, B, makePair } from "./classic-pair.js";

const C = "192.0.2.3";
const ROWS = 12;
const BURST = 4;
const CONFIG = { ...defaultConfig, ratePerSecond: 20, burst: BURST } as const;

/** Row ids that a host told its store about, in order. */
interface Told {
  readonly givenBack: number[];
  readonly acknowledged: number[];
  readonly waiting: number[];
  readonly failed: number[];
}

function listen({ endpoint }: Host): Told {
  const told: Told = { givenBack: [], acknowledged: [], waiting: [], failed: [] };
  const poll = endpoint.pollSettlement.bind(endpoint);
  endpoint.pollSettlement = () => {
    const settlement = poll();
    if (settlement === undefined) return undefined;
    told.givenBack.push(...settlement.givenBack.map(({ rowId }) => rowId));
    told.acknowledged.push(...settlement.acknowledged.rowIds);
    told.waiting.push(...settlement.waiting.rowIds);
    told.failed.push(...settlement.failed.map(({ rowId }) => rowId));
    return settlement;
  };
  return told;
}

const isAtB = (name: string): boolean => name === B;
const ascending = (ids: readonly number[]): readonly number[] => ids.toSorted((a, b) => a - b);

for (const afterMs of [0, 30, 500, 5_000, 60_000, 900_000]) {
  test(`rows go back once each when their peer moves to sessions after ${afterMs} ms`, () => {
    const world = new World();
    const a = world.host({ address: A, config: CONFIG });
    for (const address of [B, C]) world.host({ address });
    const told = listen(a);
    const acks: Datagram[] = [];
    world.route = (datagram) => {
      if (datagram.from !== B) return [datagram];
      acks.push(datagram);
      return [];
    };
    const toB = Array.from({ length: ROWS }, (_, n) => a.insert(B, `{"n":${n}}`).id);
    const toC = Array.from({ length: 3 }, (_, n) => a.insert(C, `{"n":${n}}`).id);

    world.run(afterMs);
    a.endpoint.divert(world.now, a.wallNs, isAtB);
    const sent = world.sent.length;
    world.run(1);
    for (const ack of acks) world.deliver(ack);
    world.run(120_000);
    a.endpoint.divert(world.now, a.wallNs, isAtB);
    world.run(120_000);

    assert.deepEqual(ascending(told.givenBack), toB);
    assert.deepEqual(ascending(told.acknowledged), toC, "the others are not touched");
    assert.deepEqual(told.failed, []);
    assert.deepEqual(
      world.sent.slice(sent).filter(({ from, to }) => from === A && to === B),
      [],
    );
    if (afterMs === 0) assert.deepEqual(ascending(told.waiting), toB.slice(0, BURST));
    assert.equal(a.endpoint.settlementsQueued, 0);
  });
}

test("a row that is being sealed when its peer moves goes back once, and does not leave", () => {
  for (const moves of [true, false]) {
    const { world, a } = makePair();
    const told = listen(a);
    const { id } = a.insert(B, '{"text":"hello"}');
    const { endpoint } = a;
    const sealed = endpoint.handleSealed.bind(endpoint);
    endpoint.handleSealed = (now, wallNs, packet) => {
      if (moves) endpoint.divert(now, wallNs, isAtB);
      return sealed(now, wallNs, packet);
    };

    world.run(60_000);

    assert.deepEqual([told.givenBack, told.acknowledged], moves ? [[id], []] : [[], [id]]);
    assert.equal(world.sent.filter(({ from }) => from === A).length, moves ? 0 : 1);
  }
});
