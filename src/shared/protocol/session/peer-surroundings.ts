// What a peer of the session layer is given, and what it tells the layer.

import type { Nanoseconds } from "../../base/units.js";
import type { SettlementQueue } from "../settlement.js";
import type { KeysFrame } from "./frame-control.js";
import type { StampOrder } from "./handshakes.js";
import type { Outgoing } from "./outgoing.js";
import type { AutoPeerConfig, SessionPeerConfig } from "./peer-config.js";
import type { ReassemblyBudget } from "./reassembly.js";
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
  readonly random: (into: Uint8Array) => void;
  /** Uniform in [0, 1): jitter only. */
  readonly uniform: () => number;
}

/** What a peer tells the layer. */
export interface PeerEvents {
  readonly onSession: (session: Session) => void;
  readonly onGone: (session: Session) => void;
  /** A session is confirmed: the first one ends `auto`. */
  readonly onConfirmed: (peer: number, session: Session) => void;
  /** A session was closed for a reason, by us or by the other end. */
  readonly onClosed: (peer: number, reason: number, ours: boolean) => void;
  /** Which keys the other end holds. */
  readonly onKeys: (peer: number, session: Session, keys: KeysFrame) => void;
  /** A receipt or refusal with a digest that is not that of the message. */
  readonly onMismatch: (peer: number) => void;
}

export interface SessionPeerOptions {
  readonly index: number;
  readonly now: Nanoseconds;
  readonly config: SpeakingPeerConfig;
  /** Whether our public key is the lower one of the two. */
  readonly ownKeyIsLower: boolean;
  readonly creditMessages: number;
  readonly creditBytes: number;
  /** Durable stamps of earlier runs. */
  readonly stamps: StampOrder;
  readonly shared: PeerShared;
  readonly events: PeerEvents;
}
