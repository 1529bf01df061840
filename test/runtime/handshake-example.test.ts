// One handshake in bytes, as docs/PROTOCOL.md prints it: composed from node:crypto alone, and done by
// the crypto worker with the same random numbers. Also each of the two against the other.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { CounterMask } from "../../src/shared/protocol/session/packet.js";
import { SESSION_OUTCOME } from "../../src/shared/runtime/session-slab.js";
import { NOISE_PRIMITIVES } from "../../src/workers/noise-primitives.js";
import {
  concat,
  hex,
  ModelHandshake,
  modelEnvelope,
  modelPair,
  open,
  openEnvelope,
  publicOf,
  seal,
  u32,
  u64,
} from "./handshake-model.js";
import { pairOfHosts, privateKey, type SessionHost } from "./session-host.js";

const SECRET = Uint8Array.from({ length: 32 }, (_, i) => i);
/** Initiator. Its public key is the higher one of the two. */
const ALICE = privateKey(0x11);
const BOB = privateKey(0x22);
const EPHEMERAL_A = privateKey(0x33);
const EPHEMERAL_B = privateKey(0x44);
const NONCE_A = new Uint8Array(12).fill(0x55);
const NONCE_B = new Uint8Array(12).fill(0x66);
const STAMP_A = 1_760_000_000_123_456_789n;
const STAMP_B = 1_760_000_000_234_567_890n;
const ID_A = 0x0a0b_0c0d;
const ID_B = 0xb0b1_b2b3;
const PAYLOAD_A = Uint8Array.from(Buffer.from("message 1 of the example"));
const PAYLOAD_B = Uint8Array.from(Buffer.from("message 2"));
const FRAMES = Uint8Array.of(1, 0, 0);
const COUNTER = 2n ** 32n + 2n;

/** All of it in hexadecimal; the packet's counter is still clear. */
const EXAMPLE = {
  message1:
    "555555555555555555555555cf2f44fb17078e23a73d643ec3c264b058e8c5bc" +
    "5a1c1acf596c7240e93dae2294ceef9c5b8751c9fa4bbb136a28a2ba0d9555da" +
    "58ac8bd0d4583d45d2b90a224c535ad6721a274306d3a872e4a809de1bc9e2c7" +
    "2d8f4c62d75f22826a88c7f22eea8e3818e5ef49539e19d8a9",
  message2:
    "66666666666666666666666697ac5c91e66da2bff41d531f75976dbbe8b1e241" +
    "3852e67b62e98b1624e384b10a003e328d9ef8524bc44a664c9eba86a0a20d39" +
    "e6608540212449769d9f76b77193b537246d105304a6b83a5d9d2614187fcf86" +
    "4fbc55916aefc4bc999f25e0ecf4",
  handshakeHash:
    "3b75786a836678edfbb50774d0609298b970eefb823d6d4d906c74eb4f5376a7" +
    "f8db364af65200ae5348134fd2081653e00d6882df603537b5ed7c45b2cebb73",
  keyInitiatorToResponder: "3aacc3dd2fe67179dfd639e0b5d76f1bc36cbd4e7ce1785e6f6a89f7250a6ac7",
  keyResponderToInitiator: "db0fa7dee79be3cd47adefff4d195b99922a8ec32b6206a2e51e0609d6649865",
  headerKeyInitiatorToResponder: "c76201d518de9d30b78fb5c2ba4789e4",
  headerKeyResponderToInitiator: "61e893ffef2ab22628b86d87afcd5834",
  packet: "b0b1b2b3000000010000000247b3e11d697a198b8167b8d208dc64aeb04873",
};
/** The packet as it leaves. */
const MASKED = "b0b1b2b31c22145862157f4c47b3e11d697a198b8167b8d208dc64aeb04873";

test("the example comes out as printed, from node:crypto alone", () => {
  const [first, second, keys] = composed();

  assert.deepEqual(
    {
      message1: hex(first),
      message2: hex(second),
      handshakeHash: hex(keys.handshakeHash),
      keyInitiatorToResponder: hex(keys.sealKey),
      keyResponderToInitiator: hex(keys.openKey),
      headerKeyInitiatorToResponder: hex(keys.headerKeyOut),
      headerKeyResponderToInitiator: hex(keys.headerKeyIn),
      packet: hex(packetOf(keys.sealKey)),
    },
    EXAMPLE,
  );
});

