// Sessions through the slabs: handshakes in datagrams and inside a session, packets under their keys,
// and everything that must be refused, each beside its twin that is not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NO_KEY_SLOT } from "../../src/shared/protocol/session/ports.js";
import { SESSION_OUTCOME } from "../../src/shared/runtime/session-slab.js";
import { concat, modelEnvelope, modelPair, openEnvelope, publicOf } from "./handshake-model.js";
import {
  pairOfHosts,
  privateKey,
  type SessionHost,
  session,
  source,
  watchSecrets,
} from "./session-host.js";

const SECRET = Uint8Array.from({ length: 32 }, (_, i) => i);
const FRAMES = Uint8Array.from({ length: 700 }, (_, i) => i * 7);
const COUNTER = (0x1234n << 32n) | 0x8000_0001n;
/** Offset of the id that a message 2 answers, in its envelope. */
const ANSWERS_AT = 13;
const ID_A = 0x0a0a_0a0a;
const ID_B = 0xb0b0_b0b0;
const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);
const flipped = (bytes: Uint8Array, at: number): Uint8Array =>
  bytes.map((byte, i) => (i === at ? byte ^ 0x10 : byte));

for (const [name, secret] of [
  ["identities alone", undefined],
  ["a secret besides", SECRET],
] as const) {
  test(`a handshake with ${name}, begun by either end, gives keys that fit`, () => {
    const [a, b] = pairOfHosts({ ...(secret && { secret }) });
    for (const [from, to, keySlots] of [
      [a, b, [1, 2]],
      [b, a, [3, 4]],
    ] as const) {
      const [completed, responded] = session([from, to], keySlots);

      assert.deepEqual(completed.headerKeyOut, responded.headerKeyIn);
      assert.deepEqual(completed.headerKeyIn, responded.headerKeyOut);
      assert.notDeepEqual(completed.headerKeyOut, completed.headerKeyIn);
      assert.ok(!isZero(completed.headerKeyOut) && !isZero(completed.headerKeyIn));
      assertTraffic(from, keySlots[0], to, keySlots[1]);
    }
    assert.deepEqual([a.work.handshakes.open, b.work.handshakes.open], [0, 0]);
  });
}

test("each result says who, which key, which ids and which stamp, and carries the payload", () => {
  const [a, b] = pairOfHosts();
  const payload = Uint8Array.from({ length: 976 }, (_, i) => i);
  const stamp = (0x1122_3344n << 32n) | 0x99aa_bbccn;

  const initiated = a.initiate({ keySlot: 1, sessionId: ID_A, stamp, payload });
  const initiation = b.read(initiated.message, stamp - 1n);
  const responded = b.respond({ keySlot: 2, sessionId: ID_B, remoteId: ID_A, stamp: 7n });
  const completed = a.read(responded.message);

  const same = { peer: 0, tag: 5, parentKeySlot: NO_KEY_SLOT, role: 0, port: 4_700 };
  const ofStamp = { stampHigh: 0x1122_3344, stampLow: 0x99aa_bbcc };
  for (const [result, expected] of [
    [initiated, { kind: "initiated", keySlot: 1, remoteId: 0, answers: 0, ...ofStamp }],
    [
      initiation,
      { kind: "initiation", keySlot: NO_KEY_SLOT, remoteId: ID_A, answers: 0, ...ofStamp },
    ],
    [responded, { kind: "responded", keySlot: 2, remoteId: ID_A, answers: ID_A, stampLow: 7 }],
    [completed, { kind: "completed", keySlot: 1, remoteId: ID_B, answers: ID_A, stampLow: 7 }],
  ] as const) {
    for (const [key, value] of Object.entries({ ...same, ...expected })) {
      assert.equal(result[key as keyof typeof result], value, `${result.kind}: ${key}`);
    }
  }
  assert.deepEqual(initiation.payload, payload);
  assert.deepEqual(completed.payload, Uint8Array.of(1, 1, 8));
  assert.equal(initiated.message.length, payload.length + 97);
  assert.equal(responded.message.length, 3 + 101);
});

// --- Rekey ----------------------------------------------------------------------------------------

