// The handshakes with one peer outside of a session: when to begin one, how long to wait, which answer
// is believed. Stamps are committed before anything that carries them leaves; a message 1 that was
// accepted is answered once, after that commit. What is made of a finished one is the peer's affair.

import type { DropReason } from "../../base/errors.js";
import { type Nanoseconds, NS_PER_MS, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import { type Agreed, agreedOf } from "./agreed.js";
import type { GateMemory } from "./gate-memory.js";
import { decodeHandshakePayload, type HandshakePayload } from "./handshake-payload.js";
import { type HandshakeResult, type HandshakeSink, type KeyRole, NO_KEY_SLOT } from "./ports.js";
import type { SessionIds } from "./session-ids.js";
import type { SessionRest } from "./session-rest.js";

/** Waits behind an unanswered message 1, s; the last one repeats. Source: wire.md, 3.2 and 3.5. */
const WAITS_SECONDS = [1, 2, 4, 5, 30, 300, 3_600] as const;
const JITTER_SHARE = 0.2;
/** Wait until a job that found no slab is given once more, ns. */
const AGAIN_WAIT_NS = 5 * NS_PER_MS;
/** How long an answer is believed, ns. */
const INITIATION_LIFE_NS = 5 * NS_PER_SECOND;
/** A stamp or an answer that does not come is given up after this long, ns. */
const STEP_LIFE_NS = 5 * NS_PER_SECOND;
const INITIATIONS_MAX = 2;
/** The year 2116: who claims to have accepted more would leave us no stamps to go on with. */
const STAMP_HEALED_MAX = 2n ** 62n;

export interface HandshakeStamps {
  readonly sent: bigint;
  readonly accepted: bigint;
}

/** Stamps to be made durable; 0n leaves one as it is. */
export interface StampOrder extends HandshakeStamps {
  /** Where the change of the peer's keys stands (rotation.ts); undefined: as it was. */
  readonly rotation?: string | undefined;
}

interface Initiation {
  readonly tag: number;
  readonly sessionId: number;
  readonly keySlot: number;
  readonly role: KeyRole;
  readonly place: HandshakePlace;
  readonly until: Nanoseconds;
  /** Boot of a session that was confirmed since: an answer of another one is not believed. */
  onlyBoot: Uint8Array | undefined;
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
  /** `stamps`: being committed. `slab`: to be given to the worker. `worker`: it has it. */
  awaits: "stamps" | "slab" | "worker";
}

export interface HandshakePlace {
  readonly address: string;
  readonly port: number;
}

export interface HandshakesOptions {
  readonly peer: number;
  readonly ids: SessionIds;
  readonly uniform: () => number;
  readonly gate: GateMemory;
  readonly rest: SessionRest;
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
  /** The stamp of the next message 1, while it is not committed. */
  #stamp: { readonly sent: bigint; readonly until: Nanoseconds } | undefined;
  #orders: HandshakeStamps[] = [];
  /** What the store said is committed. */
  readonly #durable: { sent: bigint; accepted: bigint };
  /** When an answer is given to the worker once more. */
  #againAt: Nanoseconds = nanoseconds(0);
  #attempts = 0;
  #unanswered = 0;
  #nextAt: Nanoseconds = nanoseconds(Number.POSITIVE_INFINITY);
  #tag = 0;

  constructor(options: HandshakesOptions) {
    this.#options = options;
    this.#sent = options.sent;
    this.#accepted = options.accepted;
    this.#durable = { sent: options.sent, accepted: options.accepted };
  }

  /** Highest stamp that was accepted: below and equal, a message 1 is a replay. */
  get accepted(): bigint {
    return this.#accepted;
  }
  /** Message 1 sent since the last sign of life, or since this bout began. */
  get attempts(): number {
    return this.#attempts;
  }
  /** Message 1 sent without an answer since the last session. */
  get unanswered(): number {
    return this.#unanswered;
  }
  /** A handshake is due, or will be. */
  get wanted(): boolean {
    return this.#nextAt !== Number.POSITIVE_INFINITY;
  }

  // --- When -------------------------------------------------------------------------------------

  /** A session is wanted: a handshake begins when the wait behind the last one is over. */
  want(now: Nanoseconds): void {
    if (this.#nextAt === Number.POSITIVE_INFINITY) this.#nextAt = this.#options.rest.beginsAt(now);
  }

  /** The peer gave a sign of life, or has a new address: no more waiting, but for a rest. */
  hurry(now: Nanoseconds): void {
    this.#attempts = 0;
    if (this.#nextAt !== Number.POSITIVE_INFINITY) this.#nextAt = this.#options.rest.beginsAt(now);
  }

  /** There is a session with this boot of the peer: no more of them. */
  done(boot: Uint8Array): void {
    this.#unanswered = 0;
    for (const each of this.#open) each.onlyBoot = boot;
    this.cease();
  }

  /** Nobody waits for a session any more. What is under way may still be answered. */
  cease(): void {
    this.#attempts = 0;
    this.#nextAt = nanoseconds(Number.POSITIVE_INFINITY);
    this.#stamp = undefined;
  }

  /** Nothing that was begun goes on: its keys are not those of the configuration any more. */
  abandon(sink: HandshakeSink): void {
    this.cease();
    for (const initiation of this.#open) this.#drop(initiation, sink);
    this.#open = [];
    if (this.#answering !== undefined) this.#drop(this.#answering, sink);
    this.#answering = undefined;
  }

  #drop(begun: Initiation | Answering, sink: HandshakeSink): void {
    const { peer, ids } = this.#options;
    sink.forget(peer, begun.keySlot);
    ids.release(begun.sessionId, begun.keySlot);
  }

  get deadline(): Nanoseconds {
    let at: number = this.#stamp === undefined ? this.#nextAt : this.#stamp.until;
    for (const { until } of this.#open) at = Math.min(at, until);
    const answering = this.#answering;
    if (answering !== undefined) {
      at = Math.min(at, answering.awaits === "slab" ? this.#againAt : answering.until);
    }
    return nanoseconds(at);
  }

  /** True when an attempt went unanswered: names are looked up again. */
  handleTimeout(now: Nanoseconds, wallNs: number, sink: HandshakeSink): boolean {
    for (const each of this.#open) if (each.until <= now) this.#drop(each, sink);
    this.#open = this.#open.filter(({ until }) => until > now);
    const answering = this.#answering;
    if (answering !== undefined && answering.until <= now) {
      this.#drop(answering, sink);
      this.#answering = undefined;
    } else if (answering?.awaits === "slab") this.#respond(now, answering, sink);
    if (this.#stamp !== undefined && this.#stamp.until <= now) this.#stamp = undefined;
    if (now < this.#nextAt || this.#stamp !== undefined) return false;
    const { rest } = this.#options;
    const notBefore = rest.beginsAt(now);
    if (notBefore > now) {
      this.#nextAt = notBefore;
      return false;
    }
    rest.begun(now);
    const again = this.#attempts > 0;
    const wall = BigInt(Math.floor(wallNs));
    this.#sent = wall > this.#sent ? wall : this.#sent + 1n;
    this.#stamp = { sent: this.#sent, until: nanoseconds(now + STEP_LIFE_NS) };
    this.#orders.push({ sent: this.#sent, accepted: 0n });
    const wait = WAITS_SECONDS[Math.min(this.#attempts, WAITS_SECONDS.length - 1)] as number;
    const jitter = 1 - JITTER_SHARE * this.#options.uniform();
    this.#nextAt = nanoseconds(now + wait * NS_PER_SECOND * jitter);
    this.#attempts += 1;
    this.#unanswered += 1;
    return again;
  }

  /** Stamps that the store should commit. */
  pollStamp(): HandshakeStamps | undefined {
    return this.#orders.shift();
  }

  /** Whether message 1 may leave once these stamps are committed. */
  awaits(stamps: HandshakeStamps): boolean {
    return this.#stamp !== undefined && stamps.sent >= this.#stamp.sent;
  }

  /** Message 1, under a key and to a place, behind the commit of its stamp; nowhere: none. */
  initiate(
    now: Nanoseconds,
    role: KeyRole,
    place: HandshakePlace | undefined,
    sink: HandshakeSink,
  ): void {
    const sent = this.#stamp?.sent;
    this.#stamp = undefined;
    if (sent !== undefined && place !== undefined) this.#initiate(now, sent, role, place, sink);
  }

  /**
   * Stamps up to these are committed and synced, and so is what `isDurable` says of keys: an answer
   * that waited for them may leave.
   */
  handleStamped(
    now: Nanoseconds,
    stamps: HandshakeStamps,
    isDurable: (role: KeyRole) => boolean,
    sink: HandshakeSink,
  ): void {
    this.#durable.sent = later(this.#durable.sent, stamps.sent);
    this.#durable.accepted = later(this.#durable.accepted, stamps.accepted);
    const answering = this.#answering;
    if (answering?.awaits !== "stamps" || !isDurable(answering.role)) return;
    const { sent, accepted } = this.#durable;
    if (sent >= answering.sent && accepted >= answering.accepted) {
      this.#respond(now, answering, sink);
    }
  }

  // --- Datagrams --------------------------------------------------------------------------------

  /** Gives a datagram with a fitting hint to the worker, or says why not. */
  read(
    now: Nanoseconds,
    datagram: Uint8Array,
    place: HandshakePlace,
    sink: HandshakeSink,
  ): DropReason | undefined {
    const { peer, gate } = this.#options;
    if (this.#answering !== undefined) return "handshake_busy";
    const dropped = gate.admit(now, datagram);
    if (dropped !== undefined) return dropped;
    this.#tag = (this.#tag + 1) >>> 0;
    const taken = sink.readDatagram({
      peer,
      affinity: peer,
      tag: this.#tag,
      parentKeySlot: NO_KEY_SLOT,
      ...place,
      datagram,
      acceptedHigh: Number(this.#accepted >> 32n),
      acceptedLow: Number(this.#accepted & 0xffff_ffffn),
    });
    gate.begun(this.#tag, datagram, taken);
    return taken ? undefined : "open_queue_full";
  }

  /** A worker answered; gives what was agreed, when that is it. */
  handleResult(now: Nanoseconds, wallNs: number, result: HandshakeResult): Agreed | undefined {
    const { gate } = this.#options;
    switch (result.kind) {
      case "initiation":
        this.#initiation(now, wallNs, result);
        return undefined;
      case "completed":
        gate.useful(result.tag);
        return this.#completed(result);
      case "responded":
        return this.#responded(result);
      case "stale":
        gate.useless(result.tag, false);
        return undefined;
      case "refused":
        // Of a job that was to write, the key slot says which; of one that was to read there is none.
        if (result.keySlot === NO_KEY_SLOT) gate.failed(result.tag);
        else if (result.keySlot === this.#answering?.keySlot) this.#unanswerable();
        return undefined;
      case "initiated":
        return undefined;
    }
  }

  /** What a worker read is not used. */
  handleDropped({ tag }: HandshakeResult): void {
    this.#options.gate.useful(tag);
  }

  /** The worker has nothing that it could answer any more, and no keys. */
  #unanswerable(): void {
    const { sessionId, keySlot } = this.#answering as Answering;
    this.#options.ids.release(sessionId, keySlot);
    this.#answering = undefined;
  }

  /** Whether the datagram of this result is still wanted. */
  wants(result: HandshakeResult): boolean {
    if (result.kind === "responded") return this.#answering?.sessionId === result.tag;
    return result.kind === "initiated" && this.#open.some(({ tag }) => tag === result.tag);
  }

  #initiation(now: Nanoseconds, wallNs: number, result: HandshakeResult): void {
    const stamp = (BigInt(result.stampHigh) << 32n) | BigInt(result.stampLow);
    const payload = decodeHandshakePayload(result.payload);
    const { ids, rest, gate } = this.#options;
    const isNews = stamp > this.#accepted && this.#answering === undefined;
    if (!isNews || payload === undefined || !rest.answers(now, payload.boot)) {
      gate.useless(result.tag, true);
      return;
    }
    gate.useful(result.tag);
    rest.begun(now, payload.boot);
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
      awaits: "stamps",
    };
    this.#orders.push({ sent: this.#sent, accepted: stamp });
  }

  #respond(now: Nanoseconds, answering: Answering, sink: HandshakeSink): void {
    const { peer } = this.#options;
    const taken = sink.respond({
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
    answering.awaits = taken ? "worker" : "slab";
    this.#againAt = nanoseconds(now + AGAIN_WAIT_NS);
  }

  #responded(result: HandshakeResult): Agreed | undefined {
    const answering = this.#answering;
    if (answering === undefined || result.tag !== answering.sessionId) return undefined;
    this.#answering = undefined;
    return agreedOf(
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
      this.#drop(this.#open.shift() as Initiation, sink);
    }
    this.#tag = (this.#tag + 1) >>> 0;
    const initiation: Initiation = {
      tag: this.#tag,
      sessionId: ids.localId(),
      keySlot: ids.keySlot(),
      ...{ role, place, onlyBoot: undefined },
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
    else ids.release(initiation.sessionId, initiation.keySlot);
  }

  #completed(result: HandshakeResult): Agreed | undefined {
    const initiation = this.#open.find(({ sessionId }) => sessionId === result.answers);
    const payload = decodeHandshakePayload(result.payload);
    if (initiation === undefined || payload === undefined) return undefined;
    const { role, sessionId, place, onlyBoot } = initiation;
    // Of a process that ended before, or of one that will begin a handshake itself.
    if (onlyBoot?.every((byte, i) => byte === payload.boot[i]) === false) return undefined;
    this.#open = this.#open.filter((each) => each !== initiation);
    const stamp = (BigInt(result.stampHigh) << 32n) | BigInt(result.stampLow);
    const before = this.#sent;
    this.#heal(payload);
    if (stamp > this.#accepted || this.#sent > before) {
      if (stamp > this.#accepted) this.#accepted = stamp;
      this.#orders.push({ sent: this.#sent, accepted: this.#accepted });
    }
    return agreedOf(true, role, sessionId, result.remoteId, payload, result, place);
  }

  /** Stamps of ours that the other end accepted once were ours, whatever our disk says. */
  #heal(payload: HandshakePayload): void {
    const { accepted } = payload;
    if (accepted > this.#sent && accepted <= STAMP_HEALED_MAX) this.#sent = accepted;
  }
}

const later = (a: bigint, b: bigint): bigint => (a > b ? a : b);

const words = (stamp: bigint): { readonly stampHigh: number; readonly stampLow: number } => ({
  stampHigh: Number(stamp >> 32n),
  stampLow: Number(stamp & 0xffff_ffffn),
});
