// The large messages of one peer that are under way, by message id and by the number they come under.

import { MESSAGE_ID_BYTES } from "../constants.js";
import { LARGE_TRANSFERS_MAX, LargeIn } from "./large-in.js";
import { DIGEST_PIECE_BYTES } from "./limits.js";
import type { MessageFrame } from "./message-frame.js";

/** A spool file that an earlier run left. */
export interface SpoolFound {
  readonly messageId: Uint8Array;
  readonly digest16: Uint8Array;
  readonly total: number;
  readonly ranges: readonly { readonly start: number; readonly end: number }[];
}

export class IncomingFiles {
  readonly #byId = new Map<string, LargeIn>();
  readonly #byNumber = new Map<number, LargeIn>();
  readonly #byToken = new Map<number, LargeIn>();
  /** All of them: looked through for each packet. */
  #all: LargeIn[] = [];
  #token = 0;

  get full(): boolean {
    return this.#all.length >= LARGE_TRANSFERS_MAX;
  }
  get size(): number {
    return this.#all.length;
  }
  all(): readonly LargeIn[] {
    return this.#all;
  }
  /** One that nobody has asked about in this boot of the peer, the oldest. */
  unclaimed(): LargeIn | undefined {
    return this.#all.find(({ number, finishing }) => number === 0 && !finishing);
  }
  ofNumber(number: number): LargeIn | undefined {
    return this.#byNumber.get(number);
  }
  ofToken(token: number): LargeIn | undefined {
    return this.#byToken.get(token);
  }

  /** Something is to be said about one of them. */
  get telling(): boolean {
    return this.nextTelling() !== undefined;
  }
  nextTelling(): LargeIn | undefined {
    for (let i = 0; i < this.#all.length; i++) {
      const large = this.#all[i] as LargeIn;
      if (large.tell) return large;
    }
    return undefined;
  }
  told(large: LargeIn): void {
    large.told();
  }
  /** The packet with HAVE was lost. */
  untold(token: number, dropped: boolean): void {
    this.#byToken.get(token)?.untold(dropped);
  }

  /** The transfer of this message id. */
  of(frame: MessageFrame): LargeIn | undefined {
    return this.#byId.get(hexOf(frame.bytes, frame.messageIdAt));
  }

  /** Whether a piece says the same of its message as what is here. */
  fits(large: LargeIn, frame: MessageFrame): boolean {
    if (large.total !== frame.total) return false;
    const at = frame.digest16At;
    return large.digest16.every((byte, i) => byte === frame.bytes[at + i]);
  }

  begin(frame: MessageFrame): LargeIn {
    const { bytes, messageIdAt, digest16At, total } = frame;
    return this.#enter(
      bytes.slice(messageIdAt, messageIdAt + MESSAGE_ID_BYTES),
      bytes.slice(digest16At, digest16At + DIGEST_PIECE_BYTES),
      total,
    );
  }

  /** What an earlier run left on disk. */
  resume(found: SpoolFound): void {
    if (this.full) return;
    const large = this.#enter(found.messageId, found.digest16, found.total);
    for (const { start, end } of found.ranges) large.onDisk.addRange(start, end);
    large.fallBack();
  }

  /** It comes under this number now. */
  number(large: LargeIn, number: number): void {
    this.#byNumber.delete(large.number);
    large.number = number;
    if (number !== 0) this.#byNumber.set(number, large);
  }

  end(large: LargeIn): void {
    this.#byNumber.delete(large.number);
    this.#byToken.delete(large.token);
    this.#byId.delete(hexOf(large.messageId, 0));
    this.#all = this.#all.filter((each) => each !== large);
  }

  #enter(messageId: Uint8Array, digest16: Uint8Array, total: number): LargeIn {
    this.#token = (this.#token + 1) >>> 0;
    const large = new LargeIn({ token: this.#token, messageId, digest16, total });
    this.#byId.set(hexOf(messageId, 0), large);
    this.#byToken.set(large.token, large);
    this.#all.push(large);
    return large;
  }
}

function hexOf(bytes: Uint8Array, at: number): string {
  let hex = "";
  for (let i = 0; i < MESSAGE_ID_BYTES; i++) {
    hex += (bytes[at + i] as number).toString(16).padStart(2, "0");
  }
  return hex;
}
