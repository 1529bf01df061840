// The key rings of one crypto worker: current, previous and next of each, side by side in locked
// memory. Pair secrets are derived here, in the thread that uses them.

import { hkdfSync } from "node:crypto";
import type { RingKeys } from "../shared/runtime/messages.js";
import { KEY_BYTES, KeyMemory, wipe } from "./aead.js";

/** Keys of a ring in the order in which they are tried. */
const KEYS_PER_RING = 3;

export class KeyRings {
  #memory = new KeyMemory(0);
  #present = new Uint8Array(0);

  /** Replaces all rings; `rings[i] === undefined` leaves index i without keys. Wipes what it is given. */
  install(rings: readonly (RingKeys | undefined)[]): void {
    const memory = new KeyMemory(rings.length * KEYS_PER_RING);
    const present = new Uint8Array(rings.length * KEYS_PER_RING);
    rings.forEach((ring, index) => {
      if (ring === undefined) return;
      [ring.current, ring.previous, ring.next].forEach((secret, which) => {
        if (secret === undefined) return;
        const at = index * KEYS_PER_RING + which;
        memory.take(at, deriveKey(secret, ring.pairInfo));
        wipe(secret);
        present[at] = 1;
      });
    });
    this.#memory.free();
    this.#memory = memory;
    this.#present = present;
  }

  /** The key that seals for a ring, or undefined when this worker has none. */
  sealing(ring: number): Uint8Array | undefined {
    return this.opening(ring, 0);
  }

  /** The n-th key to try (0 current, 1 previous, 2 next), or undefined when there is none. */
  opening(ring: number, which: number): Uint8Array | undefined {
    const at = ring * KEYS_PER_RING + which;
    return this.#present[at] === 1 ? this.#memory.key(at) : undefined;
  }

  /** How many keys are tried for a ring. */
  readonly tries = KEYS_PER_RING;

  free(): void {
    this.#memory.free();
    this.#memory = new KeyMemory(0);
    this.#present = new Uint8Array(0);
  }
}

/** The secret itself, or HKDF-SHA-512 of a master with an empty salt (RFC 5869) over both ids. */
function deriveKey(secret: Uint8Array, pairInfo: Uint8Array | undefined): Uint8Array {
  if (pairInfo === undefined) return Uint8Array.from(secret);
  return new Uint8Array(hkdfSync("sha512", secret, new Uint8Array(0), pairInfo, KEY_BYTES));
}
