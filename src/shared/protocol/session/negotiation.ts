// How one peer and we come to sessions: handshakes in datagrams, rekeys inside a session, and the keys
// that they go under. What a worker found out about a key is committed before anything follows from it.

import { type Nanoseconds, NS_PER_MS } from "../../base/units.js";
import { DATAGRAM_BYTES_MAX } from "../constants.js";
import type { CpuBudget } from "../cpu-budget.js";
import type { Agreed } from "./agreed.js";
import { GateMemory } from "./gate-memory.js";
import {
  encodeHandshakePayload,
  type HandshakePayload,
  PADDING_BYTES_MOST,
} from "./handshake-payload.js";
import { type HandshakeStamps, Handshakes, type StampOrder } from "./handshakes.js";
import type { PairKeyParts } from "./peer-config.js";
import { PeerKeys, ringNamesOf } from "./peer-keys.js";
import type { PeerPath } from "./peer-path.js";
import { type HandshakeResult, type HandshakeSink, KEY_ROLE, NO_KEY_SLOT } from "./ports.js";
import { Rekeys } from "./rekeys.js";
import type { RotationState } from "./rotation.js";
import { ACK_DELAY_MS, type Session } from "./session.js";
import type { SessionIds } from "./session-ids.js";
import type { SessionRest } from "./session-rest.js";

/** Results that wait until it is durable that the peer holds their key. */
const PARKED_MAX = 4;

/** What a handshake promises the other end. */
export type Promised = Pick<HandshakePayload, "messageBytesMax" | "creditMessages" | "creditBytes">;

export interface NegotiationOptions {
  readonly peer: number;
  readonly ids: SessionIds;
  readonly uniform: () => number;
  /** Durable, of earlier runs. */
  readonly stamps: HandshakeStamps;
  readonly rotation: RotationState | undefined;
  readonly ring: readonly PairKeyParts[];
  readonly path: PeerPath;
  readonly rest: SessionRest;
  /** What failing handshakes of all peers may cost. */
  readonly gateBudget: CpuBudget;
  /** 8 bytes, drawn at this start of the daemon. */
  readonly boot: Uint8Array;
  /** What we promise in the next handshake. */
  readonly promise: () => Promised;
  readonly sessionOf: (keySlot: number) => Session | undefined;
  /** A session is agreed. `fresh`: outside of an earlier one. */
  readonly onAgreed: (now: Nanoseconds, agreed: Agreed, fresh: boolean) => void;
}

export class Negotiation {
  readonly handshakes: Handshakes;
  readonly rekeys: Rekeys;
  readonly keys: PeerKeys;
  readonly #options: NegotiationOptions;
  #parked: HandshakeResult[] = [];
  /** Wall clock at the last input, ns since the epoch. */
  wallNs = 0;

  constructor(options: NegotiationOptions) {
    const { peer, ids, uniform, stamps } = options;
    const payload = (stamp: bigint): Uint8Array => this.#payload(stamp);
    this.#options = options;
    this.keys = new PeerKeys(options.rotation, ringNamesOf(options.ring));
    const { sent, accepted } = stamps;
    const gate = new GateMemory(options.gateBudget);
    const { rest } = options;
    this.handshakes = new Handshakes({ peer, ids, uniform, gate, rest, sent, accepted, payload });
    this.rekeys = new Rekeys(peer, ids, () => payload(this.handshakes.accepted));
  }

  /** Begins a rekey inside a session, unless one is open. */
  rekey(now: Nanoseconds, session: Session, sink: HandshakeSink): void {
    if (this.rekeys.pending || now < this.rekeys.notBefore) return;
    this.rekeys.begin(now, session, this.keys.nextRole(), sink);
  }

  /** A session with this boot of the peer is confirmed. */
  sessionUp(boot: Uint8Array): void {
    this.handshakes.done(boot);
    this.keys.answered(boot);
  }

