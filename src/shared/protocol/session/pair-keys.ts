// The keys that two hosts share before any handshake: from their identities, and a secret if they
// have one (docs/PROTOCOL.md section 15, steps 1 to 3). Computed in the crypto worker, into locked
// memory; gate and hint keys judge handshake datagrams, the PSK goes into the handshake.

import { assert } from "../../base/assert.js";
import { Hkdf, hkdfBytes, labelBytes } from "../noise/hkdf.js";
import { DH_BYTES, type KeyPair, type NoisePrimitives, Stretches } from "../noise/primitives.js";

export const GATE_KEY_BYTES = 32;
export const HINT_KEY_BYTES = 16;
export const PSK_BYTES = 32;
export const KEY_ID_BYTES = 8;
/** The secret of a pair, where there is one. */
export const PAIR_SECRET_BYTES = 32;
export const PAIR_KEYS_BYTES = 2 * GATE_KEY_BYTES + 2 * HINT_KEY_BYTES + PSK_BYTES + KEY_ID_BYTES;

const PAIR_KEY_BYTES = 32;
const LENGTH_BYTES = 2;
const KEY_MATERIAL_BYTES = LENGTH_BYTES + DH_BYTES + LENGTH_BYTES + PAIR_SECRET_BYTES;
const NO_BYTES = new Uint8Array(0);

const SALT = labelBytes("securedgram pair 1");
const MODE_IDENTITIES = labelBytes("x25519");
const MODE_SECRET = labelBytes("x25519+secret");
const GATE_LOW_HIGH = labelBytes("securedgram gate low>high");
const GATE_HIGH_LOW = labelBytes("securedgram gate high>low");
const HINT_LOW_HIGH = labelBytes("securedgram hint low>high");
const HINT_HIGH_LOW = labelBytes("securedgram hint high>low");
const PSK = labelBytes("securedgram psk");
const KEY_ID = labelBytes("securedgram key id");

/** Keys of one pair, seen from one end: "send" is the direction away from us. */
export interface PairKeys {
  /** Seals the envelopes of our handshake datagrams, 32 bytes. */
  readonly gateSend: Uint8Array;
  /** Opens those of the peer. */
  readonly gateReceive: Uint8Array;
  /** Keys SipHash for the hint behind our envelopes, 16 bytes. */
  readonly hintSend: Uint8Array;
  readonly hintReceive: Uint8Array;
  /** The pre-shared key of the Noise handshake, 32 bytes. */
  readonly psk: Uint8Array;
  /** Names the pair key to the peer inside a session, 8 bytes; not secret. */
  readonly keyId: Uint8Array;
}

/** Names the parts of a block of {@link PAIR_KEYS_BYTES}: views, owned by who owns the block. */
export function pairKeysIn(memory: Uint8Array): PairKeys {
  const stretches = new Stretches(memory);
  return {
    gateSend: stretches.next(GATE_KEY_BYTES),
    gateReceive: stretches.next(GATE_KEY_BYTES),
    hintSend: stretches.next(HINT_KEY_BYTES),
    hintReceive: stretches.next(HINT_KEY_BYTES),
    psk: stretches.next(PSK_BYTES),
    keyId: stretches.next(KEY_ID_BYTES),
  };
}

type PairPrimitives = Pick<NoisePrimitives, "hash" | "wipe" | "dh">;

export interface PairOptions {
  readonly primitives: PairPrimitives;
  readonly own: KeyPair;
  readonly peerPublicKey: Uint8Array;
  /** 32 bytes; undefined when the pair shares nothing but each other's public keys. */
  readonly secret: Uint8Array | undefined;
  /** Memory to compute in, at least {@link pairScratchBytes}; zeroes afterwards. */
  readonly scratch: Uint8Array;
}

/** Memory that {@link derivePairKeys} computes in, bytes. */
export const pairScratchBytes = ({ hash }: Pick<NoisePrimitives, "hash">): number =>
  hkdfBytes(hash) + KEY_MATERIAL_BYTES + PAIR_KEY_BYTES;

