// Where a peer is said to be and where it has shown itself: whoever holds true keys may write any source
// address, and must not make us send to a third host what that host never asked for.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NS_PER_MS } from "../../../src/shared/base/units.js";
import { peerOf, type WorldOptions } from "./layer-parts.js";
import { type LayerHost, LayerWorld } from "./layer-world.js";

const A = 0;
const VICTIM = 1;
const PEER = 2;

/** Three hosts, of which the last one may say that it is elsewhere, and what the first one sends whom. */
class Paths {
  readonly world: LayerWorld;
  readonly sentTo = new Map<string, number>();
  /** Where the datagrams of the last host say they come from. */
  source: string | undefined;
  /** Bytes of its datagrams that said so. */
  saidBytes = 0;

  constructor(options: Partial<WorldOptions> = {}) {
    this.world = new LayerWorld({ seed: 1, hosts: 3, ...options });
    const transmit = this.world.transmit.bind(this.world);
    this.world.transmit = (from, datagram, source, address) => {
      const said = from === PEER ? this.source : undefined;
      if (said !== undefined) this.saidBytes += datagram.length;
      if (from === A) {
        this.sentTo.set(address, (this.sentTo.get(address) ?? 0) + datagram.length);
      }
      transmit(from, datagram, said ?? source, address);
    };
  }

  get a(): LayerHost {
    return this.world.hosts[A];
  }
  get peer(): LayerHost {
    return this.world.hosts[PEER] as LayerHost;
  }
  /** Where the first host takes the last one to be. */
  get path() {
    const { path } = this.a.layer.peers[peerOf(A, PEER)] ?? {};
    assert.ok(path);
    return path;
  }
  send(rowId: number, bytes: number): void {
    this.a.send(rowId, new Uint8Array(bytes).fill(7), {}, peerOf(A, PEER));
  }
  announce(): void {
    this.peer.layer.announce(this.peer.now, peerOf(PEER, A));
    this.peer.pump();
  }
}

test("who answers a handshake from another's address gets no more than three times that sent there", () => {
  const it = new Paths();
  it.source = `host${VICTIM}`;
  for (let rowId = 1; rowId <= 50; rowId++) it.send(rowId, 1_000);
  it.world.run(2_500);

  assert.ok(it.a.layer.peers[peerOf(A, PEER)]?.session !== undefined, "there is a session");
  assert.equal(it.path.proven, false);
  const sent = it.sentTo.get(`host${VICTIM}`) ?? 0;
  assert.ok(sent > 0 && sent <= 3 * it.saidBytes, `${sent} bytes for ${it.saidBytes}`);
});

test("who answers from where it was asked is sent everything at once", () => {
  const it = new Paths();
  for (let rowId = 1; rowId <= 50; rowId++) it.send(rowId, 1_000);
  it.world.run(2_500);

  assert.equal(it.path.proven, true);
  assert.equal(it.a.acknowledged.length, 50);
});

test("a peer that answers from another address of its own is challenged there, and gets its mail", () => {
  const it = new Paths();
  it.send(1, 10);
  // It has two addresses, and what is sent to either arrives.
  it.source = "second";
  const transmit = it.world.transmit.bind(it.world);
  it.world.transmit = (from, datagram, source, address) =>
    transmit(from, datagram, source, address === "second" ? `host${PEER}` : address);
  it.world.run(2_500);

  assert.deepEqual(it.a.acknowledged, [1]);
  assert.deepEqual([it.path.place?.address, it.path.proven], ["second", true]);
});

test("one small ACK from another address of its own is enough to challenge it there", () => {
  const it = new Paths();
  it.source = "second";
  // The way there takes two datagrams at a time: of what is written at once, its ACK covers two.
  let [window, taken] = [0, 0];
  const transmit = it.world.transmit.bind(it.world);
  it.world.transmit = (from, datagram, source, address) => {
    const at = Math.floor(it.a.now / (60 * NS_PER_MS));
    if (from === A && at !== window) [window, taken] = [at, 0];
    if (from === A && taken++ >= 2) return;
    transmit(from, datagram, source, address === "second" ? `host${PEER}` : address);
  };
  it.send(1, 50_000);
  it.world.run(5_000);

  assert.deepEqual([it.path.place?.address, it.path.proven], ["second", true]);
  it.world.run(60_000);
  assert.deepEqual(it.a.acknowledged, [1]);
});

test("message 1 moves nothing: what is under way goes on to where the peer was", () => {
  const it = new Paths();
  it.send(1, 10);
  it.world.run(1_000);
  assert.deepEqual(it.a.acknowledged, [1]);

  it.source = `host${VICTIM}`;
  it.peer.restart();
  it.announce();
  it.world.run(1_500);
  it.sentTo.clear();
  it.send(2, 1_000);
  it.world.run(1_900);
  assert.equal(it.path.place?.address, `host${PEER}`);
  const answers = it.sentTo.get(`host${VICTIM}`) ?? 0;
  assert.ok(answers < 1_000, "answers to its handshakes, and no mail");

  it.source = undefined;
  it.world.run(20_000);
  assert.deepEqual(it.a.acknowledged, [1, 2], "it is answered where it is");
});

