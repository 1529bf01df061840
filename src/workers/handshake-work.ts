// Handshakes of the peers of one worker: Noise KKpsk0 (docs/PROTOCOL.md sections 15 to 17). Message 1
// is written or read, message 2 answers it; then the keys lie in the slot that main chose. Whatever is
// refused leaves every state as it was (handshake-states.ts).

import { labelBytes } from "../shared/protocol/noise/hkdf.js";
import { putWordBig } from "../shared/protocol/session/byte-order.js";
import { deriveHeaderKeys } from "../shared/protocol/session/header-keys.js";
import { KEY_ROLE, type KeyRole, NO_KEY_SLOT } from "../shared/protocol/session/ports.js";
import { HEADER_KEY_BYTES, SESSION_JOB, SESSION_OUTCOME } from "../shared/runtime/session-slab.js";
import {
  type EnvelopeFields,
  hintFits,
  MESSAGE,
  type OpenedEnvelope,
  openEnvelope,
  sealEnvelope,
} from "./handshake-envelope.js";
import type { HandshakeAnswer, HandshakeJob } from "./handshake-job.js";
import {
  HANDSHAKES_MAX,
  HandshakeStates,
  type Initiation,
  type OpenHandshake,
  type Reading,
} from "./handshake-states.js";
import { type HeldPair, type IdentityKeys, ROLES } from "./identity-keys.js";
import type { SessionKeys } from "./session-keys.js";

const PROLOGUE_LABEL = labelBytes("securedgram session 1");
const KIND_DATAGRAM = 1;
const KIND_REKEY = 2;
/** An ephemeral key and a tag: what Noise adds to the payload of either message. */
const NOISE_OVERHEAD_BYTES = 32 + 16;

export class HandshakeWork {
  readonly #identities: IdentityKeys;
  readonly #sessions: SessionKeys;
  readonly #states: HandshakeStates;

  constructor(
    identities: IdentityKeys,
    sessions: SessionKeys,
    handshakesMax: number = HANDSHAKES_MAX,
  ) {
    this.#identities = identities;
    this.#sessions = sessions;
    this.#states = new HandshakeStates(handshakesMax);
  }

  /** Handshakes between their two messages. */
  get open(): number {
    return this.#states.open;
  }

  /** Does one job; undefined when it is refused. */
  run(job: HandshakeJob): HandshakeAnswer | undefined {
    switch (job.code) {
      case SESSION_JOB.initiate:
        return this.#initiate(job);
      case SESSION_JOB.readDatagram:
        return this.#readDatagram(job);
      case SESSION_JOB.readRekey:
        return this.#readRekey(job);
      case SESSION_JOB.respond:
        return this.#respond(job);
    }
  }

  /** Ends the initiation whose keys would lie in that slot. */
  forget(keySlot: number): void {
    this.#states.forget(keySlot);
  }

  /** Ends all handshakes: the keys that they were lent go away. */
  forgetAll(): void {
    this.#states.forgetAll();
  }

  free(): void {
    this.#states.free();
  }

  // --- Message 1 --------------------------------------------------------------------------------

