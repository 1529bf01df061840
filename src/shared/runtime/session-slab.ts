// Jobs of sessions in a slab (slab.ts): packets to seal and to open by key slot, and handshakes. Here
// are their codes, their layout, and cursors over what a worker answered; session-sink.ts writes jobs.
// What is secret in a slab (plaintext, header keys, Noise payloads) is zeroed by SlabTable.reset, which
// main calls when it takes a slab back.

import { PACKET_HEADER_BYTES } from "../protocol/session/packet.js";
import type {
  HandshakeResult,
  KeyRole,
  OpenedSessionPacket,
  SealedSessionPacket,
} from "../protocol/session/ports.js";
import { type SlabTable, wordOf } from "./slab.js";
import type { SlabRoutes } from "./slab-cursor.js";

/** What main asks for; beside those of slab.ts in the code word. */
export const SESSION_JOB = {
  sealPacket: 8,
  openPacket: 9,
  initiate: 10,
  readDatagram: 11,
  readRekey: 12,
  respond: 13,
  forget: 14,
} as const;

export const SESSION_OUTCOME = {
  sealedPacket: 48,
  openedPacket: 49,
  /** The tag was wrong. */
  refusedPacket: 50,
  /** Nothing was sealed: the key slot is empty. */
  unsealedPacket: 51,
  /** Nothing was opened: the key slot is empty. */
  unopenedPacket: 52,
  initiated: 56,
  responded: 57,
  initiation: 58,
  completed: 59,
  stale: 60,
  refused: 61,
  forgotten: 62,
} as const;

/** True for the code of a job, or an outcome, of sessions. */
export const isSessionJob = (code: number): boolean =>
  code >= SESSION_JOB.sealPacket && code <= SESSION_JOB.forget;
export const isSessionOutcome = (code: number): boolean => code >= SESSION_OUTCOME.sealedPacket;
export const isHandshakeOutcome = (code: number): boolean =>
  code >= SESSION_OUTCOME.initiated && code <= SESSION_OUTCOME.refused;

/**
 * Words of an entry, behind {@link wordOf}. Packets use the first nine, `forget` the key slot.
 *
 * | word | packet | handshake job | its outcome |
 * |---|---|---|---|
 * | length | bytes of frames | bytes of input | bytes of output |
 * | keySlot | whose key | of the session to be | the same; NO_KEY_SLOT when nothing was installed |
 * | low, high | counter | stamp to send, or `accepted` | stamp of the other end |
 * | datagramLength | of the datagram | of the data | the same |
 * | role | - | role (initiate), type (readRekey) | role |
 * | id | - | our session id; of the other end in readRekey | of the other end |
 */
export const SESSION_WORD = {
  code: 0,
  /** Offset of the datagram, = 4 mod 8: frames, 12 behind it, are aligned. */
  at: 1,
  length: 2,
  keySlot: 3,
  /** Of a handshake: the session that a rekey travels in, or NO_KEY_SLOT. */
  parentKeySlot: 4,
  low: 5,
  high: 6,
  tag: 7,
  datagramLength: 8,
  peer: 9,
  role: 10,
  id: 11,
} as const;

/**
 * Data of a handshake entry, behind its `at`. Output takes the place of input: payload, datagram or
 * Noise message. `answers` is a u32 in the order of this machine: remote id (respond), answered id.
 */
export const HANDSHAKE_DATA = { answers: 0, headerKeyOut: 4, headerKeyIn: 20, bytes: 36 } as const;
export const HEADER_KEY_BYTES = 16;
/** Longest Noise payload that is written, bytes: its message fits a REKEY frame. Source: section 19. */
export const HANDSHAKE_PAYLOAD_BYTES_MAX = 1_024 - 48;
/** What a handshake datagram adds to its Noise payload at most: 53 of envelope, 48 of Noise. */
export const HANDSHAKE_OVERHEAD_BYTES_MAX = 53 + 48;

