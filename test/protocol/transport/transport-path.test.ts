import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type CongestionControl,
  NewReno,
} from "../../../src/shared/protocol/transport/congestion.js";
import { PACKET } from "../../../src/shared/protocol/transport/sent-packets.js";
import { ROOM, TransportPath } from "../../../src/shared/protocol/transport/transport-path.js";
import { DATA, ms } from "./acks.js";

test("what a packet waits for: nothing, the pacer, the window", () => {
  const path = new TransportPath({ now: ms(0), roundTripNs: 100e6 });
  for (let i = 0; i < 9; i++) path.handleSent(ms(0), 1_200, DATA);
  assert.equal(path.room(ms(0), 1_200), ROOM.yes);
  assert.equal(path.roomAt(ms(0), 1_200), ms(0));

  path.handleSent(ms(0), 1_100, DATA);
  assert.equal(path.room(ms(0), 1_200), ROOM.window);
  assert.equal(path.roomAt(ms(0), 1_200), Number.POSITIVE_INFINITY);

  assert.equal(path.room(ms(0), 100), ROOM.paced);
  // 1,100 of 1,200 bytes at 1.25 windows of 12,000 in 100 ms.
  const until = path.pacedUntil(ms(0));
  assert.ok(Math.abs(until - 1_100 / 0.00015) <= 1, `${until}`);
  assert.equal(path.roomAt(ms(0), 100), until);
  assert.equal(path.room(until, 100), ROOM.yes);
});

test("a packet larger than the window may leave when nothing else is under way", () => {
  const path = new TransportPath({ now: ms(0) });
  assert.equal(path.room(ms(0), 65_507), ROOM.yes);

  path.handleSent(ms(0), 40, DATA);
  assert.equal(path.room(ms(0), 65_507), ROOM.window);
});

test("only a sender that could send more and has nothing is limited by itself", () => {
  const path = new TransportPath({ now: ms(0), roundTripNs: 100e6 });
  path.handleIdle();
  assert.equal(path.congestion.appLimited, true);

  for (let i = 0; i < 9; i++) path.handleSent(ms(0), 1_200, DATA);
  path.handleIdle();
  assert.equal(path.congestion.appLimited, true);

  path.handleSent(ms(0), 1_200, DATA);
  assert.equal(path.room(ms(0), 1_200), ROOM.window);
  assert.equal(path.congestion.appLimited, false);
  path.handleIdle();
  assert.equal(path.congestion.appLimited, false);
});

test("a new size of datagrams reaches the congestion window and the pacer", () => {
  const path = new TransportPath({ now: ms(0) });
  const bytes = path.mtu.pollProbe(ms(0));
  path.handleSent(ms(0), bytes, DATA | PACKET.mtuProbe);
  assert.equal(path.mtu.pollProbe(ms(0)), 0);
  assert.deepEqual([path.congestion.window, path.pacer.burstBytes], [12_000, 12_000]);

  path.congestion.appLimited = true;
  path.handleAcked(ms(10), bytes, DATA | PACKET.mtuProbe, ms(0));
  path.handleDone(ms(10));

  assert.deepEqual([path.mtu.bytes, path.timeoutProbeBytes], [1_452, 548]);
  assert.deepEqual([path.congestion.window, path.pacer.burstBytes], [14_520, 14_520]);
});

test("a size that the system refuses falls at once, and a pinned one is taken over", () => {
  const path = new TransportPath({ now: ms(0), mtu: { pinnedBytes: 1_400 } });
  assert.equal(path.congestion.window, 14_000);

  path.configureMtu(ms(1), { bytesMax: 1_452 });
  assert.deepEqual([path.mtu.bytes, path.congestion.window], [1_200, 12_000]);

  path.handleTooBig(ms(2), path.mtu.pollProbe(ms(2)));
  assert.equal(path.mtu.pollProbe(ms(2)), 1_380);

  path.configureMtu(ms(3), { pinnedBytes: 1_000 });
  assert.deepEqual([path.mtu.bytes, path.timeoutProbeBytes], [1_000, 548]);
});

test("another congestion controller fits", () => {
  const made: number[] = [];
  const congestion = (datagramBytes: number): CongestionControl => {
    made.push(datagramBytes);
    return new NewReno(2 * datagramBytes);
  };

  const path = new TransportPath({ now: ms(0), congestion });
  assert.deepEqual([made, path.congestion.window], [[1_200], 14_720]);
});
