// The handshakes of one worker between their two messages, in locked memory: initiations that we wrote,
// by the key slot of the session to be, and the last initiation that was read of each peer. Bounded for
// each peer and in all; whatever ends is wiped.

import { HandshakeState, handshakeStateBytes } from "../shared/protocol/noise/handshake-state.js";
import { NO_KEY_SLOT } from "../shared/protocol/session/ports.js";
import type { HeldPair } from "./identity-keys.js";
import { NOISE_PRIMITIVES } from "./noise-primitives.js";
import { SecretBlocks, type SecretSlot } from "./secret-blocks.js";

const PATTERN = "KKpsk0";
/** Initiations of one peer that may be open at a time, and as many rekeys. Source: section 17. */
export const INITIATIONS_PER_PEER_MAX = 2;
/** A block of handshake states takes some 5 pages. */
const STATES_PER_BLOCK = 16;
/** States of one worker at most, all peers together: 18 MiB of locked memory. */
export const HANDSHAKES_MAX = 16_384;

/** A Noise state and the memory that it lies in. */
export interface BegunHandshake {
  readonly state: HandshakeState;
  readonly slot: SecretSlot;
}

export interface OpenHandshake extends BegunHandshake {
  readonly peer: number;
  readonly pair: HeldPair;
  /** The session that a rekey travels in, or NO_KEY_SLOT. */
  readonly parentKeySlot: number;
}

/** We wrote message 1. */
export interface Initiation extends OpenHandshake {
  readonly keySlot: number;
  readonly sessionId: number;
}

/** We read message 1. */
export interface Reading extends OpenHandshake {
  readonly remoteId: number;
}

export class HandshakeStates {
  readonly #memory: SecretBlocks;
  readonly #byKeySlot = new Map<number, Initiation>();
  /** Oldest first. */
  readonly #byPeer = new Map<number, Initiation[]>();
  readonly #inDatagram = new Map<number, Reading>();
  readonly #inSession = new Map<number, Reading>();

  constructor(handshakesMax: number) {
    const bytes = handshakeStateBytes(NOISE_PRIMITIVES.hash);
    this.#memory = new SecretBlocks(bytes, STATES_PER_BLOCK, handshakesMax);
  }

  /** Handshakes between their two messages. */
  get open(): number {
    return this.#memory.taken;
  }

  /** A state before message 1, which is to be kept or ended; undefined when there are too many. */
  begin(
    { own, peerPublicKey, keys }: HeldPair,
    initiator: boolean,
    prologue: Uint8Array,
  ): BegunHandshake | undefined {
    const slot = this.#memory.take();
    if (slot === undefined) return undefined;
    const state = new HandshakeState({
      primitives: NOISE_PRIMITIVES,
      pattern: PATTERN,
      initiator,
      prologue,
      memory: slot.memory,
      s: own,
      rs: peerPublicKey,
      psks: [keys.psk],
    });
    return { state, slot };
  }

  /** Wipes a state that is not kept, or not any more. */
  end({ slot }: BegunHandshake): void {
    this.#memory.giveBack(slot);
  }

  // --- Initiations ------------------------------------------------------------------------------

  /** Ends what is open in that key slot, and the oldest of the peer until one more of the kind fits. */
  makeRoom(peer: number, keySlot: number, parentKeySlot: number): void {
    this.forget(keySlot);
    const isRekey = parentKeySlot !== NO_KEY_SLOT;
    const alike = (this.#byPeer.get(peer) ?? []).filter(
      (open) => (open.parentKeySlot !== NO_KEY_SLOT) === isRekey,
    );
    const surplus = alike.length + 1 - INITIATIONS_PER_PEER_MAX;
    for (let i = 0; i < surplus; i++) this.endInitiation(alike[i]);
  }

  keepInitiation(initiation: Initiation): void {
    const { peer, keySlot } = initiation;
    this.#byKeySlot.set(keySlot, initiation);
    this.#byPeer.set(peer, [...(this.#byPeer.get(peer) ?? []), initiation]);
  }

  /** The initiation that a message 2 answers. */
  answered(peer: number, sessionId: number, parentKeySlot: number): Initiation | undefined {
    return this.#byPeer
      .get(peer)
      ?.find((open) => open.sessionId === sessionId && open.parentKeySlot === parentKeySlot);
  }

  endInitiation(initiation: Initiation): void {
    this.#byKeySlot.delete(initiation.keySlot);
    const rest = this.#byPeer.get(initiation.peer)?.filter((each) => each !== initiation) ?? [];
    if (rest.length > 0) this.#byPeer.set(initiation.peer, rest);
    else this.#byPeer.delete(initiation.peer);
    this.end(initiation);
  }

  /** Ends the initiation whose keys would lie in that slot. */
  forget(keySlot: number): void {
    const initiation = this.#byKeySlot.get(keySlot);
    if (initiation !== undefined) this.endInitiation(initiation);
  }

  // --- Readings ---------------------------------------------------------------------------------

  /** Keeps an initiation that was read, in place of the one before of that peer and kind. */
  keepReading(reading: Reading): void {
    const readings = this.#readings(reading.parentKeySlot);
    const before = readings.get(reading.peer);
    if (before !== undefined) this.end(before);
    readings.set(reading.peer, reading);
  }

  /** The initiation last read of a peer in a datagram, or in any session; then it is to be answered. */
  reading(peer: number, parentKeySlot: number): Reading | undefined {
    return this.#readings(parentKeySlot).get(peer);
  }

  endReading(reading: Reading): void {
    this.#readings(reading.parentKeySlot).delete(reading.peer);
    this.end(reading);
  }

  // --- All --------------------------------------------------------------------------------------

  /** Ends all: the keys that they were lent go away. */
  forgetAll(): void {
    for (const initiation of [...this.#byKeySlot.values()]) this.endInitiation(initiation);
    for (const readings of [this.#inDatagram, this.#inSession]) {
      for (const reading of [...readings.values()]) this.endReading(reading);
    }
  }

  free(): void {
    this.forgetAll();
    this.#memory.free();
  }

  #readings(parentKeySlot: number): Map<number, Reading> {
    return parentKeySlot === NO_KEY_SLOT ? this.#inDatagram : this.#inSession;
  }
}
