// The Noise engine beside the published vectors: what it refuses, what it asserts, what it wipes,
// and the additions that Noise does not have (context of a message, exported keys).

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import {
  type HandshakeOptions,
  HandshakeState,
  handshakeStateBytes,
} from "../../src/shared/protocol/noise/handshake-state.js";
import { labelBytes } from "../../src/shared/protocol/noise/hkdf.js";
import {
  type KeyPair,
  NOISE_MESSAGE_BYTES_MAX,
  type NoisePrimitives,
} from "../../src/shared/protocol/noise/primitives.js";
import { deriveHeaderKeys } from "../../src/shared/protocol/session/header-keys.js";
import { NOISE_PRIMITIVES } from "../../src/workers/noise-primitives.js";

const STATE_BYTES = handshakeStateBytes(NOISE_PRIMITIVES.hash);
const OVERHEAD_BYTES = 48;
const ALICE = keyPair(1);
const BOB = keyPair(2);
const PSK = new Uint8Array(32).fill(7);
const PROLOGUE = labelBytes("prologue");
const PAYLOAD = labelBytes("hello");

test("two hosts with the same keys end with the same session, exported keys and hash", () => {
  const { initiator, responder } = pair();

  talk(initiator.state, responder.state);
  const [ours, theirs] = [finish(initiator.state), finish(responder.state)];

  assert.deepEqual(ours, theirs);
  const keys = Object.values(ours).map((key) => Buffer.from(key).toString("hex"));
  assert.equal(new Set(keys).size, 5, "all keys differ");
  assert.ok(keys.every((key) => !/^0+$/.test(key)));
});

test("a handshake with the same keys, run again, makes other ones", () => {
  const [first, second] = [pair(), pair()];
  for (const { initiator, responder } of [first, second]) {
    talk(initiator.state, responder.state);
  }

  const [ours, others] = [finish(first.initiator.state), finish(second.initiator.state)];

  for (const name of Object.keys(ours) as (keyof typeof ours)[]) {
    assert.notDeepEqual(ours[name], others[name], name);
  }
});

for (const [what, change] of [
  ["another pre-shared key", { psks: [new Uint8Array(32).fill(8)] }],
  ["another static key of its own", { s: keyPair(3) }],
  ["another static key of the initiator in mind", { rs: keyPair(3).publicKey }],
  ["another prologue", { prologue: labelBytes("Prologue") }],
  ["an empty prologue", { prologue: new Uint8Array(0) }],
] as const) {
  test(`a responder with ${what} refuses message 1, and takes that of its twin`, () => {
    const { initiator, responder } = pair({}, change);
    const twin = side(false);
    const message = written(initiator.state);

    assert.equal(readOf(responder.state, message), undefined);
    assert.deepEqual(readOf(twin.state, message), PAYLOAD);
  });
}

for (const [what, written, read] of [
  ["another", labelBytes("stamp 1"), labelBytes("stamp 2")],
  ["no", labelBytes("stamp 1"), undefined],
  ["an unexpected", undefined, labelBytes("stamp 1")],
] as const) {
  test(`a message with ${what} context is refused, and read with the right one afterwards`, () => {
    const { initiator, responder } = pair();
    const message = new Uint8Array(PAYLOAD.length + OVERHEAD_BYTES);
    initiator.state.writeMessage(PAYLOAD, message, written);

    assert.equal(readOf(responder.state, message, read), undefined);
    assert.deepEqual(readOf(responder.state, message, written), PAYLOAD);
  });
}

test("whatever was changed in a message, it is refused, no trace stays, and the true one is read", () => {
  const cut = fc.record({ at: fc.nat(), xor: fc.integer({ min: 1, max: 255 }), length: fc.nat() });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 90 }), cut, fc.boolean(), (payload, change, longer) => {
      const { initiator, responder } = pair();
      for (const [writer, reader] of [
        [initiator, responder],
        [responder, initiator],
      ]) {
        const message = new Uint8Array(payload.length + OVERHEAD_BYTES);
        writer.state.writeMessage(payload, message);
        const flipped = Uint8Array.from(message);
        flipped[change.at % message.length] ^= change.xor;
        const other = longer
          ? Uint8Array.from([...message, change.xor])
          : message.subarray(0, change.length % message.length);
        const before = Uint8Array.from(reader.memory);
        for (const forged of [flipped, other]) {
          const into = new Uint8Array(message.length);
          assert.equal(reader.state.readMessage(forged, into), undefined);
          assert.deepEqual(into, new Uint8Array(message.length));
          assert.deepEqual(reader.memory, before);
        }
        assert.deepEqual(readOf(reader.state, message), payload);
      }
      assert.deepEqual(finish(initiator.state), finish(responder.state));
    }),
    { numRuns: 60 },
  );
});

test("an ephemeral key of low order is refused by whoever computes with it", () => {
  const lowOrder = { ...NOISE_PRIMITIVES, publicKey: (into: Uint8Array) => into.fill(0) };
  const message = written(side(true, { primitives: lowOrder }).state);
  const responder = side(false);

  assert.equal(readOf(responder.state, message), undefined);
  assert.deepEqual(readOf(responder.state, written(side(true).state)), PAYLOAD);
});

