// Rows on their way from the DB worker to the core: one ArrayBuffer, records back to back, so that
// no object is cloned per row. The DB worker writes, transfers and forgets; main reads and forgets.
//
// Record, little-endian, each at a multiple of 8:
//   offset bytes name          meaning
//    0      8    rowId         outbound_messages.id, f64 (ids are refused far below 2^53)
//    8      8    expiresAt     wall ms since the epoch, f64
//   16      4    destination   index into OutboundBatch.destinations
//   20      4    generation    outbound_messages.generation when it was read
//   24      4    attempts      retry_count when it was read
//   28      4    ticket        in-flight slot of a row read again, or TICKET_NONE
//   32     12    messageId     binary
//   44      4    length        of the payload, bytes
//   48      4    released      1 when the row had state 'sent' (an earlier run released it)
//   52      4    priority      0 bulk, 1 normal, 2 high, 3 urgent
// and, of rows that go in sessions, else 0:
//   56      4    flags         those of MESSAGE that belong to the message
//   60      4    stream        1 + index into OutboundBatch.streams; 0: unordered
//   64      4    total         bytes of the whole payload
//   68     12    inReplyTo
//   80     32    digest        of the message
//  112      n    payload       as it goes on the wire; a large one of a session stays in the table

import { assert } from "../base/assert.js";
import { MESSAGE_ID_BYTES } from "../protocol/constants.js";
import type { SessionRow } from "../protocol/session/ports.js";

export const OUTBOUND_RECORD_HEADER_BYTES = 112;
export const TICKET_NONE = 0xffff_ffff;
const BYTES_INITIAL = 16_384;

export interface DestinationName {
  /** dst_addr as it stands in the row: an IP address, a host name, or the name of a configured peer. */
  readonly address: string;
  readonly port: number;
  /** Public key, in base64, of the session peer that rows for it go to; undefined: classic. */
  readonly peer: string | undefined;
}

export interface OutboundBatch {
  readonly bytes: ArrayBuffer;
  /** Bytes of `bytes` in use. */
  readonly used: number;
  readonly rows: number;
  readonly destinations: readonly DestinationName[];
  readonly streams: readonly string[];
}

const align8 = (value: number): number => (value + 7) & ~7;

export interface OutboundRecord {
  readonly rowId: number;
  readonly expiresAt: number;
  readonly destination: number;
  readonly generation: number;
  readonly attempts: number;
  readonly ticket: number;
  readonly released: boolean;
  readonly priority: number;
}

/** What a row for a session peer has beside that. */
export interface OutboundSessionFields {
  readonly flags: number;
  /** "": unordered. */
  readonly stream: string;
  readonly total: number;
  /** 12 bytes, when the flags say so. */
  readonly inReplyTo: Uint8Array | undefined;
  /** 32 bytes. */
  readonly digest: Uint8Array;
}

/** A row of generation 0, for a session, with nothing but an id and a payload. */
export interface PlainRow {
  readonly rowId: number;
  /** Where the payload lies. */
  readonly bytes: Uint8Array;
  readonly payloadAt: number;
  readonly payloadLength: number;
  /** 12 bytes. */
  readonly messageId: Uint8Array;
  /** 32 bytes. */
  readonly digest: Uint8Array;
}

/** Builds one batch. Grows by doubling up to `bytesMax`; `append` says false when the row must wait. */
export class OutboundBatchWriter {
  readonly #bytesMax: number;
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #used = 0;
  #rows = 0;
  #destinations: DestinationName[] = [];
  #streams: string[] = [];
  readonly #streamIndex = new Map<string, number>();

