// Messages too large for memory, on their way into spool files: which bytes were handed to the store,
// which it says are on disk, and what the other end should hear of that. They are known by message id,
// so that a transfer goes on in another session, another boot, and after our own restart.

import { MESSAGE_ID_BYTES } from "../constants.js";
import { HAVE_RANGES_MAX } from "./frame-transfer.js";
import { DIGEST_PIECE_BYTES, SPOOL_SYNC_BYTES } from "./limits.js";
import { NumberRanges } from "./number-ranges.js";
import type { StreamIn } from "./stream-in.js";

/** Ranges of one file at most; a piece that would make more is dropped, and comes again. */
const RANGES_MAX = 1_024;
/** Transfers of one peer at a time. */
export const LARGE_TRANSFERS_MAX = 64;

export class LargeIn {
  /** Message id 12, digest16 16. */
  readonly ids: Uint8Array;
  readonly total: number;
  readonly token: number;
  /** Number under which it comes now; 0 when only its file is known. */
  number = 0;
  /** The newest number of this boot that it came under; 0: an earlier boot, or run of ours, left it. */
  lastNumber = 0;
  /** Where it stands in its stream, if it is ordered. */
  stream: StreamIn | undefined;
  sequence = 0;
  /** HAVE is to be written; and what it does not list was dropped here. */
  tell = false;
  dropped = false;
  /** All bytes were handed, and the store was asked to make a row of them. */
  finishing = false;
  readonly handed = new NumberRanges(RANGES_MAX);
  readonly onDisk = new NumberRanges(RANGES_MAX);
  #toldBytes = 0;

  constructor(options: {
    readonly token: number;
    readonly messageId: Uint8Array;
    readonly digest16: Uint8Array;
    readonly total: number;
  }) {
    this.token = options.token;
    this.ids = new Uint8Array(MESSAGE_ID_BYTES + DIGEST_PIECE_BYTES);
    this.ids.set(options.messageId, 0);
    this.ids.set(options.digest16, MESSAGE_ID_BYTES);
    this.total = options.total;
  }

  get messageId(): Uint8Array {
    return this.ids.subarray(0, MESSAGE_ID_BYTES);
  }
  get digest16(): Uint8Array {
    return this.ids.subarray(MESSAGE_ID_BYTES);
  }

  get complete(): boolean {
    return this.handed.covers(0, this.total);
  }

  /** The store has these bytes on disk, synced. */
  spooled(offset: number, length: number): void {
    this.onDisk.addRange(offset, offset + length);
    // It may have been at the store when `fallBack` forgot it.
    this.handed.addRange(offset, offset + length);
    const bytes = this.onDisk.count;
    if (bytes - this.#toldBytes >= SPOOL_SYNC_BYTES || bytes === this.total) this.tell = true;
  }

  told(): void {
    this.tell = false;
    this.dropped = false;
    this.#toldBytes = this.#listedBytes();
  }

  /** The packet with HAVE was lost. `dropped`: it said that what it did not list must come again. */
  untold(dropped: boolean): void {
    this.tell = true;
    this.dropped ||= dropped;
  }

  /** Pieces were refused, or a session began: what is not on disk must come again. */
  fallBack(): void {
    this.handed.clear();
    for (let i = 0; i < this.onDisk.size; i++) {
      this.handed.addRange(this.onDisk.startOf(i), this.onDisk.endOf(i));
    }
    this.finishing = false;
    this.tell = true;
    this.dropped = true;
  }

  /** What of it fits into a HAVE. */
  #listedBytes(): number {
    let bytes = 0;
    const ranges = Math.min(this.onDisk.size, HAVE_RANGES_MAX);
    for (let i = 0; i < ranges; i++) bytes += this.onDisk.endOf(i) - this.onDisk.startOf(i);
    return bytes;
  }

  /** Nothing of it is left on disk. */
  startOver(): void {
    this.onDisk.clear();
    this.fallBack();
  }
}
