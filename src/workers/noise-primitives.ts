// libsodium's X25519 and BLAKE2b-512 for the Noise engine and for pair keys, and locked memory for
// the secrets they compute with. With aead.ts the only importer of sodium-native; crypto workers
// only.

import sodium from "sodium-native";
import { assert } from "../shared/base/assert.js";
import {
  DH_BYTES,
  type HashFunction,
  type NoisePrimitives,
} from "../shared/protocol/noise/primitives.js";
import { open, randomBytes, sealInPlace, wipe } from "./aead.js";

const BLAKE2B: HashFunction = {
  name: "BLAKE2b",
  hashBytes: 64,
  blockBytes: 128,
  hash(into: Uint8Array, parts: readonly Uint8Array[]): void {
    assert(into.length === 64, "a BLAKE2b-512 hash has 64 bytes");
    sodium.crypto_generichash_batch(into, parts);
  },
};

/** What `Noise_*_25519_ChaChaPoly_BLAKE2b` needs. */
export const NOISE_PRIMITIVES: NoisePrimitives = {
  hash: BLAKE2B,
  random: randomBytes,
  publicKey(into: Uint8Array, privateKey: Uint8Array): void {
    sodium.crypto_scalarmult_base(into, privateKey);
  },
  dh: sharedSecret,
  seal: sealInPlace,
  open,
  wipe,
};

/** X25519. libsodium throws on an all-zero result, the only way in which it fails here. */
function sharedSecret(into: Uint8Array, privateKey: Uint8Array, publicKey: Uint8Array): boolean {
  for (const each of [into, privateKey, publicKey]) {
    assert(each.length === DH_BYTES, "X25519 works on 32 bytes");
  }
  try {
    sodium.crypto_scalarmult(into, privateKey, publicKey);
    return true;
  } catch {
    wipe(into);
    return false;
  }
}

/** Locked memory in slots of one size, for secrets that come and go: handshakes, session keys. */
export class SecretPool {
  readonly #secure: Buffer;
  readonly #slots: readonly Uint8Array[];
  readonly #free: Uint8Array[];

  constructor(slots: number, slotBytes: number) {
    this.#secure = sodium.sodium_malloc(slots * slotBytes);
    const { buffer, byteOffset } = this.#secure;
    this.#slots = Array.from(
      { length: slots },
      (_, i) => new Uint8Array(buffer, byteOffset + i * slotBytes, slotBytes),
    );
    for (const slot of this.#slots) wipe(slot);
    this.#free = [...this.#slots];
  }

  /**
   * A slot of zeroes, until it is given back; undefined when all are taken. Never copied, never
   * posted.
   */
  take(): Uint8Array | undefined {
    return this.#free.pop();
  }

  /** Wipes a slot that `take` gave, and takes it back. */
  giveBack(slot: Uint8Array): void {
    assert(this.#slots.includes(slot) && !this.#free.includes(slot), "a slot is given back once");
    wipe(slot);
    this.#free.push(slot);
  }

  /** Wipes and unmaps; every slot is dead afterwards. */
  free(): void {
    sodium.sodium_free(this.#secure);
  }
}
