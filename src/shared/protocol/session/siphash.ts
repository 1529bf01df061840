// SipHash-2-4 in halves of 32 bits: masks packet counters and makes the hints of handshakes. One
// object holds a key and the last result, so a packet costs no allocation. Source: Aumasson and
// Bernstein, "SipHash: a fast short-input PRF", section 2.

import { assert } from "../../base/assert.js";
import { wordAt } from "../keyed-hash.js";
import { putWordLittle } from "./byte-order.js";

export const SIPHASH_KEY_BYTES = 16;
export const SIPHASH_BYTES = 8;

/** Rounds behind each block, and behind the last one. */
const ROUNDS_FINAL = 4;

/** SipHash-2-4 under one key; `low` and `high` are the halves of the last hash, u32. */
export class SipHash {
  low = 0;
  high = 0;
  /** The key as little-endian words. */
  readonly #key = new Uint32Array(4);

  /** Copies the key: 16 bytes. */
  constructor(key: Uint8Array) {
    assert(key.length === SIPHASH_KEY_BYTES, "a SipHash key has 16 bytes");
    for (let i = 0; i < 4; i++) this.#key[i] = wordAt(key, i * 4);
  }

  /** Hashes `bytes[at .. at + length)` into `low` and `high`. */
  hash(bytes: Uint8Array, at: number, length: number): void {
    const key = this.#key;
    let v0l = key[0] ^ 0x70736575;
    let v0h = key[1] ^ 0x736f6d65;
    let v1l = key[2] ^ 0x6e646f6d;
    let v1h = key[3] ^ 0x646f7261;
    let v2l = key[0] ^ 0x6e657261;
    let v2h = key[1] ^ 0x6c796765;
    let v3l = key[2] ^ 0x79746573;
    let v3h = key[3] ^ 0x74656462;
    const end = at + length;
    // Two rounds a block; the last block holds what is left of the input, and its length on top.
    const roundsOfBlocks = ((length >>> 3) + 1) * 2;
    let low = 0;
    let high = 0;
    for (let round = 0; round < roundsOfBlocks + ROUNDS_FINAL; round++) {
      if (round === roundsOfBlocks) v2l ^= 0xff;
      else if (round < roundsOfBlocks && (round & 1) === 0) {
        const from = at + round * 4;
        low = from + 4 <= end ? wordAt(bytes, from) : partialWord(bytes, from, end);
        high = from + 8 <= end ? wordAt(bytes, from + 4) : partialWord(bytes, from + 4, end);
        if (round === roundsOfBlocks - 2) high |= length << 24;
        v3l ^= low;
        v3h ^= high;
      }

      v0l = (v0l + v1l) | 0;
      v0h = (v0h + v1h + (v0l >>> 0 < v1l >>> 0 ? 1 : 0)) | 0;
      let carried = v1l;
      v1l = ((v1l << 13) | (v1h >>> 19)) ^ v0l;
      v1h = ((v1h << 13) | (carried >>> 19)) ^ v0h;
      v2l = (v2l + v3l) | 0;
      v2h = (v2h + v3h + (v2l >>> 0 < v3l >>> 0 ? 1 : 0)) | 0;
      carried = v3l;
      v3l = ((v3l << 16) | (v3h >>> 16)) ^ v2l;
      v3h = ((v3h << 16) | (carried >>> 16)) ^ v2h;
      // v0 was not turned by 32 bits yet: its halves have changed places from here on.
      carried = v0l;
      v0l = (v0h + v3l) | 0;
      v0h = (carried + v3h + (v0l >>> 0 < v3l >>> 0 ? 1 : 0)) | 0;
      carried = v3l;
      v3l = ((v3l << 21) | (v3h >>> 11)) ^ v0l;
      v3h = ((v3h << 21) | (carried >>> 11)) ^ v0h;
      v2l = (v2l + v1l) | 0;
      v2h = (v2h + v1h + (v2l >>> 0 < v1l >>> 0 ? 1 : 0)) | 0;
      carried = v1l;
      v1l = ((v1l << 17) | (v1h >>> 15)) ^ v2l;
      v1h = ((v1h << 17) | (carried >>> 15)) ^ v2h;
      carried = v2l;
      v2l = v2h;
      v2h = carried;

      if (round < roundsOfBlocks && (round & 1) === 1) {
        v0l ^= low;
        v0h ^= high;
      }
    }
    this.low = (v0l ^ v1l ^ v2l ^ v3l) >>> 0;
    this.high = (v0h ^ v1h ^ v2h ^ v3h) >>> 0;
  }

  /** Writes the last hash as 8 bytes, little-endian, as the reference code does. */
  write(into: Uint8Array, at: number): void {
    putWordLittle(into, at, this.low);
    putWordLittle(into, at + 4, this.high);
  }

  /** Whether `bytes[at .. at + 8)` is the last hash. */
  equals(bytes: Uint8Array, at: number): boolean {
    return wordAt(bytes, at) === this.low && wordAt(bytes, at + 4) === this.high;
  }

  /** Overwrites the key: every hash from here on is worthless. */
  wipe(): void {
    this.#key.fill(0);
  }
}

/** The little-endian word of the bytes that are left from `from` on: 0 to 3 of them. */
function partialWord(bytes: Uint8Array, from: number, end: number): number {
  let word = 0;
  for (let i = from; i < end && i < from + 4; i++) word |= bytes[i] << (8 * (i - from));
  return word;
}
