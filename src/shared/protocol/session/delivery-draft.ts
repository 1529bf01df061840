// A delivery while it is filled in for the store: one object for all messages of a peer.

import { MESSAGE_ID_BYTES } from "../constants.js";
import type { LargeIn } from "./large-in.js";
import { BOOT_ID_BYTES } from "./limits.js";
import type { MessageFrame } from "./message-frame.js";
import type { Arrival, PieceDelivery } from "./ports.js";
import { PAYLOAD_OFFSET_BYTES, REPLY_OFFSET_BYTES } from "./reassembly.js";
import type { Gap, StreamIn, Waiting } from "./stream-in.js";

/** Boots of the peer are counted below this; the token of a message that is not large is that count. */
export const TOKEN_BOOTS = 2 ** 20;
const NO_BYTES = new Uint8Array(0);

export class DeliveryDraft implements PieceDelivery {
  readonly peer: number;
  token = 0;
  boot: Uint8Array = new Uint8Array(BOOT_ID_BYTES);
  number = 0;
  flags = 0;
  stream = "";
  sequence = 0;
  resume = false;
  gapFirst = 0;
  gapLast = 0;
  bytes: Uint8Array = NO_BYTES;
  messageIdAt = 0;
  inReplyToAt = 0;
  payloadAt = 0;
  payloadLength = 0;
  sentWallNs = 0;
  address = "";
  port = 0;
  total = 0;
  offset = 0;
  digest16At = 0;
  last = false;
  #boots = 0;

  constructor(peer: number) {
    this.peer = peer;
  }

  /** The message, or the piece, of a frame; its bytes lie in the packet. */
  ofFrame(frame: MessageFrame, stream: StreamIn | undefined, arrival: Arrival): this {
    this.#from(arrival);
    this.token = this.#boots;
    this.number = frame.number;
    this.flags = frame.messageFlags;
    this.stream = stream?.name ?? "";
    this.sequence = frame.sequence;
    this.resume = false;
    this.gapFirst = 0;
    this.gapLast = 0;
    this.bytes = frame.bytes;
    this.messageIdAt = frame.messageIdAt;
    this.inReplyToAt = frame.inReplyToAt;
    this.payloadAt = frame.dataAt;
    this.payloadLength = frame.length;
    this.total = frame.total;
    this.offset = frame.offset;
    this.digest16At = frame.digest16At;
    this.last = false;
    return this;
  }

  /** A piece of that file. */
  ofFile(large: LargeIn): this {
    this.token = large.token * TOKEN_BOOTS + this.#boots;
    return this;
  }

  /** Deliveries belong to this boot of the peer from now on. */
  restart(boots: number, boot: Uint8Array): void {
    this.#boots = boots;
    this.boot = boot;
  }

  /** Its bytes lie in memory of its own: ids, then payload. */
  in(bytes: Uint8Array, length: number): this {
    this.bytes = bytes;
    this.messageIdAt = 0;
    this.inReplyToAt = REPLY_OFFSET_BYTES;
    this.payloadAt = PAYLOAD_OFFSET_BYTES;
    this.payloadLength = length;
    return this;
  }

  /** An ordered message whose turn it is. */
  ofWaiting(waiting: Waiting, stream: StreamIn, gap: Gap | undefined, resume: boolean): this {
    this.#from(waiting.arrival);
    this.token = this.#boots;
    this.number = waiting.number;
    this.flags = waiting.flags;
    this.stream = stream.name;
    this.sequence = waiting.sequence;
    this.resume = resume;
    this.gapFirst = gap?.first ?? 0;
    this.gapLast = gap?.last ?? 0;
    this.last = false;
    this.total = waiting.bytes.length - PAYLOAD_OFFSET_BYTES;
    return this.in(waiting.bytes, this.total);
  }

  /** All of a large message was handed: it becomes a row. */
  finishing(large: LargeIn): this {
    this.ofFile(large);
    this.total = large.total;
    this.offset = large.total;
    this.bytes = concatenated(large.messageId, this.bytes, this.inReplyToAt, large.digest16);
    this.messageIdAt = 0;
    this.inReplyToAt = MESSAGE_ID_BYTES;
    this.digest16At = 2 * MESSAGE_ID_BYTES;
    this.payloadLength = 0;
    this.last = true;
    return this;
  }

  #from(arrival: Arrival): void {
    this.address = arrival.address;
    this.port = arrival.port;
    this.sentWallNs = arrival.sentWallNs;
  }
}

/** Message id, id replied to, digest, one behind the other. */
function concatenated(
  messageId: Uint8Array,
  bytes: Uint8Array,
  inReplyToAt: number,
  digest16: Uint8Array,
): Uint8Array {
  const all = new Uint8Array(2 * MESSAGE_ID_BYTES + digest16.length);
  all.set(messageId, 0);
  all.set(bytes.subarray(inReplyToAt, inReplyToAt + MESSAGE_ID_BYTES), MESSAGE_ID_BYTES);
  all.set(digest16, 2 * MESSAGE_ID_BYTES);
  return all;
}
