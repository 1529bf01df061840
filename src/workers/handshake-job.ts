// A handshake job taken out of its slab, and the answer put back in. Handshakes are rare, so they are
// objects and copies; whatever was secret in those is wiped as soon as the slab has it.

import type { KeyRole } from "../shared/protocol/session/ports.js";
import { HANDSHAKE_DATA, type SESSION_JOB, SESSION_WORD } from "../shared/runtime/session-slab.js";
import type { SlabTable } from "../shared/runtime/slab.js";

/** Codes of jobs that are handshakes. */
export type HandshakeCode = Exclude<
  (typeof SESSION_JOB)[keyof typeof SESSION_JOB],
  typeof SESSION_JOB.sealPacket | typeof SESSION_JOB.openPacket | typeof SESSION_JOB.forget
>;

export interface HandshakeJob {
  readonly code: HandshakeCode;
  readonly peer: number;
  /** Of `initiate`; in `readRekey` the type of the message, 1 or 2. */
  readonly role: KeyRole;
  readonly keySlot: number;
  readonly parentKeySlot: number;
  /** Session id of the end that wrote, or is to write, the message. */
  readonly id: number;
  /** Session id that message 2 answers. */
  readonly answers: number;
  /** To be sent; of `readDatagram` the highest that was accepted. */
  readonly stampHigh: number;
  readonly stampLow: number;
  /** Payload, datagram or Noise message: a copy in memory of this thread. */
  readonly input: Uint8Array;
}

export interface HandshakeAnswer {
  readonly outcome: number;
  readonly role: KeyRole;
  readonly keySlot: number;
  readonly remoteId: number;
  readonly answers: number;
  readonly stampHigh: number;
  readonly stampLow: number;
  readonly output: Uint8Array;
  readonly headerKeyOut: Uint8Array | undefined;
  readonly headerKeyIn: Uint8Array | undefined;
}

export function takeJob(table: SlabTable, word: number, code: HandshakeCode): HandshakeJob {
  const { words, bytes } = table;
  const at = words[word + SESSION_WORD.at];
  const from = at + HANDSHAKE_DATA.bytes;
  return {
    code,
    peer: words[word + SESSION_WORD.peer],
    role: words[word + SESSION_WORD.role] as KeyRole,
    keySlot: words[word + SESSION_WORD.keySlot],
    parentKeySlot: words[word + SESSION_WORD.parentKeySlot],
    id: words[word + SESSION_WORD.id],
    answers: words[(at + HANDSHAKE_DATA.answers) >> 2],
    stampHigh: words[word + SESSION_WORD.high],
    stampLow: words[word + SESSION_WORD.low],
    input: Uint8Array.from(bytes.subarray(from, from + words[word + SESSION_WORD.length])),
  };
}

export function putAnswer(table: SlabTable, word: number, answer: HandshakeAnswer): void {
  const { words, bytes } = table;
  const at = words[word + SESSION_WORD.at];
  words[word] = answer.outcome;
  words[word + SESSION_WORD.length] = answer.output.length;
  words[word + SESSION_WORD.keySlot] = answer.keySlot;
  words[word + SESSION_WORD.low] = answer.stampLow;
  words[word + SESSION_WORD.high] = answer.stampHigh;
  words[word + SESSION_WORD.role] = answer.role;
  words[word + SESSION_WORD.id] = answer.remoteId;
  words[(at + HANDSHAKE_DATA.answers) >> 2] = answer.answers;
  bytes.set(answer.output, at + HANDSHAKE_DATA.bytes);
  if (answer.headerKeyOut !== undefined) {
    bytes.set(answer.headerKeyOut, at + HANDSHAKE_DATA.headerKeyOut);
  }
  if (answer.headerKeyIn !== undefined) {
    bytes.set(answer.headerKeyIn, at + HANDSHAKE_DATA.headerKeyIn);
  }
}
