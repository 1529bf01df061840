// The large messages of one peer that are under way, by message id and by the number they come under.

import { MESSAGE_ID_BYTES } from "../constants.js";
import { LARGE_TRANSFERS_MAX, LargeIn } from "./large-in.js";
import { DIGEST_PIECE_BYTES } from "./limits.js";
import type { MessageFrame } from "./message-frame.js";

/** Files that were forgotten and are remembered as such. */
const FORGOTTEN_MAX = 1_024;

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
  /** Message ids, in hex, of files that are gone and that the other end may have heard of. */
  readonly #forgotten = new Set<string>();
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
  /** One that no number of this boot is about, the oldest: nobody may ever go on with it. */
  leftover(): LargeIn | undefined {
    return this.#all.find(({ lastNumber, finishing }) => lastNumber === 0 && !finishing);
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

  has(messageId: Uint8Array): boolean {
    return this.#byId.has(hexOf(messageId, 0));
  }

  /** Whether a piece says the same of its message as what is here. */
  fits(large: LargeIn, frame: MessageFrame): boolean {
    if (large.total !== frame.total) return false;
    const at = frame.digest16At;
    return large.digest16.every((byte, i) => byte === frame.bytes[at + i]);
  }

  begin(frame: MessageFrame): LargeIn {
    const { bytes, messageIdAt, digest16At, total } = frame;
    const large = this.#enter(
      bytes.slice(messageIdAt, messageIdAt + MESSAGE_ID_BYTES),
      bytes.slice(digest16At, digest16At + DIGEST_PIECE_BYTES),
      total,
    );
    // It may come from where its file ended.
    if (this.#forgotten.delete(hexOf(bytes, messageIdAt))) large.startOver();
    return large;
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
    if (number === 0) return;
    large.lastNumber = number;
    this.#byNumber.set(number, large);
  }

  /** A new boot of the peer: its numbers count from 1 again. */
  restart(): void {
    for (const large of this.#all) {
      this.number(large, 0);
      large.lastNumber = 0;
    }
  }

  /** Its file goes before its message came, and its sender has not been told. */
  forget(large: LargeIn): void {
    this.end(large);
    if (large.onDisk.size === 0) return;
    const [oldest] = this.#forgotten;
    if (oldest !== undefined && this.#forgotten.size >= FORGOTTEN_MAX) {
      this.#forgotten.delete(oldest);
    }
    this.#forgotten.add(hexOf(large.messageId, 0));
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
