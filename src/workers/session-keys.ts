// Keys of sessions by key slot, a number that main chose. They are born here, by a handshake, lie in
// locked memory and never leave; main holds the slot's number and the header keys.

import { Stretches } from "../shared/protocol/noise/primitives.js";
import { SecretBlocks, type SecretSlot } from "./secret-blocks.js";

const KEY_BYTES = 32;
const HANDSHAKE_HASH_BYTES = 64;
const SLOT_BYTES = 2 * KEY_BYTES + HANDSHAKE_HASH_BYTES;
/** A block takes two pages. */
const SESSIONS_PER_BLOCK = 64;
/** Sessions of one worker at most: 8 MiB of locked memory. */
export const SESSIONS_MAX = 65_536;

/** Views of one session's locked memory; dead, and zeroes, once the slot was forgotten. */
export interface HeldSession {
  /** Seals packets to the peer, 32 bytes. */
  readonly sealKey: Uint8Array;
  readonly openKey: Uint8Array;
  /** Binds a rekey to the session that carries it, 64 bytes. */
  readonly handshakeHash: Uint8Array;
}

interface Held extends HeldSession {
  readonly slot: SecretSlot;
}

export class SessionKeys {
  readonly #memory: SecretBlocks;
  readonly #sessions = new Map<number, Held>();

  constructor(sessionsMax: number = SESSIONS_MAX) {
    this.#memory = new SecretBlocks(SLOT_BYTES, SESSIONS_PER_BLOCK, sessionsMax);
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** The keys in a slot, or undefined when it is empty. */
  of(keySlot: number): HeldSession | undefined {
    return this.#sessions.get(keySlot);
  }

  /**
   * Empties a slot and gives its memory, zeroes, to be filled; undefined when there are too many
   * sessions.
   */
  take(keySlot: number): HeldSession | undefined {
    this.forget(keySlot);
    const slot = this.#memory.take();
    if (slot === undefined) return undefined;
    const stretches = new Stretches(slot.memory);
    const held: Held = {
      sealKey: stretches.next(KEY_BYTES),
      openKey: stretches.next(KEY_BYTES),
      handshakeHash: stretches.next(HANDSHAKE_HASH_BYTES),
      slot,
    };
    this.#sessions.set(keySlot, held);
    return held;
  }

  /** Wipes the keys in a slot, if there are any. */
  forget(keySlot: number): void {
    const held = this.#sessions.get(keySlot);
    if (held === undefined) return;
    this.#sessions.delete(keySlot);
    this.#memory.giveBack(held.slot);
  }

  /** Wipes and unmaps all. */
  free(): void {
    this.#sessions.clear();
    this.#memory.free();
  }
}
