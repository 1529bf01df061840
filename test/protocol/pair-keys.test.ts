// Keys of a pair: against an implementation of the specification from node:crypto alone, against
// fixed examples that were computed with it, and seen from both ends.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import type { KeyPair } from "../../src/shared/protocol/noise/primitives.js";
import {
  compareKeys,
  derivePairKeys,
  PAIR_KEYS_BYTES,
  type PairKeys,
  type PairOptions,
  pairKeysIn,
  pairScratchBytes,
} from "../../src/shared/protocol/session/pair-keys.js";
import { NOISE_PRIMITIVES } from "../../src/workers/noise-primitives.js";
import { nodePrimitives } from "../vectors/node-primitives.js";

const SECRET = Uint8Array.from({ length: 32 }, (_, i) => i);
/** Its public key is the higher one of the two. */
const ALICE = keyPair(new Uint8Array(32).fill(0x11));
const BOB = keyPair(new Uint8Array(32).fill(0x22));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Bob's keys with Alice, without and with the secret. */
const EXAMPLE_IDENTITIES = {
  gateSend: "54a5ef91fb90874ce7aa1c1d4f27a1fbebd7145c083221aa7d6eafd3c3a4bfe8",
  gateReceive: "c1f6010c75900df3bd9b92110382d06ed3317f61719a485c3960f0ec8a3167b1",
  hintSend: "f7b148d493a8cc109ab668ff9f9826dc",
  hintReceive: "0036a0f42ccd43e1642f1058b9d57557",
  psk: "f26f6277c617af5c4d0de79047c573bce89e9b382ee7bc905efd29d2fbfb8da6",
  keyId: "a08cac9d445f296d",
};
const EXAMPLE_SECRET = {
  gateSend: "0d4186723f24858bee0e7bde2faf8bf5806252964075be662ff730b8357f3cfd",
  gateReceive: "8aae7c6d5b9057698c27da596c2402f2febe5b4be3666095835194522f598e7c",
  hintSend: "154d3e8fbfbdef758e2b12d9e0b69583",
  hintReceive: "82e2b4d824863013a7dde329508bc834",
  psk: "b894c6045c9f9b09102020dbf61f50b612a8e2f42c84bc41630dc75bdbde281a",
  keyId: "b035225ef87050bf",
};

for (const [mode, secret, example] of [
  ["x25519", undefined, EXAMPLE_IDENTITIES],
  ["x25519+secret", SECRET, EXAMPLE_SECRET],
] as const) {
  test(`the example of mode ${mode} comes out as printed`, () => {
    const keys = derive(BOB, ALICE.publicKey, secret);

    assert.deepEqual(mapKeys(keys, hex), example);
    assert.deepEqual(mapKeys(byNodeCrypto(BOB, ALICE.publicKey, secret), hex), example);
  });
}

test("both ends hold the same keys, each with the directions the other way round", () => {
  const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(bytes32, bytes32, fc.option(bytes32, { nil: undefined }), (one, other, secret) => {
      const [a, b] = [keyPair(one), keyPair(other)];
      fc.pre(hex(a.publicKey) !== hex(b.publicKey));

      const ours = derive(a, b.publicKey, secret);
      const theirs = derive(b, a.publicKey, secret);

      assert.deepEqual(ours, swapped(theirs));
      assert.deepEqual(mapKeys(ours, hex), mapKeys(byNodeCrypto(a, b.publicKey, secret), hex));
      const all = Object.values(mapKeys(ours, hex));
      assert.equal(new Set(all).size, all.length);
    }),
    { numRuns: 50 },
  );
});

test("with another secret, with none, or between other hosts no key is the same", () => {
  const other = keyPair(new Uint8Array(32).fill(0x33));
  const sets = [
    derive(ALICE, BOB.publicKey, SECRET),
    derive(ALICE, BOB.publicKey, undefined),
    derive(ALICE, BOB.publicKey, new Uint8Array(32)),
    derive(ALICE, other.publicKey, SECRET),
    derive(BOB, other.publicKey, SECRET),
  ].flatMap((keys) => Object.values(mapKeys(keys, hex)));

  assert.equal(sets.length, 30);
  assert.equal(new Set(sets).size, 30);
});

