import assert from "node:assert/strict";
import { test } from "node:test";
import { nanoseconds } from "../../../src/shared/base/units.js";
import { ACK_FAULT } from "../../../src/shared/protocol/transport/ack-reader.js";
import { NewReno } from "../../../src/shared/protocol/transport/congestion.js";
import { Recovery } from "../../../src/shared/protocol/transport/recovery.js";
import {
  NO_ACKS,
  NO_CONTENT,
  PACKET,
} from "../../../src/shared/protocol/transport/sent-packets.js";
import { TransportPath } from "../../../src/shared/protocol/transport/transport-path.js";
import { ackCounters, ackOf, DATA, fatesOf, ms, send } from "./acks.js";

const never = Number.POSITIVE_INFINITY;

/** A recovery on a path of exactly 100 ms, sampled before the test begins, at 0 ms. */
function measured(): { path: TransportPath; recovery: Recovery } {
  const path = new TransportPath({ now: ms(0) });
  path.roundTrip.handleSample(nanoseconds(-1), 100e6, 0);
  return { path, recovery: new Recovery({ path }) };
}

test("round trips follow RFC 9002 section 5.3, sample by sample", () => {
  const { roundTrip } = new TransportPath({ now: ms(0) });
  assert.deepEqual(
    [roundTrip.smoothedNs, roundTrip.variationNs, roundTrip.sampled],
    at(333, 166.5),
  );

  const rows: [number, number, number, number, number][] = [
    // sample, ack delay, then minimum, smoothed, variation; ms
    [100, 20, 100, 100, 50], // the first counts whole
    [180, 20, 100, 107.5, 52.5], // less the delay: 160
    [110, 20, 100, 107.8125, 40], // 90 would be below the minimum: 110 counts
    [120, 20, 100, 106.8359375, 31.953125], // 100 is not
    [60, 0, 60, 100.981445313, 35.673828125],
  ];
  for (const [sample, delay, min, smoothed, variation] of rows) {
    roundTrip.handleSample(ms(1), sample * 1e6, delay * 1e6);

    assert.equal(roundTrip.minNs, min * 1e6);
    assert.ok(Math.abs(roundTrip.smoothedNs - smoothed * 1e6) < 2, `${roundTrip.smoothedNs}`);
    assert.ok(Math.abs(roundTrip.variationNs - variation * 1e6) < 2, `${roundTrip.variationNs}`);
  }

  function at(smoothed: number, variation: number): [number, number, boolean] {
    return [smoothed * 1e6, variation * 1e6, false];
  }
});

test("waits before losses and probes are never below the granularity of timers", () => {
  const { roundTrip } = new TransportPath({ now: ms(0), roundTripNs: 80_000 });
  assert.equal(roundTrip.lossDelayNs(), 1e6);
  assert.equal(roundTrip.probeWaitNs(25e6), 80_000 + 1e6 + 25e6);

  roundTrip.handleSample(ms(0), 100e6, 0);
  assert.equal(roundTrip.lossDelayNs(), 112.5e6);
  assert.equal(roundTrip.probeWaitNs(25e6), 325e6);

  // The larger of the newest and the smoothed.
  roundTrip.handleSample(ms(0), 180e6, 0);
  assert.equal(roundTrip.lossDelayNs(), 202.5e6);
  roundTrip.handleSample(ms(0), 10e6, 0);
  assert.equal(roundTrip.lossDelayNs(), (9 / 8) * roundTrip.smoothedNs);
});

test("three packets that overtake another make it lost, two do not", () => {
  const rows: [string, number[], number[], number[]][] = [
    // name, acknowledged, then lost, then outstanding
    ["1 two later ones", [1, 2], [], [0, 3, 4, 5]],
    ["2 the third alone", [3], [0], [1, 2, 4, 5]],
    ["3 the fifth alone", [5], [0, 1, 2], [3, 4]],
    ["4 what came too is not lost", [1, 5], [0, 2], [3, 4]],
    ["5 nothing is overtaken", [0], [], [1, 2, 3, 4, 5]],
  ];
  for (const [name, acked, lost, outstanding] of rows) {
    const { path, recovery } = measured();
    send(recovery, ms(0), 0, 1, 2, 3, 4, 5);

    assert.equal(recovery.handleAck(ms(100), ackCounters(...acked)), ACK_FAULT.none);

    assert.deepEqual(fatesOf(recovery), { acked, lost }, name);
    assert.equal(recovery.outstanding, outstanding.length, name);
    assert.equal(path.congestion.bytesInFlight, outstanding.length * 1_200, name);
    assert.equal(recovery.probeContent(0), outstanding[0], name);
    assert.equal(recovery.probeContent(9), NO_CONTENT, name);
  }
});