test("the crypto worker writes the same bytes with the same random numbers", (t) => {
  const [a, b] = pairOfHosts({ secret: SECRET });
  const random = randomOf(t);

  random.push(EPHEMERAL_A, NONCE_A);
  const first = a.initiate({ keySlot: 1, sessionId: ID_A, stamp: STAMP_A, payload: PAYLOAD_A });
  assert.equal(b.read(first.message).kind, "initiation");
  random.push(EPHEMERAL_B, NONCE_B);
  const second = respond(b);
  const completed = a.read(second.message);

  assert.equal(hex(first.message), EXAMPLE.message1);
  assert.equal(hex(second.message), EXAMPLE.message2);
  assert.equal(hex(completed.headerKeyOut), EXAMPLE.headerKeyInitiatorToResponder);
  assert.equal(hex(completed.headerKeyIn), EXAMPLE.headerKeyResponderToInitiator);
  for (const [host, keySlot, isInitiator] of [
    [a, 1, true],
    [b, 2, false],
  ] as const) {
    const held = host.work.keys.of(keySlot);
    assert.ok(held);
    assert.equal(hex(held.handshakeHash), EXAMPLE.handshakeHash);
    const [forth, back] = [EXAMPLE.keyInitiatorToResponder, EXAMPLE.keyResponderToInitiator];
    assert.equal(hex(held.sealKey), isInitiator ? forth : back);
    assert.equal(hex(held.openKey), isInitiator ? back : forth);
  }
  assert.equal(hex(a.seal(1, ID_B, COUNTER, FRAMES).datagram), EXAMPLE.packet);
});

test("the counter of the example's packet is masked as printed", () => {
  const packet = Buffer.from(EXAMPLE.packet, "hex");
  const mask = new CounterMask(Buffer.from(EXAMPLE.headerKeyInitiatorToResponder, "hex"));

  mask.mask(packet, 0, packet.length);

  assert.equal(hex(packet), MASKED);
});

test("the worker answers an initiation that node:crypto wrote, and they understand each other", () => {
  const [, b] = pairOfHosts({ secret: SECRET });
  const pair = modelPair(ALICE, publicOf(BOB), SECRET);
  const [first] = composed();

  const initiation = b.read(first, STAMP_A - 1n);
  assert.deepEqual(initiation.payload, PAYLOAD_A);
  const second = respond(b);
  const plain = openEnvelope(pair, second.message);
  assert.deepEqual(
    plain.subarray(0, 17),
    concat(u64(STAMP_B), Uint8Array.of(2), u32(ID_B), u32(ID_A)),
  );
  const alice = initiator();
  alice.writeFirst(PAYLOAD_A);
  assert.deepEqual(alice.readSecond(plain.subarray(17), contextB()), PAYLOAD_B);
  const keys = alice.finish();
  assert.deepEqual(keys.headerKeyOut, second.headerKeyIn);
  assert.deepEqual(keys.headerKeyIn, second.headerKeyOut);
  assertOpens(b, keys);
});

test("the worker reads the answer that node:crypto wrote, and they understand each other", () => {
  const [a] = pairOfHosts({ secret: SECRET });
  const pair = modelPair(BOB, publicOf(ALICE), SECRET);
  const first = a.initiate({ keySlot: 2, sessionId: ID_A, stamp: STAMP_A, payload: PAYLOAD_A });

  const plain = openEnvelope(pair, first.message);
  assert.deepEqual(plain.subarray(0, 13), concat(u64(STAMP_A), Uint8Array.of(1), u32(ID_A)));
  const bob = responder();
  assert.deepEqual(bob.readFirst(plain.subarray(13)), PAYLOAD_A);
  const noise = bob.writeSecond(PAYLOAD_B, contextB());
  const head = concat(u64(STAMP_B), Uint8Array.of(2), u32(ID_B), u32(ID_A));
  const completed = a.read(modelEnvelope(pair, NONCE_B, concat(head, noise)));

  assert.deepEqual([completed.kind, completed.payload], ["completed", PAYLOAD_B]);
  assert.deepEqual(bob.finish().headerKeyOut, completed.headerKeyIn);
  assertOpens(a, bob.finish());
});

