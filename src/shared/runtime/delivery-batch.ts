// What came in sessions on its way from main to the DB worker and, with an outcome in each record,
// back: messages, pieces of large ones, settled numbers and drops, in the one order in which the core
// handed them over; settled numbers count behind all else of their transaction. The same ArrayBuffer
// both ways.
//
// Record, little-endian, each at a multiple of 8; what a kind does not use is 0:
//   offset bytes name        meaning
//    0      4    kind        DELIVERY_KIND
//    4      4    length      of the payload here, bytes
//    8      4    peer        index into DeliveryBatch.peers
//   12      4    source      index into DeliveryBatch.sources: the address it came from
//   16      4    port        of the source
//   20      4    stream      index into DeliveryBatch.streams
//   24      4    flags       those of MESSAGE
//   28      4    outcome     written by the DB worker: DELIVERED
//   32      8    token       f64, the core's
//   40      8    number      f64; of `settled`: below
//   48      8    sequence    f64
//   56      8    gapFirst    f64
//   64      8    gapLast     f64
//   72      8    sentWallNs  f64, the sender's clock, ns since the epoch
//   80      8    total       f64, bytes of the whole message
//   88      8    offset      f64, of the payload here within it
//   96      8    boot        of the sender
//  104     16    digest16    of a piece: stated by the sender; of a message: written by the DB worker
//  120     12    messageId
//  132     12    inReplyTo
//  144      4    last        1: the message becomes a row with this piece
//  148      4    resume      1: next of its stream to commit, whatever was refused before
//  152      n    payload

import { assert } from "../base/assert.js";
import { ByteCopier } from "../base/byte-copier.js";
import { MESSAGE_ID_BYTES } from "../protocol/constants.js";
import {
  BOOT_ID_BYTES,
  DIGEST_PIECE_BYTES,
  DIGEST_RECEIPT_BYTES,
} from "../protocol/session/limits.js";
import { MESSAGE_FLAG } from "../protocol/session/message-digest.js";
import type {
  Delivered,
  DeliveredRecord,
  MessageDelivery,
  PieceDelivery,
} from "../protocol/session/ports.js";

export const DELIVERY_RECORD_HEADER_BYTES = 152;
const BYTES_INITIAL = 16_384;

export const DELIVERY_KIND = { message: 1, piece: 2, settled: 3, drop: 4 } as const;
export type DeliveryKind = (typeof DELIVERY_KIND)[keyof typeof DELIVERY_KIND];

export interface DeliveryPeer {
  /** As the core counts peers. A reload may have changed that when the batch comes back. */
  readonly index: number;
  /** Scope of its message ids: its public key in base64. */
  readonly scope: string;
}

export interface DeliveryBatch {
  readonly bytes: ArrayBuffer;
  readonly used: number;
  readonly rows: number;
  readonly peers: readonly DeliveryPeer[];
  readonly sources: readonly string[];
  readonly streams: readonly string[];
}

const align8 = (value: number): number => (value + 7) & ~7;

export interface DeliveryBatchOptions {
  /** Records and bytes of one batch at most. */
  readonly rowsMax: number;
  readonly bytesMax: number;
  /** Scope of a peer: its public key in base64. */
  readonly scopeOf: (peer: number) => string;
}

/** Gathers one batch; each method copies a record in, or says false when there is no room. */
export class DeliveryBatchWriter {
  readonly #options: DeliveryBatchOptions;
  readonly #copier = new ByteCopier();
  #bytes = new Uint8Array(BYTES_INITIAL);
  #view = new DataView(this.#bytes.buffer);
  /** Memory of a batch that came back: fresh memory by the megabyte keeps the collector at work. */
  #spare: Uint8Array<ArrayBuffer> | undefined;
  #used = 0;
  #rows = 0;
  #peers: DeliveryPeer[] = [];
  #sources: string[] = [];
  #streams: string[] = [];
  readonly #peerIndex = new Map<number, number>();
  readonly #sourceIndex = new Map<string, number>();
  readonly #streamIndex = new Map<string, number>();
  /** By peer: where its settled numbers are, behind the last record that makes a large message whole. */
  readonly #settledAt = new Map<number, number>();

  constructor(options: DeliveryBatchOptions) {
    this.#options = options;
  }

  get rows(): number {
    return this.#rows;
  }
  get bytes(): number {
    return this.#used;
  }

  /** True while a record with this many bytes of payload still fits. */
  fits(payloadLength: number): boolean {
    const need = align8(DELIVERY_RECORD_HEADER_BYTES + payloadLength);
    return this.#rows < this.#options.rowsMax && this.#used + need <= this.#options.bytesMax;
  }

  message(delivery: MessageDelivery): boolean {
    if (!this.fits(delivery.payloadLength)) return false;
    const at = this.#delivery(DELIVERY_KIND.message, delivery);
    this.#view.setFloat64(at + 80, delivery.payloadLength, true);
    return true;
  }

