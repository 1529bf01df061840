// Noise handshakes of cacophony and snow, byte for byte, through our engine: with libsodium where
// it has the hash, and with node:crypto for all. Every message is also tampered with before the
// true one is read.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CipherState } from "../../src/shared/protocol/noise/cipher-state.js";
import {
  HandshakeState,
  handshakeStateBytes,
} from "../../src/shared/protocol/noise/handshake-state.js";
import type { NoisePrimitives } from "../../src/shared/protocol/noise/primitives.js";
import { NOISE_PRIMITIVES } from "../../src/workers/noise-primitives.js";
import { nodePrimitives } from "./node-primitives.js";

interface Message {
  readonly payload: string;
  readonly ciphertext: string;
}
interface Vector {
  readonly protocol_name: string;
  readonly init_prologue: string;
  readonly init_psks?: readonly string[];
  readonly init_static?: string;
  readonly init_ephemeral: string;
  readonly init_remote_static?: string;
  readonly resp_prologue: string;
  readonly resp_psks?: readonly string[];
  readonly resp_static?: string;
  readonly resp_ephemeral: string;
  readonly resp_remote_static?: string;
  readonly handshake_hash?: string;
  readonly messages: readonly Message[];
}
interface Side {
  readonly state: HandshakeState;
  readonly memory: Uint8Array;
}

const FOLDER = new URL("../../../test/vectors/noise/", import.meta.url);
const load = (name: string): readonly Vector[] =>
  JSON.parse(readFileSync(new URL(name, FOLDER), "utf8")).vectors;
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));
const NO_BYTES = new Uint8Array(0);

const CACOPHONY = load("cacophony_25519_chachapoly.json");
const SNOW = load("snow_25519_chachapoly_multipsk.json");
const hashOf = ({ protocol_name }: Vector): string => protocol_name.split("_")[4];
const ofLibsodium = (vector: Vector): boolean => hashOf(vector) === "BLAKE2b";

for (const [name, vectors, count, countBlake2b] of [
  ["cacophony", CACOPHONY, 64, 16],
  ["snow, several pre-shared keys", SNOW, 16, 4],
] as const) {
  test(`${name}: all ${count} agree, with node:crypto`, () => {
    const refused = vectors.map((vector) => judge(vector, nodePrimitives(hashOf(vector))));

    assert.equal(refused.length, count);
    assert.ok(refused.every((each) => each > 0));
  });

  test(`${name}: the ${countBlake2b} with BLAKE2b agree, with libsodium`, () => {
    const refused = vectors.filter(ofLibsodium).map((vector) => judge(vector, NOISE_PRIMITIVES));

    assert.equal(refused.length, countBlake2b);
    assert.ok(refused.every((each) => each > 0));
  });
}

/** Runs one vector; returns how many forgeries were refused. */
function judge(vector: Vector, primitives: NoisePrimitives): number {
  const initiator = side(vector, primitives, true);
  const responder = side(vector, primitives, false);
  let [at, forged] = [0, 0];
  for (; !initiator.state.finished; at++) {
    const [writer, reader] = at % 2 === 0 ? [initiator, responder] : [responder, initiator];
    forged += handshakeMessage(vector.messages[at], writer, reader);
  }
  const [ours, theirs] = [
    splitOf(initiator.state, primitives),
    splitOf(responder.state, primitives),
  ];
  assert.deepEqual(ours.handshakeHash, theirs.handshakeHash);
  if (vector.handshake_hash !== undefined) {
    assert.deepEqual(ours.handshakeHash, bytes(vector.handshake_hash), vector.protocol_name);
  }
  assert.ok(at < vector.messages.length, "there are transport messages");
  for (; at < vector.messages.length; at++) {
    const direction = at % 2 === 0 ? "initiator" : "responder";
    transportMessage(vector.messages[at], ours[direction], theirs[direction]);
    forged += 1;
  }
  return forged;
}