const KINDS = new Map<number, HandshakeResult["kind"]>([
  [SESSION_OUTCOME.initiated, "initiated"],
  [SESSION_OUTCOME.responded, "responded"],
  [SESSION_OUTCOME.initiation, "initiation"],
  [SESSION_OUTCOME.completed, "completed"],
  [SESSION_OUTCOME.stale, "stale"],
  [SESSION_OUTCOME.refused, "refused"],
]);
const NO_BYTES = new Uint8Array(0);

/** A packet that was sealed, opened or refused; one object, moved from entry to entry. */
export class SessionCursor implements SealedSessionPacket, OpenedSessionPacket {
  #table: SlabTable;
  #routes: SlabRoutes;
  #index = 0;
  #word = 0;

  constructor(table: SlabTable, routes: SlabRoutes) {
    this.#table = table;
    this.#routes = routes;
  }

  move(table: SlabTable, routes: SlabRoutes, index: number): this {
    this.#table = table;
    this.#routes = routes;
    this.#index = index;
    this.#word = wordOf(index);
    return this;
  }

  get bytes(): Uint8Array {
    return this.#table.bytes;
  }
  get at(): number {
    return this.#table.words[this.#word + SESSION_WORD.at];
  }
  get length(): number {
    return this.#table.words[this.#word + SESSION_WORD.datagramLength];
  }
  get datagramLength(): number {
    return this.length;
  }
  get bodyAt(): number {
    return this.at + PACKET_HEADER_BYTES;
  }
  get bodyLength(): number {
    return this.#table.words[this.#word + SESSION_WORD.length];
  }
  get keySlot(): number {
    return this.#table.words[this.#word + SESSION_WORD.keySlot];
  }
  get counterHigh(): number {
    return this.#table.words[this.#word + SESSION_WORD.high];
  }
  get counterLow(): number {
    return this.#table.words[this.#word + SESSION_WORD.low];
  }
  get tag(): number {
    return this.#table.words[this.#word + SESSION_WORD.tag];
  }
  get address(): string {
    return this.#routes.addresses[this.#index];
  }
  get port(): number {
    return this.#routes.ports[this.#index];
  }
}

/**
 * What a worker made of a handshake job. `message` is a copy, which may be sent after the slab is
 * gone; payload and header keys are views that end with the slab. `refused`: `keySlot` is that of the
 * order when it was to write (`initiate`, `respond`), NO_KEY_SLOT when it was to read.
 */
export function handshakeResult(
  table: SlabTable,
  routes: SlabRoutes,
  index: number,
): HandshakeResult {
  const { words, bytes } = table;
  const word = wordOf(index);
  const at = words[word + SESSION_WORD.at];
  const kind = KINDS.get(words[word]) ?? "refused";
  const from = at + HANDSHAKE_DATA.bytes;
  const output = bytes.subarray(from, from + words[word + SESSION_WORD.length]);
  const isRead = kind === "initiation" || kind === "completed";
  const isWritten = kind === "initiated" || kind === "responded";
  const headerKey = (offset: number): Uint8Array =>
    bytes.subarray(at + offset, at + offset + HEADER_KEY_BYTES);
  return {
    kind,
    peer: words[word + SESSION_WORD.peer],
    tag: words[word + SESSION_WORD.tag],
    parentKeySlot: words[word + SESSION_WORD.parentKeySlot],
    role: roleOf(words[word + SESSION_WORD.role]),
    keySlot: words[word + SESSION_WORD.keySlot],
    remoteId: words[word + SESSION_WORD.id],
    answers: words[(at + HANDSHAKE_DATA.answers) >> 2],
    stampHigh: words[word + SESSION_WORD.high],
    stampLow: words[word + SESSION_WORD.low],
    payload: isRead ? output : NO_BYTES,
    message: isWritten ? Uint8Array.from(output) : NO_BYTES,
    headerKeyOut: headerKey(HANDSHAKE_DATA.headerKeyOut),
    headerKeyIn: headerKey(HANDSHAKE_DATA.headerKeyIn),
    address: routes.addresses[index],
    port: routes.ports[index],
  };
}

/** Two words decide nothing: roles are 0, 1 and 2. */
const roleOf = (word: number): KeyRole => (word === 1 ? 1 : word === 2 ? 2 : 0);