test("a rekey inside a session makes another session, and the old one goes on", () => {
  const [a, b] = pairOfHosts({ secret: SECRET });
  session([a, b]);

  const first = b.initiate({ keySlot: 21, sessionId: 8, parentKeySlot: 2 });
  assert.equal(first.message.length, 3 + 48, "Noise alone, no envelope");
  const read = a.readRekey(1, 1, 8, 0, first.message);
  assert.deepEqual(
    [read.kind, read.remoteId, read.payload],
    ["initiation", 8, Uint8Array.of(1, 1, 7)],
  );
  const second = a.respond({ keySlot: 11, sessionId: 9, remoteId: 8, parentKeySlot: 1 });
  const completed = b.readRekey(2, 2, 9, 8, second.message);

  assert.deepEqual([completed.kind, completed.keySlot, completed.remoteId], ["completed", 21, 9]);
  assert.deepEqual(completed.headerKeyOut, second.headerKeyIn);
  assertTraffic(a, 11, b, 21);
  assertTraffic(a, 1, b, 2);
  const crossed = b.open(2, a.seal(11, ID_B, 1n, FRAMES).datagram, 1n);
  assert.equal(crossed.code, SESSION_OUTCOME.refusedPacket, "the sessions share no key");
});

test("a rekey is refused in another session, with another id, as a datagram, or changed", () => {
  const [a, b] = pairOfHosts();
  session([a, b]);
  session([a, b], [3, 4]);
  const { message } = a.initiate({ keySlot: 11, sessionId: 8, parentKeySlot: 1 });

  const before = b.work.handshakes.open;
  for (const refused of [
    b.readRekey(4, 1, 8, 0, message),
    b.readRekey(99, 1, 8, 0, message),
    b.readRekey(NO_KEY_SLOT, 1, 8, 0, message),
    b.readRekey(2, 1, 9, 0, message),
    b.readRekey(2, 1, 0, 0, message),
    b.readRekey(2, 2, 8, 0, message),
    b.readRekey(2, 1, 8, 0, flipped(message, 40)),
    b.readRekey(2, 1, 8, 0, message.subarray(0, 47)),
    b.readRekey(2, 1, 8, 0, new Uint8Array(0)),
    b.read(message),
  ]) {
    assert.equal(refused.kind, "refused");
    assert.equal(refused.keySlot, NO_KEY_SLOT);
  }
  assert.equal(b.work.handshakes.open, before);

  assert.equal(b.readRekey(2, 1, 8, 0, message).kind, "initiation");
  const astray = { keySlot: 12, sessionId: 9, remoteId: 8 };
  assert.equal(b.respond({ ...astray, parentKeySlot: 4 }).kind, "refused");
  assert.equal(b.respond(astray).kind, "refused");
  const second = b.respond({ ...astray, parentKeySlot: 2 });
  for (const refused of [
    a.readRekey(3, 2, 9, 8, second.message),
    a.readRekey(1, 2, 10, 8, second.message),
    a.readRekey(1, 2, 9, 7, second.message),
    a.readRekey(1, 1, 9, 8, second.message),
    a.readRekey(1, 2, 9, 8, flipped(second.message, 3)),
    a.read(second.message),
  ]) {
    assert.equal(refused.kind, "refused");
  }
  assert.equal(a.readRekey(1, 2, 9, 8, second.message).kind, "completed");
  assertTraffic(a, 11, b, 12);
});

test("an initiation in a datagram and one in a session are answered each for itself", () => {
  const [a, b] = pairOfHosts();
  session([a, b]);
  const rekey = a.initiate({ keySlot: 11, sessionId: 8, parentKeySlot: 1 });
  const fresh = a.initiate({ keySlot: 13, sessionId: 18, stamp: 2n });
  assert.equal(b.readRekey(2, 1, 8, 0, rekey.message).kind, "initiation");
  assert.equal(b.read(fresh.message, 1n).kind, "initiation");

  const wrong = b.respond({ keySlot: 12, sessionId: 9, remoteId: 18, parentKeySlot: 2 });
  const toRekey = b.respond({ keySlot: 12, sessionId: 9, remoteId: 8, parentKeySlot: 2 });
  const toFresh = b.respond({ keySlot: 14, sessionId: 19, remoteId: 18 });

  assert.equal(wrong.kind, "refused");
  assert.equal(a.readRekey(1, 2, 9, 8, toRekey.message).kind, "completed");
  assert.equal(a.read(toFresh.message).kind, "completed");
  assertTraffic(a, 11, b, 12);
  assertTraffic(a, 13, b, 14);
});