function handshakeMessage({ payload, ciphertext }: Message, writer: Side, reader: Side): number {
  const plain = bytes(payload);
  const expected = bytes(ciphertext);
  const written = new Uint8Array(expected.length);
  assert.equal(writer.state.overheadBytes, expected.length - plain.length);
  assert.equal(writer.state.writeMessage(plain, written), expected.length);
  assert.deepEqual(written, expected);
  const forgeries = forgeriesOf(expected, ciphertext.endsWith(payload));
  const before = Uint8Array.from(reader.memory);
  for (const forgery of forgeries) {
    const into = new Uint8Array(expected.length);
    assert.equal(reader.state.readMessage(forgery, into), undefined);
    assert.deepEqual(into, new Uint8Array(expected.length), "no plaintext leaves");
    assert.deepEqual(reader.memory, before, "the state is unchanged");
  }
  const read = new Uint8Array(plain.length);
  assert.equal(reader.state.readMessage(expected, read), plain.length);
  assert.deepEqual(read, plain);
  return forgeries.length;
}

/** A message in the clear is not authentic to begin with: only its key can be cut. */
function forgeriesOf(message: Uint8Array, inTheClear: boolean): readonly Uint8Array[] {
  if (inTheClear) return [message.subarray(0, 31)];
  const flipped = [0, 31, message.length >> 1, message.length - 17, message.length - 1].map((at) =>
    message.map((byte, i) => (i === at ? byte ^ 0x80 : byte)),
  );
  return [...flipped, message.subarray(0, -1), message.subarray(0, 31), NO_BYTES];
}

function transportMessage(
  { payload, ciphertext }: Message,
  sender: CipherState,
  receiver: CipherState,
): void {
  const plain = bytes(payload);
  const sealed = new Uint8Array(plain.length + 16);
  sender.encryptWithAd(sealed, NO_BYTES, plain);
  assert.deepEqual(sealed, bytes(ciphertext));
  const opened = new Uint8Array(plain.length);
  sealed[0] ^= 1;
  assert.equal(receiver.decryptWithAd(opened, NO_BYTES, sealed), false);
  sealed[0] ^= 1;
  assert.equal(receiver.decryptWithAd(opened, NO_BYTES, sealed), true);
  assert.deepEqual(opened, plain);
}

function splitOf(state: HandshakeState, primitives: NoisePrimitives) {
  const initiatorKey = new Uint8Array(32);
  const responderKey = new Uint8Array(32);
  const handshakeHash = new Uint8Array(primitives.hash.hashBytes);
  state.split({ initiatorKey, responderKey, handshakeHash });
  const [initiator, responder] = [initiatorKey, responderKey].map((key) => {
    const cipher = new CipherState(primitives, new Uint8Array(32));
    cipher.initializeKey(key);
    return cipher;
  });
  return { initiator, responder, handshakeHash };
}

function side(vector: Vector, primitives: NoisePrimitives, initiator: boolean): Side {
  const of = <K extends "prologue" | "psks" | "static" | "ephemeral" | "remote_static">(key: K) =>
    initiator ? vector[`init_${key}`] : vector[`resp_${key}`];
  const [ephemeral, own, remote] = [of("ephemeral"), of("static"), of("remote_static")];
  const memory = new Uint8Array(handshakeStateBytes(primitives.hash));
  const publicKey = new Uint8Array(32);
  if (own !== undefined) primitives.publicKey(publicKey, bytes(own));
  const state = new HandshakeState({
    primitives: { ...primitives, random: (into) => into.set(bytes(ephemeral ?? "")) },
    pattern: vector.protocol_name.split("_")[1],
    initiator,
    prologue: bytes(of("prologue") ?? ""),
    memory,
    ...(own === undefined ? {} : { s: { privateKey: bytes(own), publicKey } }),
    ...(remote === undefined ? {} : { rs: bytes(remote) }),
    psks: (of("psks") ?? []).map(bytes),
  });
  return { state, memory };
}
