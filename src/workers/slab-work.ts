// What a crypto worker does with a slab: seal what is to be sealed, open what is to be opened, read
// what came out. The same function serves --crypto-workers 0 on the main thread.

import { ClassicBody } from "../shared/protocol/classic-body.js";
import {
  DATAGRAM_BYTES_MAX,
  NONCE_BYTES,
  STAMP_BYTES,
  TAG_BYTES,
} from "../shared/protocol/constants.js";
import { CANONICAL_BYTES_MAX, canonicalInto } from "../shared/protocol/json-canonical.js";
import { NO_RING } from "../shared/protocol/slot.js";
import { DIGEST_BYTES } from "../shared/runtime/inbound-batch.js";
import { isSessionJob } from "../shared/runtime/session-slab.js";
import {
  BODY_OFFSET_BYTES,
  digestAt,
  JOB,
  OUTCOME,
  type SlabTable,
  wordOf,
} from "../shared/runtime/slab.js";
import { blake2b, open, randomBytes, sealInPlace } from "./aead.js";
import type { KeyRings } from "./key-rings.js";
import { SessionWork } from "./session-work.js";

/** Random bytes are drawn for this many nonces at once: 0.06 us each in place of 0.6. */
const NONCES_PER_DRAW = 64;

export class SlabWork {
  readonly #rings: KeyRings;
  readonly #sessions: SessionWork;
  readonly #body = new ClassicBody();
  /** A failed open zeroes its output, so keys are tried into here. */
  readonly #scratch = new Uint8Array(DATAGRAM_BYTES_MAX);
  readonly #canonical = new Uint8Array(CANONICAL_BYTES_MAX);
  /** sodium-native hashes neither from nor into shared memory. */
  readonly #digested = new Uint8Array(DIGEST_BYTES);
  readonly #nonces = new Uint8Array(NONCE_BYTES * NONCES_PER_DRAW);
  #noncesLeft = 0;
  packetsSealed = 0;
  packetsOpened = 0;
  packetsRefused = 0;

  constructor(rings: KeyRings, sessions: SessionWork = new SessionWork()) {
    this.#rings = rings;
    this.#sessions = sessions;
  }

  /** Works through every entry; the codes of the table are outcomes afterwards. */
  run(table: SlabTable): void {
    for (let index = 0; index < table.entries; index++) {
      const word = wordOf(index);
      const code = table.words[word];
      if (isSessionJob(code)) this.#sessions.run(table, word);
      else if (code === JOB.seal) this.#seal(table, word);
      else this.#open(table, word);
    }
  }

  #seal(table: SlabTable, word: number): void {
    const { words, bytes } = table;
    const at = words[word + 1] as number;
    const bodyLength = words[word + 2] as number;
    const key = this.#rings.sealing(words[word + 3] as number);
    if (key === undefined) {
      words[word] = OUTCOME.keyless;
      return;
    }
    this.#nonceInto(bytes, at);
    putBigEndian(bytes, at + NONCE_BYTES, words[word + 6] as number);
    putBigEndian(bytes, at + NONCE_BYTES + 4, words[word + 5] as number);
    const sealedAt = at + NONCE_BYTES;
    const plainEnd = sealedAt + STAMP_BYTES + bodyLength;
    sealInPlace(
      bytes.subarray(sealedAt, plainEnd + TAG_BYTES),
      bytes.subarray(sealedAt, plainEnd),
      bytes.subarray(at, sealedAt),
      key,
    );
    words[word] = OUTCOME.sealed;
    this.packetsSealed += 1;
  }

  #open(table: SlabTable, word: number): void {
    const { words, bytes } = table;
    const at = words[word + 1] as number;
    const length = words[word + 8] as number;
    const plain = this.#scratch.subarray(0, length - NONCE_BYTES - TAG_BYTES);
    const ring = this.#openingRing(table, word, plain);
    if (ring === NO_RING) {
      words[word] = OUTCOME.notAuthentic;
      this.packetsRefused += 1;
      return;
    }
    bytes.set(plain, at + NONCE_BYTES);
    words[word + 3] = ring;
    words[word + 6] = bigEndian(plain, 0);
    words[word + 5] = bigEndian(plain, 4);
    const bodyAt = at + BODY_OFFSET_BYTES;
    const bodyLength = plain.length - STAMP_BYTES;
    words[word + 2] = bodyLength;
    this.packetsOpened += 1;
    const kind = this.#body.parse(bytes, bodyAt, bodyAt + bodyLength);
    words[word] = OUTCOME_OF[kind];
    if (kind !== "message" && kind !== "ack") return;
    bytes.set(this.#body.id, (word + 9) * 4);
    if (kind !== "message") return;
    this.#digest(plain.subarray(STAMP_BYTES));
    bytes.set(this.#digested, digestAt(at, length));
  }

  /** The ring whose key opens the datagram into `plain`, or NO_RING. */
  #openingRing(table: SlabTable, word: number, plain: Uint8Array): number {
    const { words, bytes } = table;
    const at = words[word + 1] as number;
    const sealed = bytes.subarray(at + NONCE_BYTES, at + (words[word + 8] as number));
    const nonce = bytes.subarray(at, at + NONCE_BYTES);
    for (let choice = 3; choice <= 4; choice++) {
      const ring = words[word + choice] as number;
      if (ring === NO_RING) continue;
      for (let which = 0; which < this.#rings.tries; which++) {
        const key = this.#rings.opening(ring, which);
        if (key !== undefined && open(plain, sealed, nonce, key)) return ring;
      }
    }
    return NO_RING;
  }

  /** BLAKE2b-256 of the canonical body: the same for every spelling of one message. */
  #digest(body: Uint8Array): void {
    if (this.#body.canonical) {
      blake2b(this.#digested, body);
      return;
    }
    const length = canonicalInto(body, 0, body.length, this.#canonical);
    blake2b(this.#digested, this.#canonical.subarray(0, length));
  }

  #nonceInto(bytes: Uint8Array, at: number): void {
    if (this.#noncesLeft === 0) {
      randomBytes(this.#nonces);
      this.#noncesLeft = NONCES_PER_DRAW;
    }
    this.#noncesLeft -= 1;
    const from = this.#noncesLeft * NONCE_BYTES;
    for (let i = 0; i < NONCE_BYTES; i++) bytes[at + i] = this.#nonces[from + i] as number;
  }
}

const OUTCOME_OF = {
  message: OUTCOME.message,
  ack: OUTCOME.ack,
  body_not_object: OUTCOME.notObject,
  body_hostile: OUTCOME.hostile,
  message_id_missing: OUTCOME.noMessageId,
} as const;

function bigEndian(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  const low = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
  return ((high << 16) | low) >>> 0;
}

function putBigEndian(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}
