// The crypto worker of sessions without ciphers: the same slabs and the same answers as session-work.ts
// and handshake-work.ts in src/workers, over the vault. Hints are real.

import { TAG_BYTES } from "../../src/shared/protocol/constants.js";
import { PACKET_OVERHEAD_BYTES } from "../../src/shared/protocol/session/packet.js";
import { KEY_ROLE, type KeyRole, NO_KEY_SLOT } from "../../src/shared/protocol/session/ports.js";
import { SIPHASH_BYTES, SipHash } from "../../src/shared/protocol/session/siphash.js";
import {
  HEADER_KEY_BYTES,
  SESSION_JOB,
  SESSION_OUTCOME,
  SESSION_WORD,
} from "../../src/shared/runtime/session-slab.js";
import type { SlabTable } from "../../src/shared/runtime/slab.js";
import {
  type HandshakeAnswer,
  type HandshakeCode,
  type HandshakeJob,
  putAnswer,
  takeJob,
} from "../../src/workers/handshake-job.js";
import { type HostPlants, NO_HOST_PLANTS } from "./plants.js";
import type { Prng } from "./prng.js";
import type { Greeting, SessionVault } from "./session-vault.js";

/** Does the session jobs of a host, one entry of a slab at a time. */
export interface SessionCrypto {
  run(table: SlabTable, word: number): void;
  /** Names the key that seals, or opens, in a slot; undefined: it is empty. */
  keyName(keySlot: number, seals: boolean): string | undefined;
  /** Handshakes between their two messages. */
  readonly open: number;
  free(): void;
}

interface Held {
  readonly session: number;
  readonly sealKey: number;
  readonly openKey: number;
}

interface Initiation {
  readonly peer: number;
  readonly parentKeySlot: number;
  readonly sessionId: number;
  readonly ephemeral: number;
}

/** Bytes of Noise around a payload; of the envelope in front of it, with `answers` or without. */
const NOISE_BYTES = 48;
const ENVELOPE_BYTES = 12 + 8 + 1 + 4;

export const hintKeyOf = (from: number, to: number): Uint8Array => {
  const key = new Uint8Array(16).fill(from + 1);
  key[0] = to + 1;
  return key;
};

export interface SymbolicSessionOptions {
  readonly vault: SessionVault;
  readonly identity: number;
  /** Identity of each peer, by its index. */
  readonly peers: readonly number[];
  readonly draws: Prng;
  readonly plants?: Partial<HostPlants>;
  /** A message 1 of this stamp is about to leave, or one is answered, by its ephemeral key. */
  readonly onInitiate: (peer: number, stamp: bigint) => void;
  readonly onAnswer: (ephemeral: string) => void;
}

export class SymbolicSessionWork implements SessionCrypto {
  readonly #options: SymbolicSessionOptions;
  readonly #plants: HostPlants;
  readonly #slots = new Map<number, Held>();
  readonly #initiations = new Map<number, Initiation>();
  readonly #readings = new Map<string, Greeting>();
  readonly #hints: readonly SipHash[];

  constructor(options: SymbolicSessionOptions) {
    this.#options = options;
    this.#plants = { ...NO_HOST_PLANTS, ...options.plants };
    this.#hints = options.peers.map((peer) => new SipHash(hintKeyOf(options.identity, peer)));
  }

  get open(): number {
    return this.#initiations.size + this.#readings.size;
  }

  keyName(keySlot: number, seals: boolean): string | undefined {
    const held = this.#slots.get(keySlot);
    return held === undefined ? undefined : String(seals ? held.sealKey : held.openKey);
  }

  free(): void {}

  run(table: SlabTable, word: number): void {
    const { words } = table;
    const keySlot = words[word + SESSION_WORD.keySlot];
    switch (words[word]) {
      case SESSION_JOB.sealPacket:
        return this.#packet(table, word, this.#slots.get(keySlot)?.sealKey, true);
      case SESSION_JOB.openPacket:
        return this.#packet(table, word, this.#slots.get(keySlot)?.openKey, false);
      case SESSION_JOB.forget:
        this.#slots.delete(keySlot);
        this.#initiations.delete(keySlot);
        words[word] = SESSION_OUTCOME.forgotten;
        return;
      default:
        this.#handshake(table, word, words[word] as HandshakeCode);
    }
  }

