// The obvious design, kept to show its price: a worker that gets one object and one ArrayBuffer a
// packet, seals it and posts both back.

import { type MessagePort, workerData } from "node:worker_threads";
import {
  KEY_BYTES,
  NONCE_BYTES,
  randomBytes,
  sealInPlace,
  TAG_BYTES,
} from "../src/workers/aead.js";

interface Job {
  readonly kind: "seal";
  readonly packet: ArrayBuffer;
  readonly address: string;
  readonly port: number;
}

const { data } = workerData as { readonly data: MessagePort };
const key = new Uint8Array(KEY_BYTES);
randomBytes(key);

data.on("message", ({ packet, address, port }: Job) => {
  const bytes = new Uint8Array(packet);
  const nonce = bytes.subarray(0, NONCE_BYTES);
  randomBytes(nonce);
  const end = bytes.length - TAG_BYTES;
  sealInPlace(bytes.subarray(NONCE_BYTES), bytes.subarray(NONCE_BYTES, end), nonce, key);
  data.postMessage({ kind: "sealed", packet, address, port }, [packet]);
});
