import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Nanoseconds, NS_PER_SECOND, seconds } from "../../src/shared/base/units.js";
import { hashWords } from "../../src/shared/protocol/keyed-hash.js";
import { NonceMemory, nonceMemoryBytesMax } from "../../src/shared/protocol/nonce-memory.js";

const SEEDS = [11, 22] as const;

test("a nonce is known until its deadline has passed", () => {
  const memory = new NonceMemory({ seeds: SEEDS, entriesMax: 100 });

  assert.equal(memory.has(nonceOf(1), 0), false);
  assert.equal(memory.remember(seconds(0), seconds(11), nonceOf(1), 0), true);
  assert.equal(memory.has(nonceOf(1), 0), true);
  assert.equal(memory.has(nonceOf(2), 0), false);

  memory.expire(seconds(11));
  assert.equal(memory.has(nonceOf(1), 0), true);
  memory.expire(seconds(17));
  assert.equal(memory.has(nonceOf(1), 0), false);
});

test("a nonce is read at any offset, and the one of zeros is one like any other", () => {
  const memory = new NonceMemory({ seeds: SEEDS, entriesMax: 100 });
  const datagram = new Uint8Array(64);
  datagram.set(nonceOf(5), 7);

  assert.equal(memory.has(new Uint8Array(12), 0), false);
  memory.remember(seconds(0), seconds(1), datagram, 7);
  memory.remember(seconds(0), seconds(1), new Uint8Array(12), 0);

  assert.equal(memory.has(nonceOf(5), 0), true);
  assert.equal(memory.has(new Uint8Array(12), 0), true);
  assert.equal(memory.size, 2);
});

test("a hash taken once serves every memory of the same seeds", () => {
  const options = { seeds: SEEDS, entriesMax: 100 };
  const [first, second] = [new NonceMemory(options), new NonceMemory(options)];
  const hash = first.hashOf(nonceOf(7), 0);

  first.remember(seconds(0), seconds(1), nonceOf(7), 0, hash);
  second.remember(seconds(0), seconds(1), nonceOf(7), 0);

  for (const memory of [first, second]) {
    assert.equal(memory.has(nonceOf(7), 0), true);
    assert.equal(memory.has(nonceOf(7), 0, hash), true);
    assert.equal(memory.has(nonceOf(8), 0, first.hashOf(nonceOf(8), 0)), false);
  }
});

test("a full memory refuses the newcomer and keeps the old; room comes with deadlines", () => {
  const memory = new NonceMemory({ seeds: SEEDS, entriesMax: 1_000 });
  for (let i = 0; i < 1_000; i++) {
    assert.equal(memory.remember(seconds(0), seconds(1 + (i % 20)), nonceOf(i), 0), true);
  }

  assert.equal(memory.remember(seconds(0), seconds(30), nonceOf(1_000), 0), false);
  assert.equal(memory.has(nonceOf(1_000), 0), false);
  for (let i = 0; i < 1_000; i++) assert.equal(memory.has(nonceOf(i), 0), true);

  assert.equal(memory.remember(seconds(5), seconds(30), nonceOf(1_000), 0), true);
  for (let i = 0; i < 1_000; i++) {
    if (1 + (i % 20) >= 5) assert.equal(memory.has(nonceOf(i), 0), true);
  }
});

test("no generation is left when every deadline has passed", () => {
  const memory = new NonceMemory({ seeds: SEEDS, entriesMax: 100_000 });
  for (let i = 0; i < 50_000; i++) memory.remember(seconds(0), seconds(11), nonceOf(i), 0);
  assert.equal(memory.size, 50_000);
  for (let i = 0; i < 50_000; i++) assert.equal(memory.has(nonceOf(i), 0), true);

  memory.expire(seconds(100));

  assert.equal(memory.size, 0);
  assert.equal(memory.generations, 0);
});

test("a steady stream is kept in few generations", () => {
  const memory = new NonceMemory({ seeds: SEEDS, entriesMax: 2 ** 20 });
  let most = 0;
  for (let i = 0; i < 60_000; i++) {
    const now = ns(i * NS_PER_SECOND * 0.001);
    memory.expire(now);
    assert.equal(memory.remember(now, ns(now + 11 * NS_PER_SECOND), nonceOf(i), 0), true);
    most = Math.max(most, memory.generations);
    assert.ok(memory.size <= 11_000 + 4_000 + 1, "an entry overstays by less than half its life");
  }
  assert.ok(most <= 4, `${most} generations`);
});

test("deadlines all over the window stay within the bound of generations and are kept", () => {
  const memory = new NonceMemory({ seeds: SEEDS, entriesMax: 2 ** 16 });
  // A clock that is set back by an hour again and again leaves deadlines of every hour behind.
  for (let i = 0; i < 100; i++) {
    const now = seconds((100 - i) * 3_600);
    assert.equal(memory.remember(now, ns(now + 20 * NS_PER_SECOND), nonceOf(i), 0), true);
  }

  assert.ok(memory.generations <= 16);
  for (let i = 0; i < 100; i++) assert.equal(memory.has(nonceOf(i), 0), true);
});

