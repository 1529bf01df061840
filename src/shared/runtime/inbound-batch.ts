// Opened messages on their way from main to the DB worker and, with an outcome in each record, back:
// the same ArrayBuffer both ways, so that a receipt needs nothing remembered on main.
//
// Record, little-endian, each at a multiple of 8:
//   offset bytes name        meaning
//    0      4    length      of the payload, bytes
//    4      4    scope       index into InboundBatch.scopes: who the id belongs to
//    8      4    source      index into InboundBatch.sources: the address it came from
//   12      4    port        of the source
//   16      8    stamp       the sender's, ns since the epoch, u64
//   24      4    flags       RECORD_SUSPECT_FLAG: its stamp may be one of ours from an earlier run
//   28      4    outcome     written by the DB worker: STORED
//   32     12    messageId   binary
//   44      4    ring        key ring that opened it; of no meaning to the store
//   48     32    digest      BLAKE2b-256 of the canonical payload
//   80      n    payload     as it came

import { assert } from "../base/assert.js";
import { MESSAGE_ID_BYTES } from "../protocol/constants.js";

export const INBOUND_RECORD_HEADER_BYTES = 80;
export const DIGEST_BYTES = 32;

/** The record's stamp is not after the last stamp that this host may have sealed in an earlier run. */
export const RECORD_SUSPECT_FLAG = 0x1;

/** What the DB worker did with one record. Only `inserted` and `known` allow an ACK. */
export const STORED = {
  /** Not handled: the transaction failed, or never began. No ACK. */
  none: 0,
  /** A row of its own, committed and synced. */
  inserted: 1,
  /** The same message was stored before: committed, so it may be acknowledged again. */
  known: 2,
  /** The id is taken by other content from the same peer. Refused and reported. */
  conflict: 3,
  /** Our own datagram of an earlier run, thrown back. Silence. */
  reflected: 4,
  /** The peer's quota is used up. No ACK; the peer will try again. */
  quota: 5,
} as const;
export type Stored = (typeof STORED)[keyof typeof STORED];

export interface InboundBatch {
  readonly bytes: ArrayBuffer;
  readonly used: number;
  readonly rows: number;
  /** Dedupe scopes: "" is the scope of the shared secret, anything else a peer. */
  readonly scopes: readonly string[];
  readonly sources: readonly string[];
}

const align8 = (value: number): number => (value + 7) & ~7;

export class InboundBatchWriter {
  readonly #bytesMax: number;
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #used = 0;
  #rows = 0;
  #scopes: string[] = [];
  #sources: string[] = [];
  #scopeIndex = new Map<string, number>();
  #sourceIndex = new Map<string, number>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#bytes = new Uint8Array(16_384);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get rows(): number {
    return this.#rows;
  }
  get bytes(): number {
    return this.#used;
  }

  /** True while a payload of this length still fits. */
  fits(payloadLength: number): boolean {
    return this.#used + align8(INBOUND_RECORD_HEADER_BYTES + payloadLength) <= this.#bytesMax;
  }

  /** Copies one opened message in; id, digest and payload are read from `from` at the offsets given. */
  append(
    scope: string,
    source: string,
    port: number,
    stampLow: number,
    stampHigh: number,
    flags: number,
    ring: number,
    from: Uint8Array,
    messageIdAt: number,
    digestAt: number,
    payloadAt: number,
    payloadLength: number,
  ): void {
    assert(this.fits(payloadLength), "the caller asked whether the record fits");
    const need = align8(INBOUND_RECORD_HEADER_BYTES + payloadLength);
    this.#reserve(need);
    const at = this.#used;
    const view = this.#view;
    view.setUint32(at, payloadLength, true);
    view.setUint32(at + 4, indexIn(this.#scopes, this.#scopeIndex, scope), true);
    view.setUint32(at + 8, indexIn(this.#sources, this.#sourceIndex, source), true);
    view.setUint32(at + 12, port, true);
    view.setUint32(at + 16, stampLow, true);
    view.setUint32(at + 20, stampHigh, true);
    view.setUint32(at + 24, flags, true);
    view.setUint32(at + 28, STORED.none, true);
    copyBytes(from, messageIdAt, this.#bytes, at + 32, MESSAGE_ID_BYTES);
    view.setUint32(at + 44, ring, true);
    copyBytes(from, digestAt, this.#bytes, at + 48, DIGEST_BYTES);
    const payload = from.subarray(payloadAt, payloadAt + payloadLength);
    this.#bytes.set(payload, at + INBOUND_RECORD_HEADER_BYTES);
    this.#used += need;
    this.#rows += 1;
  }

  take(): InboundBatch {
    const batch: InboundBatch = {
      bytes: this.#bytes.buffer,
      used: this.#used,
      rows: this.#rows,
      scopes: this.#scopes,
      sources: this.#sources,
    };
    this.#bytes = new Uint8Array(16_384);
    this.#view = new DataView(this.#bytes.buffer);
    this.#used = 0;
    this.#rows = 0;
    this.#scopes = [];
    this.#sources = [];
    this.#scopeIndex.clear();
    this.#sourceIndex.clear();
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

function copyBytes(
  from: Uint8Array,
  fromAt: number,
  to: Uint8Array,
  toAt: number,
  length: number,
): void {
  for (let i = 0; i < length; i++) to[toAt + i] = from[fromAt + i] as number;
}

function indexIn(list: string[], index: Map<string, number>, value: string): number {
  let found = index.get(value);
  if (found === undefined) {
    found = list.push(value) - 1;
    index.set(value, found);
  }
  return found;
}

/** Walks a batch; the DB worker sets the outcome of the record at the cursor, main reads it. */
export class InboundBatchReader {
  readonly batch: InboundBatch;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = -1;
  #following = 0;

  constructor(batch: InboundBatch) {
    this.batch = batch;
    this.bytes = new Uint8Array(batch.bytes);
    this.#view = new DataView(batch.bytes);
  }

  next(): boolean {
    if (this.#following >= this.batch.used) return false;
    this.#at = this.#following;
    this.#following = this.#at + align8(INBOUND_RECORD_HEADER_BYTES + this.payloadLength);
    return true;
  }
  /** Back to before the first record. */
  rewind(): void {
    this.#at = -1;
    this.#following = 0;
  }

  get payloadLength(): number {
    return this.#view.getUint32(this.#at, true);
  }
  get scope(): string {
    const scope = this.batch.scopes[this.#view.getUint32(this.#at + 4, true)];
    assert(scope !== undefined, "a record names a scope of its batch");
    return scope;
  }
  get source(): string {
    const source = this.batch.sources[this.#view.getUint32(this.#at + 8, true)];
    assert(source !== undefined, "a record names a source of its batch");
    return source;
  }
  get port(): number {
    return this.#view.getUint32(this.#at + 12, true);
  }
  get stamp(): bigint {
    return this.#view.getBigUint64(this.#at + 16, true);
  }
  get suspect(): boolean {
    return (this.#view.getUint32(this.#at + 24, true) & RECORD_SUSPECT_FLAG) !== 0;
  }
  get outcome(): number {
    return this.#view.getUint32(this.#at + 28, true);
  }
  set outcome(value: Stored) {
    this.#view.setUint32(this.#at + 28, value, true);
  }
  get ring(): number {
    return this.#view.getUint32(this.#at + 44, true);
  }
  /** Offsets into `bytes`. */
  get messageIdAt(): number {
    return this.#at + 32;
  }
  get digestAt(): number {
    return this.#at + 48;
  }
  get payloadAt(): number {
    return this.#at + INBOUND_RECORD_HEADER_BYTES;
  }
}
