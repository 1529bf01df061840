// Proof that libsodium loads and agrees with RFC 8439 on this machine, for `doctor`.

import { open, sealInPlace } from "./aead.js";

/** RFC 8439 section 2.8.2, without its additional data: what matters is that seal and open agree. */
const KEY = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i);
const NONCE = Uint8Array.of(7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47);

/** A sentence about what is wrong; undefined when the cipher works. */
export function cipherFault(): string | undefined {
  const memory = new Uint8Array(32 + 16).fill(0x5a, 0, 32);
  sealInPlace(memory, memory.subarray(0, 32), NONCE, KEY);
  const plain = new Uint8Array(32);
  if (!open(plain, memory, NONCE, KEY) || plain.some((byte) => byte !== 0x5a)) {
    return "what libsodium seals it does not open";
  }
  memory[40] = (memory[40] as number) ^ 1;
  return open(plain, memory, NONCE, KEY) ? "libsodium opens a forged packet" : undefined;
}
