// One keyed session: counters, the window of what came, what is under way, its age. Its keys lie in a
// crypto worker under `keySlot`; here are only the masks over the counters. Who may use it when is
// decided by its peer.

import type { DropReason } from "../../base/errors.js";
import { type Nanoseconds, NS_PER_MS, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import { AckRanges } from "../transport/ack-ranges.js";
import { Recovery } from "../transport/recovery.js";
import type { TransportPath } from "../transport/transport-path.js";
import { ContentLog } from "./content-log.js";
import { ForgeryBudget } from "./forgery-budget.js";
import type { HandshakePayload } from "./handshake-payload.js";
import { CounterMask, counterInRange, SESSION_PACKETS_MAX } from "./packet.js";
import type { KeyRole } from "./ports.js";
import { ReplayWindow } from "./replay-window.js";

/** The initiator begins a rekey at this age, the responder at the next one. Source: WireGuard 6.1. */
export const REKEY_INITIATOR_NS = 120 * NS_PER_SECOND;
export const REKEY_RESPONDER_NS = 165 * NS_PER_SECOND;
/** At this age a session neither seals nor opens. */
export const SESSION_LIFE_NS = 180 * NS_PER_SECOND;
/** Our own longest wait before an ACK, ms; the handshake says it. */
export const ACK_DELAY_MS = 25;

/** `next` answered, and proved nothing yet; `current` sends; `previous` still receives. */
export type SessionState = "next" | "current" | "previous";

export class Session {
  readonly peer: number;
  readonly localId: number;
  readonly remoteId: number;
  readonly keySlot: number;
  /** Whether message 1 was ours. */
  readonly initiator: boolean;
  readonly role: KeyRole;
  /** Name of the pair key that it was made under; its role may change. */
  readonly keyName: string;
  readonly bornAt: Nanoseconds;
  readonly payload: HandshakePayload;
  /** Where the other end's message came from; nowhere in particular when it was a REKEY. */
  readonly address: string;
  readonly port: number;
  /** Made outside of an earlier session: nobody knows what of the packets before arrived. */
  readonly fresh: boolean;
  readonly maskOut: CounterMask;
  readonly maskIn: CounterMask;
  readonly window = new ReplayWindow();
  readonly acks = new AckRanges(nanoseconds(ACK_DELAY_MS * NS_PER_MS));
  readonly recovery: Recovery;
  readonly log = new ContentLog();
  /** Opens that may fail before the session looks no more at what comes, this second. */
  readonly failures: ForgeryBudget;
  state: SessionState;
  /** Why it is being closed; -1 while it is not. */
  closing = -1;
  confirmedAt: Nanoseconds = nanoseconds(0);
  /** Whether a packet of the peer opened in it. */
  used = false;
  /** Counter of the next packet. */
  counter = 0;
  /** When something that asked for an answer left last, and when anything came last. */
  sentAt: Nanoseconds;
  heardAt: Nanoseconds;

  constructor(options: {
    readonly peer: number;
    readonly localId: number;
    readonly remoteId: number;
    readonly keySlot: number;
    readonly initiator: boolean;
    readonly role: KeyRole;
    readonly keyName: string;
    readonly now: Nanoseconds;
    readonly payload: HandshakePayload;
    readonly headerKeyOut: Uint8Array;
    readonly headerKeyIn: Uint8Array;
    readonly path: TransportPath;
    readonly address: string;
    readonly port: number;
    readonly fresh: boolean;
    readonly state: SessionState;
  }) {
    this.peer = options.peer;
    this.localId = options.localId;
    this.remoteId = options.remoteId;
    this.keySlot = options.keySlot;
    this.initiator = options.initiator;
    this.role = options.role;
    this.keyName = options.keyName;
    this.bornAt = options.now;
    this.payload = options.payload;
    [this.address, this.port] = [options.address, options.port];
    this.fresh = options.fresh;
    this.maskOut = new CounterMask(options.headerKeyOut);
    this.maskIn = new CounterMask(options.headerKeyIn);
    this.state = options.state;
    this.sentAt = options.now;
    this.heardAt = options.now;
    this.failures = new ForgeryBudget(options.now);
    this.recovery = new Recovery({
      path: options.path,
      peerAckDelayNs: options.payload.ackDelayMs * NS_PER_MS,
    });
  }

  /** Unmasks the counter of a packet; why no worker needs to look at it, or undefined. */
  judge(now: Nanoseconds, datagram: Uint8Array): DropReason | undefined {
    if (this.expired(now)) return "session_expired";
    const { maskIn, window } = this;
    maskIn.read(datagram, 0, datagram.length);
    if (!counterInRange(window.newest, maskIn.high, maskIn.low)) return "counter_range";
    if (!window.peek(maskIn.counter)) return "replayed";
    return this.failures.admits(now) ? undefined : "forgery_budget";
  }

  /** Whether it is too old to seal or open anything. */
  expired(now: Nanoseconds): boolean {
    return now - this.bornAt >= SESSION_LIFE_NS;
  }
  get expiresAt(): Nanoseconds {
    return nanoseconds(this.bornAt + SESSION_LIFE_NS);
  }

  /** When this end should begin a rekey, if there is traffic. */
  get rekeyAt(): Nanoseconds {
    if (this.counter >= SESSION_PACKETS_MAX) return this.bornAt;
    return nanoseconds(this.bornAt + (this.initiator ? REKEY_INITIATOR_NS : REKEY_RESPONDER_NS));
  }

  /** Wall clock of the other end, as it was at the handshake and went on since, ns since the epoch. */
  peerWallNs(now: Nanoseconds): number {
    return Number(this.payload.wallNs) + (now - this.bornAt);
  }

  wipe(): void {
    this.maskOut.wipe();
    this.maskIn.wipe();
  }
}
