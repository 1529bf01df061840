// Frames about the session itself: PING, REKEY, PATH_CHALLENGE and PATH_RESPONSE, CLOSE, KEYS.
//
//   PING            type 0x01
//   REKEY           type 0x09 | message 1 (1 or 2) | session id 4 | answers 4 | length v (48 to 1,024) | noise
//   PATH_CHALLENGE  type 0x0a | data 8
//   PATH_RESPONSE   type 0x0b | data 8
//   CLOSE           type 0x0c | reason v
//   KEYS            type 0x0d | count v (1 to 3) | count times: role 1 (1 to 3), key id 8

import { assert } from "../../base/assert.js";
import { putBytes, putWordBig, wordBigAt } from "./byte-order.js";
import { FrameCursor } from "./frame-cursor.js";
import { FRAME } from "./frame-type.js";
import { SESSION_ID_BYTES } from "./packet.js";
import { KEY_ROLE, type KeyRole } from "./ports.js";
import { putVarint, varintBytes } from "./varint.js";

/** Noise message in a REKEY frame: at least an ephemeral key and a tag. */
export const REKEY_NOISE_BYTES_MIN = 48;
export const REKEY_NOISE_BYTES_MAX = 1_024;
export const PATH_DATA_BYTES = 8;
export const PATH_FRAME_BYTES = 1 + PATH_DATA_BYTES;
export const PING_FRAME_BYTES = 1;
export const KEY_ID_BYTES = 8;
/** Keys of a KEYS frame: current, next, previous. */
export const KEYS_MAX = 3;

/** Writes a PING frame; returns the offset behind it. */
export function putPing(into: Uint8Array, at: number): number {
  into[at] = FRAME.ping;
  return at + PING_FRAME_BYTES;
}

// --- REKEY ---------------------------------------------------------------------------------------

/** Bytes of a REKEY frame around a Noise message. */
export const rekeyBytes = (noiseBytes: number): number =>
  2 + 2 * SESSION_ID_BYTES + varintBytes(noiseBytes) + noiseBytes;

/** Writes a REKEY frame; returns the offset behind it. `answers` is 0 in message 1, and only there. */
export function putRekey(
  into: Uint8Array,
  at: number,
  message: 1 | 2,
  sessionId: number,
  answers: number,
  noise: Uint8Array,
): number {
  assert(sessionId !== 0 && (answers === 0) === (message === 1), "message 2 answers message 1");
  assert(
    noise.length >= REKEY_NOISE_BYTES_MIN && noise.length <= REKEY_NOISE_BYTES_MAX,
    "a Noise message fits a REKEY frame",
  );
  into[at] = FRAME.rekey;
  into[at + 1] = message;
  putWordBig(into, at + 2, sessionId);
  putWordBig(into, at + 2 + SESSION_ID_BYTES, answers);
  const to = putVarint(into, at + 2 + 2 * SESSION_ID_BYTES, noise.length);
  into.set(noise, to);
  return to + noise.length;
}

/** A REKEY as it was read. */
export class RekeyFrame {
  bytes: Uint8Array = new Uint8Array(0);
  message: 1 | 2 = 1;
  sessionId = 0;
  answers = 0;
  noiseAt = 0;
  noiseLength = 0;

  read(cursor: FrameCursor): boolean {
    this.bytes = cursor.bytes;
    const message = cursor.byte();
    const idsAt = cursor.take(2 * SESSION_ID_BYTES);
    this.noiseLength = cursor.varint();
    if (cursor.failed || (message !== 1 && message !== 2)) return false;
    if (this.noiseLength < REKEY_NOISE_BYTES_MIN) return false;
    if (this.noiseLength > REKEY_NOISE_BYTES_MAX) return false;
    this.noiseAt = cursor.take(this.noiseLength);
    this.message = message;
    this.sessionId = wordBigAt(this.bytes, idsAt);
    this.answers = wordBigAt(this.bytes, idsAt + SESSION_ID_BYTES);
    if (cursor.failed || this.sessionId === 0) return false;
    return (this.answers === 0) === (message === 1);
  }
}

