// Gives out what names a session here: the id that packets to us carry, random and unique among the
// live ones, and the slot that a crypto worker keeps its keys in.

import { assert } from "../../base/assert.js";
import { wordBigAt } from "./byte-order.js";
import { SESSION_ID_BYTES } from "./packet.js";

/** Sessions of all peers, of all states. */
export const SESSIONS_MAX = 65_536;

export class SessionIds {
  readonly #random: (into: Uint8Array) => void;
  readonly #bytes = new Uint8Array(SESSION_ID_BYTES);
  readonly #ids = new Set<number>();
  readonly #vacant: number[] = [];
  #slots = 0;

  constructor(random: (into: Uint8Array) => void) {
    this.#random = random;
  }

  /** A fresh id, not 0. */
  localId(): number {
    assert(this.#ids.size < SESSIONS_MAX, "peers are bounded, and the sessions of each");
    for (;;) {
      this.#random(this.#bytes);
      const id = wordBigAt(this.#bytes, 0);
      if (id === 0 || this.#ids.has(id)) continue;
      this.#ids.add(id);
      return id;
    }
  }

  keySlot(): number {
    const slot = this.#vacant.pop();
    if (slot !== undefined) return slot;
    this.#slots += 1;
    return this.#slots - 1;
  }

  /** The session is gone, and the worker was told to wipe its keys. */
  release(localId: number, keySlot: number): void {
    this.#ids.delete(localId);
    this.#vacant.push(keySlot);
  }
}
