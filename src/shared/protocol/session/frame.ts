// Reads the frames of an opened packet, one after the other, without an object for any: `next` says
// which frame comes and has moved the cursor of that kind onto it. Strict: a frame is checked to its
// last byte before it is shown, and the first fault ends the packet. Nothing that a packet says makes
// it throw, read outside of the packet, or take memory.

import { AckFrame } from "./frame-ack.js";
import { CloseFrame, KeysFrame, PathFrame, RekeyFrame } from "./frame-control.js";
import { FrameCursor } from "./frame-cursor.js";
import { MessageCursor } from "./frame-message.js";
import { ReceiptFrame, RefuseFrame, SettledFrame } from "./frame-receipt.js";
import { CreditFrame, HaveFrame } from "./frame-transfer.js";
import { FRAME, type Frame, isEliciting, NO_FRAME, type NoFrame } from "./frame-type.js";

export class FrameReader {
  /** Each is valid until `next` meets another frame of its kind, and as long as the packet's bytes. */
  readonly ack = new AckFrame();
  readonly message = new MessageCursor();
  readonly receipt = new ReceiptFrame();
  readonly refuse = new RefuseFrame();
  readonly settled = new SettledFrame();
  readonly have = new HaveFrame();
  readonly credit = new CreditFrame();
  readonly rekey = new RekeyFrame();
  readonly path = new PathFrame();
  readonly close = new CloseFrame();
  readonly keys = new KeysFrame();
  readonly #cursor = new FrameCursor();
  #eliciting = false;
  #faulty = false;

  /** Begins with the frames `bytes[at .. at + length)`, which stay the caller's. */
  open(bytes: Uint8Array, at: number, length: number): void {
    this.#cursor.open(bytes, at, length);
    this.#eliciting = false;
    this.#faulty = false;
  }

  /** Whether a frame met so far asks for an acknowledgement. */
  get eliciting(): boolean {
    return this.#eliciting;
  }

  /** The next frame, PADDING passed over; NO_FRAME.end behind the last, NO_FRAME.fault from a fault on. */
  next(): Frame | NoFrame {
    if (this.#faulty) return NO_FRAME.fault;
    const cursor = this.#cursor;
    while (cursor.at < cursor.end && cursor.bytes[cursor.at] === FRAME.padding) cursor.at += 1;
    if (cursor.at === cursor.end) return NO_FRAME.end;
    const frame = cursor.byte() as Frame;
    if (!this.#read(frame)) {
      this.#faulty = true;
      return NO_FRAME.fault;
    }
    if (isEliciting(frame)) this.#eliciting = true;
    return frame;
  }

  /** False when the frame has a fault, or is none that we know. */
  #read(frame: Frame): boolean {
    const cursor = this.#cursor;
    switch (frame) {
      case FRAME.message:
        return this.message.read(cursor);
      case FRAME.ack:
        return this.ack.read(cursor);
      case FRAME.receipt:
        return this.receipt.read(cursor);
      case FRAME.padding:
      case FRAME.ping:
        return true;
      case FRAME.refuse:
        return this.refuse.read(cursor);
      case FRAME.settled:
        return this.settled.read(cursor);
      case FRAME.have:
        return this.have.read(cursor);
      case FRAME.credit:
        return this.credit.read(cursor);
      case FRAME.rekey:
        return this.rekey.read(cursor);
      case FRAME.pathChallenge:
      case FRAME.pathResponse:
        return this.path.read(cursor);
      case FRAME.close:
        return this.close.read(cursor);
      case FRAME.keys:
        return this.keys.read(cursor);
      default:
        return false;
    }
  }
}
