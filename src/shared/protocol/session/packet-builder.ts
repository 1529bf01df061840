// A packet while it is written: frames go to `bytes[at ..)`, what must be repaired when the packet is
// lost goes to the content log of its session. One object, reused for every packet.

import type { Content, ContentLog } from "./content-log.js";

export class PacketBuilder {
  bytes: Uint8Array = new Uint8Array(0);
  /** Where the next frame goes. */
  at = 0;
  /** First byte behind the room for frames. */
  end = 0;
  /** Whether the packet asks for an acknowledgement. */
  eliciting = false;
  /** Whether pieces of large messages may go into it. */
  bulkAllowed = true;
  /** One stayed behind on that account. */
  bulkHeldBack = false;
  #start = 0;
  #log: ContentLog | undefined;

  open(bytes: Uint8Array, at: number, frameBytesMax: number, log: ContentLog): void {
    this.bytes = bytes;
    this.at = at;
    this.end = at + frameBytesMax;
    this.eliciting = false;
    this.bulkAllowed = true;
    this.bulkHeldBack = false;
    this.#start = at;
    this.#log = log;
    log.begin();
  }

  /** Closes it; the handle under which the content is remembered. */
  close(): number {
    const handle = this.#log?.end() as number;
    this.#log = undefined;
    return handle;
  }

  get room(): number {
    return this.end - this.at;
  }
  /** Bytes of frames so far. */
  get length(): number {
    return this.at - this.#start;
  }
  /** Bytes that an empty packet has room for. */
  get capacity(): number {
    return this.end - this.#start;
  }

  /** Notes what a frame carried; false: this packet takes no more. */
  note(content: Content, a: number, b: number, c: number): boolean {
    return this.#log?.add(content, a, b, c) === true;
  }
}
