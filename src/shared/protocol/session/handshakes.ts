// The handshakes with one peer outside of a session: when to begin one, how long to wait, which answer
// is believed. Stamps are committed before anything that carries them leaves; a message 1 that was
// accepted is answered once, after that commit. What is made of a finished one is the peer's affair.

import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import { decodeHandshakePayload, type HandshakePayload } from "./handshake-payload.js";
import { type HandshakeResult, type HandshakeSink, type KeyRole, NO_KEY_SLOT } from "./ports.js";
import type { SessionIds } from "./session-ids.js";

/** Waits behind an unanswered message 1, s; the last one repeats. Source: wire.md, 3.2 and 3.5. */
const WAITS_SECONDS = [1, 2, 4, 5, 30, 300, 3_600] as const;
const JITTER_SHARE = 0.2;
/** How long an answer is believed, ns. */
const INITIATION_LIFE_NS = 5 * NS_PER_SECOND;
/** A stamp or an answer that does not come is given up after this long, ns. */
const STEP_LIFE_NS = 5 * NS_PER_SECOND;
const INITIATIONS_MAX = 2;
/** Datagrams of one peer at the worker at a time. */
const READING_MAX = 16;

/** Stamps to be made durable; 0n leaves one as it is. */
export interface StampOrder {
  readonly sent: bigint;
  readonly accepted: bigint;
}

/** A handshake that is finished: the keys of a session lie in the worker. */
export interface Agreed {
  readonly initiator: boolean;
  readonly role: KeyRole;
  readonly keySlot: number;
  readonly localId: number;
  readonly remoteId: number;
  readonly headerKeyOut: Uint8Array;
  readonly headerKeyIn: Uint8Array;
  readonly payload: HandshakePayload;
  readonly address: string;
  readonly port: number;
}

interface Initiation {
  readonly tag: number;
  readonly sessionId: number;
  readonly keySlot: number;
  readonly role: KeyRole;
  readonly until: Nanoseconds;
}

/** A message 1 of the peer that was read and is being answered. */
interface Answering {
  readonly sessionId: number;
  readonly keySlot: number;
  readonly remoteId: number;
  readonly role: KeyRole;
  readonly payload: HandshakePayload;
  readonly address: string;
  readonly port: number;
  readonly until: Nanoseconds;
  readonly sent: bigint;
  readonly accepted: bigint;
  ordered: boolean;
}

export interface HandshakePlace {
  readonly address: string;
  readonly port: number;
}

export interface HandshakesOptions {
  readonly peer: number;
  readonly ids: SessionIds;
  readonly uniform: () => number;
  /** Durable stamps of earlier runs. */
  readonly sent: bigint;
  readonly accepted: bigint;
  /** Our own payload, with the highest stamp that we accepted. */
  readonly payload: (accepted: bigint) => Uint8Array;
}

export class Handshakes {
  readonly #options: HandshakesOptions;
  #sent: bigint;
  #accepted: bigint;
  #open: Initiation[] = [];
  #answering: Answering | undefined;
  /** Datagrams that are at the worker to be read. */
  #reading = 0;
  /** The stamp of the next message 1, while it is not committed. */
  #stamp: { readonly sent: bigint; readonly until: Nanoseconds } | undefined;
  #orders: StampOrder[] = [];
  #attempts = 0;
  #nextAt: Nanoseconds = nanoseconds(Number.POSITIVE_INFINITY);
  #tag = 0;

  constructor(options: HandshakesOptions) {
    this.#options = options;
    this.#sent = options.sent;
    this.#accepted = options.accepted;
  }

  /** Highest stamp that was accepted: below and equal, a message 1 is a replay. */
  get accepted(): bigint {
    return this.#accepted;
  }
  /** Message 1 sent without an answer since the last sign of life. */
  get unanswered(): number {
    return this.#attempts;
  }
  /** A handshake is due, or will be. */
  get wanted(): boolean {
    return this.#nextAt !== Number.POSITIVE_INFINITY;
  }
  get pending(): boolean {
    return this.#open.length > 0 || this.#stamp !== undefined;
  }

  // --- When -------------------------------------------------------------------------------------

