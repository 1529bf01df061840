// A session packet around its frames (docs/PROTOCOL.md section 18): header, nonce, and the mask over
// the counter, all in place. The counter stays clear until the worker has sealed, since it is part of
// the AAD and the mask needs the tag; on the way in it is unmasked before anything else is looked at.
//
//   offset bytes  name        meaning
//    0      4     session id  the receiver's, big-endian
//    4      8     counter     big-endian, XOR SipHash-2-4(header key, tag) as a number of 64 bits
//   12      n     frames      sealed; AAD: offsets 0 to 11 with the clear counter
//   12 + n  16    tag

import { assert } from "../../base/assert.js";
import { TAG_BYTES } from "../constants.js";
import { putWordBig, putWordLittle, wordBigAt } from "./byte-order.js";
import { SipHash } from "./siphash.js";

export const SESSION_ID_BYTES = 4;
export const COUNTER_BYTES = 8;
/** Session id and counter, bytes: with the clear counter they are the AAD. */
export const PACKET_HEADER_BYTES = SESSION_ID_BYTES + COUNTER_BYTES;
/** What a packet adds to its frames, bytes. */
export const PACKET_OVERHEAD_BYTES = PACKET_HEADER_BYTES + TAG_BYTES;
/** Shortest packet: one byte of frames. */
export const PACKET_BYTES_MIN = PACKET_OVERHEAD_BYTES + 1;
/** Counters behind the newest that may still come, itself included. Source: section 18. */
export const WINDOW_COUNTERS = 8_128;
/** Counters that a packet may be ahead of the newest: what forgeries fail at. Source: section 18. */
export const AHEAD_COUNTERS_MAX = 2 ** 20;
/** Packets of a session and direction at most: at this many it is rekeyed. Source: section 17. */
export const SESSION_PACKETS_MAX = 2 ** 47;

const WORD = 2 ** 32;
/** High word of a counter that no double holds exactly. */
const HIGH_WORD_LIMIT = 2 ** 21;

assert(
  SESSION_PACKETS_MAX + AHEAD_COUNTERS_MAX < 2 ** 53,
  "accepted counters are exact as doubles",
);

/** Words of a counter below 2^53. */
export const counterHigh = (counter: number): number => Math.floor(counter / WORD);
export const counterLow = (counter: number): number => counter >>> 0;

/** Session id of a datagram of 4 bytes or more: a u32. */
export const sessionIdAt = (bytes: Uint8Array, at: number): number => wordBigAt(bytes, at);

/** Writes session id and clear counter, {@link PACKET_HEADER_BYTES}: the AAD as it stands. */
export function putPacketHeader(
  into: Uint8Array,
  at: number,
  sessionId: number,
  high: number,
  low: number,
): void {
  putWordBig(into, at, sessionId);
  putCounter(into, at, high, low);
}

/** Writes the counter into a packet that begins at `at`: clear, for a copy that is to be opened. */
export function putCounter(into: Uint8Array, at: number, high: number, low: number): void {
  putWordBig(into, at + SESSION_ID_BYTES, high);
  putWordBig(into, at + SESSION_ID_BYTES + 4, low);
}

/** Writes the nonce of a counter, 12 bytes: 4 zero bytes, then the counter little-endian. */
export function putPacketNonce(into: Uint8Array, at: number, high: number, low: number): void {
  putWordLittle(into, at, 0);
  putWordLittle(into, at + 4, low);
  putWordLittle(into, at + 8, high);
}

/**
 * Whether a counter as it came, two u32, is worth a look at the window: newest - WINDOW < c <=
 * newest + 2^20 without any wrap. `newest`: largest counter opened in the session, -1 before the
 * first. Whatever passes is below 2^53: {@link CounterMask.counter} is exact.
 */
export function counterInRange(newest: number, high: number, low: number): boolean {
  if (high >= HIGH_WORD_LIMIT) return false;
  const counter = high * WORD + low;
  return counter > newest
    ? counter - newest <= AHEAD_COUNTERS_MAX
    : newest - counter < WINDOW_COUNTERS;
}

/** The mask over the counters of one direction of a session; `high` and `low`: the last one read. */
export class CounterMask {
  high = 0;
  low = 0;
  readonly #hash: SipHash;

  /** Copies the header key, 16 bytes. */
  constructor(headerKey: Uint8Array) {
    this.#hash = new SipHash(headerKey);
  }

  /** The last counter read, exact once {@link counterInRange} holds. */
  get counter(): number {
    return this.high * WORD + this.low;
  }

  /** Masks the counter of a sealed packet, `bytes[at .. at + length)`, in place. */
  mask(bytes: Uint8Array, at: number, length: number): void {
    this.read(bytes, at, length);
    putCounter(bytes, at, this.high, this.low);
  }

  /** Reads the counter of a packet as it came; the packet, {@link PACKET_BYTES_MIN} or more, stays. */
  read(bytes: Uint8Array, at: number, length: number): void {
    this.#hash.hash(bytes, at + length - TAG_BYTES, TAG_BYTES);
    this.high = (wordBigAt(bytes, at + SESSION_ID_BYTES) ^ this.#hash.high) >>> 0;
    this.low = (wordBigAt(bytes, at + SESSION_ID_BYTES + 4) ^ this.#hash.low) >>> 0;
  }

  /** Overwrites the key: the session is over. */
  wipe(): void {
    this.#hash.wipe();
  }
}