  piece(delivery: PieceDelivery): boolean {
    if (!this.fits(delivery.payloadLength)) return false;
    const at = this.#delivery(DELIVERY_KIND.piece, delivery);
    this.#view.setFloat64(at + 80, delivery.total, true);
    this.#view.setFloat64(at + 88, delivery.offset, true);
    copy(delivery.bytes, delivery.digest16At, this.#bytes, at + 104, DIGEST_PIECE_BYTES);
    this.#view.setUint32(at + 144, delivery.last ? 1 : 0, true);
    // The worker goes on in another transaction behind it.
    if (delivery.last) this.#settledAt.clear();
    return true;
  }

  /** One record of a peer in each transaction, with the last numbers: who tells often takes no room by it. */
  settled(peer: number, boot: Uint8Array, below: number): boolean {
    const before = this.#settledAt.get(peer);
    if (before !== undefined && isAt(this.#bytes, before + 96, boot)) {
      const highest = Math.max(below, this.#view.getFloat64(before + 40, true));
      this.#view.setFloat64(before + 40, highest, true);
      return true;
    }
    if (!this.fits(0)) return false;
    this.#settledAt.set(peer, this.#used);
    const at = this.#open(DELIVERY_KIND.settled, peer, 0);
    this.#view.setFloat64(at + 40, below, true);
    copy(boot, 0, this.#bytes, at + 96, BOOT_ID_BYTES);
    return true;
  }

  drop(peer: number, messageId: Uint8Array): boolean {
    if (!this.fits(0)) return false;
    const at = this.#open(DELIVERY_KIND.drop, peer, 0);
    copy(messageId, 0, this.#bytes, at + 120, MESSAGE_ID_BYTES);
    return true;
  }

  /** Hands the batch out; the writer starts anew on other memory. */
  take(): DeliveryBatch {
    const batch: DeliveryBatch = {
      bytes: this.#bytes.buffer,
      used: this.#used,
      rows: this.#rows,
      peers: this.#peers,
      sources: this.#sources,
      streams: this.#streams,
    };
    this.#bytes = this.#spare ?? new Uint8Array(BYTES_INITIAL);
    this.#spare = undefined;
    this.#view = new DataView(this.#bytes.buffer);
    this.#used = 0;
    this.#rows = 0;
    this.#peers = [];
    this.#sources = [];
    this.#streams = [];
    this.#peerIndex.clear();
    this.#sourceIndex.clear();
    this.#streamIndex.clear();
    this.#settledAt.clear();
    return batch;
  }

  /** Takes the memory of a batch back that nobody reads any more. */
  recycle({ bytes }: DeliveryBatch): void {
    this.#spare = new Uint8Array(bytes);
  }

  #delivery(kind: DeliveryKind, delivery: MessageDelivery): number {
    const at = this.#open(kind, delivery.peer, delivery.payloadLength);
    const view = this.#view;
    const into = this.#bytes;
    const { bytes } = delivery;
    view.setUint32(at + 12, indexIn(this.#sources, this.#sourceIndex, delivery.address), true);
    view.setUint32(at + 16, delivery.port, true);
    view.setUint32(at + 20, indexIn(this.#streams, this.#streamIndex, delivery.stream), true);
    view.setUint32(at + 24, delivery.flags, true);
    view.setFloat64(at + 32, delivery.token, true);
    view.setFloat64(at + 40, delivery.number, true);
    view.setFloat64(at + 48, delivery.sequence, true);
    view.setFloat64(at + 56, delivery.gapFirst, true);
    view.setFloat64(at + 64, delivery.gapLast, true);
    view.setFloat64(at + 72, delivery.sentWallNs, true);
    view.setUint32(at + 148, delivery.resume ? 1 : 0, true);
    copy(delivery.boot, 0, into, at + 96, BOOT_ID_BYTES);
    const copier = this.#copier;
    copier.copy(bytes, delivery.messageIdAt, into, at + 120, MESSAGE_ID_BYTES);
    if ((delivery.flags & MESSAGE_FLAG.reply) !== 0) {
      copier.copy(bytes, delivery.inReplyToAt, into, at + 132, MESSAGE_ID_BYTES);
    }
    const { payloadAt, payloadLength } = delivery;
    copier.copy(bytes, payloadAt, into, at + DELIVERY_RECORD_HEADER_BYTES, payloadLength);
    return at;
  }

  /** Takes room for a record; its header is zero, whatever lay there. */
  #open(kind: DeliveryKind, peer: number, payloadLength: number): number {
    const need = align8(DELIVERY_RECORD_HEADER_BYTES + payloadLength);
    this.#reserve(need);
    const at = this.#used;
    this.#bytes.fill(0, at, at + DELIVERY_RECORD_HEADER_BYTES);
    this.#view.setUint32(at, kind, true);
    this.#view.setUint32(at + 4, payloadLength, true);
    this.#view.setUint32(at + 8, this.#indexOfPeer(peer), true);
    this.#used += need;
    this.#rows += 1;
    return at;
  }

  #indexOfPeer(peer: number): number {
    let found = this.#peerIndex.get(peer);
    if (found === undefined) {
      found = this.#peers.push({ index: peer, scope: this.#options.scopeOf(peer) }) - 1;
      this.#peerIndex.set(peer, found);
    }
    return found;
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

function copy(from: Uint8Array, fromAt: number, to: Uint8Array, toAt: number, length: number) {
  for (let i = 0; i < length; i++) to[toAt + i] = from[fromAt + i] as number;
}

function isAt(bytes: Uint8Array, at: number, boot: Uint8Array): boolean {
  for (let i = 0; i < BOOT_ID_BYTES; i++) if (bytes[at + i] !== boot[i]) return false;
  return true;
}

function indexIn(list: string[], index: Map<string, number>, value: string): number {
  let found = index.get(value);
  if (found === undefined) {
    found = list.push(value) - 1;
    index.set(value, found);
  }
  return found;
}

/** Walks a batch; the DB worker sets outcome and digest of the record at the cursor, main reads them. */
export class DeliveryBatchReader implements DeliveredRecord {
  readonly batch: DeliveryBatch;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = -1;
  #following = 0;

  constructor(batch: DeliveryBatch) {
    this.batch = batch;
    this.bytes = new Uint8Array(batch.bytes);
    this.#view = new DataView(batch.bytes);
  }

  next(): boolean {
    if (this.#following >= this.batch.used) return false;
    this.#at = this.#following;
    this.#following = this.#at + align8(DELIVERY_RECORD_HEADER_BYTES + this.payloadLength);
    return true;
  }
  /** Back to before the first record. */
  rewind(): void {
    this.#at = -1;
    this.#following = 0;
  }
  /** Where the record at the cursor begins; {@link seek} goes back to it. */
  get at(): number {
    return this.#at;
  }
  seek(at: number): void {
    this.#at = at;
    this.#following = at + align8(DELIVERY_RECORD_HEADER_BYTES + this.payloadLength);
  }

  get kind(): DeliveryKind {
    return this.#view.getUint32(this.#at, true) as DeliveryKind;
  }
  get payloadLength(): number {
    return this.#view.getUint32(this.#at + 4, true);
  }
  /** As the core counted peers when it handed the batch over. */
  get peer(): number {
    return this.#peer.index;
  }
  /** Scope of the peer's message ids: its public key in base64. */
  get scope(): string {
    return this.#peer.scope;
  }
  get #peer(): DeliveryPeer {
    return named(this.batch.peers, this.#view.getUint32(this.#at + 8, true));
  }
  get source(): string {
    return named(this.batch.sources, this.#view.getUint32(this.#at + 12, true));
  }
  get port(): number {
    return this.#view.getUint32(this.#at + 16, true);
  }
  /** "" when the message is unordered. */
  get stream(): string {
    return named(this.batch.streams, this.#view.getUint32(this.#at + 20, true));
  }
  get flags(): number {
    return this.#view.getUint32(this.#at + 24, true);
  }
  get outcome(): Delivered {
    return this.#view.getUint32(this.#at + 28, true) as Delivered;
  }
  set outcome(value: Delivered) {
    this.#view.setUint32(this.#at + 28, value, true);
  }
  get token(): number {
    return this.#view.getFloat64(this.#at + 32, true);
  }
  /** Of `settled`: below which all numbers are. */
  get number(): number {
    return this.#view.getFloat64(this.#at + 40, true);
  }
  get sequence(): number {
    return this.#view.getFloat64(this.#at + 48, true);
  }
  /** 0 and 0 without a gap. */
  get gapFirst(): number {
    return this.#view.getFloat64(this.#at + 56, true);
  }
  get gapLast(): number {
    return this.#view.getFloat64(this.#at + 64, true);
  }
  get sentWallNs(): number {
    return this.#view.getFloat64(this.#at + 72, true);
  }
  get total(): number {
    return this.#view.getFloat64(this.#at + 80, true);
  }
  get offset(): number {
    return this.#view.getFloat64(this.#at + 88, true);
  }
  get last(): boolean {
    return this.#view.getUint32(this.#at + 144, true) === 1;
  }
  get resume(): boolean {
    return this.#view.getUint32(this.#at + 148, true) === 1;
  }
  get digestLow(): number {
    return this.#view.getInt32(this.#at + 104, true);
  }
  get digestHigh(): number {
    return this.#view.getInt32(this.#at + 108, true);
  }

  /** Offsets into `bytes`. */
  get bootAt(): number {
    return this.#at + 96;
  }
  get digest16At(): number {
    return this.#at + 104;
  }
  get messageIdAt(): number {
    return this.#at + 120;
  }
  get inReplyToAt(): number {
    return this.#at + 132;
  }
  get payloadAt(): number {
    return this.#at + DELIVERY_RECORD_HEADER_BYTES;
  }

  /** Writes the first bytes of the message's digest, of 32. */
  setDigest(digest: Uint8Array): void {
    copy(digest, 0, this.bytes, this.#at + 104, DIGEST_RECEIPT_BYTES);
  }
}

function named<T>(table: readonly T[], index: number): T {
  const found = table[index];
  assert(found !== undefined, "a record names an entry of its batch");
  return found;
}
