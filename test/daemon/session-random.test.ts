// What leaves two daemons looks like random bytes, but for the session id that repeats within a session.
// A short look; the long one is `npm run session-figures -- statistics`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Place } from "./harness.js";
import { randomnessOf, shownRandomness, suspicions } from "./randomness.js";
import { randomLike, sampleWire } from "./wire-sample.js";

const DATAGRAMS = 11_000;
const HANDSHAKES = 150;
const SESSION_ID_BYTES = 4;
const PLANTED_BYTES = 300;

test("datagrams of sessions cannot be told from random bytes", async (t) => {
  const wanted = { datagrams: DATAGRAMS, handshakes: HANDSHAKES };

  const { datagrams, handshakes, firsts } = await sampleWire(new Place(t), wanted);

  assert.ok(datagrams.length >= DATAGRAMS && handshakes >= 2 * HANDSHAKES);
  // Handshakes begin with a nonce, packets of a session with an id that stands here once.
  assert.ok(firsts.length > handshakes);
  for (const [what, seen] of [
    ["all, behind the session id", randomnessOf(datagrams, SESSION_ID_BYTES)],
    ["one of each session id", randomnessOf(firsts, 0)],
    ["handshakes", randomnessOf(datagrams.slice(0, handshakes), 0)],
    ["the system's random bytes", randomnessOf(randomLike(datagrams), 0)],
  ] as const) {
    t.diagnostic(`${what}: ${seen.datagrams} datagrams: ${shownRandomness(seen)}`);
    assert.deepEqual(suspicions(seen), [], what);
  }
});

test("the statistics find what is not random", () => {
  const random = randomLike(Array.from({ length: DATAGRAMS }, () => new Uint8Array(PLANTED_BYTES)));
  const change = (datagram: Buffer, at: number, to: (byte: number) => number): void => {
    datagram[at] = to(datagram[at] ?? 0);
  };
  const broken: Readonly<Record<string, (datagram: Buffer, n: number) => void>> = {
    "a session id within its session": (datagram) => datagram.writeUInt32BE(0x5a17_93c4, 0),
    "a counter in the clear": (datagram, n) => datagram.writeUInt32BE(n, 8),
    "a counter behind a mask that stays": (datagram, n) =>
      datagram.writeUInt32BE((n ^ 0x9e37_79b9) >>> 0, 8),
    "the lowest bit of a counter": (datagram, n) =>
      change(datagram, 11, (byte) => (byte & 0xfe) | (n & 1)),
    "one bit of one byte, now and then": (datagram, n) => {
      if (n % 8 === 0) change(datagram, 20, (byte) => byte & 0xfe);
    },
    "the last byte": (datagram) => change(datagram, PLANTED_BYTES - 1, (byte) => byte % 200),
    "one bit in a hundred": (datagram) => {
      for (let at = 0; at < PLANTED_BYTES; at += 12) change(datagram, at, (byte) => byte | 1);
    },
    "a byte that follows from another": (datagram) => {
      for (let at = 101; at < PLANTED_BYTES; at += 50) {
        change(datagram, at, () => (datagram[at - 1] ?? 0) ^ 0x3);
      }
    },
    "a byte that stays for two datagrams": (datagram, n) =>
      change(datagram, 40, () => (random[n & ~1] ?? datagram)[40] ?? 0),
    "zeros of padding in one of a hundred": (datagram, n) => {
      if (n % 100 === 0) datagram.fill(0, 200, 216);
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
  assert.deepEqual(suspicions(randomnessOf(random, 0)), [], "as they were");
});
