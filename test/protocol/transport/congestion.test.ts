import assert from "node:assert/strict";
import { test } from "node:test";
import { NewReno } from "../../../src/shared/protocol/transport/congestion.js";
import { ms } from "./acks.js";

test("the first window is that of RFC 9002 section 7.2", () => {
  const rows: [number, number][] = [
    // datagram bytes, window bytes
    [1_200, 12_000],
    [1_452, 14_520],
    [1_472, 14_720],
    [5_000, 14_720],
    [8_952, 17_904],
    [65_507, 131_014],
  ];
  for (const [datagramBytes, window] of rows) {
    assert.equal(new NewReno(datagramBytes).window, window, `${datagramBytes}`);
  }
});

test("slow start adds what was acknowledged, avoidance a datagram a window", () => {
  const control = new NewReno(1_200);
  control.onSent(12_000);
  for (let i = 0; i < 10; i++) control.onAcked(1_200, ms(0));
  assert.equal(control.window, 24_000);

  control.onSent(1_200);
  control.onRemoved(1_200);
  assert.equal(control.onCongestion(ms(1), ms(0), false), true);
  assert.equal(control.window, 12_000);
  assert.equal(control.inRecovery, true);

  control.onSent(12_000);
  for (let i = 0; i < 10; i++) control.onAcked(1_200, ms(2));
  assert.equal(control.inRecovery, false);
  assert.ok(control.window > 13_100 && control.window <= 13_200, `${control.window}`);
});

test("losses of one flight halve the window once, a later one again, never below two", () => {
  const control = new NewReno(1_200);
  const rows: [string, number, number, boolean, number][] = [
    // name, now ms, newest lost sent at ms, a new event?, window
    ["1 the first loss", 10, 5, true, 6_000],
    ["2 of the same flight", 12, 9, false, 6_000],
    ["3 sent at the instant of the reduction", 13, 10, false, 6_000],
    ["4 sent after it", 20, 11, true, 3_000],
    ["5 two datagrams stay", 30, 25, true, 2_400],
    ["6 and stay", 40, 35, true, 2_400],
  ];
  for (const [name, nowMs, sentMs, fresh, window] of rows) {
    assert.equal(control.onCongestion(ms(nowMs), ms(sentMs), false), fresh, name);
    assert.equal(control.window, window, name);
  }
});

test("acknowledgements of the flight that was lost from do not widen the window", () => {
  const control = new NewReno(1_200);
  control.onSent(3_600);
  control.onCongestion(ms(10), ms(5), false);

  control.onAcked(1_200, ms(5));
  control.onAcked(1_200, ms(10));
  assert.deepEqual([control.window, control.inRecovery], [6_000, true]);

  control.onAcked(1_200, ms(11));
  assert.deepEqual([control.window, control.inRecovery], [6_240, false]);
  assert.equal(control.bytesInFlight, 0);
});

test("while there is nothing to send the window does not grow, with something it does", () => {
  const control = new NewReno(1_200);
  control.onSent(2_400);

  control.appLimited = true;
  control.onAcked(1_200, ms(0));
  assert.equal(control.window, 12_000);

  control.appLimited = false;
  control.onAcked(1_200, ms(0));
  assert.equal(control.window, 13_200);
});

test("persistent congestion leaves two datagrams, and slow start up to half of what was", () => {
  const control = new NewReno(1_200);
  control.onSent(100_000);

  control.onCongestion(ms(10), ms(5), true);
  assert.deepEqual([control.window, control.inRecovery], [2_400, false]);

  control.onAcked(3_000, ms(6));
  assert.equal(control.window, 5_400);
  control.onAcked(3_000, ms(6));
  assert.equal(control.window, 8_400);
  control.onAcked(3_000, ms(6));
  assert.ok(control.window < 9_000);
});

test("a reduction for packets only late is taken back, one for broken paths is not", () => {
  for (const persistent of [false, true]) {
    const control = new NewReno(1_200);
    control.onCongestion(ms(10), ms(5), persistent);

    control.onSpurious();

    assert.equal(control.window, persistent ? 2_400 : 12_000);
    control.onSpurious();
    assert.equal(control.window, persistent ? 2_400 : 12_000);
  }
});

test("another size of datagrams moves the first window and the least, not one in between", () => {
  const control = new NewReno(1_200);
  control.onMtu(1_452);
  assert.equal(control.window, 14_520);

  control.onSent(1_452);
  control.onAcked(1_452, ms(0));
  control.onMtu(1_200);
  assert.equal(control.window, 15_972);

  control.onMtu(65_507);
  assert.equal(control.window, 131_014);
});
