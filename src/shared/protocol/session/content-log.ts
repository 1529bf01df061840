// What each packet under way carried, so that a lost one is repaired by what was in it and not by
// sending it again: items of four words in one ring, a packet's items together behind a header.
// `begin`, `add` for each item, `end` gives the handle that the packet is remembered with.

import { assert } from "../../base/assert.js";
import { NO_CONTENT } from "../transport/sent-packets.js";

/** What a packet can carry that is worth repairing. */
export const CONTENT = {
  /** a = ticket of the message, b = offset, c = length. */
  piece: 1,
  /** a = position in the receipt queue, b = how many. */
  receipts: 2,
  /** a = position in the refusal queue. */
  refusal: 3,
  settled: 4,
  /** a = token of the transfer, b = 1 when it said that the rest was dropped. */
  have: 5,
  credit: 6,
  /** a = type of the handshake message, b = session id. */
  rekey: 7,
  challenge: 8,
  keys: 9,
} as const;
export type Content = (typeof CONTENT)[keyof typeof CONTENT];

export interface ContentReader {
  item(content: Content, a: number, b: number, c: number): void;
}

const WORDS = 4;
const ITEMS_INITIAL = 256;
/** Items of all packets under way at most, beyond which a packet is closed to more. */
export const CONTENT_ITEMS_MAX = 2 ** 20;

export class ContentLog {
  /** Header: how many items, 1 once given back. Item: kind, a, b, c. */
  #words = new Uint32Array(ITEMS_INITIAL * WORDS);
  /** Positions count up and wrap with 2^32; the ring is a power of two. */
  #mask = ITEMS_INITIAL - 1;
  #head = 0;
  #tail = 0;
  #open = NO_CONTENT;
  #items = 0;

  /** Entries in use. */
  get size(): number {
    return (this.#tail - this.#head) >>> 0;
  }

  begin(): void {
    assert(this.#open === NO_CONTENT, "one packet is written at a time");
    this.#open = this.#push(0, 0, 0, 0);
    this.#items = 0;
  }

  /** False when the log is full: the packet takes no more. */
  add(content: Content, a: number, b: number, c: number): boolean {
    assert(this.#open !== NO_CONTENT, "items belong to a packet");
    if (this.size >= CONTENT_ITEMS_MAX) return false;
    this.#push(content, a, b, c);
    this.#items += 1;
    return true;
  }

  /** Handle of the packet's items; NO_CONTENT without any. */
  end(): number {
    const handle = this.#open;
    assert(handle !== NO_CONTENT, "a packet ends once");
    this.#open = NO_CONTENT;
    if (this.#items === 0) {
      this.#tail = handle;
      return NO_CONTENT;
    }
    this.#words[this.#at(handle)] = this.#items;
    return handle;
  }

  /** Reads the items of a packet and gives them back: it was acknowledged, or it is lost. */
  take(handle: number, reader: ContentReader): void {
    if (handle === NO_CONTENT) return;
    const header = this.#at(handle);
    const items = this.#words[header] as number;
    assert(this.#words[header + 1] === 0, "the items of a packet are taken once");
    this.#words[header + 1] = 1;
    for (let i = 1; i <= items; i++) {
      const at = this.#at(handle + i);
      const words = this.#words;
      reader.item(
        words[at] as Content,
        words[at + 1] as number,
        words[at + 2] as number,
        words[at + 3] as number,
      );
    }
    this.#advance();
  }

  #advance(): void {
    while (this.#head !== this.#tail && this.#head !== this.#open) {
      const at = this.#at(this.#head);
      if (this.#words[at + 1] === 0) return;
      this.#head = (this.#head + 1 + (this.#words[at] as number)) >>> 0;
    }
  }

  #at(position: number): number {
    return (position & this.#mask) * WORDS;
  }

  #push(kind: number, a: number, b: number, c: number): number {
    if (this.size > this.#mask) this.#grow();
    const position = this.#tail;
    const at = this.#at(position);
    this.#words[at] = kind;
    this.#words[at + 1] = a;
    this.#words[at + 2] = b;
    this.#words[at + 3] = c;
    this.#tail = (position + 1) >>> 0;
    return position;
  }

  #grow(): void {
    const old = this.#words;
    const oldMask = this.#mask;
    this.#mask = (oldMask + 1) * 2 - 1;
    this.#words = new Uint32Array((this.#mask + 1) * WORDS);
    for (let at = this.#head; at !== this.#tail; at = (at + 1) >>> 0) {
      const from = (at & oldMask) * WORDS;
      this.#words.set(old.subarray(from, from + WORDS), this.#at(at));
    }
  }
}