// --- Packets --------------------------------------------------------------------------------------

test("a packet is refused when any byte of it differs, or its counter, and accepted as it was", () => {
  const hosts = pairOfHosts();
  const [a, b] = hosts;
  session(hosts);
  const { datagram, code, aligned } = a.seal(1, ID_B, COUNTER, FRAMES.subarray(0, 40));
  assert.ok(code === SESSION_OUTCOME.sealedPacket && aligned);
  assert.equal(datagram.length, 12 + 40 + 16);

  for (let at = 0; at < datagram.length; at++) {
    // The counter in the datagram is replaced by the one that main unmasked.
    if (at >= 4 && at < 12) continue;
    const refused = b.open(2, flipped(datagram, at), COUNTER);
    assert.equal(refused.code, SESSION_OUTCOME.refusedPacket, `byte ${at}`);
    assert.ok(isZero(refused.frames), "nothing of it is left");
  }
  for (const counter of [
    COUNTER - 1n,
    COUNTER + 1n,
    COUNTER & 0xffff_ffffn,
    COUNTER + (1n << 32n),
  ]) {
    assert.equal(b.open(2, datagram, counter).code, SESSION_OUTCOME.refusedPacket);
  }
  assert.equal(b.open(2, datagram.subarray(0, -1), COUNTER).code, SESSION_OUTCOME.refusedPacket);
  assert.equal(a.open(1, datagram, COUNTER).code, SESSION_OUTCOME.refusedPacket, "reflected");
  const opened = b.open(2, datagram, COUNTER);
  assert.equal(opened.code, SESSION_OUTCOME.openedPacket);
  assert.deepEqual(opened.frames, FRAMES.subarray(0, 40));
  assert.deepEqual([opened.counterHigh, opened.counterLow, opened.tag], [0x1234, 0x8000_0001, 9]);
});

test("without keys in the slot nothing is sealed or opened, and that is told apart", () => {
  const [a, b] = pairOfHosts();
  session([a, b]);
  const { datagram } = a.seal(1, ID_B, 0n, FRAMES);

  assert.equal(a.seal(7, ID_B, 0n, FRAMES).code, SESSION_OUTCOME.unsealedPacket);
  assert.equal(b.open(7, datagram, 0n).code, SESSION_OUTCOME.unopenedPacket);
  assert.equal(b.open(2, datagram, 0n).code, SESSION_OUTCOME.openedPacket);
});

// --- Handshake datagrams ---------------------------------------------------------------------------

test("a handshake datagram is refused when any byte of it differs, and accepted as it was", () => {
  const [a, b] = pairOfHosts();
  const first = a.initiate({ keySlot: 1, sessionId: ID_A }).message;

  for (let at = 0; at < first.length; at++) {
    assert.equal(b.read(flipped(first, at)).kind, "refused", `message 1, byte ${at}`);
  }
  assert.equal(b.read(first).kind, "initiation");
  const second = b.respond({ keySlot: 2, sessionId: ID_B, remoteId: ID_A }).message;
  for (let at = 0; at < second.length; at++) {
    assert.equal(a.read(flipped(second, at)).kind, "refused", `message 2, byte ${at}`);
  }
  assert.equal(a.work.handshakes.open, 1);
  assert.equal(a.read(second).kind, "completed");
  assertTraffic(a, 1, b, 2);
});

