// What a peer of the session layer is given, and what it tells the layer.

import type { Nanoseconds } from "../../base/units.js";
import type { CpuBudget } from "../cpu-budget.js";
import type { SettlementQueue } from "../settlement.js";
import type { Share } from "./credit-share.js";
import type { HandshakeStamps } from "./handshakes.js";
import type { SpoolFound } from "./incoming-files.js";
import type { Outgoing } from "./outgoing.js";
import type { AutoPeerConfig, SessionPeerConfig } from "./peer-config.js";
import type { ReassemblyBudget } from "./reassembly.js";
import type { RotationState } from "./rotation.js";
import type { Session } from "./session.js";
import type { SessionIds } from "./session-ids.js";

export type SpeakingPeerConfig = SessionPeerConfig | AutoPeerConfig;

/** What all peers of a host share. */
export interface PeerShared {
  /** 8 bytes, drawn at this start of the daemon. */
  readonly boot: Uint8Array;
  readonly ids: SessionIds;
  readonly outgoing: Outgoing;
  readonly settlements: SettlementQueue;
  readonly budget: ReassemblyBudget;
  /** What failing handshakes of all peers may cost. */
  readonly gateBudget: CpuBudget;
  readonly random: (into: Uint8Array) => void;
  /** Uniform in [0, 1): jitter only. */
  readonly uniform: () => number;
}

/** What a peer tells the layer. */
export interface PeerEvents {
  readonly onSession: (session: Session) => void;
  readonly onGone: (session: Session) => void;
  /** A session is confirmed: the first one ends `auto`. */
  readonly onConfirmed: (peer: number) => void;
  /** A session was closed for a reason, by us or by the other end. */
  readonly onClosed: (peer: number, reason: number, ours: boolean) => void;
  /** A receipt or refusal with a digest that is not that of the message. */
  readonly onMismatch: (peer: number) => void;
}

/** What a reload may change. */
export interface PeerSettings {
  readonly config: SpeakingPeerConfig;
  /** What it may have unfinished here. */
  readonly share: Share;
  /** Whether our public key is the lower one of the two. */
  readonly ownKeyIsLower: boolean;
}

export interface SessionPeerOptions extends PeerSettings {
  readonly index: number;
  readonly now: Nanoseconds;
  /** Durable, of earlier runs. */
  readonly stamps: HandshakeStamps;
  readonly rotation?: RotationState | undefined;
  readonly shared: PeerShared;
  readonly events: PeerEvents;
}

// --- The layer of all peers -----------------------------------------------------------------------

export interface LayerEvents {
  /** One line for the log, rare: closed sessions, receipts that do not fit. */
  readonly onReport: (sentence: string) => void;
}

export interface LayerPeer {
  readonly config: SpeakingPeerConfig;
  /** Durable, of earlier runs. */
  readonly stamps: HandshakeStamps;
  readonly rotation?: RotationState | undefined;
  /** Large messages that an earlier run left unfinished. */
  readonly spools: readonly SpoolFound[];
}

export interface LayerOptions {
  readonly now: Nanoseconds;
  readonly random: (into: Uint8Array) => void;
  /** Uniform in [0, 1): jitter only. */
  readonly uniform: () => number;
  readonly settlements: SettlementQueue;
  readonly ownPublicKey: Uint8Array;
  /** The index of a peer here is its index in everything that names it. */
  readonly peers: readonly LayerPeer[];
  readonly events: LayerEvents;
}
