// What sessions leave in memory, and what strangers can do to it: keys and states are wiped, bounds
// hold, and no datagram however mutated changes a state or raises an exception.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SESSION_OUTCOME } from "../../src/shared/runtime/session-slab.js";
import { HandshakeWork } from "../../src/workers/handshake-work.js";
import { IdentityKeys } from "../../src/workers/identity-keys.js";
import { SecretBlocks } from "../../src/workers/secret-blocks.js";
import { SessionKeys } from "../../src/workers/session-keys.js";
import { SessionWork } from "../../src/workers/session-work.js";
import {
  type ModelPair,
  modelEnvelope,
  modelPair,
  openEnvelope,
  publicOf,
  withHint,
} from "./handshake-model.js";
import {
  pairOfHosts,
  privateKey,
  type SessionHost,
  session,
  source,
  watchSecrets,
} from "./session-host.js";

const ID_A = 0x0a0a_0a0a;
const ID_B = 0xb0b0_b0b0;
const FRAMES = Uint8Array.of(1, 2, 3);
const SECRET = Uint8Array.from({ length: 32 }, (_, i) => i);
const MUTATIONS = 10_000;
const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

test("forgetting a session wipes its keys, and those only", () => {
  const [a, b] = pairOfHosts();
  session([a, b]);
  session([a, b], [3, 4]);
  const [gone, kept] = [a.work.keys.of(1), a.work.keys.of(3)];
  assert.ok(gone && kept);
  const views = [gone.sealKey, gone.openKey, gone.handshakeHash];
  assert.ok(views.every((view) => !isZero(view)));

  a.forget(1);

  assert.ok(views.every(isZero));
  assert.equal(a.work.keys.of(1), undefined);
  assert.equal(a.seal(1, ID_B, 0n, FRAMES).code, SESSION_OUTCOME.unsealedPacket);
  const { datagram } = a.seal(3, ID_B, 0n, FRAMES);
  assert.equal(b.open(4, datagram, 0n).code, SESSION_OUTCOME.openedPacket);
  assert.ok(!isZero(kept.sealKey));
});

test("forgetting an initiation wipes its state; its answer comes too late", () => {
  const [a, b] = pairOfHosts();
  const { slots, stop } = watchSecrets();
  try {
    const { message } = a.initiate({ keySlot: 1, sessionId: ID_A });
    const [state] = slots;
    assert.ok(!isZero(state));
    b.read(message);
    const answer = b.respond({ keySlot: 2, sessionId: ID_B, remoteId: ID_A }).message;

    a.forget(1);

    assert.ok(isZero(state));
    assert.equal(a.work.handshakes.open, 0);
    assert.equal(a.read(answer).kind, "stale");
    session([a, b], [1, 2]);
  } finally {
    stop();
  }
});

test("a finished handshake leaves no state on either end, only the keys", () => {
  const hosts = pairOfHosts({ secret: SECRET });
  const { slots, stop } = watchSecrets();
  try {
    session(hosts);

    const held = hosts.map(({ work }, i) => work.keys.of(i + 1)?.sealKey.buffer);
    const states = slots.filter(({ buffer }) => !held.includes(buffer));
    assert.equal(states.length, 2);
    assert.ok(states.every(isZero));
    assert.equal(slots.length, 4);
  } finally {
    stop();
  }
});

test("a new handshake into a key slot wipes the session that was there", () => {
  const [a, b] = pairOfHosts();
  session([a, b]);
  const before = Uint8Array.from(a.work.keys.of(1)?.sealKey ?? []);
  const { datagram } = b.seal(2, ID_A, 0n, FRAMES);

  session([a, b], [1, 4]);

  assert.equal(a.work.keys.size, 1);
  assert.notDeepEqual(a.work.keys.of(1)?.sealKey, before);
  assert.equal(a.open(1, datagram, 0n).code, SESSION_OUTCOME.refusedPacket);
  const fresh = b.seal(4, ID_A, 0n, FRAMES).datagram;
  assert.equal(a.open(1, fresh, 0n).code, SESSION_OUTCOME.openedPacket);
});