test("whoever has the gate key still cannot change type, stamp, ids or Noise message", () => {
  const [a, b] = pairOfHosts({ secret: SECRET });
  const toB = modelPair(privateKey(0x11), publicOf(privateKey(0x22)), SECRET);
  const toA = modelPair(privateKey(0x22), publicOf(privateKey(0x11)), SECRET);
  const nonce = new Uint8Array(12);
  const first = a.initiate({ keySlot: 1, sessionId: ID_A }).message;
  const plain1 = openEnvelope(toA, first);

  for (const at of [0, 7, 8, 9, 12, 13, 44, 45, plain1.length - 1]) {
    assert.equal(b.read(modelEnvelope(toB, nonce, flipped(plain1, at))).kind, "refused", `${at}`);
  }
  const answered = concat(flipped(plain1, 8).fill(2, 8, 9), plain1.subarray(13));
  assert.equal(b.read(modelEnvelope(toB, nonce, answered)).kind, "stale", "as message 2");
  for (const cut of [0, 12, 13, 60]) {
    assert.equal(b.read(modelEnvelope(toB, nonce, plain1.subarray(0, cut))).kind, "refused");
  }
  const anonymous = plain1.map((byte, i) => (i >= 9 && i < 13 ? 0 : byte));
  assert.equal(b.read(modelEnvelope(toB, nonce, anonymous)).kind, "refused", "id 0");
  assert.equal(b.read(modelEnvelope(toB, nonce, plain1)).kind, "initiation", "sealed again");

  const second = b.respond({ keySlot: 2, sessionId: ID_B, remoteId: ID_A }).message;
  const plain2 = openEnvelope(toB, second);
  for (const at of [0, 7, 8, 9, 12, 13, 16, 17, 48, 49, plain2.length - 1]) {
    // With another id it answers nothing that waits.
    const kind = at >= ANSWERS_AT && at < ANSWERS_AT + 4 ? "stale" : "refused";
    assert.equal(a.read(modelEnvelope(toA, nonce, flipped(plain2, at))).kind, kind, `${at}`);
  }
  assert.equal(a.read(modelEnvelope(toA, nonce, plain2)).kind, "completed", "sealed again");
});

test("session id 0 is refused in a datagram and in a session, since no packet could carry it", () => {
  const [a, b] = pairOfHosts();
  session([a, b]);
  for (const [sessionId, kind] of [
    [0, "refused"],
    [1, "initiation"],
  ] as const) {
    const datagram = a.initiate({ keySlot: 3, sessionId }).message;
    const rekey = a.initiate({ keySlot: 4, sessionId, parentKeySlot: 1 }).message;

    assert.equal(b.read(datagram).kind, kind);
    assert.equal(b.readRekey(2, 1, sessionId, 0, rekey).kind, kind);
  }
});

test("message 1 is stale unless its stamp is above the accepted one, in 64 bits", () => {
  const [a, b] = pairOfHosts();
  const stamp = (5n << 32n) | 9n;
  const { message } = a.initiate({ keySlot: 1, sessionId: ID_A, stamp });

  for (const [accepted, kind] of [
    [stamp, "stale"],
    [stamp + 1n, "stale"],
    [(6n << 32n) | 1n, "stale"],
    [2n ** 64n - 1n, "stale"],
    [stamp - 1n, "initiation"],
    [(4n << 32n) | 0xffff_ffffn, "initiation"],
    [0n, "initiation"],
  ] as const) {
    const result = b.read(message, accepted);
    assert.equal(result.kind, kind, String(accepted));
    assert.deepEqual([result.stampHigh, result.stampLow, result.remoteId], [5, 9, ID_A]);
  }
});

test("a stale message 1 leaves the initiation that waits as it was", () => {
  const [a, b] = pairOfHosts();
  const old = a.initiate({ keySlot: 3, sessionId: 77, stamp: 1n }).message;
  const { message } = a.initiate({ keySlot: 1, sessionId: ID_A, stamp: 2n });
  assert.equal(b.read(message, 1n).kind, "initiation");

  assert.equal(b.read(old, 2n).kind, "stale");

  const second = b.respond({ keySlot: 2, sessionId: ID_B, remoteId: ID_A });
  assert.equal(a.read(second.message).kind, "completed");
});

