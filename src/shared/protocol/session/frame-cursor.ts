// A place in the frames of a packet. Reading past the end, or a number above 2^53 - 1, marks the
// cursor as failed and leaves nothing to read: a decoder reads all its fields, then asks once.

import { varintAt, varintBytesFrom } from "./varint.js";

const NO_BYTES = new Uint8Array(0);

export class FrameCursor {
  bytes: Uint8Array = NO_BYTES;
  at = 0;
  end = 0;
  failed = false;

  /** Begins at `bytes[at .. at + length)`, which belongs to the caller. */
  open(bytes: Uint8Array, at: number, length: number): void {
    this.bytes = bytes;
    this.at = at;
    this.end = at + length;
    this.failed = false;
  }

  /** Begins where another one stands. */
  follow(other: FrameCursor): void {
    this.bytes = other.bytes;
    this.at = other.at;
    this.end = other.end;
    this.failed = other.failed;
  }

  /** The next byte; -1 behind a failure. */
  byte(): number {
    if (this.at < this.end) return this.bytes[this.at++];
    return this.#fail();
  }

  /** The next varint, 0 to 2^53 - 1; -1 behind a failure. */
  varint(): number {
    const value = varintAt(this.bytes, this.at, this.end);
    if (value < 0) return this.#fail();
    this.at += varintBytesFrom(this.bytes[this.at]);
    return value;
  }

  /** Takes the next bytes where they lie; their offset, or -1 behind a failure. */
  take(count: number): number {
    const { at } = this;
    if (count < 0 || count > this.end - at) return this.#fail();
    this.at = at + count;
    return at;
  }

  #fail(): -1 {
    this.failed = true;
    this.at = this.end;
    return -1;
  }
}
