// A peer as configured, for the core: what is spoken with it, where it is, and which keys its ring
// has, by role and name. No key is here: those go from main to the crypto workers and are wiped.
// Made by src/main/session-peers.ts, which has refused whatever does not fit together.

import { assert } from "../../base/assert.js";
import { DATAGRAM_BYTES_MAX } from "../constants.js";
import { MESSAGE_BYTES_MAX } from "./limits.js";
import type { PeerMode } from "./peer-table.js";

/** Bytes of an identity: the private half, and the public half that names it. */
export const IDENTITY_BYTES = 32;
/** Smallest datagram that an operator may pin, bytes: 576 of IPv4 less its headers and those of UDP. */
export const MTU_PINNED_BYTES_MIN = 548;
export const MTU_PINNED_BYTES_MAX = DATAGRAM_BYTES_MAX;
/** Padding to multiples up to this, bytes; "full" fills what the path carries. */
export const PADDING_BYTES_MAX = 1_200;
/** Smallest value of the longest message that a peer may send us, bytes. */
export const PEER_MESSAGE_BYTES_MIN = 1_024;

/**
 * What is spoken with a peer. `auto`: the session first, classic while the other end does not answer
 * it, and never again once it did.
 */
export const PEER_MODES = ["classic", "session", "auto"] as const satisfies readonly PeerMode[];

/** Keys of a ring; the index is the code of KEY_ROLE in ports.ts. */
export const KEY_ROLE_NAMES = ["current", "next", "previous"] as const;
export type KeyRoleName = (typeof KEY_ROLE_NAMES)[number];

/** To which length the frames of a packet are filled up. */
export type Padding =
  | { readonly kind: "none" }
  | { readonly kind: "multiple"; readonly bytes: number }
  | { readonly kind: "full" };

export interface PeerPlace {
  /** IP in its one spelling, or a host name in lower case. */
  readonly address: string;
  readonly port: number;
}

/** Which three keys make a pair key: of our identity, of the peer's, of the secret that is shared. */
export interface PairKeyParts {
  readonly role: KeyRoleName;
  /**
   * Names the pair key across restarts, in the rotation's state and in the database: equal for the
   * same three keys, and tells nothing about them. 32 hex digits.
   */
  readonly name: string;
  readonly own: KeyRoleName;
  readonly peer: KeyRoleName;
  /** Undefined when the pair shares no secret. */
  readonly secret: KeyRoleName | undefined;
}

/** What we promise a peer in the handshake. Undefined: as the core shares it out. */
export interface PeerLimits {
  /** Longest message that it may send, bytes. */
  readonly messageBytesMax: number;
  readonly creditMessages: number | undefined;
  readonly creditBytes: number | undefined;
}

interface SessionBase {
  readonly name: string;
  /** X25519, 32 bytes each; `current` names the peer in tables. */
  readonly publicKey: Uint8Array;
  readonly nextPublicKey: Uint8Array | undefined;
  readonly previousPublicKey: Uint8Array | undefined;
  /** Current first, then next and previous where there are such: at most one of each role. */
  readonly ring: readonly PairKeyParts[];
  /** With a secret, recordings stay closed to a quantum computer too. */
  readonly hasSecret: boolean;
  /** Where handshakes go, in the order in which they are tried; empty: the peer comes to us. */
  readonly places: readonly PeerPlace[];
  /** Bytes of UDP payload that are taken for granted, not probed; undefined: the path is asked. */
  readonly mtuBytes: number | undefined;
  readonly padding: Padding;
  /** Silence after which a PING goes out, s; undefined: none does. */
  readonly keepaliveSeconds: number | undefined;
  readonly limits: PeerLimits;
}

/** Spoken with as the older daemon does; the ring of keys is the classic one of that index. */
export interface ClassicPeerConfig {
  readonly name: string;
  readonly mode: "classic";
  /** Not used, and still the scope of its ids, once it is configured. */
  readonly publicKey: Uint8Array | undefined;
  readonly classicRing: number;
}

export interface SessionPeerConfig extends SessionBase {
  readonly mode: "session";
}

export interface AutoPeerConfig extends SessionBase {
  readonly mode: "auto";
  /** Its own classic ring, or that of the shared secret. */
  readonly classicRing: number;
  /** Wall clock, ms since the epoch: from then on a peer that is still classic is an error. */
  readonly untilWallMs: number | undefined;
}

export type PeerConfig = ClassicPeerConfig | SessionPeerConfig | AutoPeerConfig;

/** True when sessions with the peer are possible, whatever is spoken now. */
export const speaksSession = (peer: PeerConfig): peer is SessionPeerConfig | AutoPeerConfig =>
  peer.mode !== "classic";

assert(PEER_MESSAGE_BYTES_MIN < MESSAGE_BYTES_MAX, "a limit can be set");
