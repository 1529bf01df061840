// The floor under everything: sealing and opening one packet with libsodium, nothing around it.

import {
  KEY_BYTES,
  NONCE_BYTES,
  open,
  randomBytes,
  sealInPlace,
  TAG_BYTES,
} from "../src/workers/aead.js";
import type { Part } from "./micro.js";
import { partsReport } from "./parts-report.js";
import type { Suite } from "./suite.js";

const SIZES_BYTES = [64, 200, 1_200, 8_192];

export const suite: Suite = {
  title: "aead: ChaCha20-Poly1305, one packet, this thread",
  run: (context) =>
    partsReport(
      {
        title: "Seal, open and refuse, by plaintext bytes",
        parts: [sealing, opening, refusing].flatMap((make) => SIZES_BYTES.map(make)),
        settings: { cipher: "ChaCha20-Poly1305 (RFC 8439), sodium-native" },
        notes: [
          "a refused packet differs in one bit of its tag; the plaintext goes to memory of its own",
        ],
        per: "call",
      },
      context,
    ),
};

interface Packet {
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly plain: Uint8Array;
  readonly sealed: Uint8Array;
}

function packetOf(bytes: number): Packet {
  const key = new Uint8Array(KEY_BYTES);
  const nonce = new Uint8Array(NONCE_BYTES);
  const plain = new Uint8Array(bytes);
  const sealed = new Uint8Array(bytes + TAG_BYTES);
  for (const random of [key, nonce, plain]) randomBytes(random);
  sealInPlace(sealed, plain, nonce, key);
  return { key, nonce, plain, sealed };
}

function sealing(bytes: number): Part {
  const { key, nonce } = packetOf(bytes);
  const slot = new Uint8Array(bytes + TAG_BYTES);
  const body = slot.subarray(0, bytes);
  return {
    name: `seal in place ${bytes} B`,
    bytes,
    run: () => sealInPlace(slot, body, nonce, key),
  };
}

function opening(bytes: number): Part {
  const { key, nonce, plain, sealed } = packetOf(bytes);
  if (!open(plain, sealed, nonce, key)) throw new Error("what was sealed does not open");
  return { name: `open ${bytes} B`, bytes, run: () => void open(plain, sealed, nonce, key) };
}

function refusing(bytes: number): Part {
  const { key, nonce, plain, sealed } = packetOf(bytes);
  sealed[bytes] ^= 1;
  if (open(plain, sealed, nonce, key)) throw new Error("a forged packet opens");
  return { name: `refuse ${bytes} B`, bytes, run: () => void open(plain, sealed, nonce, key) };
}