test("a writer that met a key of low order writes nothing, and stays as it was", () => {
  const memory = new Uint8Array(STATE_BYTES);
  const open = { pattern: "NN", prologue: PROLOGUE, primitives: NOISE_PRIMITIVES } as const;
  const responder = new HandshakeState({ ...open, initiator: false, memory });
  assert.equal(responder.readMessage(new Uint8Array(32), new Uint8Array(0)), 0);
  const before = Uint8Array.from(memory);

  assert.equal(responder.writeMessage(PAYLOAD, new Uint8Array(100)), undefined);
  assert.equal(responder.writeMessage(PAYLOAD, new Uint8Array(100)), undefined);
  assert.deepEqual(memory, before);
  assert.equal(responder.finished, false);
});

test("a payload up to the longest message goes over, a longer one is asserted or refused", () => {
  const { initiator, responder } = pair();
  const longest = new Uint8Array(NOISE_MESSAGE_BYTES_MAX - OVERHEAD_BYTES).fill(1);
  const room = new Uint8Array(NOISE_MESSAGE_BYTES_MAX + 1);

  assert.throws(
    () => initiator.state.writeMessage(new Uint8Array(longest.length + 1), room),
    /at most 65,535/,
  );
  assert.equal(initiator.state.writeMessage(longest, room), NOISE_MESSAGE_BYTES_MAX);
  assert.equal(readOf(responder.state, room), undefined, "one byte more");
  assert.deepEqual(readOf(responder.state, room.subarray(0, -1)), longest);
});

test("a message above 65,535 bytes is refused even where nothing is sealed yet", () => {
  const memory = new Uint8Array(STATE_BYTES);
  const options = { pattern: "NN", prologue: PROLOGUE, primitives: NOISE_PRIMITIVES, memory };
  const responder = new HandshakeState({ ...options, initiator: false });
  const message = new Uint8Array(NOISE_MESSAGE_BYTES_MAX + 1);

  assert.equal(responder.readMessage(message, new Uint8Array(message.length)), undefined);
  assert.equal(readOf(responder, message.subarray(1))?.length, NOISE_MESSAGE_BYTES_MAX - 32);
});

