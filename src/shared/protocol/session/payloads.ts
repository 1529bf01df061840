// The payloads of one peer's outgoing rows: at hand in the batch that they were leased in, read again
// one by one after they were dropped, or, for large messages, in pieces. Bounded by what is leased.

import { type Outgoing, STANDING } from "./outgoing.js";
import type { PayloadOrder } from "./ports.js";
import { READ_PIECE_BYTES } from "./transfer.js";

export class Payloads {
  readonly #out: Outgoing;
  #reads: number[] = [];
  #heldBytes = 0;
  /** What `locate` found. */
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  /** Bytes that lie there in one run. */
  length = 0;

  constructor(outgoing: Outgoing) {
    this.#out = outgoing;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }
  get reading(): boolean {
    return this.#reads.length > 0;
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
    if (this.#out.transfers[slot]?.large === true || this.#out.sources[slot] === undefined) {
      this.#reads.push(this.#out.ticketOf(slot));
    }
  }

  poll(): PayloadOrder | undefined {
    for (;;) {
      const ticket = this.#reads[this.#reads.length - 1];
      if (ticket === undefined) return undefined;
      const slot = this.#out.slotOf(ticket);
      const order = slot < 0 ? undefined : this.#order(slot, ticket);
      if (order !== undefined) return order;
      this.#reads.pop();
    }
  }

  /** A piece, or a whole payload, was read. */
  provide(slot: number, offset: number, bytes: Uint8Array): void {
    const transfer = this.#out.transfers[slot];
    if (transfer?.large === true) {
      const before = transfer.heldBytes;
      transfer.provide(offset, bytes);
      this.#heldBytes += transfer.heldBytes - before;
      return;
    }
    if (this.#out.sources[slot] !== undefined) return;
    this.#out.sources[slot] = bytes;
    this.#out.payloadAts[slot] = 0;
    this.#heldBytes += bytes.length;
  }

  /** Bytes of a piece arrived at the other end. */
  acked(slot: number, offset: number, length: number): void {
    const transfer = this.#out.transfers[slot];
    if (transfer === undefined) {
      if (this.#out.standings[slot] === STANDING.flying) this.drop(slot);
      return;
    }
    const before = transfer.heldBytes;
    transfer.acked(offset, length);
    this.#heldBytes += transfer.heldBytes - before;
    if (transfer.complete) this.drop(slot);
  }

  /** Lets the payload go; it can be read again. */
  drop(slot: number): void {
    const transfer = this.#out.transfers[slot];
    if (transfer !== undefined) {
      this.#heldBytes -= transfer.heldBytes;
      transfer.dropPayload();
    }
    if (this.#out.sources[slot] === undefined) return;
    this.#heldBytes -= this.#out.totals[slot] as number;
    this.#out.sources[slot] = undefined;
  }

  #order(slot: number, ticket: number): PayloadOrder | undefined {
    const transfer = this.#out.transfers[slot];
    const total = this.#out.totals[slot] as number;
    let offset = 0;
    let length = total;
    if (transfer?.large === true) {
      offset = transfer.wanted();
      if (offset < 0) return undefined;
      length = Math.min(READ_PIECE_BYTES, total - offset);
    } else {
      this.#reads.pop();
      if (this.#out.standings[slot] !== STANDING.reading) return undefined;
    }
    return {
      rowId: this.#out.rowIds[slot] as number,
      generation: this.#out.generations[slot] as number,
      offset,
      length,
      tag: ticket,
    };
  }
}
