import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Nanoseconds, nanoseconds } from "../../../src/shared/base/units.js";
import { TransportPacer } from "../../../src/shared/protocol/transport/transport-pacer.js";
import { ms } from "./acks.js";

test("a rate of 1.25 windows a round trip passes, and not more", () => {
  const pacer = new TransportPacer(ms(0), 1_200);
  pacer.handlePath(ms(0), 120_000, 100e6, 1_200);
  let now = ms(0);
  let sentBytes = 0;
  while (now < ms(1_000)) {
    now = pacer.availableAt(now);
    pacer.handleSent(now, 1_200);
    sentBytes += 1_200;
  }

  assert.equal(Math.round(pacer.bytesPerSecond), 1_500_000);
  assert.ok(sentBytes >= 1_500_000, `${sentBytes}`);
  assert.ok(sentBytes <= 1_500_000 + pacer.burstBytes + 1_200, `${sentBytes}`);
});

test("ten datagrams leave at once after a pause, the eleventh waits", () => {
  const pacer = new TransportPacer(ms(0), 1_200);
  pacer.handlePath(ms(0), 120_000, 100e6, 1_200);
  for (const start of [ms(0), ms(500)]) {
    for (let i = 0; i < 10; i++) {
      assert.equal(pacer.availableAt(start), start);
      pacer.handleSent(start, 1_200);
    }
    // 1,200 bytes at 1.5 MB/s.
    const next = pacer.availableAt(start);
    assert.ok(Math.abs(next - start - 800_000) <= 1, `${next - start}`);
  }
});

test("a timer of 1 ms that comes late lets the full rate through on a path of 0.1 ms", () => {
  const pacer = new TransportPacer(ms(0), 1_452);
  pacer.handlePath(ms(0), 200_000, 100_000, 1_452);
  let sentBytes = 0;
  for (let tick = 0; tick < 500; tick++) {
    // 1 ms that was asked for comes after 1 and 2 ms in turn.
    const now = ms(tick + (tick & 1) / 2);
    while (pacer.availableAt(now) === now) {
      pacer.handleSent(now, 1_452);
      sentBytes += 1_452;
    }
  }

  const share = sentBytes / (pacer.bytesPerSecond * 0.499);
  assert.ok(share > 0.99 && share < 1.01, `${share}`);
});

test("in any stretch of time no more leaves than the rate, a burst and a datagram", () => {
  const arbitrary = fc.record({
    window: fc.integer({ min: 2_400, max: 2 ** 26 }),
    roundTripUs: fc.integer({ min: 20, max: 2_000_000 }),
    pausesUs: fc.array(fc.integer({ min: 0, max: 20_000 }), { minLength: 2, maxLength: 60 }),
  });
  fc.assert(
    fc.property(arbitrary, ({ window, roundTripUs, pausesUs }) => {
      const pacer = new TransportPacer(ms(0), 1_200);
      pacer.handlePath(ms(0), window, roundTripUs * 1_000, 1_200);
      const sent: { at: number; bytes: number }[] = [];
      let now = 0;
      for (const pauseUs of pausesUs) {
        now += pauseUs * 1_000;
        let bytes = 0;
        const at = nanoseconds(now);
        for (let n = 0; n < 5_000 && pacer.availableAt(at) === at; n++) {
          pacer.handleSent(at, 1_200);
          bytes += 1_200;
        }
        sent.push({ at: now, bytes });
      }
      for (let i = 0; i < sent.length; i++) {
        let total = 0;
        for (let j = i; j < sent.length; j++) {
          total += sent[j].bytes;
          const allowed = ((sent[j].at - sent[i].at) * pacer.bytesPerSecond) / 1e9;
          assert.ok(total <= allowed + pacer.burstBytes + 1_200, `${i} to ${j}`);
        }
      }
    }),
    { numRuns: 50 },
  );
});

test("a large probe may overdraw, and what it took is waited for", () => {
  const pacer = new TransportPacer(ms(0), 1_200);
  pacer.handlePath(ms(0), 120_000, 100e6, 1_200);

  assert.equal(pacer.availableAt(ms(0)), ms(0));
  pacer.handleSent(ms(0), 15_000);

  const next: Nanoseconds = pacer.availableAt(ms(0));
  assert.ok(Math.abs(next - 2_800_000) <= 1, `${next}`);
});