test("more deadlines ahead than generations are all kept to the last", () => {
  const memory = new NonceMemory({ seeds: SEEDS, entriesMax: 2 ** 16 });
  const until = (i: number) => ns(1.6 * NS_PER_SECOND * 2 ** i);
  for (let i = 0; i < 40; i++) {
    assert.equal(memory.remember(seconds(0), until(i), nonceOf(i), 0), true);
  }
  assert.equal(memory.generations, 16);

  for (let i = 0; i < 40; i++) {
    memory.expire(until(i));
    assert.equal(memory.has(nonceOf(i), 0), true, `nonce ${i}`);
  }
  memory.expire(until(41));
  assert.equal(memory.size, 0);
});

test("a deadline on the boundary of a generation is kept to its last nanosecond", () => {
  const memory = new NonceMemory({ seeds: SEEDS, entriesMax: 100 });
  memory.remember(seconds(0), seconds(8), nonceOf(1), 0);
  memory.remember(seconds(0), seconds(2), nonceOf(2), 0);

  memory.expire(seconds(8));
  assert.equal(memory.has(nonceOf(2), 0), false);
  assert.equal(memory.has(nonceOf(1), 0), true);
  memory.expire(ns(seconds(8) + 1));
  assert.equal(memory.has(nonceOf(1), 0), false);
});

test("nonces of the same hash are told apart by every word", () => {
  for (const word of [0, 1, 2]) {
    const [one, other] = collision(word);
    const memory = new NonceMemory({ seeds: SEEDS, entriesMax: 100 });

    memory.remember(seconds(0), seconds(8), one, 0);

    assert.equal(memory.has(one, 0), true);
    assert.equal(memory.has(other, 0), false, `word ${word}`);
  }
});

test("it never forgets early, nor keeps for more than half a life or a second too long", () => {
  const wall = 1_760_000_000 * NS_PER_SECOND;
  const step = fc.record({
    passesMs: fc.oneof(fc.nat(100), fc.nat(5_000)),
    lifeMs: fc.oneof(fc.integer({ min: 1_000, max: 21_000 }), fc.nat(30_000)),
    nonce: fc.nat(500),
    expires: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.nat(), fc.array(step, { maxLength: 300, size: "max" }), (seed, steps) => {
      const memory = new NonceMemory({ seeds: [seed, 0], entriesMax: 120 });
      const model = new Map<number, { keptUntil: number; goneAfter: number }>();
      let now = wall;
      for (const { passesMs, lifeMs, nonce, expires } of steps) {
        now += passesMs * 1e6;
        const life = lifeMs * 1e6;
        const until = now + life;
        const refused = !memory.remember(ns(now), ns(until), nonceOf(nonce), 0);
        if (refused) assert.equal(memory.size, 120);
        else {
          const old = model.get(nonce) ?? { keptUntil: 0, goneAfter: 0 };
          const goneAfter = until + Math.max(life / 2, NS_PER_SECOND) + 1_024;
          model.set(nonce, {
            keptUntil: Math.max(old.keptUntil, until),
            goneAfter: Math.max(old.goneAfter, goneAfter),
          });
        }
        assert.ok(memory.size <= 120);
        if (!expires) continue;
        memory.expire(ns(now));
        for (const [each, { keptUntil, goneAfter }] of model) {
          if (now <= keptUntil) assert.equal(memory.has(nonceOf(each), 0), true);
          else if (now > goneAfter) assert.equal(memory.has(nonceOf(each), 0), false);
        }
      }
    }),
    { numRuns: 150 },
  );
});

test("the derived memory of a million nonces is under 72 MiB", () => {
  const bytes = nonceMemoryBytesMax(2 ** 20);

  assert.ok(bytes <= 72 * 2 ** 20, `${bytes} bytes`);
});

const ns = (value: number): Nanoseconds => value as Nanoseconds;

/** Two nonces with one hash of 32 bits that differ in one word, found by search. */
function collision(word: number): readonly [Uint8Array, Uint8Array] {
  const seen = new Map<number, Uint8Array>();
  for (let value = 0; ; value++) {
    const words: [number, number, number] = [0, 0, 0];
    words[word] = value;
    const nonce = new Uint8Array(12);
    new DataView(nonce.buffer).setUint32(word * 4, value, true);
    const hash = hashWords(SEEDS, ...words, 0);
    const earlier = seen.get(hash);
    if (earlier !== undefined) return [earlier, nonce];
    seen.set(hash, nonce);
  }
}

function nonceOf(number: number): Uint8Array {
  const nonce = new Uint8Array(12).fill(0xa5);
  new DataView(nonce.buffer).setUint32(4, number);
  return nonce;
}
