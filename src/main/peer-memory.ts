// What earlier runs left about peers, under whichever of their public keys: the database hears of a
// configuration only after it was opened, so a peer whose key changed while the daemon was off is found
// by the key before it, or by its name.

import type {
  LayerPeer,
  SpeakingPeerConfig,
} from "../shared/protocol/session/peer-surroundings.js";
import { parseRotation } from "../shared/protocol/session/rotation.js";
import type { StoreOpened } from "../shared/runtime/messages.js";
import { base64Text } from "./secrets.js";

/** Public keys of a peer in base64, the current one first. */
export const keysOf = (config: SpeakingPeerConfig): readonly string[] =>
  [config.publicKey, config.nextPublicKey, config.previousPublicKey].flatMap((key) =>
    key === undefined ? [] : [base64Text(key)],
  );

export class PeerMemory {
  readonly #opened: StoreOpened;
  readonly #confirmed: ReadonlySet<string>;

  constructor(opened: StoreOpened) {
    this.#opened = opened;
    this.#confirmed = new Set(opened.sessionSince);
  }

  /** `others`: public keys of all peers that are configured. */
  recall(
    config: SpeakingPeerConfig,
    others: ReadonlySet<string>,
  ): Omit<LayerPeer, "config"> & { readonly isConfirmed: boolean } {
    const keys = this.#keysOf(config, others);
    const stamps = this.#opened.stamps.filter(({ peer }) => keys.includes(peer));
    const known = keys.flatMap((key) => this.#opened.peers.find(({ peer }) => peer === key) ?? []);
    const rotation = known.find((row) => row.rotation !== undefined)?.rotation;
    return {
      stamps: {
        sent: most(stamps.map(({ sent }) => sent)),
        accepted: most(stamps.map(({ accepted }) => accepted)),
      },
      rotation: rotation === undefined ? undefined : parseRotation(rotation),
      spools: this.#opened.spools.filter(({ peer }) => peer === keys[0]),
      isConfirmed: keys.some((key) => this.#confirmed.has(key)),
    };
  }

  /** Keys that the peer has or had, the current one first. */
  #keysOf(config: SpeakingPeerConfig, others: ReadonlySet<string>): readonly string[] {
    const keys = keysOf(config);
    if (this.#opened.peers.some(({ peer }) => peer === keys[0])) return keys;
    // As the store renames: names that were exchanged are not keys that changed.
    const named = this.#opened.peers.filter(
      ({ name, peer }) => name === config.name && !others.has(peer),
    );
    return [...keys, ...named.map(({ peer }) => peer)];
  }
}

const most = (stamps: readonly bigint[]): bigint =>
  stamps.reduce((greatest, stamp) => (stamp > greatest ? stamp : greatest), 0n);
