// Sections 15 and 16 of the protocol from node:crypto alone: pair keys, Noise KKpsk0, the envelope. A
// second opinion on what the crypto worker does, and the other end of its handshakes.

import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { SipHash } from "../../src/shared/protocol/session/siphash.js";
import { nodePrimitives } from "../vectors/node-primitives.js";

const NODE = nodePrimitives("BLAKE2b");
const NO_BYTES = new Uint8Array(0);

export const concat = (...parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(Buffer.concat(parts));
export const ascii = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"));
export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
export const u32 = (value: number): Uint8Array => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return Uint8Array.from(bytes);
};
export const u64 = (value: bigint): Uint8Array => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return Uint8Array.from(bytes);
};

const hash = (...parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(
    createHash("blake2b512")
      .update(concat(...parts))
      .digest(),
  );
const hmac = (key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(
    createHmac("blake2b512", key)
      .update(concat(...parts))
      .digest(),
  );
const expand = (prk: Uint8Array, info: Uint8Array, bytes: number): Uint8Array =>
  hmac(prk, info, Uint8Array.of(1)).subarray(0, bytes);

export const publicOf = (privateKey: Uint8Array): Uint8Array => {
  const publicKey = new Uint8Array(32);
  NODE.publicKey(publicKey, privateKey);
  return publicKey;
};
export const dh = (privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array => {
  const shared = new Uint8Array(32);
  assert.ok(NODE.dh(shared, privateKey, publicKey));
  return shared;
};
export const seal = (
  key: Uint8Array,
  nonce: Uint8Array,
  plain: Uint8Array,
  additional: Uint8Array = NO_BYTES,
): Uint8Array => {
  const sealed = new Uint8Array(plain.length + 16);
  NODE.seal(sealed, plain, nonce, key, additional);
  return sealed;
};
export const open = (
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  additional: Uint8Array = NO_BYTES,
): Uint8Array | undefined => {
  const plain = new Uint8Array(sealed.length - 16);
  return NODE.open(plain, sealed, nonce, key, additional) ? plain : undefined;
};

/** Keys of a pair, seen from the host whose private key is given. */
export function modelPair(ownPrivate: Uint8Array, peer: Uint8Array, secret?: Uint8Array) {
  const own = publicOf(ownPrivate);
  const tail = secret ?? NO_BYTES;
  const mode = ascii(secret === undefined ? "x25519" : "x25519+secret");
  const isLow = Buffer.compare(own, peer) < 0;
  const [low, high] = isLow ? [own, peer] : [peer, own];
  const prk = hmac(
    ascii("securedgram pair 1"),
    Uint8Array.of(0, 32),
    dh(ownPrivate, peer),
    Uint8Array.of(0, tail.length),
    tail,
  );
  const pairKey = expand(prk, concat(Uint8Array.of(mode.length), mode, low, high), 32);
  const away = isLow ? "low>high" : "high>low";
  const back = isLow ? "high>low" : "low>high";
  const of = (label: string, bytes: number) =>
    expand(pairKey, ascii(`securedgram ${label}`), bytes);
  return {
    gateSend: of(`gate ${away}`, 32),
    gateReceive: of(`gate ${back}`, 32),
    hintSend: of(`hint ${away}`, 16),
    hintReceive: of(`hint ${back}`, 16),
    psk: of("psk", 32),
    keyId: of("key id", 8),
  };
}
export type ModelPair = ReturnType<typeof modelPair>;

/** The envelope of a handshake datagram around any plaintext, with a right hint. */
export function modelEnvelope(pair: ModelPair, nonce: Uint8Array, plain: Uint8Array): Uint8Array {
  const sealed = seal(pair.gateSend, nonce, plain);
  return withHint(pair.hintSend, concat(nonce, sealed));
}

/** Puts the right hint behind an envelope, whatever is in it. */
export function withHint(hintKey: Uint8Array, envelope: Uint8Array): Uint8Array {
  const hint = new Uint8Array(8);
  const hash = new SipHash(hintKey);
  hash.hash(envelope, envelope.length - 16, 16);
  hash.write(hint, 0);
  return concat(envelope, hint);
}

/** The plaintext of an envelope that the other end sealed. */
export function openEnvelope(pair: ModelPair, datagram: Uint8Array): Uint8Array {
  const plain = open(pair.gateReceive, datagram.subarray(0, 12), datagram.subarray(12, -8));
  assert.ok(plain);
  return plain;
}

/** One side of a KKpsk0 handshake, token by token. */
export class ModelHandshake {
  #ck: Uint8Array;
  #h: Uint8Array;
  #k: Uint8Array = NO_BYTES;
  #n = 0n;
  readonly #own: Uint8Array;
  readonly #peer: Uint8Array;
  readonly #psk: Uint8Array;
  readonly #e: Uint8Array;
  readonly #initiator: boolean;
  #re: Uint8Array = NO_BYTES;

  constructor(options: {
    readonly ownPrivate: Uint8Array;
    readonly peer: Uint8Array;
    readonly psk: Uint8Array;
    readonly ephemeral: Uint8Array;
    readonly initiator: boolean;
    /** Kind and what it binds to. */
    readonly binding: Uint8Array;
  }) {
    const { ownPrivate, peer, psk, ephemeral, initiator, binding } = options;
    this.#own = ownPrivate;
    this.#peer = peer;
    this.#psk = psk;
    this.#e = ephemeral;
    this.#initiator = initiator;
    const [i, r] = initiator ? [publicOf(ownPrivate), peer] : [peer, publicOf(ownPrivate)];
    this.#h = new Uint8Array(64);
    this.#h.set(ascii("Noise_KKpsk0_25519_ChaChaPoly_BLAKE2b"));
    this.#ck = this.#h;
    this.#mixHash(concat(ascii("securedgram session 1"), i, r, binding));
    this.#mixHash(i);
    this.#mixHash(r);
  }

  writeFirst(payload: Uint8Array): Uint8Array {
    this.#mixPsk();
    const e = publicOf(this.#e);
    this.#mixHash(e);
    this.#mixKey(e);
    this.#mixKey(dh(this.#e, this.#peer));
    this.#mixKey(dh(this.#own, this.#peer));
    return concat(e, this.#encrypt(payload));
  }

  readFirst(message: Uint8Array): Uint8Array {
    this.#mixPsk();
    this.#re = message.subarray(0, 32);
    this.#mixHash(this.#re);
    this.#mixKey(this.#re);
    this.#mixKey(dh(this.#own, this.#re));
    this.#mixKey(dh(this.#own, this.#peer));
    return this.#decrypt(message.subarray(32));
  }

  writeSecond(payload: Uint8Array, context: Uint8Array): Uint8Array {
    const e = publicOf(this.#e);
    this.#mixHash(e);
    this.#mixKey(e);
    this.#mixKey(dh(this.#e, this.#re));
    this.#mixKey(dh(this.#e, this.#peer));
    this.#mixHash(context);
    return concat(e, this.#encrypt(payload));
  }

  readSecond(message: Uint8Array, context: Uint8Array): Uint8Array {
    const re = message.subarray(0, 32);
    this.#mixHash(re);
    this.#mixKey(re);
    this.#mixKey(dh(this.#e, re));
    this.#mixKey(dh(this.#own, re));
    this.#mixHash(context);
    return this.#decrypt(message.subarray(32));
  }

  /** Keys as this side sees them. */
  finish() {
    const [first, second] = this.#hkdf(NO_BYTES);
    const prk = hmac(this.#ck, this.#h);
    const forth = expand(prk, ascii("securedgram header i>r"), 16);
    const back = expand(prk, ascii("securedgram header r>i"), 16);
    const [i, r] = [first.subarray(0, 32), second.subarray(0, 32)];
    return {
      handshakeHash: this.#h,
      sealKey: this.#initiator ? i : r,
      openKey: this.#initiator ? r : i,
      headerKeyOut: this.#initiator ? forth : back,
      headerKeyIn: this.#initiator ? back : forth,
    };
  }

  #mixHash(data: Uint8Array): void {
    this.#h = hash(this.#h, data);
  }
  #hkdf(material: Uint8Array): readonly [Uint8Array, Uint8Array, Uint8Array] {
    const prk = hmac(this.#ck, material);
    const one = hmac(prk, Uint8Array.of(1));
    const two = hmac(prk, one, Uint8Array.of(2));
    return [one, two, hmac(prk, two, Uint8Array.of(3))];
  }
  #mixKey(material: Uint8Array): void {
    const [ck, k] = this.#hkdf(material);
    this.#ck = ck;
    this.#k = k.subarray(0, 32);
    this.#n = 0n;
  }
  #mixPsk(): void {
    const [ck, mixed, k] = this.#hkdf(this.#psk);
    this.#ck = ck;
    this.#mixHash(mixed);
    this.#k = k.subarray(0, 32);
    this.#n = 0n;
  }
  #nonce(): Uint8Array {
    const nonce = Buffer.alloc(12);
    nonce.writeBigUInt64LE(this.#n++, 4);
    return nonce;
  }
  #encrypt(plain: Uint8Array): Uint8Array {
    const sealed = seal(this.#k, this.#nonce(), plain, this.#h);
    this.#mixHash(sealed);
    return sealed;
  }
  #decrypt(sealed: Uint8Array): Uint8Array {
    const plain = open(this.#k, this.#nonce(), sealed, this.#h);
    assert.ok(plain, "the model reads it");
    this.#mixHash(sealed);
    return plain;
  }
}