test("an overtaken packet is lost after 9/8 of a round trip, not a nanosecond before", () => {
  const { recovery } = measured();
  send(recovery, ms(0), 0);
  send(recovery, ms(10), 1);
  recovery.handleAck(ms(110), ackCounters(1));
  assert.equal(recovery.pollDeadline(), ms(112.5));

  recovery.handleTimeout(nanoseconds(ms(112.5) - 1));
  assert.deepEqual(fatesOf(recovery), { acked: [1], lost: [] });

  recovery.handleTimeout(ms(112.5));
  assert.deepEqual(fatesOf(recovery), { acked: [], lost: [0] });
  assert.equal(recovery.pollDeadline(), never);
  assert.equal(recovery.timeouts, 0);
});

test("a deadline at an odd fraction is over when it comes", () => {
  for (let i = 1; i < 200; i++) {
    const recovery = new Recovery({ path: new TransportPath({ now: ms(0) }) });
    send(recovery, nanoseconds(i / 7), 0, 1);
    recovery.handleAck(nanoseconds(1e7 / 3), ackCounters(1));
    assert.deepEqual(fatesOf(recovery), { acked: [1], lost: [] });

    recovery.handleTimeout(recovery.pollDeadline());
    assert.deepEqual(fatesOf(recovery), { acked: [], lost: [0] }, `${i}`);
  }
});

test("a silent peer is probed with two packets, at waits that double up to a minute", () => {
  const { path, recovery } = measured();
  send(recovery, ms(0), 0);
  // 100 + 4 x 50 + 25 ms.
  const waits = [325, 650, 1_300, 2_600, 5_200, 10_400, 20_800, 41_600, 60_000, 60_000];
  let now = 0;
  let counter = 1;
  for (const [i, waitMs] of waits.entries()) {
    now += waitMs;
    assert.equal(recovery.pollDeadline(), ms(now), `wait ${i}`);
    recovery.handleTimeout(nanoseconds(ms(now) - 1));
    assert.equal(recovery.probes, 0, `wait ${i}`);

    recovery.handleTimeout(ms(now));
    assert.deepEqual([recovery.probes, recovery.timeouts], [2, i + 1]);
    recovery.handleSent(ms(now), counter++, 1_200, DATA, NO_CONTENT, NO_ACKS);
    assert.equal(recovery.probes, 1);
    recovery.handleSent(ms(now), counter++, 40, PACKET.eliciting, NO_CONTENT, NO_ACKS);
    assert.equal(recovery.probes, 0);
  }
  assert.deepEqual(fatesOf(recovery), { acked: [], lost: [] });
  assert.equal(path.congestion.window, 12_000);

  recovery.handleAck(ms(now), ackCounters(counter - 1));
  assert.deepEqual([recovery.timeouts, recovery.probes], [0, 0]);
  assert.deepEqual(fatesOf(recovery).lost, [0]);
});

test("a round trip longer than the longest wait is waited for whole", () => {
  const path = new TransportPath({ now: ms(0), roundTripNs: 50e9 });
  const recovery = new Recovery({ path });
  send(recovery, ms(0), 0);

  assert.equal(recovery.pollDeadline(), ms(150_025));
});

test("a probe that could not leave does not make the timer fire in a circle", () => {
  const { recovery } = measured();
  send(recovery, ms(0), 0);

  recovery.handleTimeout(ms(325));
  assert.equal(recovery.pollDeadline(), ms(325 + 650));
});

test("only the newest packet of an ACK measures, and only where it was awaited", () => {
  const rows: [string, readonly (readonly [number, number])[], number | undefined][] = [
    ["1 the newest of several", [[0, 2]], 80],
    ["2 a packet alone", [[1, 1]], 90],
    ["3 one that elicits nothing, with one that does", [[0, 3]], 70],
    ["4 only one that elicits nothing", [[3, 3]], undefined],
  ];
  for (const [name, ranges, sampleMs] of rows) {
    const path = new TransportPath({ now: ms(0) });
    const recovery = new Recovery({ path });
    for (const counter of [0, 1, 2]) send(recovery, ms(counter * 10), counter);
    recovery.handleSent(ms(30), 3, 50, 0, NO_CONTENT, NO_ACKS);

    recovery.handleAck(ms(100), ackOf(ranges));

    assert.equal(path.roundTrip.sampled, sampleMs !== undefined, name);
    if (sampleMs !== undefined) assert.equal(path.roundTrip.latestNs, sampleMs * 1e6, name);
  }
});