test("a peer key of low order is refused, and nothing is written", () => {
  for (const point of [
    new Uint8Array(32),
    Uint8Array.of(1, ...new Uint8Array(31)),
    Buffer.from("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "hex"),
  ]) {
    const { options, memory, keys } = setUp(ALICE, Uint8Array.from(point), SECRET);

    assert.equal(derivePairKeys(options, keys), false);
    assert.ok(isZero(memory), "no key");
    assert.ok(isZero(options.scratch), "no trace");
  }
});

test("the memory that was computed in holds zeroes afterwards, and the keys are all in theirs", () => {
  const { options, memory, keys } = setUp(ALICE, BOB.publicKey, SECRET);
  options.scratch.fill(0xa5);

  assert.equal(derivePairKeys(options, keys), true);

  assert.ok(isZero(options.scratch));
  assert.deepEqual(
    memory,
    Uint8Array.from(Object.values(keys).flatMap((key: Uint8Array) => [...key])),
  );
});

test("a secret of another length and a pair of one key are errors of the program", () => {
  assert.throws(() => derive(ALICE, BOB.publicKey, SECRET.subarray(1)), /32 bytes/);
  assert.throws(() => derive(ALICE, ALICE.publicKey, SECRET), /two public keys/);
  assert.throws(() => derive(ALICE, BOB.publicKey.subarray(1), SECRET), /32 bytes/);
  const { options, keys } = setUp(ALICE, BOB.publicKey, SECRET);
  const scratch = options.scratch.subarray(1);
  assert.throws(() => derivePairKeys({ ...options, scratch }, keys), RangeError);
});

test("public keys are compared as byte strings, the first byte first", () => {
  const key = (first: number, last: number) =>
    Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? first : i === 31 ? last : 5));

  assert.ok(compareKeys(key(1, 255), key(2, 0)) < 0);
  assert.ok(compareKeys(key(0x80, 0), key(0x7f, 0)) > 0);
  assert.ok(compareKeys(key(1, 1), key(1, 2)) < 0);
});

function setUp(own: KeyPair, peerPublicKey: Uint8Array, secret: Uint8Array | undefined) {
  const memory = new Uint8Array(PAIR_KEYS_BYTES);
  const scratch = new Uint8Array(pairScratchBytes(NOISE_PRIMITIVES));
  const options: PairOptions = {
    primitives: NOISE_PRIMITIVES,
    own,
    peerPublicKey,
    secret,
    scratch,
  };
  return { options, memory, keys: pairKeysIn(memory) };
}

function derive(own: KeyPair, peer: Uint8Array, secret: Uint8Array | undefined): PairKeys {
  const { options, keys } = setUp(own, peer, secret);
  assert.equal(derivePairKeys(options, keys), true);
  return keys;
}

/** Section 15 of the specification, steps 1 to 3, with nothing of ours. */
function byNodeCrypto(own: KeyPair, peer: Uint8Array, secret: Uint8Array | undefined): PairKeys {
  const hmac = (key: Uint8Array | string, data: Uint8Array) =>
    createHmac("blake2b512", key).update(data).digest();
  const expand = (prk: Uint8Array, info: Uint8Array | string, bytes: number) =>
    Uint8Array.from(hmac(prk, Buffer.concat([Buffer.from(info), Buffer.of(1)])).subarray(0, bytes));
  const shared = new Uint8Array(32);
  assert.ok(nodePrimitives("BLAKE2b").dh(shared, own.privateKey, peer));
  const tail = secret ?? new Uint8Array(0);
  const material = Buffer.concat([Buffer.of(0, 32), shared, Buffer.of(0, tail.length), tail]);
  const mode = secret === undefined ? "x25519" : "x25519+secret";
  const sorted = [own.publicKey, peer].map((key) => Buffer.from(key)).sort(Buffer.compare);
  const info = Buffer.concat([Buffer.of(mode.length), Buffer.from(mode), ...sorted]);
  const pairKey = expand(hmac("securedgram pair 1", material), info, 32);
  const [send, receive] = sorted[0].equals(own.publicKey)
    ? ["low>high", "high>low"]
    : ["high>low", "low>high"];
  return {
    gateSend: expand(pairKey, `securedgram gate ${send}`, 32),
    gateReceive: expand(pairKey, `securedgram gate ${receive}`, 32),
    hintSend: expand(pairKey, `securedgram hint ${send}`, 16),
    hintReceive: expand(pairKey, `securedgram hint ${receive}`, 16),
    psk: expand(pairKey, "securedgram psk", 32),
    keyId: expand(pairKey, "securedgram key id", 8),
  };
}

const swapped = ({
  gateSend,
  gateReceive,
  hintSend,
  hintReceive,
  ...same
}: PairKeys): PairKeys => ({
  gateSend: gateReceive,
  gateReceive: gateSend,
  hintSend: hintReceive,
  hintReceive: hintSend,
  ...same,
});

function mapKeys<T>(keys: PairKeys, change: (key: Uint8Array) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, change(key)]));
}

function keyPair(privateKey: Uint8Array): KeyPair {
  const publicKey = new Uint8Array(32);
  nodePrimitives("BLAKE2b").publicKey(publicKey, privateKey);
  return { privateKey, publicKey };
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}
