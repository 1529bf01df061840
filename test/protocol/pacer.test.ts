import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Nanoseconds, NS_PER_SECOND, seconds } from "../../src/shared/base/units.js";
import { Pacer } from "../../src/shared/protocol/pacer.js";

test("a rate of 0 never waits", () => {
  const pacer = new Pacer({ ratePerSecond: 0, burst: 1, now: seconds(0) });

  for (let i = 0; i < 10_000; i++) assert.equal(pacer.take(seconds(0)), true);
  assert.equal(pacer.availableAt(seconds(5)), seconds(5));
});

test("ten a second with a burst of three, step by step", () => {
  const pacer = new Pacer({ ratePerSecond: 10, burst: 3, now: seconds(0) });
  const rows: [number, number, boolean, number][] = [
    // number, at ms, taken?, then available at ms
    [1, 0, true, 0],
    [2, 0, true, 0],
    [3, 0, true, 100],
    [4, 0, false, 100],
    [5, 99.999999, false, 100],
    [6, 100, true, 200],
    [7, 350, true, 350],
    [8, 350, true, 400],
    [9, 350, false, 400],
    [10, 90_000, true, 90_000],
    [11, 90_000, true, 90_000],
    [12, 90_000, true, 90_100],
    [13, 90_000, false, 90_100],
  ];
  for (const [number, atMs, taken, nextMs] of rows) {
    assert.equal(pacer.take(ms(atMs)), taken, `row ${number}`);
    assert.equal(pacer.availableAt(ms(atMs)), ms(nextMs), `row ${number}`);
  }
});

test("a million takes at an odd rate are late by no nanosecond", () => {
  // A third of a nanosecond each would add up to 333 us.
  const pacer = new Pacer({ ratePerSecond: 3_000, burst: 1, now: seconds(0) });
  let now = seconds(0);
  for (let i = 0; i < 1_000_000; i++) {
    now = pacer.availableAt(now);
    assert.equal(pacer.take(now), true);
    assert.equal(now, Math.ceil((i * NS_PER_SECOND) / 3_000), `take ${i}`);
  }
});

test("a new pace keeps the tokens in hand, up to the new burst", () => {
  const rows: [string, { ratePerSecond: number; burst: number }, number][] = [
    ["1 the same pace", { ratePerSecond: 10, burst: 10 }, 4],
    ["2 a smaller burst", { ratePerSecond: 10, burst: 2 }, 2],
    ["3 a larger burst", { ratePerSecond: 10, burst: 100 }, 4],
    ["4 a slower rate", { ratePerSecond: 1, burst: 10 }, 4],
  ];
  for (const [name, pace, tokens] of rows) {
    const pacer = new Pacer({ ratePerSecond: 10, burst: 10, now: seconds(0) });
    for (let i = 0; i < 6; i++) pacer.take(seconds(0));

    pacer.configure({ ...pace, now: seconds(0) });

    assert.equal(takeAll(pacer, seconds(0)), tokens, name);
  }
});

test("a pace in place of none begins with a full bucket", () => {
  const pacer = new Pacer({ ratePerSecond: 0, burst: 1, now: seconds(0) });
  for (let i = 0; i < 50; i++) pacer.take(seconds(0));

  pacer.configure({ ratePerSecond: 5, burst: 7, now: seconds(1) });

  assert.equal(takeAll(pacer, seconds(1)), 7);
});

test("it grants what the rate and the burst allow over any span, no more and no less", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200_000 }),
      fc.integer({ min: 1, max: 500 }),
      fc.array(fc.tuple(fc.nat(1_500_000_000), fc.nat(40)), { maxLength: 200, size: "max" }),
      (ratePerSecond, burst, steps) => {
        const pacer = new Pacer({ ratePerSecond, burst, now: seconds(0) });
        const model = new ExactBucket(ratePerSecond, burst);
        let now = 0;
        for (const [passesNs, wanted] of steps) {
          now += passesNs;
          for (let i = 0; i < wanted; i++) {
            const next = pacer.availableAt(ns(now));
            const granted = pacer.take(ns(now));
            assert.equal(granted, model.take(now));
            assert.equal(granted, next === now);
          }
        }
        const next = pacer.availableAt(ns(now));
        assert.equal(pacer.take(next), true);
      },
    ),
  );
});

/** The same bucket in whole numbers: tokens times a billion; one nanosecond may stand over. */
class ExactBucket {
  readonly #rate: bigint;
  readonly #full: bigint;
  #level: bigint;
  #at = 0n;
  constructor(rate: number, burst: number) {
    this.#rate = BigInt(rate);
    this.#full = BigInt(burst) * 1_000_000_000n;
    this.#level = this.#full;
  }
  take(now: number): boolean {
    this.#level += (BigInt(now) - this.#at) * this.#rate;
    if (this.#level >= this.#full + this.#rate) this.#level = this.#full;
    this.#at = BigInt(now);
    if (this.#level < 1_000_000_000n) return false;
    this.#level -= 1_000_000_000n;
    return true;
  }
}

const ns = (value: number): Nanoseconds => value as Nanoseconds;
const ms = (value: number): Nanoseconds => ns(Math.round(value * 1e6));

function takeAll(pacer: Pacer, now: Nanoseconds): number {
  let taken = 0;
  while (pacer.take(now)) taken += 1;
  return taken;
}