test("an ACK whose newest packet is known already measures nothing", () => {
  const { path, recovery } = measured();
  send(recovery, ms(0), 0, 1);
  recovery.handleAck(ms(90), ackCounters(1));
  assert.equal(path.roundTrip.latestNs, 90e6);

  recovery.handleAck(ms(95), ackCounters(0, 1));
  assert.equal(path.roundTrip.latestNs, 90e6);
  assert.deepEqual(fatesOf(recovery), { acked: [1, 0], lost: [] });
});

test("a peer that claims a longer wait than it promised is believed up to its promise", () => {
  const { path, recovery } = measured();
  send(recovery, ms(0), 0);

  recovery.handleAck(ms(200), ackOf([[0, 0]], 90_000));

  // 200 - 25, not 200 - 90.
  assert.equal(path.roundTrip.smoothedNs, 100e6 + 75e6 / 8);
});

test("what an ACK must not say, and its nearest lawful twin", () => {
  const rows: [string, readonly (readonly [number, number])[], number][] = [
    ["1 a counter not sent yet", [[6, 6]], ACK_FAULT.unsent],
    ["2 the newest sent", [[5, 5]], ACK_FAULT.none],
    ["3 a range up to one not sent", [[0, 6]], ACK_FAULT.unsent],
    ["4 a counter that was never used", [[3, 5]], ACK_FAULT.unsent],
    ["5 all around it", [at(4, 5), at(0, 2)], ACK_FAULT.none],
    ["6 ranges that ascend", [at(0, 1), at(4, 5)], ACK_FAULT.ranges],
    ["7 ranges that overlap", [at(2, 5), at(0, 2)], ACK_FAULT.ranges],
    ["8 ranges that touch", [at(2, 2), at(0, 1)], ACK_FAULT.ranges],
    ["9 a range that runs backwards", [at(2, 1)], ACK_FAULT.ranges],
    ["10 a counter below 0", [at(4, 5), at(-1, 0)], ACK_FAULT.ranges],
    ["11 no number", [at(Number.NaN, 5)], ACK_FAULT.ranges],
  ];
  for (const [name, ranges, fault] of rows) {
    const { path, recovery } = measured();
    send(recovery, ms(0), 0, 1, 2, 4, 5);

    assert.equal(recovery.handleAck(ms(100), ackOf(ranges)), fault, name);
    assert.equal(path.congestion.bytesInFlight, recovery.outstanding * 1_200, name);
    if (fault === ACK_FAULT.ranges) assert.equal(recovery.outstanding, 5, name);
  }

  function at(first: number, last: number): readonly [number, number] {
    return [first, last];
  }
});

test("a counter that was never used is known as such in a record used before", () => {
  for (const [ranges, fault] of [
    [[[300, 301]], ACK_FAULT.unsent],
    [[[301, 301]], ACK_FAULT.none],
  ] as const) {
    const { recovery } = measured();
    for (let counter = 0; counter < 300; counter++) {
      send(recovery, ms(0), counter);
      recovery.handleAck(ms(1), ackCounters(counter));
    }
    send(recovery, ms(2), 301);

    assert.equal(recovery.handleAck(ms(3), ackOf(ranges)), fault);
  }
});

test("64 ranges are read, 65 are too many", () => {
  const { recovery } = measured();
  for (let counter = 0; counter < 200; counter++) send(recovery, ms(0), counter);
  const ranges: [number, number][] = [];
  for (let i = 0; i < 65; i++) ranges.push([199 - 2 * i, 199 - 2 * i]);

  assert.equal(recovery.handleAck(ms(100), ackOf(ranges)), ACK_FAULT.ranges);
  assert.equal(recovery.handleAck(ms(100), ackOf(ranges.slice(0, 64))), ACK_FAULT.none);
  assert.equal(fatesOf(recovery).acked.length, 64);
});

