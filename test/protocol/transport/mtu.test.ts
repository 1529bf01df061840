import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Nanoseconds, nanoseconds, seconds } from "../../../src/shared/base/units.js";
import { PathMtu } from "../../../src/shared/protocol/transport/mtu.js";

/**
 * Probes a path that carries `carried` bytes until the search rests; the sizes that were probed,
 * and what was found.
 */
function search(mtu: PathMtu, carried: number, now: Nanoseconds): number[] {
  const probed: number[] = [];
  for (let bytes = mtu.pollProbe(now); bytes > 0; bytes = mtu.pollProbe(now)) {
    probed.push(bytes);
    mtu.handleProbeSent(bytes);
    assert.equal(mtu.pollProbe(now), 0, "one probe at a time");
    if (bytes <= carried) mtu.handleProbeAcked(now, bytes);
    else mtu.handleProbeLost(now, bytes);
    assert.ok(probed.length < 60, "a search ends");
  }
  return probed;
}

test("paths of many widths, probe by probe", () => {
  const narrow = [1_452, 1_380, 1_280, 1_232, 1_256, 1_244].flatMap((bytes) =>
    bytes > 1_232 ? x3(bytes) : [bytes],
  );
  const rows: [string, number, number, number[], number][] = [
    // name, limit, carried, probes, found
    ["1 Ethernet", 1_452, 1_472, [1_452], 1_452],
    ["2 a tunnel of 1,420", 1_452, 1_420, [...x3(1_452), 1_380, 1_420, ...x3(1_436)], 1_420],
    ["3 IPv6 minimum", 1_452, 1_232, narrow, 1_232],
    ["4 jumbo, asked for", 8_952, 9_000, [1_452, 8_952], 8_952],
    ["5 loopback", 65_507, 65_507, [1_452, 65_507], 65_507],
    ["6 an odd limit below Ethernet", 1_300, 1_500, [1_300], 1_300],
    ["7 the base is the limit", 1_200, 1_500, [], 1_200],
  ];
  for (const [name, bytesMax, carried, probes, found] of rows) {
    const mtu = new PathMtu({ bytesMax });

    const probed = search(mtu, carried, seconds(1));

    assert.equal(mtu.bytes, found, name);
    assert.equal(mtu.searching, false, name);
    assert.deepEqual(probed, probes, name);
  }

  function x3(bytes: number): number[] {
    return [bytes, bytes, bytes];
  }
});

test("on every path the search finds the width to within 20 bytes, and never more", () => {
  const width = fc.integer({ min: 1_200, max: 70_000 });
  const limit = fc.integer({ min: 1_200, max: 65_507 });
  fc.assert(
    fc.property(width, limit, (carried, bytesMax) => {
      const mtu = new PathMtu({ bytesMax });
      search(mtu, carried, seconds(1));

      const possible = Math.min(carried, bytesMax);
      assert.ok(mtu.bytes <= possible && mtu.bytes > possible - 20, `${mtu.bytes}, ${possible}`);
      if (carried >= bytesMax) assert.equal(mtu.bytes, bytesMax);
    }),
    { numRuns: 400 },
  );
});

test("a larger size is looked for again after 600 s, beginning with the one that failed", () => {
  const mtu = new PathMtu();
  search(mtu, 1_420, seconds(1));
  assert.deepEqual(search(mtu, 1_420, seconds(600)), []);

  assert.deepEqual(search(mtu, 1_420, seconds(601)), [1_436, 1_436, 1_436]);
  assert.equal(mtu.bytes, 1_420);

  // The path became wider.
  assert.deepEqual(search(mtu, 1_500, seconds(1_201)), [1_436, 1_452]);
  assert.equal(mtu.bytes, 1_452);
  assert.deepEqual(search(mtu, 1_500, seconds(1_801)), []);
});

