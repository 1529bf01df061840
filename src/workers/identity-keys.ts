// Our identities, and the pair keys of the peers that this worker serves: derived here from locked
// memory into locked memory. Only the key that judges incoming hints, and the public id of each pair
// key, go back to main.

import { DH_BYTES, type KeyPair } from "../shared/protocol/noise/primitives.js";
import {
  derivePairKeys,
  PAIR_KEYS_BYTES,
  type PairKeys,
  pairKeysIn,
  pairScratchBytes,
} from "../shared/protocol/session/pair-keys.js";
import { KEY_ROLE, type KeyRole } from "../shared/protocol/session/ports.js";
import type {
  IdentityPrivateKeys,
  InstalledPairKey,
  PairKeySource,
  PeerKeys,
} from "../shared/runtime/messages.js";
import { KeyMemory, wipe } from "./aead.js";
import { NOISE_PRIMITIVES, SecretPool } from "./noise-primitives.js";

/** The order in which the keys of a ring are tried. */
export const ROLES: readonly KeyRole[] = [KEY_ROLE.current, KEY_ROLE.next, KEY_ROLE.previous];

/** One pair key and the two static keys that go with it. Views, dead after the next installation. */
export interface HeldPair {
  readonly role: KeyRole;
  readonly keys: PairKeys;
  readonly own: KeyPair;
  readonly peerPublicKey: Uint8Array;
}

/** All that one installation brought. */
interface Installation {
  readonly identities: KeyMemory;
  readonly pairs: SecretPool;
  /** By peer, then by role. */
  readonly rings: (readonly (HeldPair | undefined)[])[];
}

export class IdentityKeys {
  #now: Installation | undefined;

  /**
   * Replaces all identities and pair keys; wipes what it is given. Whoever was lent keys by `pair`
   * must have let go of them.
   */
  install(
    identities: IdentityPrivateKeys,
    peers: readonly (PeerKeys | undefined)[],
  ): readonly (readonly InstalledPairKey[] | undefined)[] {
    this.free();
    const scratch = new SecretPool(1, pairScratchBytes(NOISE_PRIMITIVES));
    try {
      const [now, installed] = installation(identities, peers, scratch.take() as Uint8Array);
      this.#now = now;
      return installed;
    } finally {
      scratch.free();
      for (const identity of identities) if (identity !== undefined) wipe(identity);
      for (const { secret } of peers.flatMap((ring) => ring ?? [])) {
        if (secret !== undefined) wipe(secret);
      }
    }
  }

  /** A pair key of a peer; undefined when this worker has none of that role. */
  pair(peer: number, role: KeyRole): HeldPair | undefined {
    return this.#now?.rings[peer]?.[role];
  }

  /** Wipes and unmaps all. */
  free(): void {
    this.#now?.identities.free();
    this.#now?.pairs.free();
    this.#now = undefined;
  }
}

function installation(
  identities: IdentityPrivateKeys,
  peers: readonly (PeerKeys | undefined)[],
  scratch: Uint8Array,
): [Installation, readonly (readonly InstalledPairKey[] | undefined)[]] {
  const memory = new KeyMemory(identities.length);
  const owns = identities.map((identity, i) =>
    identity === undefined ? undefined : ownPair(memory, i, identity),
  );
  const count = peers.reduce((sum, ring) => sum + (ring?.length ?? 0), 0);
  const pairs = new SecretPool(Math.max(1, count), PAIR_KEYS_BYTES);
  const rings: (HeldPair | undefined)[][] = [];
  const installed = peers.map((ring, peer) => {
    rings[peer] = [];
    return ring?.map((source): InstalledPairKey => {
      const own = owns[source.own];
      const pair = own === undefined ? undefined : heldPair(pairs, own, source, scratch);
      rings[peer][source.role] = pair;
      return {
        role: source.role,
        hintKey: pair === undefined ? undefined : Uint8Array.from(pair.keys.hintReceive),
        keyId: pair === undefined ? undefined : Uint8Array.from(pair.keys.keyId),
      };
    });
  });
  return [{ identities: memory, pairs, rings }, installed];
}

function ownPair(memory: KeyMemory, index: number, identity: Uint8Array): KeyPair {
  memory.take(index, identity);
  const publicKey = new Uint8Array(DH_BYTES);
  NOISE_PRIMITIVES.publicKey(publicKey, memory.key(index));
  return { privateKey: memory.key(index), publicKey };
}

function heldPair(
  pairs: SecretPool,
  own: KeyPair,
  { role, peerPublicKey, secret }: PairKeySource,
  scratch: Uint8Array,
): HeldPair | undefined {
  if (own.publicKey.every((byte, i) => byte === peerPublicKey[i])) return undefined;
  const keys = pairKeysIn(pairs.take() as Uint8Array);
  const options = { primitives: NOISE_PRIMITIVES, own, peerPublicKey, secret, scratch };
  if (!derivePairKeys(options, keys)) return undefined;
  return { role, keys, own, peerPublicKey: Uint8Array.from(peerPublicKey) };
}
