// From the configuration to what the sessions take: the peers that speak them, the sources of their
// pair keys, and the table by which rows find them.

import {
  IDENTITY_BYTES,
  KEY_ROLE_NAMES,
  type KeyRoleName,
  speaksSession,
} from "../shared/protocol/session/peer-config.js";
import type { SpeakingPeerConfig } from "../shared/protocol/session/peer-surroundings.js";
import type { PeerEntry } from "../shared/protocol/session/peer-table.js";
import { KEY_ROLE } from "../shared/protocol/session/ports.js";
import type { IdentityPrivateKeys, PeerKeys } from "../shared/runtime/messages.js";
import type { Config } from "./config.js";
import { base64Text } from "./secrets.js";
import { peerEntry } from "./session-peers.js";

/** A peer that speaks sessions, and where its keys come from: copies, for the workers to wipe. */
export interface SettledPeer {
  readonly config: SpeakingPeerConfig;
  /** Public key in base64. */
  readonly key: string;
  readonly keys: PeerKeys;
}

export interface SessionSettings {
  /** Zeros where no peer needs an identity of ours. */
  readonly ownPublicKey: Uint8Array;
  /** Copies, for the workers to wipe. */
  readonly identities: IdentityPrivateKeys;
  readonly peers: readonly SettledPeer[];
  /** All peers of the file, as rows find them. */
  readonly table: readonly PeerEntry[];
}

/** Undefined when the file has no peers; those of classic alone are in the table. */
export function sessionSettings(config: Config): SessionSettings | undefined {
  const { identities } = config;
  if (config.peers.length === 0) return undefined;
  const peers = config.peers.flatMap(({ config: peer, secrets }) => {
    if (!speaksSession(peer)) return [];
    const publicKeys: Record<KeyRoleName, Uint8Array | undefined> = {
      current: peer.publicKey,
      next: peer.nextPublicKey,
      previous: peer.previousPublicKey,
    };
    const keys = peer.ring.flatMap((part) => {
      const peerPublicKey = publicKeys[part.peer];
      const secret = part.secret === undefined ? undefined : secrets[part.secret];
      if (peerPublicKey === undefined) return [];
      return [
        {
          role: KEY_ROLE[part.role],
          own: KEY_ROLE[part.own],
          peerPublicKey,
          secret: secret === undefined ? undefined : Uint8Array.from(secret),
        },
      ];
    });
    return [{ config: peer, key: base64Text(peer.publicKey), keys }];
  });
  const { peers: all } = config;
  return {
    ownPublicKey: identities?.current.publicKey ?? new Uint8Array(IDENTITY_BYTES),
    identities: KEY_ROLE_NAMES.map((role) => {
      const identity = identities?.[role];
      return identity === undefined ? undefined : Uint8Array.from(identity.privateKey);
    }),
    peers,
    table: all.map((peer) => peerEntry(peer, false)),
  };
}
