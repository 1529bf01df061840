// What leaves two daemons looks like random bytes, but for the session id that repeats. A short look;
// the long one is `npm run wire-statistics`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Place } from "./harness.js";
import { randomnessOf, suspicions } from "./randomness.js";
import { SessionPair } from "./session-hosts.js";
import { randomLike, sampleWire } from "./wire-sample.js";

const DATAGRAMS = 10_000;
const RESTARTS = 2;
const SESSION_ID_BYTES = 4;

test("datagrams of sessions cannot be told from random bytes", async (t) => {
  const pair = await SessionPair.make(new Place(t), { relayed: true });

  const { datagrams, firsts } = await sampleWire(pair, {
    datagrams: DATAGRAMS,
    restarts: RESTARTS,
  });

  assert.ok(datagrams.length >= DATAGRAMS && firsts.length >= 3 * (RESTARTS + 1));
  const seen = randomnessOf(datagrams, SESSION_ID_BYTES);
  t.diagnostic(JSON.stringify(seen));
  assert.deepEqual(suspicions(seen), []);
  assert.deepEqual(suspicions(randomnessOf(randomLike(datagrams), 0)), []);
});

test("the statistics find what is not random", () => {
  const random = randomLike(Array.from({ length: DATAGRAMS }, () => new Uint8Array(300)));
  const broken: Readonly<Record<string, (datagram: Buffer, n: number) => void>> = {
    "a counter in the clear": (datagram, n) => datagram.writeUInt32BE(n, 8),
    "one bit of one byte": (datagram, n) => {
      if (n % 4 === 0) datagram[20] = (datagram[20] ?? 0) & 0xfe;
    },
    "the last byte": (datagram) => datagram.writeUInt8(datagram.readUInt8(299) % 200, 299),
    "one bit in a hundred": (datagram) => {
      for (let at = 0; at < 300; at += 12) datagram[at] = (datagram[at] ?? 0) | 1;
    },
    "a byte that follows another": (datagram) => {
      for (let at = 101; at < 299; at += 2)
        datagram[at] = (datagram[at - 1] ?? 0) & 1 ? 0x55 : 0xaa;
    },
  };

  for (const [what, spoil] of Object.entries(broken)) {
    const spoiled = random.map((datagram, n) => {
      const copy = Buffer.from(datagram);
      spoil(copy, n);
      return copy;
    });
    assert.notDeepEqual(suspicions(randomnessOf(spoiled, 0)), [], what);
  }
});
