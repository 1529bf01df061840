// Handshakes in datagrams of their own: the sealed envelope around a Noise message, and the hint
// behind it (docs/PROTOCOL.md section 16). All memory is private to this thread: libsodium hashes
// neither from nor into shared memory.

import { DATAGRAM_BYTES_MAX, STAMP_BYTES } from "../shared/protocol/constants.js";
import { putWordBig, wordBigAt } from "../shared/protocol/session/byte-order.js";
import { SESSION_ID_BYTES } from "../shared/protocol/session/packet.js";
import type { PairKeys } from "../shared/protocol/session/pair-keys.js";
import { SIPHASH_BYTES } from "../shared/protocol/session/siphash.js";
import { NONCE_BYTES, open, sealInPlace, shortHash, TAG_BYTES, wipe } from "./aead.js";
import { NOISE_PRIMITIVES } from "./noise-primitives.js";

/** Type of a handshake message, on the wire and in REKEY frames. */
export const MESSAGE = { initiation: 1, response: 2 } as const;
export type MessageType = (typeof MESSAGE)[keyof typeof MESSAGE];

/** Shortest Noise message: an ephemeral key and the tag of an empty payload. */
export const NOISE_BYTES_MIN = 32 + 16;
const STAMP_AT = NONCE_BYTES;
const TYPE_AT = STAMP_AT + STAMP_BYTES;
const ID_AT = TYPE_AT + 1;
const ANSWERS_AT = ID_AT + SESSION_ID_BYTES;
const BEHIND_BYTES = TAG_BYTES + SIPHASH_BYTES;

/** Everything in a handshake datagram but its Noise message. */
export interface EnvelopeFields {
  readonly type: MessageType;
  readonly sessionId: number;
  /** Of message 2; 0 in message 1. */
  readonly answers: number;
  readonly stampHigh: number;
  readonly stampLow: number;
}

export interface OpenedEnvelope extends EnvelopeFields {
  readonly noise: Uint8Array;
}

/** Offset of the Noise message. */
const noiseAt = (type: MessageType): number =>
  type === MESSAGE.initiation ? ANSWERS_AT : ANSWERS_AT + SESSION_ID_BYTES;

/** The datagram around a Noise message, in memory of its own. */
export function sealEnvelope(
  keys: PairKeys,
  fields: EnvelopeFields,
  noise: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const from = noiseAt(fields.type);
  const plainEnd = from + noise.length;
  const tagEnd = plainEnd + TAG_BYTES;
  const datagram = new Uint8Array(plainEnd + BEHIND_BYTES);
  const nonce = datagram.subarray(0, NONCE_BYTES);
  NOISE_PRIMITIVES.random(nonce);
  putWordBig(datagram, STAMP_AT, fields.stampHigh);
  putWordBig(datagram, STAMP_AT + 4, fields.stampLow);
  datagram[TYPE_AT] = fields.type;
  putWordBig(datagram, ID_AT, fields.sessionId);
  if (fields.type === MESSAGE.response) putWordBig(datagram, ANSWERS_AT, fields.answers);
  datagram.set(noise, from);
  sealInPlace(
    datagram.subarray(NONCE_BYTES, tagEnd),
    datagram.subarray(NONCE_BYTES, plainEnd),
    nonce,
    keys.gateSend,
  );
  shortHash(datagram.subarray(tagEnd), datagram.subarray(plainEnd, tagEnd), keys.hintSend);
  return datagram;
}

/** True when the hint behind a datagram is that of the pair key. */
export function hintFits(keys: PairKeys, datagram: Uint8Array): boolean {
  const hintAt = datagram.length - SIPHASH_BYTES;
  if (hintAt < TAG_BYTES) return false;
  const hint = new Uint8Array(SIPHASH_BYTES);
  shortHash(hint, datagram.subarray(hintAt - TAG_BYTES, hintAt), keys.hintReceive);
  return hint.every((byte, i) => byte === datagram[hintAt + i]);
}

/** What is in a datagram; undefined when it is not authentic, or not formed like a handshake. */
export function openEnvelope(keys: PairKeys, datagram: Uint8Array): OpenedEnvelope | undefined {
  const shortest = noiseAt(MESSAGE.initiation) + NOISE_BYTES_MIN + BEHIND_BYTES;
  if (datagram.length < shortest || datagram.length > DATAGRAM_BYTES_MAX) return undefined;
  const sealed = datagram.subarray(NONCE_BYTES, datagram.length - SIPHASH_BYTES);
  const plain = new Uint8Array(sealed.length - TAG_BYTES);
  if (!open(plain, sealed, datagram.subarray(0, NONCE_BYTES), keys.gateReceive)) return undefined;
  const opened = readEnvelope(plain);
  wipe(plain);
  return opened;
}

function readEnvelope(plain: Uint8Array): OpenedEnvelope | undefined {
  const type = plain[TYPE_AT - NONCE_BYTES];
  const sessionId = wordBigAt(plain, ID_AT - NONCE_BYTES);
  if ((type !== MESSAGE.initiation && type !== MESSAGE.response) || sessionId === 0)
    return undefined;
  const from = noiseAt(type) - NONCE_BYTES;
  if (plain.length - from < NOISE_BYTES_MIN) return undefined;
  return {
    type,
    sessionId,
    answers: type === MESSAGE.response ? wordBigAt(plain, ANSWERS_AT - NONCE_BYTES) : 0,
    stampHigh: wordBigAt(plain, 0),
    stampLow: wordBigAt(plain, 4),
    noise: plain.slice(from),
  };
}
