// The whole transport over simulated links: it uses them, shares them with timers that come late,
// survives what they do, and always comes to an end.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type LinkOptions, Simulation } from "./link.js";

/** 10 Mbit/s and 40 ms there and back, with a queue of one round trip. */
const COUNTRY: LinkOptions = { bytesPerSecond: 1.25e6, delayMs: 20, queueBytes: 50_000 };

/** Sends without end; share of the link's rate that arrived as new content. */
function shareOf(simulation: Simulation, link: LinkOptions, forMs: number): number {
  simulation.offer(10_000_000);
  simulation.run(forMs);
  return (simulation.goodBytes / link.bytesPerSecond / forMs) * 1_000;
}

test("links are filled as far as their loss lets NewReno fill them", () => {
  const rows: [string, LinkOptions, number, number, number][] = [
    // name, link, ms, share at least, at most
    ["1 no loss", COUNTRY, 10_000, 0.95, 1],
    ["2 a queue of a third", { ...COUNTRY, queueBytes: 15_000 }, 10_000, 0.75, 1],
    ["3 1 % at 10 ms", { ...COUNTRY, delayMs: 5, lossShare: 0.01 }, 20_000, 0.6, 1],
    // 1,452 bytes / 42 ms x 1.22 / sqrt(0.01) are 0.34 of the link.
    ["4 1 % at 40 ms", { ...COUNTRY, lossShare: 0.01 }, 20_000, 0.2, 0.55],
    ["5 1 % of disorder", { ...COUNTRY, lateShare: 0.01 }, 20_000, 0.7, 1],
    ["6 100 Mbit/s at 100 ms", { ...wide(), queueBytes: 1.25e6 }, 8_000, 0.8, 1],
  ];
  for (const [name, link, forMs, least, most] of rows) {
    for (const seed of [1, 2]) {
      const simulation = new Simulation({ ...link, seed });

      const share = shareOf(simulation, link, forMs);

      assert.ok(share >= least && share <= most, `${name}: ${share}, seed ${seed}`);
      assert.equal(simulation.burstExcessBytes, 0, `${name}: paced`);
      assert.equal(simulation.path.mtu.bytes, 1_452, name);
      assert.equal(simulation.path.mtu.blackHoles, 0, name);
    }
  }

  function wide(): LinkOptions {
    return { bytesPerSecond: 12.5e6, delayMs: 50, queueBytes: 0 };
  }
});

test("timers of 1 ms do not slow a link of 0.06 ms down", () => {
  const loopback: LinkOptions = { bytesPerSecond: 1e9, delayMs: 0.03, queueBytes: 200_000 };
  const simulation = new Simulation(loopback, { mtu: { bytesMax: 8_952 } });

  const share = shareOf(simulation, loopback, 300);

  assert.ok(share > 0.9, `${share}`);
  assert.equal(simulation.path.mtu.bytes, 8_952);
});

test("with 30 % of packets and of ACKs lost everything still arrives", () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const simulation = new Simulation({ ...COUNTRY, lossShare: 0.3, seed });
    simulation.offer(200);

    const tookMs = simulation.run(120_000, () => simulation.acked.size === 200);

    assert.equal(simulation.acked.size, 200, `seed ${seed}`);
    assert.ok(tookMs < 60_000, `${tookMs} ms, seed ${seed}`);
    assert.ok(simulation.packetsSent < 600, `${simulation.packetsSent} packets, seed ${seed}`);
  }
});

test("single packets over a bad link, one after the other, each arrive", () => {
  const simulation = new Simulation({ ...COUNTRY, lossShare: 0.3, seed: 3 });
  for (let content = 1; content <= 50; content++) {
    simulation.offer(1);
    simulation.run(60_000, () => simulation.acked.size === content);

    assert.equal(simulation.acked.size, content);
  }
});

test("a link that is cut for 10 s is used again soon after, with few packets in between", () => {
  const simulation = new Simulation(COUNTRY);
  simulation.offer(10_000_000);
  simulation.run(2_000);
  const before = simulation.acked.size;
  simulation.cut = true;
  simulation.run(100);
  const sent = simulation.packetsSent;
  simulation.run(9_900);
  assert.ok(simulation.packetsSent - sent < 40, `${simulation.packetsSent - sent} packets`);

  const known = simulation.acked.size;
  simulation.cut = false;
  // The probe before was at most half the outage ago, so the next is at most an outage away.
  simulation.run(12_000, () => simulation.acked.size > known + 100);

  assert.ok(simulation.acked.size > before + 100);
});

test("a path that becomes narrower is noticed, and one that stays is not suspected", () => {
  for (const width of [1_300, 1_500]) {
    const simulation = new Simulation(COUNTRY);
    simulation.offer(10_000_000);
    simulation.run(2_000);
    assert.equal(simulation.path.mtu.bytes, 1_452);
    const before = simulation.acked.size;

    simulation.width = width;
    simulation.run(30_000);

    assert.equal(simulation.path.mtu.bytes, width === 1_300 ? 1_200 : 1_452);
    assert.ok(simulation.acked.size > before + 5_000, `${simulation.acked.size}`);

    simulation.run(60_000);
    assert.ok(simulation.path.mtu.bytes > Math.min(width, 1_452) - 20);
    assert.ok(simulation.path.mtu.bytes <= width);
  }
});

test("a little at a time does not widen the window, a lot does", () => {
  const window = (contents: number): number => {
    const simulation = new Simulation(COUNTRY, { mtu: { pinnedBytes: 1_200 } });
    for (let i = 0; i < 100; i++) {
      simulation.offer(contents);
      simulation.run(100);
    }
    return simulation.path.congestion.window;
  };

  assert.equal(window(1), 12_000);
  assert.equal(window(8), 12_000);
  assert.ok(window(30) > 24_000);
});

test("a sender that has nothing left comes to rest, with nothing in flight and no deadline", () => {
  const simulation = new Simulation(COUNTRY);
  simulation.offer(500);
  simulation.run(60_000);

  assert.equal(simulation.acked.size, 500);
  assert.equal(simulation.path.congestion.bytesInFlight, 0);
  assert.equal(simulation.recovery.outstanding, 0);
  assert.equal(simulation.recovery.pollDeadline(), Number.POSITIVE_INFINITY);
  const wantedPackets = 500 + simulation.recovery.lostPackets;
  assert.ok(simulation.packetsSent <= wantedPackets + 5, `${simulation.packetsSent}`);
});