test("a peer that was started anew elsewhere is there behind its first packet, unchallenged", () => {
  const it = new Paths();
  it.send(1, 10);
  it.world.run(1_000);

  it.peer.address = "moved";
  it.peer.restart();
  it.announce();
  it.world.run(3_000);
  it.send(2, 1_000);
  it.world.run(4_000);

  assert.deepEqual(it.a.acknowledged, [1, 2]);
  assert.deepEqual([it.path.place?.address, it.path.proven], ["moved", true]);
});

test("where a peer moved and did not prove it, no more is sent while a worker is at what was written", () => {
  const it = new Paths();
  it.send(1, 10);
  it.world.run(1_000);
  // A worker takes a while to seal.
  const { layer } = it.a;
  const sealed = layer.handleSealed.bind(layer);
  layer.handleSealed = (packet) => {
    it.world.after(2, () => {
      if (sealed(packet)) it.world.transmit(A, packet.bytes, it.a.address, packet.address);
    });
    return false;
  };

  it.source = `host${VICTIM}`;
  for (let rowId = 2; rowId <= 50; rowId++) it.send(rowId, 1_000);
  it.peer.send(1, new Uint8Array(10), {}, peerOf(PEER, A));
  it.world.run(1_400);

  const sent = it.sentTo.get(`host${VICTIM}`) ?? 0;
  assert.ok(sent > 0 && sent <= 3 * it.saidBytes, `${sent} bytes for ${it.saidBytes}`);
});

test("who moves by one packet earns nothing there by what it sends from elsewhere", () => {
  const it = new Paths();
  it.send(1, 10);
  it.world.run(1_000);
  const { path } = it;
  assert.equal(path.handleNewest(it.a.now, "elsewhere", 1), true);
  path.handleReceived(100, "elsewhere", 1);
  assert.equal(path.allowance, 300);
  path.handleReceived(1_000, `host${PEER}`, 1);
  path.handleReceived(1_000, "elsewhere", 2);
  assert.equal(path.allowance, 300);
});

/** The first thing that the last host sends the first one, its answer, is held back. */
class LateAnswer extends Paths {
  #answer: Uint8Array | undefined;

  constructor() {
    super();
    const transmit = this.world.transmit.bind(this.world);
    this.world.transmit = (from, datagram, source, address) => {
      const isAnswer = from === PEER && address === `host${A}` && this.#answer === undefined;
      if (isAnswer) this.#answer = datagram.slice();
      else transmit(from, datagram, source, address);
    };
  }

  arrive(source: string): void {
    assert.ok(this.#answer);
    this.a.receive(this.#answer, source);
    this.a.pump();
  }
}

test("a copy of an answer that never arrived makes a session with where it was asked, not whence it came", () => {
  const it = new LateAnswer();
  it.send(1, 10);
  it.world.run(500);
  assert.equal(it.a.layer.peers[peerOf(A, PEER)]?.session, undefined);

  it.arrive(`host${VICTIM}`);
  it.world.run(900);

  assert.deepEqual(it.a.acknowledged, [1]);
  assert.deepEqual([it.path.place?.address, it.path.proven], [`host${PEER}`, true]);
  assert.equal(it.sentTo.get(`host${VICTIM}`), undefined);
});

test("an answer of a process that ended since does not end the session with the one that followed", () => {
  const it = new LateAnswer();
  it.send(1, 10);
  it.world.run(100);
  it.peer.restart();
  it.announce();
  it.world.run(600);
  const before = it.a.layer.peers[peerOf(A, PEER)]?.session;
  assert.ok(before !== undefined && !before.initiator);

  it.arrive(`host${PEER}`);
  it.world.run(800);
  assert.equal(it.a.layer.peers[peerOf(A, PEER)]?.session, before);
  it.send(2, 10);
  it.world.run(900);
  assert.deepEqual(it.a.acknowledged, [1, 2]);
});

test("a last word goes where the peer proved to be, when it may not go where it is said to be", () => {
  for (const { receivedBytes, closeTo } of [
    { receivedBytes: 9, closeTo: `host${PEER}` },
    { receivedBytes: 10, closeTo: "elsewhere" },
  ]) {
    const it = new Paths();
    it.send(1, 10);
    it.world.run(1_000);
    assert.equal(it.path.handleNewest(it.a.now, "elsewhere", 1), true);
    it.path.handleReceived(receivedBytes, "elsewhere", 1);
    it.sentTo.clear();

    it.a.layer.stop(it.a.now);
    it.a.pump();

    // A packet of CLOSE alone.
    assert.deepEqual([...it.sentTo], [[closeTo, 30]]);
  }
});