test("a rekey is bound to the handshake hash of the session that carries it", () => {
  const [, b] = pairOfHosts({ secret: SECRET });
  const { psk } = modelPair(ALICE, publicOf(BOB), SECRET);
  const [first] = composed();
  b.read(first);
  const second = respond(b);
  const parent = initiator();
  parent.writeFirst(PAYLOAD_A);
  parent.readSecond(
    openEnvelope(modelPair(ALICE, publicOf(BOB), SECRET), second.message).subarray(17),
    contextB(),
  );
  const { handshakeHash } = parent.finish();
  const rekeyOf = (hash: Uint8Array): ModelHandshake =>
    new ModelHandshake({
      ownPrivate: ALICE,
      peer: publicOf(BOB),
      psk,
      ephemeral: EPHEMERAL_A,
      initiator: true,
      binding: concat(Uint8Array.of(2), hash, u32(8)),
    });

  const wrong = rekeyOf(Uint8Array.from(handshakeHash).reverse()).writeFirst(PAYLOAD_A);
  assert.equal(b.readRekey(2, 1, 8, 0, wrong).kind, "refused");
  const rekey = rekeyOf(handshakeHash);
  assert.equal(b.readRekey(2, 1, 8, 0, rekey.writeFirst(PAYLOAD_A)).kind, "initiation");
  const answer = b.respond({ keySlot: 3, sessionId: 9, remoteId: 8, parentKeySlot: 2 });

  assert.deepEqual(rekey.readSecond(answer.message, u32(9)), Uint8Array.of(1, 1, 8));
  assertOpens(b, rekey.finish(), 3);
});

const initiator = (): ModelHandshake => modelOf(ALICE, BOB, EPHEMERAL_A, true);
const responder = (): ModelHandshake => modelOf(BOB, ALICE, EPHEMERAL_B, false);
const contextB = (): Uint8Array => concat(u64(STAMP_B), u32(ID_B));

function modelOf(own: Uint8Array, peer: Uint8Array, ephemeral: Uint8Array, isInitiator: boolean) {
  return new ModelHandshake({
    ownPrivate: own,
    peer: publicOf(peer),
    psk: modelPair(own, publicOf(peer), SECRET).psk,
    ephemeral,
    initiator: isInitiator,
    binding: concat(Uint8Array.of(1), u64(STAMP_A), u32(ID_A)),
  });
}

/** Both datagrams of the example, and the keys as the initiator sees them. */
function composed() {
  const [alice, bob] = [initiator(), responder()];
  const [toBob, toAlice] = [
    modelPair(ALICE, publicOf(BOB), SECRET),
    modelPair(BOB, publicOf(ALICE), SECRET),
  ];
  const noise1 = alice.writeFirst(PAYLOAD_A);
  const head1 = concat(u64(STAMP_A), Uint8Array.of(1), u32(ID_A));
  bob.readFirst(noise1);
  const noise2 = bob.writeSecond(PAYLOAD_B, contextB());
  const head2 = concat(u64(STAMP_B), Uint8Array.of(2), u32(ID_B), u32(ID_A));
  alice.readSecond(noise2, contextB());
  return [
    modelEnvelope(toBob, NONCE_A, concat(head1, noise1)),
    modelEnvelope(toAlice, NONCE_B, concat(head2, noise2)),
    alice.finish(),
  ] as const;
}

/** The example's packet, its counter still clear. */
function packetOf(key: Uint8Array): Uint8Array {
  const head = concat(u32(ID_B), u64(COUNTER));
  return concat(head, seal(key, nonceOf(COUNTER), FRAMES, head));
}

const nonceOf = (counter: bigint): Uint8Array => concat(u32(0), u64(counter).reverse());

const respond = (host: SessionHost) =>
  host.respond({
    keySlot: 2,
    sessionId: ID_B,
    remoteId: ID_A,
    stamp: STAMP_B,
    payload: PAYLOAD_B,
  });

/** What the worker sealed opens under the model's keys, and the other way round. */
function assertOpens(
  host: SessionHost,
  { sealKey, openKey }: { readonly sealKey: Uint8Array; readonly openKey: Uint8Array },
  keySlot = 2,
): void {
  const { datagram } = host.seal(keySlot, ID_A, COUNTER, FRAMES);
  const head = datagram.subarray(0, 12);
  assert.deepEqual(head, concat(u32(ID_A), u64(COUNTER)));
  assert.deepEqual(open(openKey, nonceOf(COUNTER), datagram.subarray(12), head), FRAMES);
  const opened = host.open(keySlot, packetOf(sealKey), COUNTER);
  assert.equal(opened.code, SESSION_OUTCOME.openedPacket);
  assert.deepEqual(opened.frames, FRAMES);
}

/** Chosen bytes in place of random ones, in the order in which they are pushed. */
function randomOf(t: TestContext): Uint8Array[] {
  const chosen: Uint8Array[] = [];
  t.mock.method(NOISE_PRIMITIVES, "random", (into: Uint8Array) => {
    const next = chosen.shift();
    assert.equal(next?.length, into.length);
    into.set(next);
  });
  return chosen;
}
