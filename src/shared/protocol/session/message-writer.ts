// Writes MESSAGE frames: how much of a message fits, and the frame itself. The header is one object
// that is filled in for each frame; ids and digests are read where the rows have them.

import { ByteCopier } from "../../base/byte-copier.js";
import { MESSAGE_ID_BYTES } from "../constants.js";
import { putBytes } from "./byte-order.js";
import { FRAME } from "./frame-type.js";
import { DIGEST_PIECE_BYTES } from "./limits.js";
import { MESSAGE_FLAG } from "./message-digest.js";
import { putVarint, varintBytes } from "./varint.js";

const PRIORITY_SHIFT = 4;
/** A piece with less data than this is not worth its header, unless it is the last. */
const PIECE_BYTES_MIN = 64;

/** What a MESSAGE frame says of its message; filled in by the owner of the rows. */
export class MessageHeader {
  number = 0;
  /** Flags that belong to the message: ordered, bytes, reply. */
  flags = 0;
  priority = 0;
  fragmented = false;
  lifeSeconds = 1;
  total = 0;
  offset = 0;
  /** Memory of the ids, and where this one is; the same for the id replied to, and the digest. */
  ids: Uint8Array = new Uint8Array(0);
  replies: Uint8Array = new Uint8Array(0);
  digests: Uint8Array = new Uint8Array(0);
  messageIdAt = 0;
  digestAt = 0;
  /** UTF-8, of an ordered message. */
  stream: Uint8Array | undefined;
  sequence = 0;
  base = 0;
}

/** Where payload bytes are read. */
export interface PayloadSource {
  readonly bytes: Uint8Array;
  readonly at: number;
}

export class MessageWriter {
  readonly header = new MessageHeader();
  readonly #copier = new ByteCopier();

  /** Whether the whole message fits into a packet of so many bytes of frames. */
  fits(capacity: number, total: number): boolean {
    return this.#fixedBytes() + varintBytes(total) + total <= capacity;
  }

  /** How many of `lengthMax` bytes fit into `room`, or -1 when it is not worth a frame. */
  fit(room: number, lengthMax: number): number {
    const { fragmented, total } = this.header;
    if (!fragmented) return this.fits(room, total) ? total : -1;
    const around = this.#fixedBytes() + varintBytes(Math.max(0, Math.min(lengthMax, room)));
    const length = Math.min(lengthMax, room - around);
    return length >= Math.min(PIECE_BYTES_MIN, lengthMax) ? length : -1;
  }

  /** Writes the frame with `length` bytes of the source; returns the offset behind it. */
  write(into: Uint8Array, at: number, source: PayloadSource, length: number): number {
    const { header } = this;
    const { stream } = header;
    let to = at;
    into[to] = FRAME.message;
    to = putVarint(into, to + 1, header.number);
    into[to] =
      header.flags |
      (header.fragmented ? MESSAGE_FLAG.fragmented : 0) |
      (header.priority << PRIORITY_SHIFT);
    to = putBytes(into, to + 1, header.ids, header.messageIdAt, MESSAGE_ID_BYTES);
    to = putVarint(into, to, header.lifeSeconds);
    to = putVarint(into, to, header.total);
    if ((header.flags & MESSAGE_FLAG.reply) !== 0) {
      to = putBytes(into, to, header.replies, header.messageIdAt, MESSAGE_ID_BYTES);
    }
    if (stream !== undefined) {
      into[to] = stream.length;
      to = putBytes(into, to + 1, stream, 0, stream.length);
      to = putVarint(into, to, header.sequence);
      to = putVarint(into, to, header.base);
    }
    if (header.fragmented) {
      to = putBytes(into, to, header.digests, header.digestAt, DIGEST_PIECE_BYTES);
      to = putVarint(into, to, header.offset);
    }
    to = putVarint(into, to, length);
    this.#copier.copy(source.bytes, source.at, into, to, length);
    return to + length;
  }

  /** Bytes of the frame without data and its length. */
  #fixedBytes(): number {
    const { header } = this;
    const { stream } = header;
    let bytes = 2 + MESSAGE_ID_BYTES;
    bytes += varintBytes(header.number) + varintBytes(header.lifeSeconds);
    bytes += varintBytes(header.total);
    if ((header.flags & MESSAGE_FLAG.reply) !== 0) bytes += MESSAGE_ID_BYTES;
    if (stream !== undefined) {
      bytes += 1 + stream.length + varintBytes(header.sequence) + varintBytes(header.base);
    }
    if (header.fragmented) bytes += DIGEST_PIECE_BYTES + varintBytes(header.offset);
    return bytes;
  }
}
