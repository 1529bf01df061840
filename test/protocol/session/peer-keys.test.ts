// What the peer named in KEYS counts as soon as we have that key, whichever of two sessions said it.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  KeysFrame,
  putKeys,
  type RingKey,
} from "../../../src/shared/protocol/session/frame-control.js";
import { FrameCursor } from "../../../src/shared/protocol/session/frame-cursor.js";
import { PeerKeys } from "../../../src/shared/protocol/session/peer-keys.js";
import { KEY_ROLE } from "../../../src/shared/protocol/session/ports.js";
import { parseRotation, rotationPhase } from "../../../src/shared/protocol/session/rotation.js";

const [OLD, NEW] = ["0a", "0b"];
const OLD_ID: RingKey = { role: KEY_ROLE.current, id: new Uint8Array(8).fill(1) };
const NEW_ID: RingKey = { role: KEY_ROLE.next, id: new Uint8Array(8).fill(2) };
const BOOT = new Uint8Array(8).fill(7);

function keysFrame(...keys: readonly RingKey[]): KeysFrame {
  const bytes = new Uint8Array(64);
  const end = putKeys(bytes, 0, keys);
  const cursor = new FrameCursor();
  cursor.open(bytes, 1, end - 1);
  const frame = new KeysFrame();
  assert.ok(frame.read(cursor));
  return frame;
}

/** A peer with the next key speaks first; `between`: what happens before we install it. */
function phaseAfter(between: (keys: PeerKeys) => void): string {
  const keys = new PeerKeys(undefined, { current: OLD, next: undefined, previous: undefined });
  keys.install([OLD_ID], 1);
  keys.answered(BOOT);
  keys.handleKeys(keysFrame(OLD_ID, NEW_ID), 2);
  between(keys);
  keys.configure({ current: OLD, next: NEW, previous: undefined });
  keys.install([OLD_ID, NEW_ID], 3);
  const state = parseRotation(keys.pollText() ?? "");
  assert.ok(state !== undefined);
  return rotationPhase(state);
}

test("a key that was named before we had it counts when we have it", () => {
  assert.equal(
    phaseAfter(() => {}),
    "confirmed",
  );
});

test("so it does when another session with the same boot is confirmed in between", () => {
  assert.equal(
    phaseAfter((keys) => keys.answered(BOOT.slice())),
    "confirmed",
  );
});

test("behind a start of the peer it does not: the key may have been given up", () => {
  assert.equal(
    phaseAfter((keys) => keys.answered(new Uint8Array(8))),
    "installed",
  );
});

test("what the peer names last is what it has", () => {
  assert.equal(
    phaseAfter((keys) => keys.handleKeys(keysFrame(OLD_ID), 2)),
    "installed",
  );
});
