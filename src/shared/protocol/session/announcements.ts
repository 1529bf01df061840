// When a peer without a session is told of us although no message waits in the session layer: behind a
// start, hourly, and, while classic is still spoken with it, now and then when there is mail for it.

import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import type { Handshakes } from "./handshakes.js";

/** Every so often a host without a session says so to each peer, ns. */
const ANNOUNCE_EVERY_NS = 3_600 * NS_PER_SECOND;
const JITTER_SHARE = 0.25;
/** Attempts of an announcement; with a peer that may speak classic alone, within 3 s. */
const ATTEMPTS = 3;
const TENTATIVE_ATTEMPTS = 2;
/** Wait between two announcements to such a peer while there is mail for it, ns. Source: wire.md 3.6. */
const TENTATIVE_WAIT_NS = 60 * NS_PER_SECOND;

export class Announcements {
  readonly #handshakes: Handshakes;
  readonly #uniform: () => number;
  #at: Nanoseconds;
  #active = false;
  #notBefore: Nanoseconds = nanoseconds(0);
  /** Classic is spoken until there was a session: handshakes are tried now and then, not for long. */
  tentative = false;

  /** `uniform`: in [0, 1), jitter only. */
  constructor(now: Nanoseconds, handshakes: Handshakes, uniform: () => number) {
    this.#handshakes = handshakes;
    this.#uniform = uniform;
    this.#at = nanoseconds(now + ANNOUNCE_EVERY_NS * uniform());
  }

  /** A handshake is wanted whether there is mail or not. */
  get active(): boolean {
    return this.#active;
  }
  get deadline(): Nanoseconds {
    return this.#at;
  }

  soon(now: Nanoseconds): void {
    this.#at = now;
  }

  /** There is mail that goes by classic: time for another try, unless the last one was just now. */
  handleClassicMail(now: Nanoseconds): void {
    if (this.tentative && now >= this.#notBefore) this.#at = now;
  }

  /** There is a session. */
  sessionUp(now: Nanoseconds): void {
    this.#active = false;
    this.#at = nanoseconds(now + ANNOUNCE_EVERY_NS);
  }

  /** Nobody is to be told anything. */
  end(): void {
    this.#active = false;
    this.tentative = false;
  }

  handleTimeout(now: Nanoseconds, inSession: boolean): void {
    if (now >= this.#at) this.#begin(now, inSession);
    const most = this.tentative ? TENTATIVE_ATTEMPTS : ATTEMPTS;
    if (!this.#active || this.#handshakes.attempts < most) return;
    this.#active = false;
    if (this.tentative) this.#handshakes.cease();
  }

  #begin(now: Nanoseconds, inSession: boolean): void {
    this.#at = nanoseconds(now + ANNOUNCE_EVERY_NS * (1 - JITTER_SHARE * this.#uniform()));
    this.#active = !inSession;
    if (!this.tentative || inSession) return;
    this.#notBefore = nanoseconds(now + TENTATIVE_WAIT_NS);
    this.#handshakes.hurry(now);
  }
}