test("losses over more than three probe timeouts with nothing acknowledged between break the path", () => {
  // A sample of 50 ms makes the wait 93.75 + 4 x 50 + 25 ms: three are 956.25.
  const rows: [string, number, number[], number][] = [
    // name, newest loss sent at ms, acknowledged, window
    ["1 over less", 957, [3], 6_000],
    ["2 over more", 958, [3], 2_400],
    ["3 over more, one between arrived", 958, [1, 3], 6_000],
  ];
  for (const [name, newestMs, acked, window] of rows) {
    const { path, recovery } = measured();
    path.congestion.appLimited = true;
    for (const [counter, at] of [1, 400, newestMs, 1_200].entries()) {
      send(recovery, ms(at), counter);
    }

    recovery.handleAck(ms(1_250), ackCounters(...acked));

    assert.equal(recovery.lostPackets, 4 - acked.length, name);
    assert.equal(path.congestion.window, window, name);
  }
});

test("losses from before the first round trip was measured never break the path", () => {
  const path = new TransportPath({ now: ms(0) });
  const recovery = new Recovery({ path });
  for (const [counter, at] of [0, 2_000, 4_000, 8_000, 9_000].entries()) {
    send(recovery, ms(at), counter);
  }

  recovery.handleAck(ms(9_100), ackCounters(4));
  recovery.handleTimeout(ms(20_000));

  assert.equal(recovery.lostPackets, 4);
  assert.equal(path.congestion.window, 6_600);
});

test("a probe of the path's size that is lost is no congestion", () => {
  for (const [flags, window] of [
    [DATA | PACKET.mtuProbe, 12_000],
    [DATA, 6_000],
  ]) {
    const { path, recovery } = measured();
    path.congestion.appLimited = true;
    recovery.handleSent(ms(0), 0, 1_452, flags, NO_CONTENT, NO_ACKS);
    send(recovery, ms(0), 1, 2, 3);

    recovery.handleAck(ms(100), ackCounters(1, 2, 3));

    assert.equal(path.congestion.window, window);
    assert.equal(path.congestion.bytesInFlight, 0);
  }
});

test("packets that come late are counted, and give the window back when all did", () => {
  const rows: [string, number[], number, number][] = [
    ["1 none came", [3, 4, 5], 0, 6_000],
    ["2 one of the two", [1, 3, 4, 5], 1, 6_000],
    ["3 both", [0, 1, 3, 4, 5], 2, 12_000],
  ];
  for (const [name, late, count, window] of rows) {
    const { path, recovery } = measured();
    path.congestion.appLimited = true;
    send(recovery, ms(0), 0, 1, 2, 3, 4, 5);
    recovery.handleAck(ms(100), ackCounters(4));
    assert.equal(path.congestion.window, 6_000, name);
    assert.deepEqual(fatesOf(recovery), { acked: [4], lost: [0, 1] }, name);

    recovery.handleAck(ms(101), ackCounters(2, ...late));
    recovery.handleAck(ms(102), ackCounters(2, ...late));

    assert.deepEqual([recovery.latePackets, path.congestion.window], [count, window], name);
    assert.deepEqual(fatesOf(recovery), { acked: [2, 3, 5], lost: [] }, name);
  }
});

test("a packet that did not leave is lost for its content, and for nothing else", () => {
  const { path, recovery } = measured();
  send(recovery, ms(0), 0, 1, 2, 3, 4);

  assert.equal(recovery.handleWithdrawn(1), true);
  assert.equal(recovery.handleWithdrawn(1), false);
  assert.equal(recovery.handleWithdrawn(99), false);
  assert.deepEqual(fatesOf(recovery), { acked: [], lost: [1] });
  assert.equal(path.congestion.bytesInFlight, 4 * 1_200);

  assert.equal(recovery.handleAck(ms(100), ackCounters(0, 1, 2, 3, 4)), ACK_FAULT.none);
  assert.deepEqual(fatesOf(recovery), { acked: [0, 2, 3, 4], lost: [] });
  assert.equal(recovery.lostPackets, 0);
  assert.ok(path.congestion instanceof NewReno);
  assert.equal(path.congestion.slowStartThreshold, never);
});

test("a peer that moved starts anew, and what was under way elsewhere says nothing of there", () => {
  const { path, recovery } = measured();
  send(recovery, ms(0), 0, 1, 2, 3);
  const next = new TransportPath({ now: ms(50) });

  recovery.handlePath(next);
  assert.deepEqual([path.congestion.bytesInFlight, next.congestion.bytesInFlight], [0, 0]);
  send(recovery, ms(50), 4);
  assert.equal(next.congestion.bytesInFlight, 1_200);

  recovery.handleAck(ms(90), ackCounters(3));
  assert.equal(next.roundTrip.sampled, false);
  assert.deepEqual(fatesOf(recovery), { acked: [3], lost: [0] });
  assert.equal(next.congestion.window, 12_000);

  recovery.handleAck(ms(120), ackCounters(4));
  assert.equal(next.roundTrip.latestNs, 70e6);
  assert.deepEqual(fatesOf(recovery), { acked: [4], lost: [1, 2] });
  assert.equal(next.congestion.bytesInFlight, 0);
});