  /** `bytes`: room to begin with, at most `bytesMax`. */
  constructor(bytesMax: number, bytes = BYTES_INITIAL) {
    this.#bytesMax = bytesMax;
    this.#bytes = new Uint8Array(Math.min(bytesMax, bytes));
    this.#view = new DataView(this.#bytes.buffer);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Index of a destination that the next records refer to. */
  destination(address: string, port: number, peer?: string): number {
    return this.#destinations.push({ address, port, peer }) - 1;
  }

  /** Copies one row in. The first row always fits, however large. */
  append(
    record: OutboundRecord,
    messageId: Uint8Array,
    payload: Uint8Array,
    session?: OutboundSessionFields,
  ): boolean {
    assert(messageId.length === MESSAGE_ID_BYTES, "a message id has 12 bytes");
    const need = align8(OUTBOUND_RECORD_HEADER_BYTES + payload.length);
    if (this.#used + need > this.#bytesMax && this.#rows > 0) return false;
    this.#reserve(need);
    const at = this.#used;
    const view = this.#view;
    view.setFloat64(at, record.rowId, true);
    view.setFloat64(at + 8, record.expiresAt, true);
    view.setUint32(at + 16, record.destination, true);
    view.setUint32(at + 20, record.generation, true);
    view.setUint32(at + 24, record.attempts, true);
    view.setUint32(at + 28, record.ticket, true);
    this.#bytes.set(messageId, at + 32);
    view.setUint32(at + 44, payload.length, true);
    view.setUint32(at + 48, record.released ? 1 : 0, true);
    view.setUint32(at + 52, record.priority, true);
    if (session !== undefined) this.#appendSession(at, session);
    this.#bytes.set(payload, at + OUTBOUND_RECORD_HEADER_BYTES);
    this.#used += need;
    this.#rows += 1;
    return true;
  }

  /** Copies a plain row in; false when it must wait. */
  appendPlain(row: PlainRow, destination: number, expiresAt: number, priority: number): boolean {
    const { bytes, payloadAt, payloadLength } = row;
    const need = align8(OUTBOUND_RECORD_HEADER_BYTES + payloadLength);
    if (this.#used + need > this.#bytesMax && this.#rows > 0) return false;
    this.#reserve(need);
    const at = this.#used;
    const view = this.#view;
    view.setFloat64(at, row.rowId, true);
    view.setFloat64(at + 8, expiresAt, true);
    view.setUint32(at + 16, destination, true);
    view.setUint32(at + 28, TICKET_NONE, true);
    this.#bytes.set(row.messageId, at + 32);
    view.setUint32(at + 44, payloadLength, true);
    view.setUint32(at + 52, priority, true);
    view.setUint32(at + 64, payloadLength, true);
    this.#bytes.set(row.digest, at + 80);
    const payload = bytes.subarray(payloadAt, payloadAt + payloadLength);
    this.#bytes.set(payload, at + OUTBOUND_RECORD_HEADER_BYTES);
    this.#used += need;
    this.#rows += 1;
    return true;
  }

  #appendSession(at: number, session: OutboundSessionFields): void {
    const view = this.#view;
    view.setUint32(at + 56, session.flags, true);
    view.setUint32(at + 60, session.stream === "" ? 0 : this.#indexOf(session.stream) + 1, true);
    view.setUint32(at + 64, session.total, true);
    if (session.inReplyTo !== undefined) this.#bytes.set(session.inReplyTo, at + 68);
    this.#bytes.set(session.digest, at + 80);
  }

  #indexOf(stream: string): number {
    let found = this.#streamIndex.get(stream);
    if (found === undefined) {
      found = this.#streams.push(stream) - 1;
      this.#streamIndex.set(stream, found);
    }
    return found;
  }

  /** Hands the batch out; the writer starts anew on fresh memory. */
  take(): OutboundBatch {
    const batch: OutboundBatch = {
      bytes: this.#bytes.buffer,
      used: this.#used,
      rows: this.#rows,
      destinations: this.#destinations,
      streams: this.#streams,
    };
    this.#bytes = new Uint8Array(Math.min(this.#bytesMax, BYTES_INITIAL));
    this.#view = new DataView(this.#bytes.buffer);
    this.#used = 0;
    this.#rows = 0;
    this.#destinations = [];
    this.#streams = [];
    this.#streamIndex.clear();
    return batch;
  }

  #reserve(need: number): void {
    let size = this.#bytes.length;
    if (this.#used + need <= size) return;
    while (this.#used + need > size) size *= 2;
    const larger = new Uint8Array(size);
    larger.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}

/** Walks a batch without an object per row: `next()` moves the cursor, the getters read at it. */
export class OutboundBatchReader implements SessionRow {
  readonly batch: OutboundBatch;
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #at = -1;
  #following = 0;
  #classicOnly = false;

  constructor(batch: OutboundBatch) {
    this.batch = batch;
    this.bytes = new Uint8Array(batch.bytes);
    this.#view = new DataView(batch.bytes);
  }

  next(): boolean {
    do {
      if (this.#following >= this.batch.used) return false;
      this.#at = this.#following;
      this.#following = this.#at + align8(OUTBOUND_RECORD_HEADER_BYTES + this.payloadLength);
    } while (this.#classicOnly && this.destination.peer !== undefined);
    return true;
  }

  /** Back to before the first row; from now on rows of sessions are passed over. */
  rewindToClassic(): void {
    this.#at = -1;
    this.#following = 0;
    this.#classicOnly = true;
  }

  get rowId(): number {
    return this.#view.getFloat64(this.#at, true);
  }
  get expiresAt(): number {
    return this.#view.getFloat64(this.#at + 8, true);
  }
  get destination(): DestinationName {
    const name = this.batch.destinations[this.#view.getUint32(this.#at + 16, true)];
    assert(name !== undefined, "a record names a destination of its batch");
    return name;
  }
  get generation(): number {
    return this.#view.getUint32(this.#at + 20, true);
  }
  get attempts(): number {
    return this.#view.getUint32(this.#at + 24, true);
  }
  get ticket(): number {
    return this.#view.getUint32(this.#at + 28, true);
  }
  /** Offset of the 12 bytes of the message id in `bytes`. */
  get messageIdAt(): number {
    return this.#at + 32;
  }
  get payloadLength(): number {
    return this.#view.getUint32(this.#at + 44, true);
  }
  get released(): boolean {
    return this.#view.getUint32(this.#at + 48, true) === 1;
  }
  get priority(): number {
    return this.#view.getUint32(this.#at + 52, true);
  }
  /** Offset of the payload in `bytes`. */
  get payloadAt(): number {
    return this.#at + OUTBOUND_RECORD_HEADER_BYTES;
  }

  // --- Of rows whose destination has a peer -------------------------------------------------------

  get flags(): number {
    return this.#view.getUint32(this.#at + 56, true);
  }
  /** "": unordered. */
  get stream(): string {
    const index = this.#view.getUint32(this.#at + 60, true);
    if (index === 0) return "";
    const stream = this.batch.streams[index - 1];
    assert(stream !== undefined, "a record names a stream of its batch");
    return stream;
  }
  get total(): number {
    return this.#view.getUint32(this.#at + 64, true);
  }
  get inBatch(): boolean {
    return this.payloadLength === this.total;
  }
  get inReplyToAt(): number {
    return this.#at + 68;
  }
  get digestAt(): number {
    return this.#at + 80;
  }
}
