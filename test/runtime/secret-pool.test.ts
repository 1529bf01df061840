// Locked memory for secrets that come and go: slots are zeroes when taken, wiped when given back.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  HandshakeState,
  handshakeStateBytes,
} from "../../src/shared/protocol/noise/handshake-state.js";
import { NOISE_PRIMITIVES, SecretPool } from "../../src/workers/noise-primitives.js";

test("a pool hands out each slot once, until it is given back", () => {
  const pool = new SecretPool(2, 48);
  const [first, second] = [take(pool), take(pool)];

  assert.equal(pool.take(), undefined);
  assert.notEqual(first.byteOffset, second.byteOffset);
  pool.giveBack(first);
  assert.equal(pool.take(), first);
  assert.equal(pool.take(), undefined);
  pool.free();
});

test("a slot holds zeroes when it is taken, and neighbours keep theirs", () => {
  const pool = new SecretPool(2, 48);
  const [first, second] = [take(pool), take(pool)];
  assert.deepEqual(first, new Uint8Array(48));
  first.fill(1);
  second.fill(2);

  pool.giveBack(first);

  assert.deepEqual(first, new Uint8Array(48));
  assert.deepEqual(second, new Uint8Array(48).fill(2));
  pool.free();
});

test("giving back a slot twice, or another's, is an error of the program", () => {
  const pool = new SecretPool(1, 32);
  const slot = take(pool);

  assert.throws(() => pool.giveBack(new Uint8Array(32)), /given back once/);
  pool.giveBack(slot);
  assert.throws(() => pool.giveBack(slot), /given back once/);
  pool.free();
});

test("a handshake runs in the locked memory of a pool, and leaves it empty", () => {
  const bytes = handshakeStateBytes(NOISE_PRIMITIVES.hash);
  const pool = new SecretPool(2, bytes);
  const prologue = new Uint8Array(0);
  const begin = (initiator: boolean, memory: Uint8Array) =>
    new HandshakeState({
      primitives: NOISE_PRIMITIVES,
      pattern: "NN",
      initiator,
      prologue,
      memory,
    });
  const memory = [take(pool), take(pool)];
  const [initiator, responder] = [begin(true, memory[0]), begin(false, memory[1])];
  const [message, nothing] = [new Uint8Array(48), new Uint8Array(0)];
  const hashes = [new Uint8Array(64), new Uint8Array(64)];

  assert.equal(initiator.writeMessage(nothing, message), 32);
  assert.equal(responder.readMessage(message.subarray(0, 32), nothing), 0);
  assert.equal(responder.writeMessage(nothing, message), 48);
  assert.equal(initiator.readMessage(message, nothing), 0);
  for (const [i, state] of [initiator, responder].entries()) {
    const [initiatorKey, responderKey] = [new Uint8Array(32), new Uint8Array(32)];
    state.split({ initiatorKey, responderKey, handshakeHash: hashes[i] });
  }

  assert.deepEqual(hashes[0], hashes[1]);
  assert.deepEqual(memory, [new Uint8Array(bytes), new Uint8Array(bytes)]);
  pool.free();
});

function take(pool: SecretPool): Uint8Array {
  const slot = pool.take();
  assert.ok(slot);
  return slot;
}