test("a packet that comes late after a move is none of the new path's", () => {
  for (const moves of [false, true]) {
    const { path, recovery } = measured();
    send(recovery, ms(0), 0, 1, 2, 3);
    recovery.handleAck(ms(100), ackCounters(3));
    const next = new TransportPath({ now: ms(100) });
    if (moves) recovery.handlePath(next);

    recovery.handleAck(ms(101), ackCounters(0, 3));

    assert.equal(recovery.latePackets, moves ? 0 : 1);
    assert.equal(path.congestion.window, moves ? 6_600 : 13_200);
    assert.equal(next.congestion.window, 12_000);
  }
});

test("the end of a session gives every content back and blames nobody", () => {
  const { path, recovery } = measured();
  send(recovery, ms(0), 0, 1, 2);
  recovery.handleAck(ms(10), ackCounters(1));

  recovery.handleEnd();

  assert.deepEqual(fatesOf(recovery), { acked: [1], lost: [0, 2] });
  assert.deepEqual([recovery.outstanding, recovery.pollDeadline()], [0, never]);
  assert.equal(path.congestion.bytesInFlight, 0);
  assert.equal(path.congestion.inRecovery, false);
});

test("the largest counter in an ACK frame of ours that arrived is known", () => {
  const { recovery } = measured();
  recovery.handleSent(ms(0), 0, 60, 0, NO_CONTENT, 17);
  recovery.handleSent(ms(0), 1, 90, DATA, 1, 23);
  recovery.handleSent(ms(0), 2, 90, DATA, 2, 40);
  assert.equal(recovery.ackedAckLargest, NO_ACKS);

  recovery.handleAck(ms(100), ackCounters(0));
  assert.equal(recovery.ackedAckLargest, 17);
  recovery.handleAck(ms(100), ackCounters(0, 1));
  assert.equal(recovery.ackedAckLargest, 23);
});

test("what only answers needs few records, however long nobody acknowledges it", () => {
  const { recovery } = measured();
  for (let counter = 0; counter < 100_000; counter++) {
    recovery.handleSent(ms(counter), counter, 60, 0, NO_CONTENT, counter);
  }

  assert.equal(recovery.hasRoom, true);
  assert.equal(recovery.pollDeadline(), never);
  assert.equal(recovery.handleAck(ms(100_000), ackCounters(99_999)), ACK_FAULT.none);
  assert.equal(recovery.handleAck(ms(100_000), ackCounters(100_000)), ACK_FAULT.unsent);
});

test("a full table says so, keeps a reserve for probes, and lets the oldest go at last", () => {
  const path = new TransportPath({ now: ms(0) });
  const recovery = new Recovery({ path, packetsMax: 1_024 });
  let counter = 0;
  while (recovery.hasRoom) send(recovery, ms(0), counter++);
  assert.equal(counter, 768);

  for (; counter < 1_024; counter++) send(recovery, ms(0), counter);
  assert.deepEqual(fatesOf(recovery).lost, []);

  send(recovery, ms(0), counter);
  assert.deepEqual(fatesOf(recovery).lost, [0]);
  assert.equal(path.congestion.bytesInFlight, 1_024 * 1_200);

  send(recovery, ms(0), counter + 1_000_000);
  const contents = Array.from({ length: 1_024 }, (_, i) => i + 1);
  assert.deepEqual(fatesOf(recovery).lost, contents);
  assert.equal(recovery.outstanding, 1);
  assert.equal(recovery.handleAck(ms(100), ackCounters(counter + 1_000_000)), ACK_FAULT.none);
  assert.deepEqual(fatesOf(recovery).acked, [counter + 1_000_000]);
});

test("counters beyond 2^32 are told apart", () => {
  const { recovery } = measured();
  const base = 2 ** 46 - 3;
  const counters = [0, 1, 2, 3, 4, 5].map((each) => base + each);
  for (const [i, counter] of counters.entries()) {
    recovery.handleSent(ms(0), counter, 1_200, DATA, i, NO_ACKS);
  }

  recovery.handleAck(ms(100), ackCounters(base + 1, base + 4));
  assert.deepEqual(fatesOf(recovery), { acked: [1, 4], lost: [0] });
});
