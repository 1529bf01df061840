// The sessions with one peer: at most one that sends, one that was answered and proved nothing yet, and
// those that still receive. Confirming one decides which sends; both ends decide alike.

import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import type { Session } from "./session.js";

/** Two handshakes that were confirmed so close together ran at once, one from each end. */
const RACE_NS = 5 * NS_PER_SECOND;
/** Sessions of a peer that still receive, beside the one that sends. */
const PREVIOUS_MAX = 2;

export interface SessionEvents {
  /** A session is gone: its keys are to be wiped, its packets will not be acknowledged. */
  readonly onGone: (session: Session) => void;
  /** A session sends no more: what it has under way goes again in another one. */
  readonly onReplaced: (session: Session) => void;
}

export class SessionSet {
  /** Whether our public key is the lower one of the two. */
  ownKeyIsLower: boolean;
  readonly #events: SessionEvents;
  #current: Session | undefined;
  #upAt = nanoseconds(0);
  #next: Session | undefined;
  #previous: Session[] = [];

  constructor(ownKeyIsLower: boolean, events: SessionEvents) {
    this.ownKeyIsLower = ownKeyIsLower;
    this.#events = events;
  }

  get current(): Session | undefined {
    return this.#current;
  }
  get isEmpty(): boolean {
    return this.#all().length === 0;
  }
  /** When the first of the sessions began that lead up to the current one. */
  get upAt(): Nanoseconds | undefined {
    return this.#current === undefined ? undefined : this.#upAt;
  }
  /** Sessions that receive but do not send. */
  get previous(): readonly Session[] {
    return this.#previous;
  }

  /** Answered: it waits for its first packet. A later one takes its place. */
  answered(session: Session): void {
    if (this.#next !== undefined) this.#events.onGone(this.#next);
    this.#next = session;
  }

  ofKeySlot(keySlot: number): Session | undefined {
    return this.#all().find((session) => session.keySlot === keySlot);
  }

  /**
   * Both ends have the keys: it becomes the session that sends, unless both ends began at once and the
   * other one's initiator has the lower key.
   */
  confirm(now: Nanoseconds, session: Session): void {
    if (this.#next === session) this.#next = undefined;
    session.confirmedAt = now;
    const current = this.#current;
    if (current === undefined) {
      this.#upAt = now;
      this.#become(session);
      return;
    }
    const race =
      current.initiator !== session.initiator &&
      now - current.confirmedAt < RACE_NS &&
      sameBoot(current, session);
    if (race && current.initiator === this.ownKeyIsLower) {
      this.#keep(session);
      return;
    }
    this.#keep(current);
    this.#become(session);
  }

  /** Sessions of another boot of the peer than this one are over. */
  endOtherBoots(session: Session): void {
    for (const each of this.#all()) if (!sameBoot(each, session)) this.end(each);
  }

  /** Once: a CLOSE and a fault behind it in one packet both end a session. */
  end(session: Session): void {
    if (!this.#all().includes(session)) return;
    if (this.#current === session) this.#current = undefined;
    if (this.#next === session) this.#next = undefined;
    this.#previous = this.#previous.filter((each) => each !== session);
    this.#events.onGone(session);
  }

  endAll(over: (session: Session) => boolean = () => true): void {
    for (const session of this.#all()) if (over(session)) this.end(session);
  }

  /** Ends what is too old. True when the session that sends was among it. */
  expire(now: Nanoseconds): boolean {
    const before = this.#current;
    for (const session of this.#all()) if (session.expired(now)) this.end(session);
    return before !== undefined && this.#current === undefined;
  }

  get deadline(): Nanoseconds {
    const current = this.#current?.expiresAt ?? Number.POSITIVE_INFINITY;
    let at = Math.min(current, this.#next?.expiresAt ?? Number.POSITIVE_INFINITY);
    for (const session of this.#previous) at = Math.min(at, session.expiresAt);
    return nanoseconds(at);
  }

  #become(session: Session): void {
    session.state = "current";
    this.#current = session;
  }

  #keep(session: Session): void {
    session.state = "previous";
    this.#events.onReplaced(session);
    this.#previous.push(session);
    while (this.#previous.length > PREVIOUS_MAX)
      this.#events.onGone(this.#previous.shift() as Session);
  }

  #all(): readonly Session[] {
    const all = [...this.#previous];
    if (this.#current !== undefined) all.push(this.#current);
    if (this.#next !== undefined) all.push(this.#next);
    return all;
  }
}

const sameBoot = (a: Session, b: Session): boolean =>
  a.payload.boot.every((byte, i) => byte === b.payload.boot[i]);
