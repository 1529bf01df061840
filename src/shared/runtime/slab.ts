// The hot unit: one piece of shared memory with a job table and the packets behind it. Main fills it,
// tells a crypto worker its number, hears the number again, and finds outcomes in the table. Only one
// side touches it at a time; the posts order their accesses. Shared, not transferred: to move an
// ArrayBuffer there and back costs main 12 us whatever is in it, a number 8. Source: bench/channel.
//
//   word 0: entries in use    word 1: bytes in use    then SLAB_ENTRIES_MAX entries of ENTRY_WORDS:
//   0 code    1 offset of the datagram, = 4 mod 8    2 length: body to seal, datagram to open, body opened
//   3 ring    4 other ring to try (open)             5, 6 stamp low, high    7 tag
//   8 length of the datagram    9..11 message id, once opened
// An opened entry has its digest DIGEST_BYTES long at the first multiple of 4 behind the datagram.

import { assert } from "../base/assert.js";
import { ENVELOPE_OVERHEAD_BYTES, NONCE_BYTES, STAMP_BYTES } from "../protocol/constants.js";
import { DIGEST_BYTES } from "./inbound-batch.js";

/** What main asks for, and what the worker answers, in the code word of an entry. */
export const JOB = { seal: 1, open: 2 } as const;
export const OUTCOME = {
  sealed: 17,
  message: 18,
  ack: 19,
  notAuthentic: 32,
  notObject: 33,
  hostile: 34,
  noMessageId: 35,
  /** A seal job whose ring has no key in this worker. */
  keyless: 36,
} as const;

/** Packets of one slab at most. Source: ours; bench/channel: the hop costs main 0.26 us each at 32, 0.06 at 128. */
export const SLAB_ENTRIES_MAX = 128;
/** Memory of one slab, bytes: three datagrams of the largest size, or 128 of 1,900 bytes. */
export const SLAB_BYTES = 256 * 1_024;
const HEADER_WORDS = 2;
const ENTRY_WORDS = 12;
const DATA_AT = (HEADER_WORDS + SLAB_ENTRIES_MAX * ENTRY_WORDS) * 4;
/** Bodies begin here behind the start of their datagram. */
export const BODY_OFFSET_BYTES = NONCE_BYTES + STAMP_BYTES;

assert(DATA_AT % 8 === 0, "the first datagram starts at 4 mod 8, so that bodies are aligned");

/** Views of one slab; each side makes its own, once. */
export class SlabTable {
  readonly memory: SharedArrayBuffer;
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly words: Uint32Array<SharedArrayBuffer>;
  /** End of what may have been written since the last reset: rooms are given back, and shrunk. */
  #writtenTo = 0;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.bytes = new Uint8Array(memory);
    this.words = new Uint32Array(memory);
  }

  /** Memory for one slab, zeroed. */
  static allocate(): SlabTable {
    const table = new SlabTable(new SharedArrayBuffer(SLAB_BYTES));
    table.reset();
    return table;
  }

  get entries(): number {
    return this.words[0] as number;
  }

  /** Empties the slab and zeroes what it held: no old plaintext behind a wrong length. */
  reset(): void {
    const used = Math.max(this.words[1] as number, this.#writtenTo);
    // By words: shared memory is filled element by element, four times dearer by bytes.
    if (used > 0) this.words.fill(0, HEADER_WORDS, (used + 3) >> 2);
    this.words[0] = 0;
    this.words[1] = DATA_AT;
    this.#writtenTo = DATA_AT;
  }

  /** True while a datagram of this length fits. */
  fits(datagramLength: number): boolean {
    if (this.entries >= SLAB_ENTRIES_MAX) return false;
    return (this.words[1] as number) + spanOf(datagramLength) <= SLAB_BYTES;
  }

  /** Adds an entry with room for a datagram; returns its index. */
  add(datagramLength: number): number {
    assert(this.fits(datagramLength), "the caller asked whether it fits");
    const index = this.entries;
    const at = this.words[1] as number;
    this.words[0] = index + 1;
    this.words[1] = at + spanOf(datagramLength);
    const word = wordOf(index);
    this.words[word + 1] = at + 4;
    this.words[word + 8] = datagramLength;
    return index;
  }

  /** Makes the datagram of the last entry shorter than it was added. */
  shrink(index: number, datagramLength: number): void {
    assert(index === this.entries - 1, "only the last entry can give room back");
    const word = wordOf(index);
    assert(datagramLength <= (this.words[word + 8] as number), "a room is only made smaller");
    this.#writtenTo = Math.max(this.#writtenTo, this.words[1] as number);
    this.words[1] = (this.words[word + 1] as number) - 4 + spanOf(datagramLength);
    this.words[word + 8] = datagramLength;
  }

  /** Takes the last entry away again: nothing was written into its words. */
  cancel(index: number): void {
    this.shrink(index, 0);
    this.words[1] = (this.words[wordOf(index) + 1] as number) - 4;
    this.words[0] = index;
  }

  codeOf(index: number): number {
    return this.words[wordOf(index)] as number;
  }
}

/** First word of an entry. */
export const wordOf = (index: number): number => HEADER_WORDS + index * ENTRY_WORDS;
/** Offset of the digest of an opened entry. */
export const digestAt = (datagramAt: number, datagramLength: number): number =>
  (datagramAt + datagramLength + 3) & ~3;

/** Bytes that a datagram takes: 4 in front, room for the digest behind, up to a multiple of 8. */
function spanOf(datagramLength: number): number {
  return (4 + datagramLength + 3 + DIGEST_BYTES + 7) & ~7;
}

/** Length of the datagram around a body. */
export const datagramLengthOf = (bodyLength: number): number =>
  bodyLength + ENVELOPE_OVERHEAD_BYTES;