  /** Nothing that was begun goes on; results that still come are dropped. */
  abandon(sink: HandshakeSink): void {
    for (const result of this.#parked.splice(0)) this.#refuse(result);
    this.handshakes.abandon(sink);
    this.rekeys.abandon(sink);
  }

  // --- Results of the workers -------------------------------------------------------------------

  /** True: the message of the result is a datagram that is to leave. */
  handleResult(now: Nanoseconds, result: HandshakeResult, sink: HandshakeSink): boolean {
    const isDatagram = result.parentKeySlot === NO_KEY_SLOT;
    const sends = isDatagram && this.handshakes.wants(result);
    if (result.kind === "initiation" || result.kind === "completed") {
      this.keys.held(result.role, this.wallNs / NS_PER_MS);
      // Message 2 in a datagram waits for its stamp anyway: that commit tells of the key too.
      const waits = result.kind === "completed" || !isDatagram;
      if (waits && !this.keys.isDurable(result.role)) {
        this.#park(result);
        return false;
      }
    }
    this.#take(now, result, sink);
    return sends;
  }

  #take(now: Nanoseconds, result: HandshakeResult, sink: HandshakeSink): void {
    if (result.parentKeySlot === NO_KEY_SLOT) {
      const agreed = this.handshakes.handleResult(now, this.wallNs, result);
      if (agreed === undefined) return;
      // Who sent message 1 shows where it is by its first packet, which proves that it got message 2.
      if (agreed.initiator) this.#options.path.handleAgreed(now, agreed);
      this.#options.onAgreed(now, agreed, true);
      return;
    }
    const parent = this.#options.sessionOf(result.parentKeySlot);
    const agreed = this.rekeys.handleResult(now, result, parent, sink);
    if (agreed !== undefined) this.#options.onAgreed(now, agreed, false);
  }

  #park(result: HandshakeResult): void {
    const { payload, message, headerKeyOut, headerKeyIn } = result;
    this.#parked.push({
      ...result,
      payload: payload.slice(),
      message: message.slice(),
      headerKeyOut: headerKeyOut.slice(),
      headerKeyIn: headerKeyIn.slice(),
    });
    while (this.#parked.length > PARKED_MAX) this.#refuse(this.#parked.shift() as HandshakeResult);
  }

  /** What was read is not used after all. */
  #refuse(result: HandshakeResult): void {
    if (result.parentKeySlot === NO_KEY_SLOT) this.handshakes.handleDropped(result);
  }

  // --- The store --------------------------------------------------------------------------------

  /** What should be committed. */
  pollStamp(): StampOrder | undefined {
    const stamps = this.handshakes.pollStamp();
    const rotation = this.keys.pollText();
    if (stamps === undefined && rotation === undefined) return undefined;
    return { sent: stamps?.sent ?? 0n, accepted: stamps?.accepted ?? 0n, rotation };
  }

  /** It is committed and synced: what waited for it may go on. */
  handleStamped(now: Nanoseconds, order: StampOrder, sink: HandshakeSink): void {
    const { handshakes, keys } = this;
    if (order.rotation !== undefined) keys.handleCommitted();
    if (handshakes.awaits(order)) {
      const place = this.#options.path.nextPlace(keys.anew);
      const role = place === undefined ? KEY_ROLE.current : keys.nextRole();
      handshakes.initiate(now, role, place, sink);
    }
    handshakes.handleStamped(now, order, (role) => keys.isDurable(role), sink);
    const parked = this.#parked;
    this.#parked = parked.filter(({ role }) => !keys.isDurable(role));
    for (const result of parked) {
      if (keys.isDurable(result.role)) this.#take(now, result, sink);
    }
  }

  #payload(accepted: bigint): Uint8Array {
    const { boot, uniform, promise } = this.#options;
    const padding = Math.floor(uniform() * (PADDING_BYTES_MOST + 1));
    return encodeHandshakePayload(
      {
        boot,
        wallNs: BigInt(Math.floor(this.wallNs)),
        accepted,
        datagramBytesMax: DATAGRAM_BYTES_MAX,
        ackDelayMs: ACK_DELAY_MS,
        ...promise(),
      },
      padding,
    );
  }
}
