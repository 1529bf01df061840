// Crypto without ciphers: a sealed envelope is its plain text and the number of an entry in a table, and
// opens only when every byte is what was sealed and the key is the key. Forging is impossible by
// construction; two envelopes under one key and nonce end the run. The same slabs as in slab-work.ts.

import assert from "node:assert/strict";
import { ClassicBody } from "../../src/shared/protocol/classic-body.js";
import { NONCE_BYTES, STAMP_BYTES, TAG_BYTES } from "../../src/shared/protocol/constants.js";
import { CANONICAL_BYTES_MAX, canonicalInto } from "../../src/shared/protocol/json-canonical.js";
import { NO_RING } from "../../src/shared/protocol/slot.js";
import {
  BODY_OFFSET_BYTES,
  digestAt,
  JOB,
  OUTCOME,
  type SlabTable,
  wordOf,
} from "../../src/shared/runtime/slab.js";
import { blake2b256 } from "../../src/workers/aead.js";
import type { Prng } from "./prng.js";

/** A run's sealed envelopes; one for all hosts. */
export class Vault {
  readonly #entries: { readonly key: number; readonly bytes: Buffer }[] = [];

  /** Makes the tag behind a plain text, and keeps a copy of all of it. */
  seal(key: number, datagram: Uint8Array): void {
    const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length);
    const tagAt = datagram.length - TAG_BYTES;
    view.setUint32(tagAt, this.#entries.length);
    view.setUint32(tagAt + 4, Math.imul(this.#entries.length, 0x9e37_79b1) >>> 0);
    view.setUint32(tagAt + 8, key);
    view.setUint32(tagAt + 12, datagram.length);
    this.#entries.push({ key, bytes: Buffer.from(datagram) });
  }

  opens(key: number, datagram: Uint8Array): boolean {
    const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length);
    const entry = this.#entries[view.getUint32(datagram.length - TAG_BYTES)];
    return entry !== undefined && entry.key === key && entry.bytes.equals(datagram);
  }
}

const body = new ClassicBody();
const canonical = new Uint8Array(CANONICAL_BYTES_MAX);

export class SymbolicWork {
  readonly #vault: Vault;
  readonly #nonces: Prng;
  /** Key numbers of each ring: the first seals, all open. */
  readonly #rings: readonly (readonly number[])[];

  constructor(vault: Vault, nonces: Prng, rings: readonly (readonly number[])[]) {
    this.#vault = vault;
    this.#nonces = nonces;
    this.#rings = rings;
  }

  free(): void {}

  run(table: SlabTable): void {
    for (let index = 0; index < table.entries; index++) {
      const word = wordOf(index);
      if (table.words[word] === JOB.seal) this.#seal(table, word);
      else this.#open(table, word);
    }
  }

  #seal({ words, bytes }: SlabTable, word: number): void {
    const at = words[word + 1];
    const datagram = bytes.subarray(at, at + words[word + 8]);
    const key = this.#rings[words[word + 3]]?.[0];
    assert.ok(key !== undefined, "every ring of a simulated host has a key");
    this.#nonces.fill(datagram.subarray(0, NONCE_BYTES));
    const view = new DataView(bytes.buffer, at, NONCE_BYTES + STAMP_BYTES);
    view.setUint32(NONCE_BYTES, words[word + 6]);
    view.setUint32(NONCE_BYTES + 4, words[word + 5]);
    this.#vault.seal(key, datagram);
    words[word] = OUTCOME.sealed;
  }

  #open(table: SlabTable, word: number): void {
    const { words, bytes } = table;
    const at = words[word + 1];
    const length = words[word + 8];
    const datagram = bytes.subarray(at, at + length);
    const ring = [words[word + 3], words[word + 4]].find((each) =>
      this.#rings[each]?.some((key) => this.#vault.opens(key, datagram)),
    );
    if (ring === undefined || ring === NO_RING) {
      words[word] = OUTCOME.notAuthentic;
      return;
    }
    const view = new DataView(bytes.buffer, at, length);
    words[word + 3] = ring;
    words[word + 6] = view.getUint32(NONCE_BYTES);
    words[word + 5] = view.getUint32(NONCE_BYTES + 4);
    const bodyAt = at + BODY_OFFSET_BYTES;
    const bodyLength = length - BODY_OFFSET_BYTES - TAG_BYTES;
    words[word + 2] = bodyLength;
    const kind = body.parse(bytes, bodyAt, bodyAt + bodyLength);
    words[word] = OUTCOME_OF[kind];
    if (kind !== "message" && kind !== "ack") return;
    bytes.set(body.id, (word + 9) * 4);
    if (kind === "message") bytes.set(digestOf(bytes, bodyAt, bodyLength), digestAt(at, length));
  }
}

/** BLAKE2b-256 of the canonical body, from private memory as sodium-native wants it. */
function digestOf(bytes: Uint8Array, at: number, length: number): Uint8Array {
  const plain = Uint8Array.from(bytes.subarray(at, at + length));
  if (body.canonical) return blake2b256(plain);
  return blake2b256(canonical.slice(0, canonicalInto(plain, 0, length, canonical)));
}

const OUTCOME_OF = {
  message: OUTCOME.message,
  ack: OUTCOME.ack,
  body_not_object: OUTCOME.notObject,
  body_hostile: OUTCOME.hostile,
  message_id_missing: OUTCOME.noMessageId,
} as const;