test("installing keys wipes what it is given, and the keys that were there", () => {
  const work = new SessionWork();
  const { slots, stop } = watchSecrets();
  try {
    const identity = privateKey(0x11);
    const peer = publicOf(privateKey(0x22));
    const shared = Uint8Array.from(SECRET);
    const ring = [
      { ...source({ peer }), secret: shared },
      { ...source({ peer, role: 1, own: 1 }), secret: shared },
    ];
    const next = privateKey(0x12);
    const installed = work.install([identity, next], [undefined, ring]);

    assert.ok([identity, next, shared].every(isZero), "a secret of two keys goes into both");
    assert.equal(installed[0], undefined);
    const pairs = [
      modelPair(privateKey(0x11), peer, SECRET),
      modelPair(privateKey(0x12), peer, SECRET),
    ];
    assert.deepEqual(
      installed[1],
      pairs.map(({ hintReceive, keyId }, role) => ({ role, hintKey: hintReceive, keyId })),
    );
    assert.equal(slots.filter((slot) => slot.length === 136 && !isZero(slot)).length, 2);
  } finally {
    stop();
    work.free();
  }
});

test("a peer key of low order, or our own, is refused by name; the peer beside it is served", () => {
  const [a, b] = pairOfHosts();
  const own = privateKey(0x11);
  const good = publicOf(privateKey(0x22));
  const installed = a.work.install(
    [Uint8Array.from(own)],
    [
      [source({ peer: good })],
      [source({ peer: new Uint8Array(32) })],
      [source({ peer: Uint8Array.of(1, ...new Uint8Array(31)), secret: SECRET })],
      [source({ peer: publicOf(own) })],
      [source({ peer: good, own: 1 })],
      [source({ peer: publicOf(privateKey(0x44)) }), source({ peer: new Uint8Array(32), role: 2 })],
    ],
  );

  assert.deepEqual(
    installed.map((ring) => ring?.map(({ hintKey, keyId }) => [hintKey?.length, keyId?.length])),
    [
      [[16, 8]],
      ...[1, 2, 3, 4].map(() => [[undefined, undefined]]),
      [
        [16, 8],
        [undefined, undefined],
      ],
    ],
  );
  for (const peer of [1, 2, 3, 4]) {
    assert.equal(a.initiate({ keySlot: 9, sessionId: 9, peer }).kind, "refused");
  }
  assert.equal(a.initiate({ keySlot: 9, sessionId: 9, peer: 5, role: 2 }).kind, "refused");
  assert.equal(a.initiate({ keySlot: 9, sessionId: 9, peer: 5 }).kind, "initiated");
  session([a, b]);
});

test("there are no more sessions and handshakes than their bounds, and a free place is used", () => {
  const identities = new IdentityKeys();
  const keys = new SessionKeys(2);
  const handshakes = new HandshakeWork(identities, keys, 2);
  const rings = [0x22, 0x33, 0x44].map((fill) => [source({ peer: publicOf(privateKey(fill)) })]);
  identities.install([privateKey(0x11)], rings);
  const initiate = (peer: number, keySlot: number) =>
    handshakes.run({
      code: 10,
      peer,
      role: 0,
      keySlot,
      parentKeySlot: 0xffff_ffff,
      id: 5,
      answers: 0,
      stampHigh: 0,
      stampLow: 1,
      input: new Uint8Array(3),
    });

  assert.ok(initiate(0, 1) && initiate(1, 2));
  assert.equal(initiate(2, 3), undefined);
  handshakes.forget(1);
  assert.ok(initiate(2, 3));
  assert.equal(handshakes.open, 2);

  assert.ok(keys.take(7) && keys.take(8) && keys.take(8));
  assert.equal(keys.take(9), undefined);
  keys.forget(7);
  assert.ok(keys.take(9));
  handshakes.free();
  identities.free();
  keys.free();
});

test("locked memory grows block by block, up to its bound, and slots come back as zeroes", () => {
  const blocks = new SecretBlocks(32, 2, 5);
  const slots = Array.from({ length: 5 }, () => {
    const slot = blocks.take();
    assert.ok(slot && isZero(slot.memory));
    slot.memory.fill(7);
    return slot;
  });
  assert.equal(new Set(slots.map(({ block }) => block)).size, 3);
  assert.equal(blocks.take(), undefined);

  blocks.giveBack(slots[1]);

  assert.ok(isZero(slots[1].memory));
  assert.equal(slots[0].memory[0], 7);
  assert.equal(blocks.take()?.memory, slots[1].memory);
  assert.equal(blocks.take(), undefined);
  blocks.free();
});

