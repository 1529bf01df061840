// The payloads of one peer's outgoing rows: at hand in the batch that they were leased in, read again
// one by one after they were dropped, or, for large messages, in pieces. Bounded by what is leased, and
// for the pieces by a sum that all large messages of the peer share.

import { type Outgoing, STANDING } from "./outgoing.js";
import type { PayloadOrder } from "./ports.js";
import { TicketQueue } from "./ticket-queue.js";
import { READ_PIECE_BYTES, type Transfer } from "./transfer.js";

/** Pieces of all large messages of a peer; beyond, each has the one that it needs next. */
const PIECES_BYTES_MAX = 16 * 1_024 * 1_024;

export class Payloads {
  readonly #out: Outgoing;
  readonly #reads = new TicketQueue();
  #heldBytes = 0;
  /** Of the pieces alone: at hand, and at hand or asked for. */
  #piecesBytes = 0;
  #claimedBytes = 0;
  /** What `locate` found. */
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  /** Bytes that lie there in one run. */
  length = 0;

  constructor(outgoing: Outgoing) {
    this.#out = outgoing;
  }

  /** All payload bytes in memory. */
  get heldBytes(): number {
    return this.#heldBytes + this.#piecesBytes;
  }
  /** Of them, those of rows that were leased or read as a whole. */
  get wholeBytes(): number {
    return this.#heldBytes;
  }

  /** A row came with its payload. */
  held(slot: number): void {
    if (this.#out.sources[slot] !== undefined) this.#heldBytes += this.#out.totals[slot] as number;
  }

  /** Where the payload is from `offset` on; false when it is not at hand: then it is asked for. */
  locate(slot: number, offset: number): boolean {
    const transfer = this.#out.transfers[slot];
    const total = this.#out.totals[slot] as number;
    if (transfer?.large === true) {
      const piece = transfer.pieceAt(offset);
      if (piece === undefined) return false;
      const within = offset % READ_PIECE_BYTES;
      this.bytes = piece;
      this.at = within;
      this.length = piece.length - within;
      return true;
    }
    const source = this.#out.sources[slot];
    if (source === undefined) return false;
    this.bytes = source;
    this.at = (this.#out.payloadAts[slot] as number) + offset;
    this.length = total - offset;
    return true;
  }

  /** Asks for what is missing of a row that has something to write. */
  want(slot: number): void {
    const transfer = this.#out.transfers[slot];
    if (transfer?.large === true) {
      if (transfer.wants) return;
      transfer.wants = true;
    } else if (this.#out.sources[slot] !== undefined) return;
    this.#reads.push(this.#out.ticketOf(slot));
  }

  poll(): PayloadOrder | undefined {
    for (let left = this.#reads.size; left > 0; left--) {
      const ticket = this.#reads.first;
      this.#reads.shift();
      const slot = this.#out.slotOf(ticket);
      if (slot < 0) continue;
      const transfer = this.#out.transfers[slot];
      const order =
        transfer?.large === true ? this.#piece(slot, ticket, transfer) : this.#whole(slot, ticket);
      if (order !== undefined) return order;
    }
    return undefined;
  }

  /** A piece, or a whole payload, was read. False: it is not what the row says, which must be gone. */
  provide(slot: number, offset: number, bytes: Uint8Array): boolean {
    const transfer = this.#out.transfers[slot];
    const total = this.#out.totals[slot] as number;
    if (transfer?.large === true) {
      if (bytes.length !== Math.min(READ_PIECE_BYTES, total - offset)) return false;
      transfer.provide(offset, bytes);
      this.recount(transfer);
      return true;
    }
    if (bytes.length !== total) return false;
    if (this.#out.sources[slot] !== undefined) return true;
    this.#out.sources[slot] = bytes;
    this.#out.payloadAts[slot] = 0;
    this.#heldBytes += total;
    return true;
  }

  /** Bytes of a piece arrived at the other end. */
  acked(slot: number, offset: number, length: number): void {
    const transfer = this.#out.transfers[slot];
    if (transfer === undefined) {
      if (this.#out.standings[slot] === STANDING.flying) this.drop(slot);
      return;
    }
    transfer.acked(offset, length);
    this.recount(transfer);
    if (transfer.complete) this.drop(slot);
  }

  /** Lets the payload go; it can be read again. */
  drop(slot: number): void {
    const transfer = this.#out.transfers[slot];
    if (transfer !== undefined) {
      transfer.dropPayload();
      this.recount(transfer);
    }
    if (this.#out.sources[slot] === undefined) return;
    this.#heldBytes -= this.#out.totals[slot] as number;
    this.#out.sources[slot] = undefined;
  }

  /** What a transfer holds may have changed. */
  recount(transfer: Transfer): void {
    const { heldBytes, claimedBytes } = transfer;
    this.#piecesBytes += heldBytes - transfer.countedHeldBytes;
    this.#claimedBytes += claimedBytes - transfer.countedClaimedBytes;
    transfer.countedHeldBytes = heldBytes;
    transfer.countedClaimedBytes = claimedBytes;
  }

  /** The next piece of a large message, and its place behind the others for one more. */
  #piece(slot: number, ticket: number, transfer: Transfer): PayloadOrder | undefined {
    const begun = this.#out.numbers[slot] !== 0;
    const scarce = this.#claimedBytes >= PIECES_BYTES_MAX;
    // One that was begun must be able to go on, or what it holds at the other end is never finished.
    const offset = begun || !scarce ? transfer.wanted(begun && !scarce) : -1;
    if (offset >= 0) this.recount(transfer);
    transfer.wants = offset >= 0 || scarce;
    if (transfer.wants) this.#reads.push(ticket);
    if (offset < 0) return undefined;
    const length = Math.min(READ_PIECE_BYTES, transfer.total - offset);
    return this.#order(slot, ticket, offset, length);
  }

  #whole(slot: number, ticket: number): PayloadOrder | undefined {
    const { standings, numbers, sources, totals } = this.#out;
    const unreleased = standings[slot] === STANDING.queued && numbers[slot] === 0;
    if (standings[slot] !== STANDING.reading && !unreleased) return undefined;
    if (sources[slot] !== undefined) return undefined;
    return this.#order(slot, ticket, 0, totals[slot] as number);
  }

  #order(slot: number, tag: number, offset: number, length: number): PayloadOrder {
    const rowId = this.#out.rowIds[slot] as number;
    const generation = this.#out.generations[slot] as number;
    return { rowId, generation, offset, length, tag };
  }
}
