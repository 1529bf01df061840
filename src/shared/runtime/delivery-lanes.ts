// What sessions bring, waiting for the store in two lanes that take turns: messages, and pieces of large
// ones in batches small enough that a message does not wait long behind one. Where the order between the
// lanes matters, a batch of pieces waits for the messages that were handed before it.

import { assert } from "../base/assert.js";
import type { DeliverySink, MessageDelivery, PieceDelivery } from "../protocol/session/ports.js";
import { type DeliveryBatch, DeliveryBatchWriter } from "./delivery-batch.js";
import { type BatchShares, LaneShares } from "./lane-shares.js";

const MIB = 1_024 * 1_024;
/** One batch of messages; as much waits at most. */
const MESSAGE_ROWS_MAX = 8_192;
const MESSAGE_BYTES_MAX = 8 * MIB;
/** One batch of pieces: written and synced in some 20 ms; eight of them wait at most. */
const PIECE_ROWS_MAX = 2_048;
const PIECE_BYTES_MAX = MIB;
const PIECE_BATCHES_MAX = 8;

export type DeliveryLane = "messages" | "pieces";
const MESSAGES_FIRST: readonly DeliveryLane[] = ["messages", "pieces"];
const PIECES_FIRST: readonly DeliveryLane[] = ["pieces", "messages"];

