// The digest by which the store tells messages apart, made from a stored payload: BLAKE2b-256 of its
// canonical form, as the crypto workers make it for what they open.

import { JsonScanner } from "../shared/protocol/json.js";
import { CANONICAL_GROWTH_MAX, canonicalInto } from "../shared/protocol/json-canonical.js";
import { blake2b256 } from "./aead.js";

const scanner = new JsonScanner();

/** 32 bytes; of the bytes as they are when the payload is not what a peer could have sent. */
export function payloadDigest(payload: Uint8Array): Uint8Array {
  if (!scanner.scan(payload, 0, payload.length) || scanner.canonical) return blake2b256(payload);
  const canonical = new Uint8Array(payload.length * CANONICAL_GROWTH_MAX);
  const length = canonicalInto(payload, 0, payload.length, canonical);
  return blake2b256(canonical.subarray(0, length));
}