  /** A session is wanted: a handshake begins when the wait behind the last one is over. */
  want(now: Nanoseconds): void {
    if (this.#nextAt === Number.POSITIVE_INFINITY) this.#nextAt = now;
  }

  /** The peer gave a sign of life, or has a new address: no more waiting. */
  hurry(now: Nanoseconds): void {
    this.#attempts = 0;
    if (this.#nextAt !== Number.POSITIVE_INFINITY) this.#nextAt = now;
  }

  /** No handshake before this wait is over: the last session ended with a fault. */
  rest(now: Nanoseconds, waitNs: number): void {
    this.#nextAt = nanoseconds(now + waitNs);
  }

  /** There is a session: no more of them. */
  done(): void {
    this.#attempts = 0;
    this.#nextAt = nanoseconds(Number.POSITIVE_INFINITY);
    this.#stamp = undefined;
  }

  get deadline(): Nanoseconds {
    let at: number = this.#stamp === undefined ? this.#nextAt : this.#stamp.until;
    for (const { until } of this.#open) at = Math.min(at, until);
    if (this.#answering !== undefined) at = Math.min(at, this.#answering.until);
    return nanoseconds(at);
  }

  /** True when an attempt went unanswered: names are looked up again, the next address is tried. */
  handleTimeout(now: Nanoseconds, wallNs: number, sink: HandshakeSink): boolean {
    for (const initiation of this.#open) {
      if (initiation.until <= now) sink.forget(this.#options.peer, initiation.keySlot);
    }
    this.#open = this.#open.filter(({ until }) => until > now);
    if (this.#answering !== undefined && this.#answering.until <= now) {
      sink.forget(this.#options.peer, this.#answering.keySlot);
      this.#answering = undefined;
    }
    if (this.#stamp !== undefined && this.#stamp.until <= now) this.#stamp = undefined;
    if (now < this.#nextAt || this.#stamp !== undefined) return false;
    const again = this.#attempts > 0;
    const wall = BigInt(Math.floor(wallNs));
    this.#sent = wall > this.#sent ? wall : this.#sent + 1n;
    this.#stamp = { sent: this.#sent, until: nanoseconds(now + STEP_LIFE_NS) };
    this.#orders.push({ sent: this.#sent, accepted: 0n });
    const wait = WAITS_SECONDS[Math.min(this.#attempts, WAITS_SECONDS.length - 1)] as number;
    const jitter = 1 - JITTER_SHARE * this.#options.uniform();
    this.#nextAt = nanoseconds(now + wait * NS_PER_SECOND * jitter);
    this.#attempts += 1;
    return again;
  }

  /** Stamps that the store should commit. */
  pollStamp(): StampOrder | undefined {
    return this.#orders.shift();
  }

  /** Stamps up to these are committed and synced: what waited for them may leave. */
  handleStamped(
    now: Nanoseconds,
    stamps: StampOrder,
    role: KeyRole,
    place: HandshakePlace | undefined,
    sink: HandshakeSink,
  ): void {
    if (this.#stamp !== undefined && stamps.sent >= this.#stamp.sent) {
      const { sent } = this.#stamp;
      this.#stamp = undefined;
      if (place !== undefined) this.#initiate(now, sent, role, place, sink);
    }
    const answering = this.#answering;
    if (answering === undefined || answering.ordered) return;
    if (stamps.sent >= answering.sent && stamps.accepted >= answering.accepted) {
      this.#respond(answering, sink);
    }
  }

  // --- Datagrams --------------------------------------------------------------------------------

  /** Gives a datagram with a fitting hint to the worker; false: too many are there, or one is answered. */
  read(datagram: Uint8Array, place: HandshakePlace, sink: HandshakeSink): boolean {
    if (this.#reading >= READING_MAX || this.#answering !== undefined) return false;
    const { peer } = this.#options;
    const taken = sink.readDatagram({
      peer,
      affinity: peer,
      tag: 0,
      parentKeySlot: NO_KEY_SLOT,
      ...place,
      datagram,
      acceptedHigh: Number(this.#accepted >> 32n),
      acceptedLow: Number(this.#accepted & 0xffff_ffffn),
    });
    if (taken) this.#reading += 1;
    return taken;
  }

  /** A worker answered; gives what was agreed, when that is it. */
  handleResult(now: Nanoseconds, wallNs: number, result: HandshakeResult): Agreed | undefined {
    switch (result.kind) {
      case "initiation":
        this.#reading -= 1;
        this.#initiation(now, wallNs, result);
        return undefined;
      case "completed":
        this.#reading -= 1;
        return this.#completed(result);
      case "responded":
        return this.#responded(result);
      case "stale":
        this.#reading -= 1;
        return undefined;
      case "refused":
        // Of a job that was to write, the key slot says which; of one that was to read there is none.
        if (result.keySlot === NO_KEY_SLOT) this.#reading -= 1;
        return undefined;
      case "initiated":
        return undefined;
    }
  }

  #initiation(now: Nanoseconds, wallNs: number, result: HandshakeResult): void {
    const stamp = (BigInt(result.stampHigh) << 32n) | BigInt(result.stampLow);
    const payload = decodeHandshakePayload(result.payload);
    if (stamp <= this.#accepted || payload === undefined || this.#answering !== undefined) return;
    const { ids } = this.#options;
    this.#accepted = stamp;
    const wall = BigInt(Math.floor(wallNs));
    this.#heal(payload);
    this.#sent = wall > this.#sent ? wall : this.#sent + 1n;
    this.#answering = {
      sessionId: ids.localId(),
      keySlot: ids.keySlot(),
      remoteId: result.remoteId,
      role: result.role,
      payload,
      address: result.address,
      port: result.port,
      until: nanoseconds(now + STEP_LIFE_NS),
      sent: this.#sent,
      accepted: stamp,
      ordered: false,
    };
    this.#orders.push({ sent: this.#sent, accepted: stamp });
  }

  #respond(answering: Answering, sink: HandshakeSink): void {
    const { peer } = this.#options;
    answering.ordered = sink.respond({
      peer,
      affinity: peer,
      tag: answering.sessionId,
      parentKeySlot: NO_KEY_SLOT,
      address: answering.address,
      port: answering.port,
      keySlot: answering.keySlot,
      remoteId: answering.remoteId,
      sessionId: answering.sessionId,
      ...words(answering.sent),
      payload: this.#options.payload(this.#accepted),
    });
  }

  #responded(result: HandshakeResult): Agreed | undefined {
    const answering = this.#answering;
    if (answering === undefined || result.tag !== answering.sessionId) return undefined;
    this.#answering = undefined;
    return agreed(
      false,
      answering.role,
      answering.sessionId,
      answering.remoteId,
      answering.payload,
      result,
    );
  }

  #initiate(
    now: Nanoseconds,
    stamp: bigint,
    role: KeyRole,
    place: HandshakePlace,
    sink: HandshakeSink,
  ): void {
    const { peer, ids, payload } = this.#options;
    while (this.#open.length >= INITIATIONS_MAX) {
      const oldest = this.#open.shift() as Initiation;
      sink.forget(peer, oldest.keySlot);
    }
    this.#tag = (this.#tag + 1) >>> 0;
    const initiation: Initiation = {
      tag: this.#tag,
      sessionId: ids.localId(),
      keySlot: ids.keySlot(),
      role,
      until: nanoseconds(now + INITIATION_LIFE_NS),
    };
    const taken = sink.initiate({
      peer,
      affinity: peer,
      tag: initiation.tag,
      parentKeySlot: NO_KEY_SLOT,
      ...place,
      role,
      keySlot: initiation.keySlot,
      sessionId: initiation.sessionId,
      ...words(stamp),
      payload: payload(this.#accepted),
    });
    if (taken) this.#open.push(initiation);
  }

  #completed(result: HandshakeResult): Agreed | undefined {
    const initiation = this.#open.find(({ sessionId }) => sessionId === result.answers);
    const payload = decodeHandshakePayload(result.payload);
    if (initiation === undefined || payload === undefined) return undefined;
    this.#open = this.#open.filter((each) => each !== initiation);
    const stamp = (BigInt(result.stampHigh) << 32n) | BigInt(result.stampLow);
    const before = this.#sent;
    this.#heal(payload);
    if (stamp > this.#accepted || this.#sent > before) {
      if (stamp > this.#accepted) this.#accepted = stamp;
      this.#orders.push({ sent: this.#sent, accepted: this.#accepted });
    }
    return agreed(true, initiation.role, initiation.sessionId, result.remoteId, payload, result);
  }

  /** Stamps of ours that the other end accepted once were ours, whatever our disk says. */
  #heal(payload: HandshakePayload): void {
    if (payload.accepted > this.#sent) this.#sent = payload.accepted;
  }
}

const words = (stamp: bigint): { readonly stampHigh: number; readonly stampLow: number } => ({
  stampHigh: Number(stamp >> 32n),
  stampLow: Number(stamp & 0xffff_ffffn),
});

function agreed(
  initiator: boolean,
  role: KeyRole,
  localId: number,
  remoteId: number,
  payload: HandshakePayload,
  result: HandshakeResult,
): Agreed {
  return {
    initiator,
    role,
    keySlot: result.keySlot,
    localId,
    remoteId,
    headerKeyOut: result.headerKeyOut.slice(),
    headerKeyIn: result.headerKeyIn.slice(),
    payload,
    address: result.address,
    port: result.port,
  };
}
