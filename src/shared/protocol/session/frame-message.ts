// MESSAGE as it is read: a message, or a piece of one. MessageWriter writes it. Fields that a message
// does not have are 0.
//
//   bytes name               meaning
//   1     type               0x03
//   v     number             counts messages to one peer within one boot
//   1     flags              MESSAGE_FLAG; bits 4 and 5: priority; bits 6 and 7: zero
//   12    message id
//   v     life               seconds until it expires, 1 and up
//   v     total              bytes of the whole message
//   12    in reply to        if reply
//   1, s  length, stream     if ordered; 1 to 64 bytes of UTF-8
//   v, v  sequence, base     if ordered; 1 <= base <= sequence
//   16    digest16           if fragmented
//   v     offset             if fragmented
//   v     length             of the data here; not fragmented: equal to total
//   n     data

import { MESSAGE_ID_BYTES } from "../constants.js";
import { utf8SequenceEnd } from "../json-string.js";
import type { FrameCursor } from "./frame-cursor.js";
import { DIGEST_PIECE_BYTES, STREAM_BYTES_MAX } from "./limits.js";
import { DIGEST_FLAGS_MASK, MESSAGE_FLAG } from "./message-digest.js";
import type { MessageFrame } from "./message-frame.js";

const PRIORITY_SHIFT = 4;
const PRIORITY_MASK = 3;
const FLAGS_UNUSED = 0xc0;

export class MessageCursor implements MessageFrame {
  bytes: Uint8Array = new Uint8Array(0);
  /** 0 is no fault of the frame: the receiver closes with a reason of its own. */
  number = 0;
  messageFlags = 0;
  ordered = false;
  fragmented = false;
  priority = 0;
  messageIdAt = 0;
  lifeSeconds = 0;
  total = 0;
  inReplyToAt = 0;
  streamAt = 0;
  streamLength = 0;
  sequence = 0;
  base = 0;
  digest16At = 0;
  offset = 0;
  dataAt = 0;
  length = 0;

  /** Reads the frame behind its type; false when it has a fault. */
  read(cursor: FrameCursor): boolean {
    this.bytes = cursor.bytes;
    this.number = cursor.varint();
    const flags = cursor.byte();
    this.messageIdAt = cursor.take(MESSAGE_ID_BYTES);
    this.lifeSeconds = cursor.varint();
    this.total = cursor.varint();
    if (cursor.failed || (flags & FLAGS_UNUSED) !== 0 || this.lifeSeconds === 0) return false;
    this.messageFlags = flags & DIGEST_FLAGS_MASK;
    this.ordered = (flags & MESSAGE_FLAG.ordered) !== 0;
    this.fragmented = (flags & MESSAGE_FLAG.fragmented) !== 0;
    this.priority = (flags >>> PRIORITY_SHIFT) & PRIORITY_MASK;
    const isReply = (flags & MESSAGE_FLAG.reply) !== 0;
    this.inReplyToAt = isReply ? cursor.take(MESSAGE_ID_BYTES) : 0;
    return this.#readStream(cursor) && this.#readData(cursor);
  }

  #readStream(cursor: FrameCursor): boolean {
    this.streamAt = 0;
    this.streamLength = 0;
    this.sequence = 0;
    this.base = 0;
    if (!this.ordered) return true;
    this.streamLength = cursor.byte();
    if (this.streamLength < 1 || this.streamLength > STREAM_BYTES_MAX) return false;
    this.streamAt = cursor.take(this.streamLength);
    this.sequence = cursor.varint();
    this.base = cursor.varint();
    if (cursor.failed || this.base < 1 || this.base > this.sequence) return false;
    return isUtf8(cursor.bytes, this.streamAt, this.streamAt + this.streamLength);
  }

  #readData(cursor: FrameCursor): boolean {
    this.digest16At = this.fragmented ? cursor.take(DIGEST_PIECE_BYTES) : 0;
    this.offset = this.fragmented ? cursor.varint() : 0;
    this.length = cursor.varint();
    this.dataAt = cursor.take(this.length);
    if (cursor.failed) return false;
    if (!this.fragmented) return this.length === this.total;
    if (this.length === 0 && this.total > 0) return false;
    // A sum above 2^53 - 1 may be rounded, but never down to a total.
    return this.offset + this.length <= this.total;
  }
}

function isUtf8(bytes: Uint8Array, from: number, to: number): boolean {
  let at = from;
  while (at < to) {
    at = bytes[at] < 0x80 ? at + 1 : utf8SequenceEnd(bytes, at, to);
    if (at < 0) return false;
  }
  return true;
}
