// X25519 identities: the private half in a file of one base64 line, the public half that peers know.
// Only user of node:crypto's X25519; the sessions' own arithmetic is libsodium's, in the workers.

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { DaemonError } from "../shared/base/errors.js";
import { IDENTITY_BYTES } from "../shared/protocol/session/peer-config.js";
import { parseBase64, readKeyFile, type SecretPlaces, wipe } from "./secrets.js";

/** What stands before a raw X25519 key in PKCS #8 and in SubjectPublicKeyInfo. Source: RFC 8410. */
const PRIVATE_HEAD = Buffer.from("302e020100300506032b656e04220420", "hex");
const PUBLIC_HEAD = Buffer.from("302a300506032b656e032100", "hex");
const NAME_BYTES = 16;

/** How an identity is made; ends every refusal of a missing or bad one. */
export const MAKE_IDENTITY = "Make one with `securedgram key new --out FILE`.";

/** Both halves of one identity. The private one is the holder's, to wipe. */
export interface Identity {
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** Our identities by role. */
export interface Identities {
  readonly current: Identity;
  readonly next: Identity | undefined;
  readonly previous: Identity | undefined;
}

/** Draws a private key, 32 bytes, with the bits set that X25519 sets anyway (RFC 7748 §5). */
export function newPrivateKey(): Uint8Array {
  const key = Uint8Array.from(randomBytes(IDENTITY_BYTES));
  key[0] &= 248;
  key[IDENTITY_BYTES - 1] = (key[IDENTITY_BYTES - 1] & 127) | 64;
  return key;
}

/** The public half, 32 new bytes. */
export function publicKeyOf(privateKey: Uint8Array): Uint8Array {
  const spki = createPublicKey(privateObject(privateKey)).export({ type: "spki", format: "der" });
  return Uint8Array.from(spki.subarray(PUBLIC_HEAD.length));
}

/** Reads the text of a private key; `source` names it in the refusal, which shows nothing of it. */
export function parsePrivateKey(text: string | Uint8Array, source: string): Uint8Array {
  const key = parseBase64(text);
  if (key === undefined) {
    throw refused(`${source} is not a private key: 44 characters of base64`, MAKE_IDENTITY);
  }
  if (key.some((byte) => byte !== 0)) return key;
  throw refused(`${source} is all zeros`, MAKE_IDENTITY);
}

/** Reads a public key that a person gave; `source` names it in the refusal. */
export function parsePublicKey(text: string, source: string): Uint8Array {
  const key = parseBase64(text.trim());
  const next = "Ask the peer for what `securedgram key show` prints there.";
  if (key === undefined) {
    throw refused(`${source} is not a public key: 44 characters of base64`, next);
  }
  if (!isCanonical(key)) throw refused(`${source} is no number that X25519 makes`, next);
  if (isLowOrder(key)) throw refused(`${source} leads everybody to the same secret`, next);
  return key;
}

/** Reads an identity from a private file. */
export function readIdentityFile(name: string, places: SecretPlaces): Identity {
  const privateKey = readKeyFile(name, places, "identity file", parsePrivateKey);
  return { privateKey, publicKey: publicKeyOf(privateKey) };
}

/** Overwrites the private halves. */
export function wipeIdentities(identities: Identities | undefined): void {
  for (const identity of [identities?.current, identities?.next, identities?.previous]) {
    wipe(identity?.privateKey);
  }
}

/** A copy whose private halves are its own to wipe. */
export function copyIdentities({ current, next, previous }: Identities): Identities {
  const copy = ({ privateKey, publicKey }: Identity): Identity => ({
    privateKey: Uint8Array.from(privateKey),
    publicKey,
  });
  return {
    current: copy(current),
    next: next === undefined ? undefined : copy(next),
    previous: previous === undefined ? undefined : copy(previous),
  };
}

/**
 * Names the pair key of two identities and a secret: equal for the same three, and tells nothing about
 * them, as the secret has 32 random bytes. 32 hex digits.
 */
export function pairKeyName(
  own: Uint8Array,
  peer: Uint8Array,
  secret: Uint8Array | undefined,
): string {
  const hash = createHash("sha256").update("securedgram pair key name 1").update(own).update(peer);
  if (secret !== undefined) hash.update(secret);
  return hash.digest().subarray(0, NAME_BYTES).toString("hex");
}

/** Below 2^255 - 19: every other spelling of a point has a shorter one. */
function isCanonical(key: Uint8Array): boolean {
  const last = key[IDENTITY_BYTES - 1];
  if (last > 0x7f) return false;
  return last < 0x7f || key[0] < 0xed || key.subarray(1, -1).some((byte) => byte !== 0xff);
}

/** A point of small order makes the secret zero whatever the other key is; OpenSSL refuses that. */
function isLowOrder(publicKey: Uint8Array): boolean {
  const key = Buffer.concat([PUBLIC_HEAD, publicKey]);
  const probe = newPrivateKey();
  try {
    const theirs = createPublicKey({ key, format: "der", type: "spki" });
    const shared = diffieHellman({ privateKey: privateObject(probe), publicKey: theirs });
    return shared.every((byte) => byte === 0);
  } catch {
    return true;
  } finally {
    wipe(probe);
  }
}

function privateObject(privateKey: Uint8Array): KeyObject {
  const key = Buffer.concat([PRIVATE_HEAD, privateKey]);
  try {
    return createPrivateKey({ key, format: "der", type: "pkcs8" });
  } finally {
    wipe(key);
  }
}

const refused = (message: string, next: string): DaemonError =>
  new DaemonError("ERR_CONFIG_SECRET", message, next);
