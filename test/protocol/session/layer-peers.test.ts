// Several hosts, each a peer of all others; peers that come and go while the daemon lives; peers with
// which classic is still spoken; the end of a daemon; and a time without slabs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { peerOf } from "./layer-parts.js";
import { LayerWorld } from "./layer-world.js";

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

test("five hosts send to each other over a path that loses a tenth, each once", () => {
  const hosts = 5;
  const it = new LayerWorld({
    seed: 3,
    hosts,
    network: (random) => (random.next() < 0.1 ? [] : [1 + random.next() * 5]),
  });
  const rowsEach = 40;

  it.hosts.forEach((host, from) => {
    for (let row = 0; row < rowsEach; row++) {
      const to = (from + 1 + (row % (hosts - 1))) % hosts;
      host.send(row + 1, text(`${from} to ${to}: ${row}`), {}, peerOf(from, to));
    }
  });
  it.run(60_000, () => it.hosts.every(({ acknowledged }) => acknowledged.length === rowsEach));

  it.hosts.forEach((host, to) => {
    assert.equal(new Set(host.acknowledged).size, rowsEach);
    const stored = host.stored.map(({ payload }) => new TextDecoder().decode(payload));
    assert.equal(new Set(stored).size, rowsEach);
    assert.ok(stored.every((words) => words.includes(`to ${to}:`)));
    assert.equal(host.layer.outgoing.size, 0);
  });
});

test("a peer that is taken away gives its rows back, and the others notice nothing", () => {
  const it = new LayerWorld({ seed: 4, hosts: 3 });
  const [a, b, c] = it.hosts;
  a.send(1, text("to b"), {}, 0);
  a.send(2, text("to c"), {}, 1);
  it.run(1_000);
  const kept = a.layer.peers[1]?.session;
  b.up = false;
  a.send(3, text("to b, who is off"), {}, 0);
  it.run(2_000);

  a.reload([0]);
  a.send(4, text("to c"), {}, 1);
  it.run(3_000);

  assert.deepEqual(a.givenBack, [3]);
  assert.deepEqual(a.acknowledged, [1, 2, 4]);
  assert.equal(a.layer.peers[1]?.session, kept);
  assert.equal(c?.stored.length, 2);
  assert.equal(a.layer.outgoing.size, 0);
});

test("a peer that comes back goes on with its numbers: nothing of it is taken for settled", () => {
  const it = new LayerWorld({ seed: 4 });
  const [a, b] = it.hosts;
  for (let row = 1; row <= 20; row++) a.send(row, text(`${row}`));
  it.run(2_000);
  assert.equal(a.acknowledged.length, 20);

  a.reload([0]);
  it.run(3_000);
  a.reload();
  for (let row = 21; row <= 40; row++) a.send(row, text(`${row}`));
  it.run(20_000);

  assert.equal(a.acknowledged.length, 40);
  assert.equal(b.stored.length, 40);
});

test("a peer that is not configured is not answered, whatever it sends", () => {
  const it = new LayerWorld({ seed: 4 });
  const [a, b] = it.hosts;
  b.reload([0]);
  const before = it.record.filter(({ from }) => from === 1).length;

  a.send(1, text("to nobody"));
  it.run(20_000);

  assert.equal(it.record.filter(({ from }) => from === 1).length, before);
  assert.equal(b.stored.length, 0);
});

test("since when a session is up does not change with a rekey, and ends with the last session", () => {
  const it = new LayerWorld({ seed: 5 });
  const [a, b] = it.hosts;
  const ids = new Set<number>();
  for (let second = 0; second < 300; second += 5) {
    a.send(second + 1, text(`${second}`));
    it.run((second + 5) * 1_000);
    ids.add(a.layer.peers[0]?.session?.localId ?? 0);
  }
  assert.ok(ids.size >= 3, `${ids.size} sessions`);
  assert.ok((a.layer.peers[0]?.upAt ?? 1e12) < 1e9, "the first one began in the first second");
  assert.deepEqual([a.layer.pollConfirmed(), a.layer.pollLost()], [0, undefined]);

  b.layer.stop(b.now);
  b.pump();
  it.run(301_000);
  assert.deepEqual([a.layer.peers[0]?.upAt, a.layer.pollLost()], [undefined, 0]);

  b.restart();
  b.layer.announce(b.now, 0);
  it.run(310_000);
  assert.ok((a.layer.peers[0]?.upAt ?? 0) > 300e9);
  assert.deepEqual([a.layer.pollConfirmed(), a.layer.pollLost()], [0, undefined]);
});

// --- auto -----------------------------------------------------------------------------------------

/** Handshakes that a host sent until now. */
const sentBy = (it: LayerWorld, host: number): number =>
  it.record.filter(({ from }) => from === host).length;

test("a peer that may speak classic alone is tried once a minute while there is mail, not for long", () => {
  const it = new LayerWorld({ seed: 7 });
  const [a, b] = it.hosts;
  b.up = false;
  a.layer.setTentative(0, true);
  a.layer.announce(a.now, 0);
  it.run(30_000);
  const first = sentBy(it, 0);
  assert.ok(first >= 1 && first <= 3, `${first} handshakes at the start`);

  for (let second = 30; second < 600; second += 1) {
    a.layer.handleClassicMail(a.now, 0);
    it.run(second * 1_000);
  }

  const bouts = (sentBy(it, 0) - first) / 2;
  assert.ok(bouts >= 8 && bouts <= 10, `${bouts} bouts in ten minutes`);
  const before = sentBy(it, 0);
  it.run(1_200_000);
  assert.ok(sentBy(it, 0) - before <= 2);
});

test("such a peer is spoken with in sessions as soon as it answers", () => {
  const it = new LayerWorld({ seed: 7 });
  const [a, b] = it.hosts;
  b.up = false;
  a.layer.setTentative(0, true);
  a.layer.announce(a.now, 0);
  it.run(30_000);

  b.up = true;
  it.run(70_000);
  a.layer.handleClassicMail(a.now, 0);
  it.run(72_000);

  assert.equal(a.layer.pollConfirmed(), 0);
  assert.equal(b.layer.pollConfirmed(), 0);
});

// --- The end --------------------------------------------------------------------------------------

test("a clean stop closes the session, and what comes then begins none", () => {
  const it = new LayerWorld({ seed: 8 });
  const [a, b] = it.hosts;
  a.send(1, text("first"));
  it.run(1_000);

  b.layer.stop(b.now);
  b.pump();
  it.run(1_100);
  assert.equal(a.layer.peers[0]?.session, undefined);
  assert.equal(b.layer.answering, false);
  const before = sentBy(it, 1);
  a.send(2, text("too late"));
  it.run(10_000);

  assert.equal(sentBy(it, 1), before);
  assert.deepEqual(a.acknowledged, [1]);
  b.restart();
  it.run(60_000);
  assert.deepEqual(a.acknowledged, [1, 2]);
});

test("while all slabs are out time passes and nothing is asked for again and again", () => {
  const it = new LayerWorld({ seed: 9 });
  const [a, b] = it.hosts;
  a.send(1, text("first"));
  it.run(1_000);

  a.starved = true;
  for (let row = 2; row < 200; row++) a.send(row, text(`${row}`));
  it.run(2_000);
  assert.deepEqual(a.acknowledged, [1]);
  a.starved = false;
  it.run(5_000);

  assert.equal(a.acknowledged.length, 199);
  assert.equal(b.stored.length, 199);
});