test("a size that was lost once and then passes must pass three times running", () => {
  const rows: [string, string, number][] = [
    // name, what becomes of the probes of 1,452 in turn, size in use then
    ["1 it passes at once", "a", 1_452],
    ["2 lost, passed", "la", 1_200],
    ["3 lost, passed three times", "laaa", 1_452],
    ["4 lost twice, passed three times", "llaaa", 1_452],
    ["5 lost between: refused", "laal", 1_200],
    ["6 lost three times: refused", "lll", 1_200],
  ];
  for (const [name, fates, bytes] of rows) {
    const mtu = new PathMtu();
    for (const fate of fates) {
      assert.equal(mtu.pollProbe(seconds(1)), 1_452, name);
      mtu.handleProbeSent(1_452);
      if (fate === "a") mtu.handleProbeAcked(seconds(1), 1_452);
      else mtu.handleProbeLost(seconds(1), 1_452);
    }

    assert.equal(mtu.bytes, bytes, name);
    const refused = name.endsWith("refused");
    const next = mtu.pollProbe(seconds(1));
    assert.equal(next, refused ? 1_380 : bytes === 1_452 ? 0 : 1_452, name);
  }
});

test("three losses of large packets, none arriving between, are a black hole", () => {
  const rows: [string, string, boolean][] = [
    // name, events: L large lost, S small lost, B both lost together, a large acked, s small acked
    ["1 three", "LLL", true],
    ["2 two", "LL", false],
    ["3 small ones arrive meanwhile", "LsLsL", true],
    ["4 a large one arrives meanwhile", "LLaL", false],
    ["5 three after it", "LLaLLL", true],
    ["6 small ones are lost too: congestion", "BBBBB", false],
    ["7 only small ones are lost", "SSSSS", false],
  ];
  for (const [name, events, hole] of rows) {
    const mtu = new PathMtu();
    search(mtu, 1_452, seconds(1));
    for (const event of events) {
      if (event === "a") mtu.handleAcked(1_452);
      else if (event === "s") mtu.handleAcked(1_200);
      else {
        if (event !== "S") mtu.handleLost(1_452);
        if (event !== "L") mtu.handleLost(900);
        mtu.handleLossesEnd(seconds(2));
      }
      mtu.handleLossesEnd(seconds(2));
    }

    assert.equal(mtu.bytes, hole ? 1_200 : 1_452, name);
    assert.equal(mtu.blackHoles, hole ? 1 : 0, name);
  }
});

test("where even the size taken for granted vanishes, packets become as small as IPv4 must take", () => {
  const rows: [string, string, number][] = [
    // name, events: L of 1,200 lost, S of 500 lost, B both together, a of 1,200 acked, s of 500 acked
    ["1 six", "LLLLLL", 548],
    ["2 five", "LLLLL", 1_200],
    ["3 small ones arrive meanwhile", "LsLsLsLsLsL", 548],
    ["4 a large one arrives meanwhile", "LLLLLaL", 1_200],
    ["5 small ones are lost too", "BBBBBBBB", 1_200],
    ["6 only small ones are lost", "SSSSSSSS", 1_200],
  ];
  for (const [name, events, bytes] of rows) {
    const mtu = new PathMtu();
    for (const event of events) {
      if (event === "a") mtu.handleAcked(1_200);
      else if (event === "s") mtu.handleAcked(500);
      else {
        if (event !== "S") mtu.handleLost(1_200);
        if (event !== "L") mtu.handleLost(500);
        mtu.handleLossesEnd(seconds(2));
      }
    }

    assert.equal(mtu.bytes, bytes, name);
    // A minute later the search finds what the path carries, and what it fell below is granted again.
    if (bytes === 548) {
      search(mtu, 1_000, seconds(100));
      assert.ok(mtu.bytes > 980 && mtu.bytes <= 1_000, `${name}: ${mtu.bytes}`);
      search(mtu, 1_452, seconds(1_000));
      assert.equal(mtu.bytes, 1_452, name);
    }
  }
});

test("a packet that is large, and smaller than what vanished, does not clear the suspicion", () => {
  for (const [acked, bytes] of [
    [1_300, 1_200],
    [1_452, 1_452],
  ]) {
    const mtu = new PathMtu();
    search(mtu, 1_452, seconds(1));
    for (let i = 0; i < 3; i++) {
      mtu.handleLost(1_452);
      mtu.handleLossesEnd(seconds(2));
      mtu.handleAcked(acked);
    }

    assert.equal(mtu.bytes, bytes);
  }
});