/**
 * Writes the keys of a pair to `into`. False, and nothing written, when the DH of the identities is
 * all zero: the peer's public key is then one of the few that lead everybody to the same secret.
 */
export function derivePairKeys(options: PairOptions, into: PairKeys): boolean {
  const { primitives, own, peerPublicKey, secret, scratch } = options;
  assert(secret === undefined || secret.length === PAIR_SECRET_BYTES, "a secret has 32 bytes");
  const weAreLow = compareKeys(own.publicKey, peerPublicKey) < 0;
  const stretches = new Stretches(scratch);
  const hkdf = new Hkdf(primitives, stretches.next(hkdfBytes(primitives.hash)));
  const keyMaterial = stretches.next(KEY_MATERIAL_BYTES);
  const pairKey = stretches.next(PAIR_KEY_BYTES);
  const used = writeKeyMaterial(options, keyMaterial);
  if (used > 0) {
    const mode = secret === undefined ? MODE_IDENTITIES : MODE_SECRET;
    const [low, high] = weAreLow ? [own.publicKey, peerPublicKey] : [peerPublicKey, own.publicKey];
    const info = [Uint8Array.of(mode.length), mode, low, high];
    hkdf.derive(pairKey, SALT, [keyMaterial.subarray(0, used)], info);
    expandPairKey(hkdf, pairKey, weAreLow, into);
  }
  primitives.wipe(scratch);
  return used > 0;
}

/**
 * Which of two public keys is the lower one, as byte strings: below 0 for `a`, above 0 for `b`.
 * Equal keys are an error of the program: a configuration that has them is refused.
 */
export function compareKeys(a: Uint8Array, b: Uint8Array): number {
  assert(a.length === DH_BYTES && b.length === DH_BYTES, "a public key has 32 bytes");
  const at = a.findIndex((byte, i) => byte !== b[i]);
  assert(at >= 0, "a pair has two public keys");
  return a[at] - b[at];
}

/** u16(32) ss u16(len secret) secret; returns its length, or 0 when `ss` is all zero. */
function writeKeyMaterial(
  { primitives, own, peerPublicKey, secret }: PairOptions,
  out: Uint8Array,
) {
  const shared = out.subarray(LENGTH_BYTES, LENGTH_BYTES + DH_BYTES);
  if (!primitives.dh(shared, own.privateKey, peerPublicKey)) return 0;
  const tail = secret ?? NO_BYTES;
  const view = new DataView(out.buffer, out.byteOffset, out.length);
  view.setUint16(0, DH_BYTES);
  view.setUint16(LENGTH_BYTES + DH_BYTES, tail.length);
  out.set(tail, 2 * LENGTH_BYTES + DH_BYTES);
  return 2 * LENGTH_BYTES + DH_BYTES + tail.length;
}

/**
 * What: a PRK of 32 bytes, where RFC 5869 §2.3 has one of HashLen. Why: a pair key is one key of
 * the usual size. Effect: none; HMAC pads its key, and 256 uniform bits are a key for a PRF.
 */
function expandPairKey(hkdf: Hkdf, pairKey: Uint8Array, weAreLow: boolean, into: PairKeys): void {
  const { gateSend, gateReceive, hintSend, hintReceive, psk, keyId } = into;
  hkdf.expand(weAreLow ? gateSend : gateReceive, pairKey, [GATE_LOW_HIGH]);
  hkdf.expand(weAreLow ? gateReceive : gateSend, pairKey, [GATE_HIGH_LOW]);
  hkdf.expand(weAreLow ? hintSend : hintReceive, pairKey, [HINT_LOW_HIGH]);
  hkdf.expand(weAreLow ? hintReceive : hintSend, pairKey, [HINT_HIGH_LOW]);
  hkdf.expand(psk, pairKey, [PSK]);
  hkdf.expand(keyId, pairKey, [KEY_ID]);
}
