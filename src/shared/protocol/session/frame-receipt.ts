// What becomes of messages: RECEIPT (committed), REFUSE, SETTLED. The digest8 of a message is the
// first 8 bytes of its digest, handled as two little-endian words.
//
//   RECEIPT  type 0x04 | boot 8 | count v (1 to 64) | number v | digest8 8 | count - 1 times: step v, digest8 8
//   REFUSE   type 0x05 | boot 8 | number v | digest8 8 | reason 1 | delay v, seconds
//   SETTLED  type 0x06 | below v

import { assert } from "../../base/assert.js";
import { putBytes, putWordLittle, signedWordAt } from "./byte-order.js";
import { FrameCursor } from "./frame-cursor.js";
import { FRAME } from "./frame-type.js";
import { BOOT_ID_BYTES, DIGEST_RECEIPT_BYTES, RECEIPTS_PER_FRAME_MAX } from "./limits.js";
import { isPermanent } from "./reasons.js";
import { putVarint, varintBytes } from "./varint.js";

/** The largest count that takes one byte. */
const COUNT_SHORT_MAX = 63;
const HEAD_BYTES = 1 + BOOT_ID_BYTES + 1;

/** Writes one RECEIPT frame, entry by entry, as far as there is room. Reused for every frame. */
export class ReceiptWriter {
  #into: Uint8Array = new Uint8Array(0);
  #at = 0;
  #to = 0;
  #end = 0;
  #count = 0;
  #previous = 0;

  /** Begins a frame at `at`, to end before `end`. `boot`: 8 bytes, of the messages' sender. */
  open(into: Uint8Array, at: number, end: number, boot: Uint8Array): void {
    this.#into = into;
    this.#at = at;
    this.#to = at + HEAD_BYTES;
    this.#end = end;
    this.#count = 0;
    this.#previous = 0;
    if (this.#to > end) return;
    into[at] = FRAME.receipt;
    putBytes(into, at + 1, boot, 0, BOOT_ID_BYTES);
  }

  /** Entries so far. */
  get count(): number {
    return this.#count;
  }

  /**
   * Adds a receipt; false when the frame takes no more, or not this one: the numbers of a frame rise.
   */
  add(number: number, digestLow: number, digestHigh: number): boolean {
    if (this.#count === RECEIPTS_PER_FRAME_MAX || number <= this.#previous) return false;
    const step = number - this.#previous;
    // The count takes a second byte with the entry that makes it need one.
    const wider = this.#count === COUNT_SHORT_MAX ? 1 : 0;
    const bytes = varintBytes(step) + DIGEST_RECEIPT_BYTES + wider;
    if (this.#to + bytes > this.#end) return false;
    if (wider === 1) {
      const entriesAt = this.#at + HEAD_BYTES;
      this.#into.copyWithin(entriesAt + 1, entriesAt, this.#to);
      this.#to += 1;
    }
    this.#to = putVarint(this.#into, this.#to, step);
    putWordLittle(this.#into, this.#to, digestLow);
    putWordLittle(this.#into, this.#to + 4, digestHigh);
    this.#to += DIGEST_RECEIPT_BYTES;
    this.#count += 1;
    this.#previous = number;
    return true;
  }

  /** Completes the frame; returns the offset behind it, or where it began when it has no entry. */
  close(): number {
    if (this.#count === 0) return this.#at;
    putVarint(this.#into, this.#at + HEAD_BYTES - 1, this.#count);
    return this.#to;
  }
}

/** A RECEIPT as it was read: stands before the first entry. Every entry was checked. */
export class ReceiptFrame {
  bytes: Uint8Array = new Uint8Array(0);
  /** 8 bytes: the boot in which the messages were numbered. */
  bootAt = 0;
  count = 0;
  /** Of the entry at the cursor. */
  number = 0;
  digestLow = 0;
  digestHigh = 0;
  readonly #rest = new FrameCursor();
  #left = 0;

  /** Reads the frame behind its type; false when it has a fault. */
  read(cursor: FrameCursor): boolean {
    this.bytes = cursor.bytes;
    this.bootAt = cursor.take(BOOT_ID_BYTES);
    this.count = cursor.varint();
    if (this.count < 1 || this.count > RECEIPTS_PER_FRAME_MAX) return false;
    this.#rest.follow(cursor);
    this.#left = this.count;
    this.number = 0;
    let number = 0;
    for (let i = 0; i < this.count; i++) {
      const step = cursor.varint();
      cursor.take(DIGEST_RECEIPT_BYTES);
      // The first is a step from 0: a number is 1 and up, as is a step.
      if (cursor.failed || step < 1 || step > Number.MAX_SAFE_INTEGER - number) return false;
      number += step;
    }
    return true;
  }

  /** Moves to the next entry; false when there is none. */
  next(): boolean {
    if (this.#left === 0) return false;
    this.#left -= 1;
    this.number += this.#rest.varint();
    const at = this.#rest.take(DIGEST_RECEIPT_BYTES);
    this.digestLow = signedWordAt(this.bytes, at);
    this.digestHigh = signedWordAt(this.bytes, at + 4);
    return true;
  }
}

/** Bytes of a REFUSE frame. */
export const refuseBytes = (number: number, delaySeconds: number): number =>
  2 + BOOT_ID_BYTES + DIGEST_RECEIPT_BYTES + varintBytes(number) + varintBytes(delaySeconds);

/** Writes a REFUSE frame; returns the offset behind it. `delaySeconds` is 0 for a permanent reason. */
export function putRefuse(
  into: Uint8Array,
  at: number,
  boot: Uint8Array,
  number: number,
  digestLow: number,
  digestHigh: number,
  reason: number,
  delaySeconds: number,
): number {
  assert(delaySeconds === 0 || !isPermanent(reason), "what is refused for good has no delay");
  into[at] = FRAME.refuse;
  let to = putVarint(into, putBytes(into, at + 1, boot, 0, BOOT_ID_BYTES), number);
  putWordLittle(into, to, digestLow);
  putWordLittle(into, to + 4, digestHigh);
  to += DIGEST_RECEIPT_BYTES;
  into[to] = reason;
  return putVarint(into, to + 1, delaySeconds);
}

/** A REFUSE as it was read. */
export class RefuseFrame {
  bytes: Uint8Array = new Uint8Array(0);
  bootAt = 0;
  number = 0;
  digestLow = 0;
  digestHigh = 0;
  reason = 0;
  delaySeconds = 0;

  read(cursor: FrameCursor): boolean {
    this.bytes = cursor.bytes;
    this.bootAt = cursor.take(BOOT_ID_BYTES);
    this.number = cursor.varint();
    const digestAt = cursor.take(DIGEST_RECEIPT_BYTES);
    this.reason = cursor.byte();
    this.delaySeconds = cursor.varint();
    if (cursor.failed || this.number < 1) return false;
    this.digestLow = signedWordAt(this.bytes, digestAt);
    this.digestHigh = signedWordAt(this.bytes, digestAt + 4);
    return this.delaySeconds === 0 || !isPermanent(this.reason);
  }
}

/** Bytes of a SETTLED frame. */
export const settledBytes = (below: number): number => 1 + varintBytes(below);

/** Writes a SETTLED frame; returns the offset behind it. */
export function putSettled(into: Uint8Array, at: number, below: number): number {
  into[at] = FRAME.settled;
  return putVarint(into, at + 1, below);
}

/** A SETTLED as it was read. */
export class SettledFrame {
  below = 0;

  read(cursor: FrameCursor): boolean {
    this.below = cursor.varint();
    return !cursor.failed;
  }
}
