// How soon another session may follow the last one with a peer. A session that ended with a fault is
// followed by a rest, at both ends, longer with each; and whatever ends them, sessions have a pace.
// A peer that starts anew is let in at once, since what was at fault may have died with its process.

import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import { Pacer } from "../pacer.js";
import { BOOT_ID_BYTES } from "./limits.js";

/** First and longest rest behind a fault, ns; each is twice the one before. Source: ours. */
export const REST_FIRST_NS = 5 * NS_PER_SECOND;
export const REST_MAX_NS = 300 * NS_PER_SECOND;
/** So long behind the end of a rest its fault is forgotten, ns. */
const FORGIVEN_NS = 600 * NS_PER_SECOND;
/**
 * Handshakes begun or answered with one peer, a second, and at once: each costs a commit. An honest
 * peer that dies and comes back, or races with us, needs a few.
 */
const HANDSHAKES_PER_SECOND = 2;
const HANDSHAKES_BURST = 16;

export class SessionRest {
  readonly #pace: Pacer;
  #until = Number.NEGATIVE_INFINITY;
  #faults = 0;
  /** Boot of the peer in the session that was at fault; and whether this rest let another one in. */
  readonly #boot = new Uint8Array(BOOT_ID_BYTES);
  #excepted = false;

  constructor(now: Nanoseconds) {
    this.#pace = new Pacer({
      ratePerSecond: HANDSHAKES_PER_SECOND,
      burst: HANDSHAKES_BURST,
      now,
    });
  }

  /** A session with this boot of the peer ended with a fault, whoever found it. */
  handleFault(now: Nanoseconds, boot: Uint8Array): void {
    this.#faults = now > this.#until + FORGIVEN_NS ? 1 : this.#faults + 1;
    // Who was let in as another boot has no other boots left: there is no end of those.
    if (now >= this.#until) this.#excepted = false;
    this.#until = now + Math.min(REST_FIRST_NS * 2 ** (this.#faults - 1), REST_MAX_NS);
    this.#boot.set(boot);
  }

  /** The first instant, not before `now`, at which we may begin a handshake. */
  beginsAt(now: Nanoseconds): Nanoseconds {
    return nanoseconds(Math.max(this.#until, this.#pace.availableAt(now)));
  }

  /** Whether a message 1 of this boot of the peer is answered now; one other boot in each rest is. */
  answers(now: Nanoseconds, boot: Uint8Array): boolean {
    if (this.#pace.availableAt(now) > now) return false;
    return now >= this.#until || (!this.#excepted && !sameBytes(boot, this.#boot));
  }

  /** A handshake is begun, or one that `answers` let pass is being answered. */
  begun(now: Nanoseconds, boot?: Uint8Array): void {
    this.#pace.take(now);
    if (boot !== undefined && now < this.#until) this.#excepted = true;
  }
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => a.every((byte, i) => byte === b[i]);
