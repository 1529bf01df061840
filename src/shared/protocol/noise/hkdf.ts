// HMAC (RFC 2104) and HKDF (RFC 5869) over any hash; Noise's HKDF (rev 34 §4.3) is the same with an
// empty info. Intermediate values live in memory that the caller gives and are wiped by every call.

import { assert } from "../../base/assert.js";
import { type HashFunction, type NoisePrimitives, Stretches } from "./primitives.js";

const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;
const NO_BYTES = new Uint8Array(0);
/** Source: RFC 5869 §2.3. */
const EXPAND_BLOCKS_MAX = 255;

/** An ASCII label or name as bytes. */
export const labelBytes = (label: string): Uint8Array =>
  Uint8Array.from(label, (character) => character.charCodeAt(0));

/** Memory that an {@link Hkdf} over `hash` works in, bytes. */
export const hkdfBytes = (hash: HashFunction): number => hash.blockBytes + 3 * hash.hashBytes;

/** In all methods `into` may be the same memory as a key or an input: it is written last. */
export class Hkdf {
  readonly #hash: HashFunction;
  readonly #wipe: (buffer: Uint8Array) => void;
  readonly #pad: Uint8Array;
  readonly #inner: Uint8Array;
  readonly #extracted: Uint8Array;
  readonly #block: Uint8Array;

  /** `memory`, of {@link hkdfBytes}, belongs to it and holds zeroes between calls. */
  constructor({ hash, wipe }: Pick<NoisePrimitives, "hash" | "wipe">, memory: Uint8Array) {
    const stretches = new Stretches(memory);
    this.#hash = hash;
    this.#wipe = wipe;
    this.#pad = stretches.next(hash.blockBytes);
    this.#inner = stretches.next(hash.hashBytes);
    this.#extracted = stretches.next(hash.hashBytes);
    this.#block = stretches.next(hash.hashBytes);
  }

  /** HMAC of the parts, one after the other. `key` has at most a block, so it is never hashed. */
  hmac(into: Uint8Array, key: Uint8Array, parts: readonly Uint8Array[]): void {
    const pad = this.#pad;
    assert(key.length <= pad.length, "an HMAC key fits a block of its hash");
    pad.fill(INNER_PAD);
    for (let i = 0; i < key.length; i++) pad[i] ^= key[i];
    this.#hash.hash(this.#inner, [pad, ...parts]);
    for (let i = 0; i < pad.length; i++) pad[i] ^= INNER_PAD ^ OUTER_PAD;
    this.#hash.hash(into, [pad, this.#inner]);
    this.#wipe(pad);
    this.#wipe(this.#inner);
  }

  /** HKDF-Expand to the length of `into`: T(n) = HMAC(prk, T(n-1) || info || n). */
  expand(into: Uint8Array, prk: Uint8Array, info: readonly Uint8Array[]): void {
    const block = this.#block;
    const blocks = Math.ceil(into.length / block.length);
    assert(blocks <= EXPAND_BLOCKS_MAX, "HKDF gives at most 255 blocks");
    let before: Uint8Array = NO_BYTES;
    for (let n = 1; n <= blocks; n++) {
      this.hmac(block, prk, [before, ...info, Uint8Array.of(n)]);
      const at = (n - 1) * block.length;
      into.set(block.subarray(0, Math.min(block.length, into.length - at)), at);
      before = block;
    }
    this.#wipe(block);
  }

  /** HKDF-Extract and HKDF-Expand. */
  derive(
    into: Uint8Array,
    salt: Uint8Array,
    keyMaterial: readonly Uint8Array[],
    info: readonly Uint8Array[],
  ): void {
    this.hmac(this.#extracted, salt, keyMaterial);
    this.expand(into, this.#extracted, info);
    this.#wipe(this.#extracted);
  }
}