test("the newest initiation of a peer replaces the one before, which nobody can answer then", () => {
  const [a, b] = pairOfHosts();
  const { slots, stop } = watchSecrets();
  try {
    const older = a.initiate({ keySlot: 1, sessionId: 21, stamp: 1n }).message;
    const newer = a.initiate({ keySlot: 3, sessionId: 22, stamp: 2n }).message;
    slots.length = 0;
    assert.equal(b.read(older).kind, "initiation");
    const [replaced] = slots;
    assert.ok(!isZero(replaced));
    assert.equal(b.read(newer, 1n).kind, "initiation");

    assert.ok(isZero(replaced), "its memory is wiped");
    assert.equal(b.work.handshakes.open, 1);
    const refused = b.respond({ keySlot: 2, sessionId: ID_B, remoteId: 21 });
    assert.deepEqual([refused.kind, refused.keySlot], ["refused", 2]);
    const second = b.respond({ keySlot: 4, sessionId: ID_B, remoteId: 22 });
    assert.equal(a.read(second.message).keySlot, 3);
    assertTraffic(a, 3, b, 4);
    assert.equal(b.respond({ keySlot: 4, sessionId: ID_B, remoteId: 22 }).kind, "refused", "once");
  } finally {
    stop();
  }
});

test("two initiations of a peer may be open; a third ends the oldest; either may be answered", () => {
  const [a, b] = pairOfHosts();
  const [one, two, three] = [1, 2, 3].map((n) =>
    a.initiate({ keySlot: n, sessionId: 20 + n, stamp: BigInt(n) }),
  );
  assert.equal(a.work.handshakes.open, 2);

  const answers = [one, two, three].map(({ message }, i) => {
    assert.equal(b.read(message).kind, "initiation");
    return b.respond({ keySlot: 30 + i, sessionId: 40 + i, remoteId: 21 + i });
  });

  assert.deepEqual(
    answers.map(({ message }) => a.read(message).kind),
    ["stale", "completed", "completed"],
  );
  assertTraffic(a, 2, b, 31);
  assertTraffic(a, 3, b, 32);
  assert.equal(a.read(answers[1].message).kind, "stale", "an answer is read once");
});

// --- Rings ----------------------------------------------------------------------------------------

test("a peer whose ring has the key in any role reads it; with another key or none it does not", () => {
  const [a, b] = [privateKey(0x11), privateKey(0x22)];
  const other = Uint8Array.from(SECRET, (byte) => byte ^ 1);
  const [initiator, responder] = pairOfHosts();
  const ringOf = (
    peer: Uint8Array,
    ring: readonly (readonly [0 | 1 | 2, Uint8Array | undefined])[],
  ) =>
    ring.map(([role, secret]) => source({ peer: publicOf(peer), role, ...(secret && { secret }) }));
  for (const [ours, theirs, role, expected] of [
    [[[0, SECRET]], [[0, SECRET]], 0, 0],
    [
      [[0, SECRET]],
      [
        [0, other],
        [1, SECRET],
      ],
      0,
      1,
    ],
    [
      [[0, SECRET]],
      [
        [0, other],
        [2, SECRET],
      ],
      0,
      2,
    ],
    [
      [
        [0, other],
        [1, SECRET],
      ],
      [
        [0, SECRET],
        [2, other],
      ],
      1,
      0,
    ],
    [
      [
        [0, other],
        [2, SECRET],
      ],
      [
        [1, SECRET],
        [0, other],
      ],
      2,
      1,
    ],
    [
      [[0, undefined]],
      [
        [0, SECRET],
        [2, undefined],
      ],
      0,
      2,
    ],
    [[[0, SECRET]], [[0, other]], 0, undefined],
    [[[0, SECRET]], [[0, undefined]], 0, undefined],
    [[[0, undefined]], [[0, SECRET]], 0, undefined],
    [[[0, SECRET]], [], 0, undefined],
  ] as const) {
    initiator.work.install([Uint8Array.from(a)], [ringOf(b, ours)]);
    responder.work.install([Uint8Array.from(b)], [ringOf(a, theirs)]);
    const first = initiator.initiate({ keySlot: 1, sessionId: ID_A, role });
    assert.deepEqual([first.kind, first.role], ["initiated", role]);
    const read = responder.read(first.message);
    assert.equal(read.kind, expected === undefined ? "refused" : "initiation");
    if (expected === undefined) continue;

    assert.equal(read.role, expected);
    const second = responder.respond({ keySlot: 2, sessionId: ID_B, remoteId: ID_A });
    const completed = initiator.read(second.message);
    assert.deepEqual([completed.kind, completed.role], ["completed", role]);
    assertTraffic(initiator, 1, responder, 2);
  }
});

