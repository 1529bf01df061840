// Messages that come in several pieces and are small enough for memory. A message reserves its total
// with its first piece, so what an authenticated peer can make us hold is bounded before it is held.
// Memory is taken for what came: pieces are kept as they are until the last one is there.

import { MESSAGE_ID_BYTES } from "../constants.js";
import { DIGEST_PIECE_BYTES, REASSEMBLY_BYTES_MAX } from "./limits.js";
import { MESSAGE_FLAG } from "./message-digest.js";
import type { MessageFrame } from "./message-frame.js";
import { NumberRanges } from "./number-ranges.js";

/** Where the parts of a message lie that has memory of its own: ids, then payload. */
export const REPLY_OFFSET_BYTES = MESSAGE_ID_BYTES;
export const PAYLOAD_OFFSET_BYTES = 2 * MESSAGE_ID_BYTES;
/** Gaps that pieces of one message may leave; more is a peer that plays games. */
const GAPS_MAX = 512;
/** What a message that has begun takes beside its bytes. Source: measured, with one piece. */
const PARTIAL_BYTES = 1_024;
/** A peer may have so many times what is free, so that a few do not take it all. As in lane-shares.ts. */
const FREE_TIMES = 7;

/** What all peers together may hold in memory. */
export class ReassemblyBudget {
  readonly #bytesMax: number;
  #bytes = 0;
  #peak = 0;

  constructor(bytesMax: number = REASSEMBLY_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }
  get bytes(): number {
    return this.#bytes;
  }
  /** The most that was held at once. */
  get peak(): number {
    return this.#peak;
  }
  get free(): number {
    return this.#bytesMax - this.#bytes;
  }
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#bytesMax) return false;
    this.#bytes += bytes;
    if (this.#bytes > this.#peak) this.#peak = this.#bytes;
    return true;
  }
  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/** One message in pieces. */
export class Partial {
  readonly total: number;
  readonly flags: number;
  readonly digest16: Uint8Array;
  /** Message id, id replied to, payload. Grows to `total` as pieces come, at least doubling: little is held for little that came. */
  #bytes: Uint8Array;
  readonly #come = new NumberRanges(GAPS_MAX);

  constructor(frame: MessageFrame) {
    this.total = frame.total;
    this.flags = frame.messageFlags;
    this.digest16 = frame.bytes.slice(frame.digest16At, frame.digest16At + DIGEST_PIECE_BYTES);
    this.#bytes = new Uint8Array(PAYLOAD_OFFSET_BYTES + Math.min(this.total, 4_096));
    idsInto(frame, this.#bytes);
  }

  /** Whether a piece says the same of its message as the first one did. */
  fits(frame: MessageFrame): boolean {
    return (
      this.isOf(frame) && same(this.digest16, 0, frame.bytes, frame.digest16At, DIGEST_PIECE_BYTES)
    );
  }

  /** The same of a message that comes in one, which says no digest. */
  isOf(frame: MessageFrame): boolean {
    return (
      frame.total === this.total &&
      frame.messageFlags === this.flags &&
      same(this.#bytes, 0, frame.bytes, frame.messageIdAt, MESSAGE_ID_BYTES)
    );
  }

  /** Takes a piece; what came first stays. False: more gaps than an honest sender leaves. */
  add(frame: MessageFrame): boolean {
    const end = frame.offset + frame.length;
    if (PAYLOAD_OFFSET_BYTES + end > this.#bytes.length) {
      const bytes = Math.min(this.total, Math.max(end, this.#bytes.length * 2));
      const grown = new Uint8Array(PAYLOAD_OFFSET_BYTES + bytes);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    let from = this.#come.firstMissing(frame.offset);
    while (from < end) {
      const to = Math.min(end, this.#come.firstPresent(from));
      const at = frame.dataAt + from - frame.offset;
      this.#bytes.set(frame.bytes.subarray(at, at + to - from), PAYLOAD_OFFSET_BYTES + from);
      from = this.#come.firstMissing(to);
    }
    return this.#come.addRange(frame.offset, end);
  }

  get complete(): boolean {
    return this.#come.covers(0, this.total);
  }
  /** Ids and payload; the caller asked whether it is complete. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }
}

/** Partial messages of one peer, by number. */
export class Reassembly {
  readonly #budget: ReassemblyBudget;
  readonly #partials = new Map<number, Partial>();
  #bytes = 0;
  /** What of the budget is taken. */
  #takenBytes = 0;

  constructor(budget: ReassemblyBudget) {
    this.#budget = budget;
  }

  get size(): number {
    return this.#partials.size;
  }
  /** What is reserved for them. */
  get bytes(): number {
    return this.#bytes;
  }
  of(number: number): Partial | undefined {
    return this.#partials.get(number);
  }

  /** A message begins with this piece; undefined when there is no room for it. */
  begin(frame: MessageFrame): Partial | undefined {
    const bytes = frame.total + PARTIAL_BYTES;
    if (this.#takenBytes > FREE_TIMES * this.#budget.free) return undefined;
    if (!this.#budget.take(bytes)) return undefined;
    this.#takenBytes += bytes;
    const partial = new Partial(frame);
    this.#partials.set(frame.number, partial);
    this.#bytes += partial.total;
    return partial;
  }

  end(number: number): void {
    const partial = this.#partials.get(number);
    if (partial === undefined) return;
    this.#partials.delete(number);
    this.#bytes -= partial.total;
    this.#takenBytes -= partial.total + PARTIAL_BYTES;
    this.#budget.giveBack(partial.total + PARTIAL_BYTES);
  }

  numbers(): readonly number[] {
    return [...this.#partials.keys()];
  }

  clear(): void {
    for (const number of this.numbers()) this.end(number);
  }
}

/** The two ids of a message in front of its payload. */
export function idsInto(frame: MessageFrame, bytes: Uint8Array): void {
  for (let i = 0; i < MESSAGE_ID_BYTES; i++) {
    bytes[i] = frame.bytes[frame.messageIdAt + i] as number;
  }
  if ((frame.messageFlags & MESSAGE_FLAG.reply) === 0) return;
  for (let i = 0; i < MESSAGE_ID_BYTES; i++) {
    bytes[REPLY_OFFSET_BYTES + i] = frame.bytes[frame.inReplyToAt + i] as number;
  }
}

function same(
  bytes: Uint8Array,
  at: number,
  other: Uint8Array,
  otherAt: number,
  length: number,
): boolean {
  for (let i = 0; i < length; i++) if (bytes[at + i] !== other[otherAt + i]) return false;
  return true;
}
