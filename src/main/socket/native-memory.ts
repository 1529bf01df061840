// Memory that system calls read and write: one ArrayBuffer of our own, never transferred, so it stays
// where it is for as long as this object is reachable. Whoever writes its address somewhere, or has a
// call in flight on it, holds the object in a field or in the callback of the call.

import { assert } from "../../shared/base/assert.js";
import type { Libc } from "./libc.js";

const TWO_32 = 2 ** 32;
const ALIGNMENT_BYTES = 8;

export class NativeMemory {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Uint32Array<ArrayBuffer>;
  /** Where it begins. */
  readonly at: number;

  constructor(libc: Pick<Libc, "addressOf">, length: number) {
    assert(length % ALIGNMENT_BYTES === 0, "structures are aligned, and so is their end");
    // A small typed array made in any other way begins its life inside the heap, where things move.
    const memory = new ArrayBuffer(length);
    this.bytes = new Uint8Array(memory);
    this.words = new Uint32Array(memory);
    this.at = libc.addressOf(this.bytes);
    assert(this.at % ALIGNMENT_BYTES === 0, "structures are aligned");
  }

  /** Writes a u64, an address or a length, at a word. */
  putLong(word: number, value: number): void {
    this.words[word] = value >>> 0;
    this.words[word + 1] = value / TWO_32;
  }

  getShort(at: number): number {
    return this.bytes[at] | (this.bytes[at + 1] << 8);
  }

  putShort(at: number, value: number): void {
    this.bytes[at] = value;
    this.bytes[at + 1] = value >>> 8;
  }
}