  #initiate(job: HandshakeJob): HandshakeAnswer | undefined {
    const { peer, role, keySlot, parentKeySlot, id: sessionId } = job;
    const pair = this.#identities.pair(peer, role);
    const binding = this.#binding(parentKeySlot, job.stampHigh, job.stampLow, sessionId);
    if (pair === undefined || binding === undefined) return undefined;
    this.#states.makeRoom(peer, keySlot, parentKeySlot);
    const begun = this.#states.begin(pair, true, prologueOf(pair, true, binding));
    if (begun === undefined) return undefined;
    const noise = new Uint8Array(job.input.length + NOISE_OVERHEAD_BYTES);
    const initiation: Initiation = { peer, pair, parentKeySlot, ...begun, keySlot, sessionId };
    if (begun.state.writeMessage(job.input, noise) === undefined) {
      this.#states.end(initiation);
      return undefined;
    }
    this.#states.keepInitiation(initiation);
    const fields = { ...fieldsOf(job), type: MESSAGE.initiation, answers: 0 } as const;
    return {
      outcome: SESSION_OUTCOME.initiated,
      role,
      keySlot,
      remoteId: 0,
      answers: 0,
      stampHigh: job.stampHigh,
      stampLow: job.stampLow,
      output: parentKeySlot === NO_KEY_SLOT ? sealEnvelope(pair.keys, fields, noise) : noise,
      headerKeyOut: undefined,
      headerKeyIn: undefined,
    };
  }

  #readDatagram(job: HandshakeJob): HandshakeAnswer | undefined {
    for (const role of ROLES) {
      const pair = this.#identities.pair(job.peer, role);
      if (pair === undefined || !hintFits(pair.keys, job.input)) continue;
      const envelope = openEnvelope(pair.keys, job.input);
      if (envelope === undefined) continue;
      if (envelope.type === MESSAGE.initiation) return this.#readFirst(job, pair, envelope);
      return this.#readSecond(job, envelope, contextOf(envelope), envelope.noise);
    }
    return undefined;
  }

  #readFirst(
    job: HandshakeJob,
    pair: HeldPair,
    envelope: OpenedEnvelope,
  ): HandshakeAnswer | undefined {
    const { sessionId, stampHigh, stampLow, noise } = envelope;
    const isNewer =
      stampHigh > job.stampHigh || (stampHigh === job.stampHigh && stampLow > job.stampLow);
    if (!isNewer) return read(SESSION_OUTCOME.stale, pair.role, envelope, new Uint8Array(0));
    const binding = this.#binding(NO_KEY_SLOT, stampHigh, stampLow, sessionId);
    if (binding === undefined) return undefined;
    const payload = this.#readInitiation(job, pair, binding, sessionId, noise);
    if (payload === undefined) return undefined;
    return read(SESSION_OUTCOME.initiation, pair.role, envelope, payload);
  }

  #readRekey(job: HandshakeJob): HandshakeAnswer | undefined {
    const { parentKeySlot, id: sessionId, answers, input: noise } = job;
    if (sessionId === 0 || parentKeySlot === NO_KEY_SLOT) return undefined;
    const fields = { sessionId, answers, stampHigh: 0, stampLow: 0 };
    if (job.role === MESSAGE.response) {
      return this.#readSecond(
        job,
        { ...fields, type: MESSAGE.response },
        wordBytes(sessionId),
        noise,
      );
    }
    const binding = this.#binding(parentKeySlot, 0, 0, sessionId);
    if (job.role !== MESSAGE.initiation || binding === undefined) return undefined;
    for (const role of ROLES) {
      const pair = this.#identities.pair(job.peer, role);
      if (pair === undefined) continue;
      const payload = this.#readInitiation(job, pair, binding, sessionId, noise);
      if (payload === undefined) continue;
      return read(
        SESSION_OUTCOME.initiation,
        role,
        { ...fields, type: MESSAGE.initiation },
        payload,
      );
    }
    return undefined;
  }

  /** The payload of a message 1 that opened; its state takes the place of the last one read. */
  #readInitiation(
    { peer, parentKeySlot }: HandshakeJob,
    pair: HeldPair,
    binding: Uint8Array,
    remoteId: number,
    noise: Uint8Array,
  ): Uint8Array | undefined {
    const begun = this.#states.begin(pair, false, prologueOf(pair, false, binding));
    if (begun === undefined) return undefined;
    const reading: Reading = { peer, pair, parentKeySlot, ...begun, remoteId };
    const payload = new Uint8Array(Math.max(0, noise.length - NOISE_OVERHEAD_BYTES));
    if (begun.state.readMessage(noise, payload) === undefined) {
      this.#states.end(reading);
      return undefined;
    }
    this.#states.keepReading(reading);
    return payload;
  }

  // --- Message 2 --------------------------------------------------------------------------------

  #respond(job: HandshakeJob): HandshakeAnswer | undefined {
    const { peer, parentKeySlot, keySlot, id: sessionId, answers } = job;
    const reading = this.#states.reading(peer, parentKeySlot);
    if (reading === undefined || reading.remoteId !== answers) return undefined;
    if (reading.parentKeySlot !== parentKeySlot) return undefined;
    const fields: EnvelopeFields = { ...fieldsOf(job), type: MESSAGE.response, answers };
    const isDatagram = parentKeySlot === NO_KEY_SLOT;
    const context = isDatagram ? contextOf(fields) : wordBytes(sessionId);
    const noise = new Uint8Array(job.input.length + NOISE_OVERHEAD_BYTES);
    const length = reading.state.writeMessage(job.input, noise, context);
    const headerKeys = length === undefined ? undefined : this.#install(reading, keySlot, false);
    this.#states.endReading(reading);
    if (headerKeys === undefined) return undefined;
    return {
      outcome: SESSION_OUTCOME.responded,
      role: reading.pair.role,
      keySlot,
      remoteId: reading.remoteId,
      answers,
      stampHigh: job.stampHigh,
      stampLow: job.stampLow,
      output: isDatagram ? sealEnvelope(reading.pair.keys, fields, noise) : noise,
      ...headerKeys,
    };
  }

  #readSecond(
    { peer, parentKeySlot }: HandshakeJob,
    fields: EnvelopeFields,
    context: Uint8Array,
    noise: Uint8Array,
  ): HandshakeAnswer | undefined {
    const initiation = this.#states.answered(peer, fields.answers, parentKeySlot);
    if (initiation === undefined) {
      // Authentic, and a copy or too late: main remembers it, so that it is not opened again.
      const isDatagram = parentKeySlot === NO_KEY_SLOT;
      if (!isDatagram) return undefined;
      return read(SESSION_OUTCOME.stale, KEY_ROLE.current, fields, new Uint8Array(0));
    }
    const payload = new Uint8Array(Math.max(0, noise.length - NOISE_OVERHEAD_BYTES));
    if (initiation.state.readMessage(noise, payload, context) === undefined) return undefined;
    const { keySlot, pair } = initiation;
    const headerKeys = this.#install(initiation, keySlot, true);
    this.#states.endInitiation(initiation);
    if (headerKeys === undefined) return undefined;
    return {
      ...read(SESSION_OUTCOME.completed, pair.role, fields, payload),
      keySlot,
      ...headerKeys,
    };
  }

  /** Splits a finished handshake into a key slot; the header keys, or undefined when all are taken. */
  #install(
    { state }: OpenHandshake,
    keySlot: number,
    initiator: boolean,
  ): HeaderKeyPair | undefined {
    const held = this.#sessions.take(keySlot);
    if (held === undefined) return undefined;
    const initiatorKey = new Uint8Array(HEADER_KEY_BYTES);
    const responderKey = new Uint8Array(HEADER_KEY_BYTES);
    deriveHeaderKeys(state, { initiatorKey, responderKey });
    const { sealKey, openKey, handshakeHash } = held;
    state.split({
      initiatorKey: initiator ? sealKey : openKey,
      responderKey: initiator ? openKey : sealKey,
      handshakeHash,
    });
    return initiator
      ? { headerKeyOut: initiatorKey, headerKeyIn: responderKey }
      : { headerKeyOut: responderKey, headerKeyIn: initiatorKey };
  }

  /** What binds message 1 to its envelope, or to its session; undefined when that is gone. */
  #binding(
    parentKeySlot: number,
    stampHigh: number,
    stampLow: number,
    sessionId: number,
  ): Uint8Array | undefined {
    if (parentKeySlot === NO_KEY_SLOT) {
      return joined([
        Uint8Array.of(KIND_DATAGRAM),
        wordBytes(stampHigh),
        wordBytes(stampLow),
        wordBytes(sessionId),
      ]);
    }
    const parent = this.#sessions.of(parentKeySlot);
    if (parent === undefined) return undefined;
    return joined([Uint8Array.of(KIND_REKEY), parent.handshakeHash, wordBytes(sessionId)]);
  }
}