test("after a black hole the path rests for 60 s, then the search begins anew", () => {
  const mtu = new PathMtu();
  search(mtu, 1_452, seconds(1));
  for (let i = 0; i < 3; i++) {
    mtu.handleLost(1_452);
    mtu.handleLossesEnd(seconds(100));
  }

  assert.deepEqual(search(mtu, 1_380, nanoseconds(seconds(160) - 1)), []);
  assert.equal(search(mtu, 1_380, seconds(160))[0], 1_452);
  assert.equal(mtu.bytes, 1_380);

  // What left before the fall and is found lost now says nothing of the size in use.
  for (let i = 0; i < 3; i++) {
    mtu.handleLost(1_452);
    mtu.handleLossesEnd(seconds(161));
  }
  assert.equal(mtu.bytes, 1_380);
});

test("a size that the system refuses is not asked for again in this search", () => {
  const probe = new PathMtu();
  const bytes = probe.pollProbe(seconds(1));
  probe.handleProbeSent(bytes);
  probe.handleTooBig(seconds(1), bytes);
  assert.deepEqual([bytes, probe.pollProbe(seconds(1))], [1_452, 1_380]);
  assert.ok(search(probe, 1_452, seconds(1)).every((each) => each < 1_452));

  const inUse = new PathMtu();
  search(inUse, 1_452, seconds(1));
  inUse.handleTooBig(seconds(2), 1_400);
  assert.equal(inUse.bytes, 1_200);
  assert.ok(search(inUse, 1_452, seconds(2)).every((each) => each < 1_400));
  assert.ok(inUse.bytes > 1_379 && inUse.bytes < 1_400, `${inUse.bytes}`);

  const base = new PathMtu();
  base.handleTooBig(seconds(1), 1_200);
  assert.equal(base.bytes, 1_200);
  assert.equal(base.pollProbe(seconds(1)), 1_452);
});

test("a pinned size stays, whatever happens, until it is no longer pinned", () => {
  const mtu = new PathMtu({ pinnedBytes: 1_100 });
  for (let i = 0; i < 5; i++) {
    mtu.handleLost(1_100);
    mtu.handleLossesEnd(seconds(1));
  }
  mtu.handleTooBig(seconds(1), 1_100);
  assert.deepEqual([mtu.bytes, mtu.pollProbe(seconds(700)), mtu.searching], [1_100, 0, false]);

  mtu.configure(seconds(2), { bytesMax: 1_300 });
  assert.deepEqual([mtu.bytes, mtu.pollProbe(seconds(2))], [1_200, 1_300]);

  mtu.configure(seconds(3), { pinnedBytes: 9_000 });
  assert.deepEqual([mtu.bytes, mtu.pollProbe(seconds(3))], [9_000, 0]);
});

test("the same limits again change nothing, others begin the search anew", () => {
  const mtu = new PathMtu();
  search(mtu, 1_452, seconds(1));

  mtu.configure(seconds(2), {});
  assert.deepEqual([mtu.bytes, mtu.pollProbe(seconds(2))], [1_452, 0]);

  mtu.configure(seconds(2), { bytesMax: 1_400 });
  assert.deepEqual([mtu.bytes, mtu.pollProbe(seconds(2))], [1_200, 1_400]);
});

test("news of a probe that is not under way is ignored", () => {
  const mtu = new PathMtu();
  mtu.handleProbeAcked(seconds(1), 1_452);
  assert.equal(mtu.bytes, 1_200);

  mtu.handleProbeSent(mtu.pollProbe(seconds(1)));
  mtu.handleProbeAcked(seconds(1), 1_380);
  assert.equal(mtu.bytes, 1_200);
  mtu.handleProbeAbandoned();
  assert.equal(mtu.pollProbe(seconds(1)), 1_452);

  mtu.handleProbeSent(1_452);
  mtu.handleProbeAcked(seconds(1), 1_452);
  assert.equal(mtu.bytes, 1_452);
});
