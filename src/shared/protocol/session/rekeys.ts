// Handshakes inside a live session: the same two messages in REKEY frames, bound to the session that
// carries them. No stamps: nobody outside can repeat a packet of a session. One of ours and one of the
// other end's may be open.

import { type Nanoseconds, NS_PER_MS, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import { Pacer } from "../pacer.js";
import { type Agreed, agreedOf } from "./agreed.js";
import { decodeHandshakePayload, type HandshakePayload } from "./handshake-payload.js";
import type { HandshakeResult, HandshakeSink, KeyRole } from "./ports.js";
import type { SessionIds } from "./session-ids.js";

/** A rekey that is not through after this long is begun anew, ns. */
const REKEY_LIFE_NS = 10 * NS_PER_SECOND;
/** Wait until a rekey that found no slab is begun once more, ns. */
const AGAIN_WAIT_NS = 50 * NS_PER_MS;

/** A REKEY frame that is to be written, again and again until its packet is acknowledged. */
export interface RekeyFrame {
  readonly type: 1 | 2;
  readonly sessionId: number;
  readonly answers: number;
  readonly noise: Uint8Array;
}

/** The session that carries a rekey. */
interface Parent {
  readonly keySlot: number;
}

interface Ours {
  readonly sessionId: number;
  readonly keySlot: number;
  readonly role: KeyRole;
  readonly parent: Parent;
  readonly until: Nanoseconds;
}

interface Theirs extends Ours {
  readonly remoteId: number;
  readonly payload: HandshakePayload;
}

/** REKEY frames of a peer that are read, a second, and at once: each costs two Diffie-Hellman steps. */
const READS_PER_SECOND = 2;
const READS_BURST = 8;

export class Rekeys {
  readonly #peer: number;
  readonly #ids: SessionIds;
  readonly #payload: () => Uint8Array;
  #ours: Ours | undefined;
  #theirs: Theirs | undefined;
  #againAt: Nanoseconds = nanoseconds(0);
  readonly #frames = new Map<number, RekeyFrame>();
  #waiting: RekeyFrame[] = [];
  /** Session id of the newest answer; 0 before the first. */
  #answered = 0;
  #pace: Pacer | undefined;

  constructor(peer: number, ids: SessionIds, payload: () => Uint8Array) {
    this.#peer = peer;
    this.#ids = ids;
    this.#payload = payload;
  }

  get pending(): boolean {
    return this.#ours !== undefined;
  }
  /** None is begun before this. */
  get notBefore(): Nanoseconds {
    return this.#againAt;
  }
  get deadline(): Nanoseconds {
    return nanoseconds(
      Math.min(
        this.#ours?.until ?? Number.POSITIVE_INFINITY,
        this.#theirs?.until ?? Number.POSITIVE_INFINITY,
      ),
    );
  }

  /** Begins a rekey inside `parent`, unless one is open. */
  begin(now: Nanoseconds, parent: Parent, role: KeyRole, sink: HandshakeSink): void {
    if (this.#ours !== undefined || now < this.#againAt) return;
    const ours: Ours = {
      sessionId: this.#ids.localId(),
      keySlot: this.#ids.keySlot(),
      role,
      parent,
      until: nanoseconds(now + REKEY_LIFE_NS),
    };
    const taken = sink.initiate({
      ...this.#order(parent, ours.sessionId),
      role,
      keySlot: ours.keySlot,
      sessionId: ours.sessionId,
      stampHigh: 0,
      stampLow: 0,
      payload: this.#payload(),
    });
    if (taken) this.#ours = ours;
    else {
      this.#againAt = nanoseconds(now + AGAIN_WAIT_NS);
      this.#ids.release(ours.sessionId, ours.keySlot);
    }
  }

  handleTimeout(now: Nanoseconds, sink: HandshakeSink): void {
    if (this.#ours !== undefined && this.#ours.until <= now)
      this.#ours = this.#drop(this.#ours, sink);
    if (this.#theirs !== undefined && this.#theirs.until <= now) {
      this.#theirs = this.#drop(this.#theirs, sink);
    }
  }

  /** The sessions of this peer are gone: nothing of this can go on. */
  abandon(sink: HandshakeSink): void {
    if (this.#ours !== undefined) this.#ours = this.#drop(this.#ours, sink);
    if (this.#theirs !== undefined) this.#theirs = this.#drop(this.#theirs, sink);
    this.#frames.clear();
    this.#waiting = [];
  }

  /** Frames that are not acknowledged yet: of a rekey of each end at most. */
  get framesOpen(): number {
    return this.#frames.size + this.#waiting.length;
  }

  /** A REKEY frame came in a packet of `session`. */
  handleFrame(now: Nanoseconds, session: Parent, frame: RekeyFrame, sink: HandshakeSink): void {
    if (frame.type === 1 && this.#theirs !== undefined) return;
    if (frame.type === 2 && this.#ours?.sessionId !== frame.answers) return;
    this.#pace ??= new Pacer({ ratePerSecond: READS_PER_SECOND, burst: READS_BURST, now });
    if (!this.#pace.take(now)) return;
    sink.readRekey({
      ...this.#order(session, frame.sessionId),
      type: frame.type,
      sessionId: frame.sessionId,
      answers: frame.answers,
      noise: frame.noise,
    });
  }

  /** A worker answered; gives what was agreed, when that is it. */
  handleResult(
    now: Nanoseconds,
    result: HandshakeResult,
    parent: Parent | undefined,
    sink: HandshakeSink,
  ): Agreed | undefined {
    switch (result.kind) {
      case "initiated":
        if (this.#ours?.sessionId === result.tag) {
          this.#send({ type: 1, sessionId: result.tag, answers: 0, noise: result.message.slice() });
        }
        return undefined;
      case "initiation":
        if (parent !== undefined) this.#answer(now, result, parent, sink);
        return undefined;
      case "responded":
        return this.#responded(result);
      case "completed":
        return this.#completed(result);
      case "stale":
      case "refused":
        return undefined;
    }
  }

  // --- Frames -----------------------------------------------------------------------------------

  /** The frame that is to be written next. */
  get frame(): RekeyFrame | undefined {
    return this.#waiting[0];
  }
  /** It was written; the packet notes the session id. */
  sent(): void {
    const frame = this.#waiting.shift();
    if (frame !== undefined) this.#frames.set(frame.sessionId, frame);
  }
  acked(sessionId: number): void {
    this.#frames.delete(sessionId);
  }
  lost(sessionId: number): void {
    const frame = this.#frames.get(sessionId);
    if (frame !== undefined) this.#waiting.push(frame);
  }

  // --- Steps ------------------------------------------------------------------------------------

  #answer(now: Nanoseconds, result: HandshakeResult, parent: Parent, sink: HandshakeSink): void {
    const payload = decodeHandshakePayload(result.payload);
    if (payload === undefined || this.#theirs !== undefined) return;
    const theirs: Theirs = {
      sessionId: this.#ids.localId(),
      keySlot: this.#ids.keySlot(),
      role: result.role,
      parent,
      until: nanoseconds(now + REKEY_LIFE_NS),
      remoteId: result.remoteId,
      payload,
    };
    const taken = sink.respond({
      ...this.#order(parent, theirs.sessionId),
      keySlot: theirs.keySlot,
      remoteId: theirs.remoteId,
      sessionId: theirs.sessionId,
      stampHigh: 0,
      stampLow: 0,
      payload: this.#payload(),
    });
    if (taken) this.#theirs = theirs;
    else this.#ids.release(theirs.sessionId, theirs.keySlot);
  }

  #responded(result: HandshakeResult): Agreed | undefined {
    const theirs = this.#theirs;
    if (theirs === undefined || theirs.sessionId !== result.tag) return undefined;
    this.#theirs = undefined;
    const { sessionId, remoteId } = theirs;
    // It began another one: nothing waits for what we answered before.
    if (this.#answered !== 0) this.#forget(this.#answered);
    this.#answered = sessionId;
    this.#send({ type: 2, sessionId, answers: remoteId, noise: result.message.slice() });
    return agreedOf(false, theirs.role, sessionId, remoteId, theirs.payload, result);
  }

  #completed(result: HandshakeResult): Agreed | undefined {
    const ours = this.#ours;
    const payload = decodeHandshakePayload(result.payload);
    if (ours === undefined || ours.sessionId !== result.answers || payload === undefined) {
      return undefined;
    }
    this.#ours = undefined;
    const { role, sessionId } = ours;
    return agreedOf(true, role, sessionId, result.remoteId, payload, result);
  }

  #send(frame: RekeyFrame): void {
    this.#waiting.push(frame);
  }

  #drop(open: Ours, sink: HandshakeSink): undefined {
    sink.forget(this.#peer, open.keySlot);
    this.#ids.release(open.sessionId, open.keySlot);
    this.#forget(open.sessionId);
    return undefined;
  }

  #forget(sessionId: number): void {
    this.#frames.delete(sessionId);
    this.#waiting = this.#waiting.filter((frame) => frame.sessionId !== sessionId);
  }

  #order(parent: Parent, tag: number) {
    return {
      peer: this.#peer,
      affinity: this.#peer,
      tag,
      parentKeySlot: parent.keySlot,
      address: "",
      port: 0,
    };
  }
}