type HeaderKeyPair = {
  readonly headerKeyOut: Uint8Array;
  readonly headerKeyIn: Uint8Array;
};

const fieldsOf = ({
  id,
  stampHigh,
  stampLow,
}: HandshakeJob): Pick<EnvelopeFields, "sessionId" | "stampHigh" | "stampLow"> => ({
  sessionId: id,
  stampHigh,
  stampLow,
});

/** What both ends must agree on before message 1. */
function prologueOf({ own, peerPublicKey }: HeldPair, initiator: boolean, binding: Uint8Array) {
  const ends = initiator ? [own.publicKey, peerPublicKey] : [peerPublicKey, own.publicKey];
  return joined([PROLOGUE_LABEL, ...ends, binding]);
}

/** What precedes the payload of message 2 in a datagram: its stamp and session id. */
const contextOf = ({ stampHigh, stampLow, sessionId }: EnvelopeFields): Uint8Array =>
  joined([wordBytes(stampHigh), wordBytes(stampLow), wordBytes(sessionId)]);

/** The answer to a job that read something. */
const read = (
  outcome: number,
  role: KeyRole,
  { sessionId, answers, stampHigh, stampLow }: EnvelopeFields,
  output: Uint8Array,
): HandshakeAnswer => ({
  outcome,
  role,
  keySlot: NO_KEY_SLOT,
  remoteId: sessionId,
  answers,
  stampHigh,
  stampLow,
  output,
  headerKeyOut: undefined,
  headerKeyIn: undefined,
});

function wordBytes(word: number): Uint8Array {
  const bytes = new Uint8Array(4);
  putWordBig(bytes, 0, word);
  return bytes;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
