// Sessions through the crypto pool, with threads and without: two pools are two hosts, each with three
// peers that its workers share; a host's keys reach the worker that serves the peer, and no other.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { CryptoPool, type PooledSlab, SLABS_PER_WORKER_MAX } from "../../src/main/crypto-pool.js";
import { type HandshakeResult, NO_KEY_SLOT } from "../../src/shared/protocol/session/ports.js";
import { SipHash } from "../../src/shared/protocol/session/siphash.js";
import {
  handshakeResult,
  isHandshakeOutcome,
  SESSION_OUTCOME,
  SessionCursor,
} from "../../src/shared/runtime/session-slab.js";
import { modelPair, publicOf } from "./handshake-model.js";
import { privateKey, source } from "./session-host.js";

const PEERS = 3;
const PACKETS = 300;
const FRAMES = Uint8Array.from({ length: 600 }, (_, i) => i);

interface Packet {
  readonly code: number;
  readonly tag: number;
  readonly bytes: Uint8Array;
}

/** A pool whose slabs are read and released at once; `next` waits for so many outcomes. */
async function poolOf(t: TestContext, workers: number) {
  const handshakes: HandshakeResult[] = [];
  const packets: Packet[] = [];
  const held: PooledSlab[] = [];
  const holding = { on: false };
  let waiting: (() => void) | undefined;
  const pool = new CryptoPool({
    onReturned: (slab) => {
      for (let index = 0; index < slab.table.entries; index++) take(slab, index);
      if (holding.on) held.push(slab);
      else pool.release(slab);
      waiting?.();
    },
    onLost: (error) => assert.fail(error.message),
  });
  const take = (slab: PooledSlab, index: number): void => {
    const { table, routes } = slab;
    const code = table.codeOf(index);
    if (isHandshakeOutcome(code)) {
      const result = handshakeResult(table, routes, index);
      handshakes.push({
        ...result,
        headerKeyIn: Uint8Array.from(result.headerKeyIn),
        headerKeyOut: Uint8Array.from(result.headerKeyOut),
      });
    } else if (code !== SESSION_OUTCOME.forgotten) {
      const packet = new SessionCursor(table, routes).move(table, routes, index);
      const from = code === SESSION_OUTCOME.sealedPacket ? packet.at : packet.bodyAt;
      const bytes =
        code === SESSION_OUTCOME.sealedPacket
          ? packet.bytes.slice(from, from + packet.length)
          : packet.bytes.slice(from, from + packet.bodyLength);
      packets.push({ code, tag: packet.tag, bytes });
    }
  };
  await pool.start(workers);
  t.after(() => pool.stop());
  const until = async (condition: () => boolean): Promise<void> => {
    pool.flush();
    while (!condition()) {
      await new Promise<void>((resolve) => {
        waiting = resolve;
      });
    }
  };
  return { pool, handshakes, packets, held, holding, until };
}
type Host = Awaited<ReturnType<typeof poolOf>>;

async function handshake(host: Host, order: boolean): Promise<HandshakeResult> {
  assert.ok(order);
  await host.until(() => host.handshakes.length === 1);
  return host.handshakes.pop() as HandshakeResult;
}

const orderOf = (peer: number) => ({
  peer,
  affinity: peer,
  tag: 3,
  parentKeySlot: NO_KEY_SLOT,
  address: "192.0.2.1",
  port: 9,
});
const STAMP = { stampHigh: 1, stampLow: 2, payload: Uint8Array.of(1, 1) };

/** Host a's peers are its three; host b has three identities' worth of keys with the one host a. */
function install(pool: CryptoPool, own: number, peer: number) {
  const rings = Array.from({ length: PEERS }, (_, i) => [
    source({ peer: publicOf(privateKey(peer)), secret: privateKey(0xa0 + i) }),
  ]);
  return pool.installPeers([privateKey(own)], rings);
}

for (const workers of [0, 1, 2]) {
  test(`with ${workers} workers, hosts agree on sessions and read each other's packets`, async (t) => {
    const [a, b] = [await poolOf(t, workers), await poolOf(t, workers)];
    await install(a.pool, 0x11, 0x22);
    await install(b.pool, 0x22, 0x11);

    for (let peer = 0; peer < PEERS; peer++) {
      const first = await handshake(
        a,
        a.pool.sessions.initiate({
          ...orderOf(peer),
          role: 0,
          keySlot: peer,
          sessionId: 7,
          ...STAMP,
        }),
      );
      const datagram = first.message;
      const read = await handshake(
        b,
        b.pool.sessions.readDatagram({
          ...orderOf(peer),
          datagram,
          acceptedHigh: 0,
          acceptedLow: 0,
        }),
      );
      assert.deepEqual([read.kind, read.remoteId], ["initiation", 7]);
      const keySlot = 100 + peer;
      const second = await handshake(
        b,
        b.pool.sessions.respond({ ...orderOf(peer), keySlot, remoteId: 7, sessionId: 8, ...STAMP }),
      );
      const completed = await handshake(
        a,
        a.pool.sessions.readDatagram({
          ...orderOf(peer),
          datagram: second.message,
          acceptedHigh: 0,
          acceptedLow: 0,
        }),
      );
      assert.deepEqual(
        [completed.kind, completed.keySlot, completed.peer],
        ["completed", peer, peer],
      );
      assert.deepEqual(completed.headerKeyIn, second.headerKeyOut);
    }

    const sealed = await sealAll(a);
    const opened = await openAll(b, sealed);
    for (const { code, bytes } of opened) {
      assert.equal(code, SESSION_OUTCOME.openedPacket);
      assert.deepEqual(bytes, FRAMES);
    }
    for (let peer = 0; peer < PEERS; peer++) b.pool.sessions.forget(peer, 100 + peer);
    const late = await openAll(b, sealed);
    assert.ok(late.every(({ code }) => code === SESSION_OUTCOME.unopenedPacket));
    const counters = await b.pool.counters();
    assert.equal(counters["session_packets_opened"], PACKETS);
    assert.equal(counters["handshakes_refused"], 0);
  });
}