export class DeliveryLanes implements Omit<DeliverySink, "accepting"> {
  readonly #messages: DeliveryBatchWriter;
  readonly #pieces: DeliveryBatchWriter;
  /** Batches of pieces in front of the one that is being written. */
  #full: {
    readonly batch: DeliveryBatch;
    readonly needs: number;
    readonly shares: BatchShares;
  }[] = [];
  readonly #messageShares = new LaneShares(MESSAGE_ROWS_MAX, MESSAGE_BYTES_MAX);
  readonly #pieceShares = new LaneShares(
    PIECE_BATCHES_MAX * PIECE_ROWS_MAX,
    PIECE_BATCHES_MAX * PIECE_BYTES_MAX,
  );
  /** Batches handed out so far. */
  #messagesTaken = 0;
  #piecesTaken = 0;
  /** How many batches of messages go in front of the batch of pieces that is being written. */
  #needs = 0;
  #holdsSettled = false;
  /** Streams with a message in a batch of pieces, and the number of the last such batch. */
  readonly #streams = new Map<string, number>();
  #last: DeliveryLane = "pieces";

  /** `scopeOf`: scope of a peer, its public key in base64. */
  constructor(scopeOf: (peer: number) => string) {
    this.#messages = new DeliveryBatchWriter({
      rowsMax: MESSAGE_ROWS_MAX,
      bytesMax: MESSAGE_BYTES_MAX,
      scopeOf,
    });
    this.#pieces = new DeliveryBatchWriter({
      rowsMax: PIECE_ROWS_MAX,
      bytesMax: PIECE_BYTES_MAX,
      scopeOf,
    });
  }

  /** Records that wait in a lane. */
  rowsOf(lane: DeliveryLane): number {
    if (lane === "messages") return this.#messages.rows;
    return this.#full.reduce((sum, { batch }) => sum + batch.rows, this.#pieces.rows);
  }
  get isEmpty(): boolean {
    return this.#messages.rows === 0 && this.#piecesEmpty;
  }

  /** Behind a large message of its stream that is still in the other lane, it goes there. */
  message(delivery: MessageDelivery): boolean {
    const key = this.#streams.size > 0 ? streamOf(delivery) : undefined;
    if (key === undefined || !this.#streams.has(key)) return this.#message(delivery);
    if (!this.#mayPiece(delivery)) return false;
    this.#streams.set(key, this.#writing);
    const before = this.#pieces.bytes;
    this.#pieces.message(delivery);
    this.#pieceShares.add(delivery.peer, this.#pieces.bytes - before);
    return true;
  }

  #message(delivery: MessageDelivery): boolean {
    const { peer } = delivery;
    const before = this.#messages.bytes;
    if (!this.#messageShares.admits(peer) || !this.#messages.message(delivery)) return false;
    this.#messageShares.add(peer, this.#messages.bytes - before);
    return true;
  }

  piece(delivery: PieceDelivery): boolean {
    if (!this.#mayPiece(delivery)) return false;
    const key = delivery.last ? streamOf(delivery) : undefined;
    if (key !== undefined) {
      this.#streams.set(key, this.#writing);
      this.#needs = this.#behindMessages;
    }
    const before = this.#pieces.bytes;
    this.#pieces.piece(delivery);
    this.#pieceShares.add(delivery.peer, this.#pieces.bytes - before);
    return true;
  }

  /**
   * Behind all that was handed before, in either lane. False also when a batch of pieces has waited for
   * messages on that account: it would never go.
   */
  settled(peer: number, boot: Uint8Array, below: number): boolean {
    if (this.#piecesEmpty) return this.#messages.settled(peer, boot, below);
    if (!this.#pieceRoom(0)) return false;
    if (this.#messages.rows > 0) {
      if (this.#holdsSettled) return false;
      this.#holdsSettled = true;
      this.#needs = this.#behindMessages;
    }
    return this.#pieces.settled(peer, boot, below);
  }

  /** Behind the pieces of that message. */
  drop(peer: number, messageId: Uint8Array): boolean {
    return this.#pieceRoom(0) && this.#pieces.drop(peer, messageId);
  }

  /** Both lanes, the one whose turn it is first. */
  get turns(): readonly DeliveryLane[] {
    return this.#last === "messages" ? PIECES_FIRST : MESSAGES_FIRST;
  }

  /** Whether something of a lane waits and is in front of nothing that it must be behind. */
  mayGo(lane: DeliveryLane): boolean {
    if (lane === "messages") return this.#messages.rows > 0;
    const needs = this.#full[0]?.needs ?? this.#needs;
    return !this.#piecesEmpty && this.#messagesTaken >= needs;
  }

  /** Hands out a batch of a lane that may go. One at a time: it comes back to `recycle`. */
  take(lane: DeliveryLane): DeliveryBatch {
    assert(this.mayGo(lane), "a batch goes when it may");
    this.#last = lane;
    if (lane === "messages") {
      this.#messagesTaken += 1;
      this.#messageShares.gone(this.#messageShares.close());
      return this.#messages.take();
    }
    const { batch, shares } = this.#full.shift() ?? this.#close();
    this.#pieceShares.gone(shares);
    this.#piecesTaken += 1;
    for (const [key, number] of this.#streams) {
      if (number <= this.#piecesTaken) this.#streams.delete(key);
    }
    return batch;
  }

  /** Takes the memory of the batch back that was handed out. */
  recycle(batch: DeliveryBatch): void {
    (this.#last === "messages" ? this.#messages : this.#pieces).recycle(batch);
  }

  get #piecesEmpty(): boolean {
    return this.#pieces.rows === 0 && this.#full.length === 0;
  }
  /** Number of the batch of pieces that is being written. */
  get #writing(): number {
    return this.#piecesTaken + this.#full.length + 1;
  }
  /** How many batches of messages will have gone once those that wait have. */
  get #behindMessages(): number {
    return this.#messagesTaken + (this.#messages.rows > 0 ? 1 : 0);
  }

  #mayPiece({ peer, payloadLength }: MessageDelivery): boolean {
    return this.#pieceShares.admits(peer) && this.#pieceRoom(payloadLength);
  }

  #pieceRoom(payloadLength: number): boolean {
    if (this.#pieces.fits(payloadLength)) return true;
    if (this.#full.length >= PIECE_BATCHES_MAX - 1 || this.#pieces.rows === 0) return false;
    this.#full.push(this.#close());
    return this.#pieces.fits(payloadLength);
  }

  #close() {
    this.#holdsSettled = false;
    const shares = this.#pieceShares.close();
    return { needs: this.#needs, batch: this.#pieces.take(), shares };
  }
}

/** Undefined: unordered. */
const streamOf = ({ peer, stream, sequence }: MessageDelivery): string | undefined =>
  sequence === 0 ? undefined : `${peer} ${stream}`;