test(`${MUTATIONS} mutated handshake datagrams change nothing, and the true ones still count`, () => {
  const { slots, stop } = watchSecrets();
  try {
    const [a, b] = pairOfHosts({ secret: SECRET });
    slots.length = 0;
    session([a, b], [51, 52], [0x51, 0x52]);
    const first = a.initiate({ keySlot: 1, sessionId: ID_A, stamp: 10n }).message;
    assert.equal(b.read(first).kind, "initiation");
    const second = b.respond({ keySlot: 2, sessionId: ID_B, remoteId: ID_A }).message;
    const waits = a.initiate({ keySlot: 3, sessionId: 33, stamp: 11n }).message;
    assert.equal(b.read(waits, 10n).kind, "initiation");
    const before = slots.map((slot) => Uint8Array.from(slot));
    const known = slots.length;
    const random = randomOf(0x5eed);

    for (const [host, true_, own, peer] of [
      [b, first, 0x11, 0x22],
      [a, second, 0x22, 0x11],
    ] as const) {
      const sender = modelPair(privateKey(own), publicOf(privateKey(peer)), SECRET);
      const reader = modelPair(privateKey(peer), publicOf(privateKey(own)), SECRET);
      mutate(host, true_, sender, reader, random);
    }

    for (let i = 0; i < known; i++) assert.deepEqual(slots[i], before[i], "no state changed");
    assert.ok(slots.slice(known).every(isZero), "what was tried is wiped");
    assert.deepEqual([a.work.handshakes.open, b.work.handshakes.open], [2, 1]);
    assert.deepEqual([a.work.keys.size, b.work.keys.size], [1, 2]);
    assert.equal(a.read(second).kind, "completed");
    const late = b.respond({ keySlot: 4, sessionId: 44, remoteId: 33 });
    assert.equal(a.read(late.message).kind, "completed");
    const { datagram } = a.seal(1, ID_B, 0n, FRAMES);
    assert.equal(b.open(2, datagram, 0n).code, SESSION_OUTCOME.openedPacket);
  } finally {
    stop();
  }
});

/** A third as a stranger could, a third with a right hint, a third with a right gate as well. */
function mutate(
  host: SessionHost,
  datagram: Uint8Array,
  sender: ModelPair,
  reader: ModelPair,
  random: (below: number) => number,
): void {
  const plain = openEnvelope(reader, datagram);
  const nonce = new Uint8Array(12);
  for (let i = 0; i < MUTATIONS / 2; i++) {
    const way = i % 3;
    const mutated =
      way === 0
        ? mutatedOf(datagram, random)
        : way === 1
          ? withHint(sender.hintSend, atLeast(16, mutatedOf(datagram.subarray(0, -8), random)))
          : modelEnvelope(sender, nonce, mutatedOf(plain, random));
    const result = host.read(mutated);
    // Under the right gate key it may claim to answer something that nobody waits for.
    const kind = way === 2 && result.kind === "stale" ? "stale" : "refused";
    assert.equal(result.kind, kind, `mutation ${i}: ${Buffer.from(mutated).toString("hex")}`);
    assert.equal(result.payload.length + result.message.length, 0);
  }
}

/** Another byte string: flipped, cut, longer, spliced or all random. */
function mutatedOf(bytes: Uint8Array, random: (below: number) => number): Uint8Array {
  const at = random(bytes.length);
  switch (random(5)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return Uint8Array.from([
        ...bytes,
        ...Array.from({ length: 1 + random(40) }, () => random(256)),
      ]);
    case 2:
      return Uint8Array.from({ length: 1 + random(400) }, () => random(256));
    case 3:
      return Uint8Array.from([...bytes.subarray(at + 1), ...bytes.subarray(0, at)]);
    default:
      return bytes.map((byte, i) => (i === at ? byte ^ (1 + random(255)) : byte));
  }
}

const atLeast = (length: number, bytes: Uint8Array): Uint8Array =>
  bytes.length >= length ? bytes : new Uint8Array(length);

/** xorshift32: the same mutations each time. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