test("a rekey is read under any key of the ring too", () => {
  const [a, b] = pairOfHosts({ secret: SECRET });
  session([a, b]);
  const [own, peer] = [privateKey(0x22), publicOf(privateKey(0x11))];
  b.work.install([own], [[source({ peer }), source({ peer, secret: SECRET, role: 2 })]]);
  const { message } = a.initiate({ keySlot: 11, sessionId: 8, parentKeySlot: 1 });

  const read = b.readRekey(2, 1, 8, 0, message);

  assert.deepEqual([read.kind, read.role], ["initiation", 2]);
  const second = b.respond({ keySlot: 12, sessionId: 9, remoteId: 8, parentKeySlot: 2 });
  assert.equal(a.readRekey(1, 2, 9, 8, second.message).kind, "completed");
});

test("a host with a new identity is met under either, by who knows both", () => {
  const [old, fresh, b] = [privateKey(0x11), privateKey(0x12), privateKey(0x22)];
  const [rotating, peer] = pairOfHosts();
  const toB = publicOf(b);
  rotating.work.install(
    [Uint8Array.from(old), Uint8Array.from(fresh)],
    [[source({ peer: toB }), source({ peer: toB, role: 1, own: 1 })]],
  );
  peer.work.install(
    [b],
    [[source({ peer: publicOf(old) }), source({ peer: publicOf(fresh), role: 1 })]],
  );
  for (const role of [0, 1] as const) {
    const first = rotating.initiate({ keySlot: 1, sessionId: ID_A, role });
    const read = peer.read(first.message);
    assert.deepEqual([read.kind, read.role], ["initiation", role]);
    const second = peer.respond({ keySlot: 2, sessionId: ID_B, remoteId: ID_A });
    assert.equal(rotating.read(second.message).kind, "completed");
    assertTraffic(rotating, 1, peer, 2);
  }
});

test("a role without a key, and a peer that is not served, are refused; the others work", () => {
  const [a, b] = pairOfHosts();
  for (const options of [
    { role: 1 as const },
    { peer: 1 },
    { peer: 70_000 },
    { parentKeySlot: 5 },
  ]) {
    const refused = a.initiate({ keySlot: 1, sessionId: ID_A, ...options });
    assert.deepEqual([refused.kind, refused.keySlot], ["refused", 1]);
    assert.equal(refused.message.length, 0);
  }
  assert.equal(b.respond({ keySlot: 2, sessionId: ID_B, remoteId: ID_A }).kind, "refused");
  session([a, b]);
});

test("keys that are installed end the handshakes under way; sessions go on", () => {
  const [a, b] = pairOfHosts();
  session([a, b]);
  const { message } = a.initiate({ keySlot: 3, sessionId: 21 });
  assert.equal(b.read(message).kind, "initiation");

  const ring = () => [source({ peer: publicOf(privateKey(0x11)) })];
  b.work.install([privateKey(0x22)], [ring()]);

  assert.equal(b.work.handshakes.open, 0);
  assert.equal(b.respond({ keySlot: 4, sessionId: 22, remoteId: 21 }).kind, "refused");
  assertTraffic(a, 1, b, 2);
  assert.equal(b.read(message).kind, "initiation");
  assert.equal(b.respond({ keySlot: 4, sessionId: 22, remoteId: 21 }).kind, "responded");
});

function assertTraffic(a: SessionHost, slotA: number, b: SessionHost, slotB: number): void {
  for (const [from, slot, to, toSlot] of [
    [a, slotA, b, slotB],
    [b, slotB, a, slotA],
  ] as const) {
    for (const length of [1, 3, 700]) {
      const { datagram } = from.seal(slot, ID_B, COUNTER, FRAMES.subarray(0, length));
      const opened = to.open(toSlot, datagram, COUNTER);
      assert.equal(opened.code, SESSION_OUTCOME.openedPacket);
      assert.deepEqual(opened.frames, FRAMES.subarray(0, length));
    }
  }
}