// --- PATH_CHALLENGE, PATH_RESPONSE ---------------------------------------------------------------

/** Writes a challenge, or the answer to one; `data`: 8 bytes. Returns the offset behind it. */
export function putPath(
  into: Uint8Array,
  at: number,
  frame: typeof FRAME.pathChallenge | typeof FRAME.pathResponse,
  data: Uint8Array,
): number {
  into[at] = frame;
  return putBytes(into, at + 1, data, 0, PATH_DATA_BYTES);
}

/** A PATH_CHALLENGE or PATH_RESPONSE as it was read. */
export class PathFrame {
  bytes: Uint8Array = new Uint8Array(0);
  dataAt = 0;

  read(cursor: FrameCursor): boolean {
    this.bytes = cursor.bytes;
    this.dataAt = cursor.take(PATH_DATA_BYTES);
    return !cursor.failed;
  }
}

// --- CLOSE ---------------------------------------------------------------------------------------

/** Bytes of a CLOSE frame. */
export const closeBytes = (reason: number): number => 1 + varintBytes(reason);

/** Writes a CLOSE frame; returns the offset behind it. */
export function putClose(into: Uint8Array, at: number, reason: number): number {
  into[at] = FRAME.close;
  return putVarint(into, at + 1, reason);
}

/** A CLOSE as it was read; its reason may be one that we do not know. */
export class CloseFrame {
  reason = 0;

  read(cursor: FrameCursor): boolean {
    this.reason = cursor.varint();
    return !cursor.failed;
  }
}

// --- KEYS ----------------------------------------------------------------------------------------

/** A key of a peer's ring, by its id: 8 bytes. */
export interface RingKey {
  readonly role: KeyRole;
  readonly id: Uint8Array;
}

/** Bytes of a KEYS frame. */
export const keysBytes = (count: number): number => 2 + count * (1 + KEY_ID_BYTES);

/** Writes a KEYS frame of 1 to 3 keys; returns the offset behind it. */
export function putKeys(into: Uint8Array, at: number, keys: readonly RingKey[]): number {
  assert(keys.length >= 1 && keys.length <= KEYS_MAX, "a ring has one to three keys");
  into[at] = FRAME.keys;
  into[at + 1] = keys.length;
  let to = at + 2;
  for (const { role, id } of keys) {
    into[to] = role + 1;
    to = putBytes(into, to + 1, id, 0, KEY_ID_BYTES);
  }
  return to;
}

/** A KEYS as it was read: stands before the first key. Every key was checked. */
export class KeysFrame {
  bytes: Uint8Array = new Uint8Array(0);
  count = 0;
  /** Of the key at the cursor. */
  role: KeyRole = KEY_ROLE.current;
  keyIdAt = 0;
  readonly #rest = new FrameCursor();
  #left = 0;

  /** Reads the frame behind its type; false when it has a fault. */
  read(cursor: FrameCursor): boolean {
    this.bytes = cursor.bytes;
    this.count = cursor.varint();
    if (this.count < 1 || this.count > KEYS_MAX) return false;
    this.#rest.follow(cursor);
    this.#left = this.count;
    for (let i = 0; i < this.count; i++) {
      if (roleOf(cursor.byte()) === undefined) return false;
      cursor.take(KEY_ID_BYTES);
    }
    return !cursor.failed;
  }

  /** Moves to the next key; false when there is none. */
  next(): boolean {
    if (this.#left === 0) return false;
    this.#left -= 1;
    this.role = roleOf(this.#rest.byte()) ?? KEY_ROLE.current;
    this.keyIdAt = this.#rest.take(KEY_ID_BYTES);
    return true;
  }
}

function roleOf(byte: number): KeyRole | undefined {
  switch (byte) {
    case KEY_ROLE.current + 1:
      return KEY_ROLE.current;
    case KEY_ROLE.next + 1:
      return KEY_ROLE.next;
    case KEY_ROLE.previous + 1:
      return KEY_ROLE.previous;
    default:
      return undefined;
  }
}
