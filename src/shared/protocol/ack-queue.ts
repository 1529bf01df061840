// ACKs that wait to be sealed: a fixed ring of message ids and where they go. When it is full the
// newest is not queued; the peer sends its message again and draws another.

import { MESSAGE_ID_BYTES, QUEUE_ACKS_MAX } from "./constants.js";

export class AckQueue {
  readonly #ids = new Uint8Array(QUEUE_ACKS_MAX * MESSAGE_ID_BYTES);
  readonly #rings = new Uint32Array(QUEUE_ACKS_MAX);
  readonly #ports = new Uint16Array(QUEUE_ACKS_MAX);
  readonly #addresses: string[] = new Array<string>(QUEUE_ACKS_MAX).fill("");
  #head = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Copies the id; false when the queue is full. */
  push(bytes: Uint8Array, idAt: number, ring: number, address: string, port: number): boolean {
    if (this.#size === QUEUE_ACKS_MAX) return false;
    const slot = (this.#head + this.#size) % QUEUE_ACKS_MAX;
    const at = slot * MESSAGE_ID_BYTES;
    for (let i = 0; i < MESSAGE_ID_BYTES; i++) this.#ids[at + i] = bytes[idAt + i] as number;
    this.#rings[slot] = ring;
    this.#ports[slot] = port;
    this.#addresses[slot] = address;
    this.#size += 1;
    return true;
  }

  /** The ids of all slots; the head's begins at `headIdAt`. */
  get ids(): Uint8Array {
    return this.#ids;
  }
  get headIdAt(): number {
    return this.#head * MESSAGE_ID_BYTES;
  }
  get headRing(): number {
    return this.#rings[this.#head] as number;
  }
  get headAddress(): string {
    return this.#addresses[this.#head] as string;
  }
  get headPort(): number {
    return this.#ports[this.#head] as number;
  }

  shift(): void {
    this.#addresses[this.#head] = "";
    this.#head = (this.#head + 1) % QUEUE_ACKS_MAX;
    this.#size -= 1;
  }
}
