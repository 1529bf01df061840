// What changes while a handshake runs. A handshake has it twice: each message is worked on in the
// second one, which takes the first one's place when all of the message was good.

import {
  DH_BYTES,
  type HashFunction,
  type KeyPair,
  type NoisePrimitives,
  Stretches,
} from "./primitives.js";
import { SymmetricState, type SymmetricTools, symmetricStateBytes } from "./symmetric-state.js";

/** Memory for it, bytes. */
export const handshakeVariablesBytes = (hash: HashFunction): number =>
  symmetricStateBytes(hash) + 4 * DH_BYTES;

export class HandshakeVariables {
  readonly #primitives: NoisePrimitives;
  readonly #memory: Uint8Array;
  readonly symmetric: SymmetricState;
  /**
   * Our ephemeral pair, the remote static and the remote ephemeral key: the names of Noise §5.3.
   */
  readonly e: KeyPair;
  readonly rs: Uint8Array;
  readonly re: Uint8Array;
  /** How many pre-shared keys have been mixed in. */
  psksMixed = 0;

  /** `memory`, of {@link handshakeVariablesBytes}, belongs to it. */
  constructor(tools: SymmetricTools, memory: Uint8Array) {
    const stretches = new Stretches(memory);
    this.#primitives = tools.primitives;
    this.#memory = memory;
    const bytes = symmetricStateBytes(tools.primitives.hash);
    this.symmetric = new SymmetricState(tools, stretches.next(bytes));
    this.e = { privateKey: stretches.next(DH_BYTES), publicKey: stretches.next(DH_BYTES) };
    this.rs = stretches.next(DH_BYTES);
    this.re = stretches.next(DH_BYTES);
  }

  copyFrom(other: HandshakeVariables): void {
    this.#memory.set(other.#memory);
    this.symmetric.copyFrom(other.symmetric);
    this.psksMixed = other.psksMixed;
  }

  wipe(): void {
    this.#primitives.wipe(this.#memory);
    this.symmetric.wipe();
    this.psksMixed = 0;
  }
}
