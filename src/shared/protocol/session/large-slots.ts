// The rows of one peer whose payload is read in pieces, by message id: the other end names them by it, as
// often as it likes, and there may be thousands.

import { MESSAGE_ID_BYTES } from "../constants.js";
import type { Outgoing } from "./outgoing.js";

const NO_SLOTS: readonly number[] = [];

export class LargeSlots {
  readonly #out: Outgoing;
  /** Slots by a hash of their id. */
  readonly #slots = new Map<number, readonly number[]>();

  constructor(outgoing: Outgoing) {
    this.#out = outgoing;
  }

  add(slot: number): void {
    const key = keyOf(this.#out.ids, slot * MESSAGE_ID_BYTES);
    this.#slots.set(key, [...(this.#slots.get(key) ?? NO_SLOTS), slot]);
  }

  /** Its row is still there. */
  delete(slot: number): void {
    const key = keyOf(this.#out.ids, slot * MESSAGE_ID_BYTES);
    const left = this.#slots.get(key)?.filter((each) => each !== slot) ?? NO_SLOTS;
    if (left.length > 0) this.#slots.set(key, left);
    else this.#slots.delete(key);
  }

  /** Those that may have the message id at `bytes[at ..)`. */
  like(bytes: Uint8Array, at: number): readonly number[] {
    return this.#slots.get(keyOf(bytes, at)) ?? NO_SLOTS;
  }
}

/** A hash of a message id. Ids are our own, so nobody else chooses which meet. */
function keyOf(bytes: Uint8Array, at: number): number {
  let key = 0;
  for (let i = 0; i < MESSAGE_ID_BYTES; i++) {
    key = Math.imul(key ^ (bytes[at + i] as number), 0x0100_0193) ^ (key >>> 15);
  }
  return key;
}