async function sealAll({ pool, packets, until }: Host): Promise<readonly Packet[]> {
  for (let i = 0; i < PACKETS; i++) {
    assert.ok(pool.sessions.packetRoom(i % PEERS, 1_172));
    pool.sessions.bytes.set(FRAMES, pool.sessions.bodyAt);
    pool.sessions.sealPacket(FRAMES.length, i % PEERS, 8, 0, i, i, "192.0.2.1", 9);
  }
  await until(() => packets.length === PACKETS);
  return packets.splice(0).sort((one, other) => one.tag - other.tag);
}

async function openAll(
  { pool, packets, until }: Host,
  sealed: readonly Packet[],
): Promise<readonly Packet[]> {
  for (const { bytes, tag } of sealed) {
    const slot = 100 + (tag % PEERS);
    assert.ok(pool.sessions.openPacket(tag % PEERS, bytes, slot, 0, tag, tag, "192.0.2.1", 9));
  }
  await until(() => packets.length === PACKETS);
  return packets.splice(0);
}

for (const workers of [0, 2]) {
  test(`with ${workers} workers, main learns hint key and id of each pair key, in order`, async (t) => {
    const { pool } = await poolOf(t, workers);
    const identity = privateKey(0x11);
    const peers = [0x22, 0x33, 0x44].map((fill) => publicOf(privateKey(fill)));
    const secrets = [1, 2, 3].map((fill) => new Uint8Array(32).fill(fill));
    const rings = [
      [{ ...source({ peer: peers[0] }), secret: secrets[0] }],
      undefined,
      [
        { ...source({ peer: peers[1] }), secret: secrets[1] },
        source({ peer: new Uint8Array(32), role: 1 }),
        { ...source({ peer: peers[2], role: 2 }), secret: secrets[2] },
      ],
    ];

    const installed = await pool.installPeers([identity], rings);

    const expected = (peer: number, secret: number, role: number) => {
      const { hintReceive, keyId } = modelPair(
        privateKey(0x11),
        peers[peer],
        new Uint8Array(32).fill(secret),
      );
      return { role, hintKey: hintReceive, keyId };
    };
    assert.deepEqual(installed, [
      [expected(0, 1, 0)],
      undefined,
      [expected(1, 2, 0), { role: 1, hintKey: undefined, keyId: undefined }, expected(2, 3, 2)],
    ]);
    for (const secret of [identity, ...secrets]) assert.ok(secret.every((byte) => byte === 0));
  });
}

test("main recognises a handshake datagram by the hint key, and only under that key", async (t) => {
  const [a, b] = [await poolOf(t, 0), await poolOf(t, 0)];
  await install(a.pool, 0x11, 0x22);
  const installed = await install(b.pool, 0x22, 0x11);
  const { message } = await handshake(
    a,
    a.pool.sessions.initiate({ ...orderOf(1), role: 0, keySlot: 1, sessionId: 7, ...STAMP }),
  );

  const fits = installed.map((ring) => {
    const hash = new SipHash(ring?.[0].hintKey ?? new Uint8Array(16));
    hash.hash(message, message.length - 24, 16);
    return hash.equals(message, message.length - 8);
  });

  assert.deepEqual(fits, [false, true, false]);
});

test("a pool is idle again after a room was given back", async (t) => {
  const { pool } = await poolOf(t, 0);
  assert.equal(pool.busy, 0);
  assert.ok(pool.sessions.packetRoom(0, 100));
  assert.equal(pool.busy, 1);
  pool.sessions.cancelPacket();
  assert.equal(pool.busy, 0);
});

test("when all slabs are out, a key slot is forgotten as soon as one comes back", async (t) => {
  const { pool, held, holding, packets, until } = await poolOf(t, 0);
  holding.on = true;
  let count = 0;
  for (; pool.sessions.packetRoom(0, 60_000); count++) {
    pool.sessions.sealPacket(60_000, 5, 8, 0, 0, 0, "192.0.2.1", 9);
  }
  await until(() => held.length === SLABS_PER_WORKER_MAX);
  assert.ok(packets.every(({ code }) => code === SESSION_OUTCOME.unsealedPacket));

  pool.sessions.forget(0, 5);

  assert.equal(pool.sessions.forgetting, 1);
  assert.equal(pool.busy, SLABS_PER_WORKER_MAX + 1);
  holding.on = false;
  pool.release(held.pop() as PooledSlab);
  pool.flush();
  assert.equal(pool.sessions.forgetting, 0);
  assert.equal(count, packets.length);
});