  #packet(
    { words, bytes }: SlabTable,
    word: number,
    key: number | undefined,
    seals: boolean,
  ): void {
    if (key === undefined) {
      words[word] = seals ? SESSION_OUTCOME.unsealedPacket : SESSION_OUTCOME.unopenedPacket;
      return;
    }
    const at = words[word + SESSION_WORD.at];
    const length = words[word + SESSION_WORD.length] + PACKET_OVERHEAD_BYTES;
    const packet = bytes.subarray(at, at + length);
    const { vault } = this.#options;
    if (seals) {
      vault.seal(key, packet);
      words[word] = SESSION_OUTCOME.sealedPacket;
    } else {
      words[word] = vault.opens(key, packet)
        ? SESSION_OUTCOME.openedPacket
        : SESSION_OUTCOME.refusedPacket;
    }
  }

  // --- Handshakes -----------------------------------------------------------------------------------

  #handshake(table: SlabTable, word: number, code: HandshakeCode): void {
    const job = takeJob(table, word, code);
    const answer = this.#answer(job);
    if (answer !== undefined) {
      putAnswer(table, word, answer);
      return;
    }
    const writes = code === SESSION_JOB.initiate || code === SESSION_JOB.respond;
    putAnswer(table, word, {
      ...NOTHING,
      keySlot: writes ? job.keySlot : NO_KEY_SLOT,
    });
  }

  #answer(job: HandshakeJob): HandshakeAnswer | undefined {
    const { vault } = this.#options;
    switch (job.code) {
      case SESSION_JOB.initiate:
        return this.#initiate(job);
      case SESSION_JOB.respond:
        return this.#respond(job);
      case SESSION_JOB.readDatagram: {
        const tagAt = job.input.length - SIPHASH_BYTES - TAG_BYTES;
        return this.#read(job, vault.greeting(job.input, tagAt), -1);
      }
      case SESSION_JOB.readRekey: {
        const parent = this.#slots.get(job.parentKeySlot)?.session;
        if (parent === undefined) return undefined;
        return this.#read(job, vault.greeting(job.input, job.input.length - TAG_BYTES), parent);
      }
    }
  }

  #initiate(job: HandshakeJob): HandshakeAnswer | undefined {
    const { peer, parentKeySlot, keySlot, id: sessionId, stampHigh, stampLow } = job;
    const isDatagram = parentKeySlot === NO_KEY_SLOT;
    const parent = isDatagram ? -1 : this.#slots.get(parentKeySlot)?.session;
    if (parent === undefined) return undefined;
    const ephemeral = this.#options.vault.fresh();
    this.#initiations.set(keySlot, { peer, parentKeySlot, sessionId, ephemeral });
    if (isDatagram) this.#options.onInitiate(peer, stampOf(stampHigh, stampLow));
    const output = this.#write(peer, {
      ...this.#greetingOf(job, 1),
      ...{ answers: 0, answersEphemeral: 0, ephemeral, parent, session: 0 },
      headerKeys: [NO_BYTES, NO_BYTES],
    });
    return { ...answerTo(job), outcome: SESSION_OUTCOME.initiated, keySlot, output };
  }

  #respond(job: HandshakeJob): HandshakeAnswer | undefined {
    const { peer, parentKeySlot, keySlot, answers } = job;
    const reading = this.#readings.get(readingKey(peer, parentKeySlot));
    if (reading === undefined || reading.sessionId !== answers) return undefined;
    this.#readings.delete(readingKey(peer, parentKeySlot));
    if (reading.parent < 0) this.#options.onAnswer(`${reading.ephemeral}`);
    const { vault } = this.#options;
    const session = vault.fresh();
    const headerKeys = [this.#headerKey(), this.#headerKey()] as const;
    this.#install(keySlot, session, false);
    const output = this.#write(peer, {
      ...this.#greetingOf(job, 2),
      answers,
      answersEphemeral: reading.ephemeral,
      ephemeral: vault.fresh(),
      parent: reading.parent,
      session,
      headerKeys,
    });
    return {
      ...answerTo(job),
      outcome: SESSION_OUTCOME.responded,
      keySlot,
      remoteId: reading.sessionId,
      output,
      headerKeyOut: headerKeys[1],
      headerKeyIn: headerKeys[0],
    };
  }

  #read(
    job: HandshakeJob,
    greeting: Greeting | undefined,
    parent: number,
  ): HandshakeAnswer | undefined {
    const { identity, peers } = this.#options;
    const fits =
      greeting !== undefined &&
      greeting.to === identity &&
      greeting.from === peers[job.peer] &&
      greeting.parent === parent;
    if (fits && greeting.type === 1) return this.#readFirst(job, greeting);
    const completed = fits ? this.#readSecond(job, greeting) : undefined;
    if (completed === undefined && this.#plants.forgetsInitiationsOnForgery) {
      for (const [slot, { peer }] of this.#initiations) {
        if (peer === job.peer) this.#initiations.delete(slot);
      }
    }
    return completed;
  }

  #readFirst(job: HandshakeJob, greeting: Greeting): HandshakeAnswer | undefined {
    const { peer, parentKeySlot } = job;
    const isRekey = parentKeySlot !== NO_KEY_SLOT;
    if (isRekey && (greeting.sessionId !== job.id || job.role !== 1)) return undefined;
    const accepted = stampOf(job.stampHigh, job.stampLow);
    if (!isRekey && stampOf(greeting.stampHigh, greeting.stampLow) <= accepted) {
      return { ...readAnswer(greeting), outcome: SESSION_OUTCOME.stale, output: NO_BYTES };
    }
    this.#readings.set(readingKey(peer, parentKeySlot), greeting);
    return { ...readAnswer(greeting), outcome: SESSION_OUTCOME.initiation };
  }

  #readSecond(job: HandshakeJob, greeting: Greeting): HandshakeAnswer | undefined {
    for (const [keySlot, open] of this.#initiations) {
      const answered =
        open.peer === job.peer &&
        open.parentKeySlot === job.parentKeySlot &&
        open.sessionId === greeting.answers &&
        open.ephemeral === greeting.answersEphemeral;
      if (!answered) continue;
      this.#initiations.delete(keySlot);
      this.#install(keySlot, greeting.session, true);
      return {
        ...readAnswer(greeting),
        outcome: SESSION_OUTCOME.completed,
        keySlot,
        headerKeyOut: greeting.headerKeys[0],
        headerKeyIn: greeting.headerKeys[1],
      };
    }
    return undefined;
  }

  #install(keySlot: number, session: number, initiator: boolean): void {
    const [sealKey, openKey] = [
      session * 2 + (initiator ? 0 : 1),
      session * 2 + (initiator ? 1 : 0),
    ];
    this.#slots.set(keySlot, { session, sealKey, openKey });
  }

  // --- Messages -------------------------------------------------------------------------------------

  #greetingOf(
    { peer, id, stampHigh, stampLow, input }: HandshakeJob,
    type: 1 | 2,
  ): Pick<Greeting, "type" | "from" | "to" | "sessionId" | "stampHigh" | "stampLow" | "payload"> {
    const { identity, peers } = this.#options;
    const to = peers[peer] ?? -1;
    const payload = Uint8Array.from(input);
    return { type, from: identity, to, sessionId: id, stampHigh, stampLow, payload };
  }

  /** A datagram with its hint, or the Noise message of a rekey. */
  #write(peer: number, greeting: Greeting): Uint8Array {
    const { vault, draws } = this.#options;
    const noise = NOISE_BYTES + greeting.payload.length;
    if (greeting.parent >= 0) {
      const message = new Uint8Array(noise);
      vault.greet(message, noise - TAG_BYTES, greeting);
      return message;
    }
    const tagAt = ENVELOPE_BYTES + (greeting.type === 2 ? 4 : 0) + noise;
    const message = new Uint8Array(tagAt + TAG_BYTES + SIPHASH_BYTES);
    draws.fill(message.subarray(0, 12));
    vault.greet(message, tagAt, greeting);
    const hint = this.#hints[peer] as SipHash;
    hint.hash(message, tagAt, TAG_BYTES);
    const view = new DataView(message.buffer, tagAt + TAG_BYTES);
    view.setUint32(0, hint.low, true);
    view.setUint32(4, hint.high, true);
    return message;
  }

  #headerKey(): Uint8Array {
    const key = new Uint8Array(HEADER_KEY_BYTES);
    this.#options.draws.fill(key);
    return key;
  }
}

const NO_BYTES = new Uint8Array(0);
const CURRENT: KeyRole = KEY_ROLE.current;

const NOTHING: HandshakeAnswer = {
  outcome: SESSION_OUTCOME.refused,
  role: CURRENT,
  keySlot: NO_KEY_SLOT,
  remoteId: 0,
  answers: 0,
  stampHigh: 0,
  stampLow: 0,
  output: NO_BYTES,
  headerKeyOut: undefined,
  headerKeyIn: undefined,
};

const readingKey = (peer: number, parentKeySlot: number): string => `${peer}.${parentKeySlot}`;

const stampOf = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);

const answerTo = ({ answers, stampHigh, stampLow }: HandshakeJob): HandshakeAnswer => ({
  ...NOTHING,
  answers,
  stampHigh,
  stampLow,
});

const readAnswer = ({
  sessionId,
  answers,
  stampHigh,
  stampLow,
  payload,
}: Greeting): HandshakeAnswer => ({
  ...NOTHING,
  remoteId: sessionId,
  answers,
  stampHigh,
  stampLow,
  output: payload,
});
