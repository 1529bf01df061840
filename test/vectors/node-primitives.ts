// Noise primitives from node:crypto, with any of the four hashes of the vectors: for hashes that
// the daemon does not use, and as a second opinion on those it does.

import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
  randomFillSync,
} from "node:crypto";
import type { HashFunction, NoisePrimitives } from "../../src/shared/protocol/noise/primitives.js";

const HASHES: Readonly<Record<string, readonly [algorithm: string, hash: number, block: number]>> =
  {
    BLAKE2b: ["blake2b512", 64, 128],
    BLAKE2s: ["blake2s256", 32, 64],
    SHA512: ["sha512", 64, 128],
    SHA256: ["sha256", 32, 64],
  };
/** What stands before a raw X25519 key in PKCS #8 and in SubjectPublicKeyInfo. Source: RFC 8410. */
const PRIVATE_HEAD = Buffer.from("302e020100300506032b656e04220420", "hex");
const PUBLIC_HEAD = Buffer.from("302a300506032b656e032100", "hex");
const CIPHER = "chacha20-poly1305";
const TAG_BYTES = 16;

export function nodeHash(name: string): HashFunction {
  const [algorithm, hashBytes, blockBytes] = HASHES[name];
  return {
    name,
    hashBytes,
    blockBytes,
    hash(into, parts) {
      const hash = createHash(algorithm);
      for (const part of parts) hash.update(part);
      into.set(hash.digest());
    },
  };
}

export function nodePrimitives(hashName: string): NoisePrimitives {
  return {
    hash: nodeHash(hashName),
    random: (into) => randomFillSync(into),
    publicKey(into, privateKey) {
      const spki = createPublicKey(privateKeyOf(privateKey)).export({
        type: "spki",
        format: "der",
      });
      into.set(spki.subarray(PUBLIC_HEAD.length));
    },
    dh(into, privateKey, publicKey) {
      const key = Buffer.concat([PUBLIC_HEAD, publicKey]);
      try {
        into.set(
          diffieHellman({
            privateKey: privateKeyOf(privateKey),
            publicKey: createPublicKey({ key, format: "der", type: "spki" }),
          }),
        );
        return true;
      } catch {
        into.fill(0);
        return false;
      }
    },
    seal(into, plaintext, nonce, key, additional) {
      const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(additional, { plaintextLength: plaintext.length });
      into.set(Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]));
    },
    open(into, sealed, nonce, key, additional) {
      const bytes = sealed.length - TAG_BYTES;
      const cipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(additional, { plaintextLength: bytes });
      cipher.setAuthTag(sealed.subarray(bytes));
      try {
        into.set(Buffer.concat([cipher.update(sealed.subarray(0, bytes)), cipher.final()]));
        return true;
      } catch {
        return false;
      }
    },
    wipe: (buffer) => buffer.fill(0),
  };
}

const privateKeyOf = (raw: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([PRIVATE_HEAD, raw]), format: "der", type: "pkcs8" });
