// One message above 256 KiB on its way in: a file of its head and as many of its bytes as came.
// What `ranges` lists after a sync is on disk.

import {
  closeSync,
  constants,
  fchmodSync,
  fdatasyncSync,
  fstatSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { DIGEST_PIECE_BYTES } from "../shared/protocol/session/limits.js";
import { NumberRanges } from "../shared/protocol/session/number-ranges.js";
import { PRIVATE_MODE } from "../shared/store/file-guard.js";
import {
  decodeSpoolHead,
  encodeSpoolSlot,
  SPOOL_HEAD_BYTES,
  SPOOL_RANGES_MAX,
  SPOOL_SLOT_BYTES,
  SPOOL_SLOTS,
  type SpoolSubject,
} from "./spool-header.js";

const NO_FILE = -1;
const FLAGS_CREATE =
  constants.O_CREAT | constants.O_TRUNC | constants.O_RDWR | constants.O_NOFOLLOW;
const FLAGS_OPEN = constants.O_RDWR | constants.O_NOFOLLOW;

export class SpoolFile {
  readonly path: string;
  readonly subject: SpoolSubject;
  readonly ranges: NumberRanges;
  /** Wall ms since the epoch of the last piece. */
  touchedAt: number;
  #revision: bigint;
  #file = NO_FILE;

  private constructor(
    path: string,
    subject: SpoolSubject,
    ranges: NumberRanges,
    revision: bigint,
    touchedAt: number,
  ) {
    this.path = path;
    this.subject = subject;
    this.ranges = ranges;
    this.#revision = revision;
    this.touchedAt = touchedAt;
  }

  /** An empty one, in place of whatever lies at the path. Its folder is the caller's to sync. */
  static create(path: string, subject: SpoolSubject, now: number): SpoolFile {
    const made = new SpoolFile(path, subject, new NumberRanges(SPOOL_RANGES_MAX), 0n, now);
    made.#file = openSync(path, FLAGS_CREATE, PRIVATE_MODE);
    try {
      fchmodSync(made.#file, PRIVATE_MODE);
      made.#writeHead();
      return made;
    } catch (thrown) {
      made.remove();
      throw thrown;
    }
  }

  /** What an earlier run left; undefined when it is no whole spool file. */
  static open(path: string): SpoolFile | undefined {
    const file = openSync(path, FLAGS_OPEN);
    try {
      const bytes = Buffer.alloc(SPOOL_HEAD_BYTES);
      const { size, mtimeMs } = fstatSync(file);
      readSync(file, bytes, 0, SPOOL_HEAD_BYTES, 0);
      const head = decodeSpoolHead(bytes);
      if (head === undefined) return undefined;
      const { subject, ranges, revision } = head;
      const end = ranges.size === 0 ? 0 : ranges.endOf(ranges.size - 1);
      if (size < SPOOL_HEAD_BYTES + end) return undefined;
      return new SpoolFile(path, subject, ranges, revision, mtimeMs);
    } finally {
      closeSync(file);
    }
  }

  /** Every byte is there. */
  get whole(): boolean {
    return this.ranges.covers(0, this.subject.total);
  }

  /** Whether a piece with this digest and total belongs to the message that is kept here. */
  isOf(digest16: Uint8Array, total: number): boolean {
    return (
      total === this.subject.total &&
      this.subject.digest16.equals(digest16.subarray(0, DIGEST_PIECE_BYTES))
    );
  }

  /** Writes a piece, and does not sync it; false when too many holes would be left. */
  write(offset: number, piece: Uint8Array): boolean {
    this.#openFile();
    for (let done = 0; done < piece.length; ) {
      const position = SPOOL_HEAD_BYTES + offset + done;
      done += writeSync(this.#file, piece, done, piece.length - done, position);
    }
    return this.ranges.addRange(offset, offset + piece.length);
  }

  /** Syncs what was written, then lists it. */
  sync(): void {
    if (this.#file === NO_FILE) return;
    fdatasyncSync(this.#file);
    this.#writeHead();
  }

  /** The whole message. */
  read(): Buffer {
    this.#openFile();
    const payload = Buffer.allocUnsafeSlow(this.subject.total);
    for (let done = 0; done < payload.length; ) {
      const position = SPOOL_HEAD_BYTES + done;
      const bytes = readSync(this.#file, payload, done, payload.length - done, position);
      if (bytes === 0) throw new Error(`${this.path} is shorter than it was`);
      done += bytes;
    }
    return payload;
  }

  close(): void {
    if (this.#file === NO_FILE) return;
    closeSync(this.#file);
    this.#file = NO_FILE;
  }

  remove(): void {
    this.close();
    unlinkSync(this.path);
  }

  #openFile(): void {
    if (this.#file === NO_FILE) this.#file = openSync(this.path, FLAGS_OPEN);
  }

  /** Into the slot that is not the newest. */
  #writeHead(): void {
    this.#revision += 1n;
    const slot = encodeSpoolSlot({
      subject: this.subject,
      revision: this.#revision,
      ranges: this.ranges,
    });
    const position = Number(this.#revision % BigInt(SPOOL_SLOTS)) * SPOOL_SLOT_BYTES;
    writeSync(this.#file, slot, 0, slot.length, position);
  }
}