test("calls out of order are errors of the program", () => {
  const { initiator, responder } = pair();
  const room = new Uint8Array(200);
  const split = (state: HandshakeState) => () => finish(state);

  assert.throws(() => responder.state.writeMessage(PAYLOAD, room), /its turn/);
  assert.throws(() => initiator.state.readMessage(room, room), /other's turn/);
  assert.throws(split(initiator.state), /between the last message and Split/);
  const message = written(initiator.state);
  assert.throws(() => initiator.state.writeMessage(PAYLOAD, room), /its turn/);
  assert.ok(readOf(responder.state, message));
  assert.throws(() => responder.state.readMessage(message, room), /other's turn/);
  assert.ok(readOf(initiator.state, written(responder.state)));
  assert.throws(() => initiator.state.writeMessage(PAYLOAD, room), /its turn/);
  assert.throws(() => responder.state.readMessage(message, room), /other's turn/);
  assert.deepEqual(finish(initiator.state), finish(responder.state));
  assert.throws(split(initiator.state), /Split/);
});

test("after a wipe every call is an error of the program", () => {
  const { initiator, responder } = pair();
  const message = written(initiator.state);
  responder.state.wipe();
  const room = new Uint8Array(200);

  assert.throws(() => responder.state.readMessage(message, room), /other's turn/);
  assert.throws(() => responder.state.writeMessage(PAYLOAD, room), /its turn/);
  assert.throws(() => finish(responder.state), /Split/);
});

test("a handshake without what its pattern wants does not begin", () => {
  const memory = new Uint8Array(STATE_BYTES);
  const all = { ...optionsOf(true), memory };
  const { s: _s, ...noStatic } = all;
  const { rs: _rs, ...noRemote } = all;
  const { psks: _psks, ...noPsk } = all;

  for (const [options, why] of [
    [noStatic, /our static key/],
    [noRemote, /remote static key/],
    [noPsk, /as many pre-shared keys/],
    [{ ...all, psks: [PSK.subarray(1)] }, /32 bytes/],
    [{ ...all, pattern: "XX" }, /remote static key/],
    [{ ...all, pattern: "ZZ" }, /known pattern/],
    [{ ...all, pattern: "KKpsk3" }, /known modifier/],
    [{ ...all, pattern: "KKpsk" }, /known modifier/],
    [{ ...all, memory: memory.subarray(1) }, /has 1119/],
  ] as const) {
    assert.throws(() => new HandshakeState(options), why);
  }
  assert.equal(new HandshakeState(all).finished, false);
});

test("between messages only one copy of the state is in memory, and nothing of the way there", () => {
  const { initiator, responder } = pair();
  const stateBytes = 2 * 64 + 32 + 4 * 32;
  const check = ({ memory }: typeof initiator) => {
    const halves = [memory.subarray(-2 * stateBytes, -stateBytes), memory.subarray(-stateBytes)];
    assert.deepEqual(halves.map(isZero).sort(), [false, true]);
    assert.ok(isZero(memory.subarray(0, -2 * stateBytes)), "no intermediate value stays");
  };

  const message = written(initiator.state);
  check(initiator);
  readOf(
    responder.state,
    message.map((byte) => byte ^ 1),
  );
  check(responder);
  readOf(responder.state, message);
  check(responder);
  readOf(initiator.state, written(responder.state));
  check(initiator);
  check(responder);
});

test("Split and wipe leave zeroes, and spare the keys that were lent", () => {
  const { initiator, responder } = pair();
  talk(initiator.state, responder.state);
  assert.ok(!isZero(initiator.memory));

  finish(initiator.state);
  responder.state.wipe();

  assert.ok(isZero(initiator.memory));
  assert.ok(isZero(responder.memory));
  assert.ok(!isZero(PSK) && !isZero(ALICE.privateKey) && !isZero(BOB.privateKey));
});

test("header keys are HKDF of the chaining key and the handshake hash, as the specification says", () => {
  const chainingKeys: Uint8Array[] = [];
  const { initiator, responder } = pair();
  talk(initiator.state, responder.state);
  const bytes = 2 * 64 + 32 + 4 * 32;
  for (const half of [initiator.memory.subarray(-2 * bytes), initiator.memory.subarray(-bytes)]) {
    if (!isZero(half.subarray(0, bytes))) chainingKeys.push(Uint8Array.from(half.subarray(0, 64)));
  }
  const [chainingKey] = chainingKeys;

  const { headerInitiator, headerResponder, handshakeHash } = finish(initiator.state);

  const hmac = (key: Uint8Array, ...parts: readonly (Uint8Array | string)[]) =>
    parts.reduce((mac, part) => mac.update(part), createHmac("blake2b512", key)).digest();
  const prk = hmac(chainingKey, handshakeHash);
  const expand = (label: string) => hmac(prk, label, Uint8Array.of(1)).subarray(0, 16);
  assert.deepEqual(Buffer.from(headerInitiator), expand("securedgram header i>r"));
  assert.deepEqual(Buffer.from(headerResponder), expand("securedgram header r>i"));
});

interface Side {
  readonly state: HandshakeState;
  readonly memory: Uint8Array;
}

function pair(
  initiator: Partial<HandshakeOptions> = {},
  responder: Partial<HandshakeOptions> = {},
): { readonly initiator: Side; readonly responder: Side } {
  return { initiator: side(true, initiator), responder: side(false, responder) };
}

function side(initiator: boolean, change: Partial<HandshakeOptions> = {}): Side {
  const memory = new Uint8Array(STATE_BYTES);
  return { state: new HandshakeState({ ...optionsOf(initiator), memory, ...change }), memory };
}

function optionsOf(initiator: boolean) {
  const [s, other] = initiator ? [ALICE, BOB] : [BOB, ALICE];
  const primitives: NoisePrimitives = NOISE_PRIMITIVES;
  const psks: readonly Uint8Array[] = [PSK];
  return {
    primitives,
    pattern: "KKpsk0",
    initiator,
    prologue: PROLOGUE,
    s,
    rs: other.publicKey,
    psks,
  };
}

function written(state: HandshakeState): Uint8Array {
  const message = new Uint8Array(PAYLOAD.length + OVERHEAD_BYTES);
  assert.equal(state.writeMessage(PAYLOAD, message), message.length);
  return message;
}

function readOf(state: HandshakeState, message: Uint8Array, context?: Uint8Array) {
  const payload = new Uint8Array(message.length);
  const bytes = state.readMessage(message, payload, context);
  return bytes === undefined ? undefined : payload.subarray(0, bytes);
}

function talk(initiator: HandshakeState, responder: HandshakeState): void {
  assert.deepEqual(readOf(responder, written(initiator)), PAYLOAD);
  assert.deepEqual(readOf(initiator, written(responder)), PAYLOAD);
}

function finish(state: HandshakeState) {
  const [initiatorKey, responderKey] = [new Uint8Array(32), new Uint8Array(32)];
  const [headerInitiator, headerResponder] = [new Uint8Array(16), new Uint8Array(16)];
  const handshakeHash = new Uint8Array(64);
  deriveHeaderKeys(state, { initiatorKey: headerInitiator, responderKey: headerResponder });
  state.split({ initiatorKey, responderKey, handshakeHash });
  return { initiatorKey, responderKey, headerInitiator, headerResponder, handshakeHash };
}

function keyPair(seed: number): KeyPair {
  const privateKey = new Uint8Array(32).fill(seed);
  const publicKey = new Uint8Array(32);
  NOISE_PRIMITIVES.publicKey(publicKey, privateKey);
  return { privateKey, publicKey };
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}
