// Messages as our clients write them: time-ordered ids, canonical JSON, exactly as long as asked.

import { randomFillSync } from "node:crypto";
import { freshMessageId } from "../src/client/message-ids.js";
import { messageIdToHex } from "../src/shared/protocol/message-id.js";

const ENCODER = new TextEncoder();
const CLOCK_BYTES = 6;
const RANDOM_BYTES = 6;
const RANDOM_IDS = 4_096;

const pool = new Uint8Array(RANDOM_BYTES * RANDOM_IDS);
let poolLeft = 0;

/** 12 bytes: ms since the epoch, then random. Ids that are made one after another lie close in an index. */
export function timeOrderedId(): Uint8Array {
  if (poolLeft === 0) {
    randomFillSync(pool);
    poolLeft = RANDOM_IDS;
  }
  poolLeft -= 1;
  const id = new Uint8Array(CLOCK_BYTES + RANDOM_BYTES);
  let ms = Date.now();
  for (let i = CLOCK_BYTES - 1; i >= 0; i--) {
    id[i] = ms % 256;
    ms = Math.floor(ms / 256);
  }
  id.set(pool.subarray(poolLeft * RANDOM_BYTES, (poolLeft + 1) * RANDOM_BYTES), CLOCK_BYTES);
  return id;
}

/** What fills a payload: most are as long as the one before. */
let filling = "";

/** A JSON object of exactly `bytes` bytes (ASCII) that names `id`. */
export function payloadText(id: string, n: number, bytes: number): string {
  const head = `{"message_id":"${id}","n":${n},"text":"`;
  const fill = bytes - head.length - 2;
  if (fill < 0) throw new Error(`a payload needs ${head.length + 2} bytes at least`);
  if (filling.length !== fill) {
    filling = "abcdefghijklmnopqrstuvwxyz ".repeat(Math.ceil(fill / 27)).slice(0, fill);
  }
  return `${head}${filling}"}`;
}

/** A message as a program has it that uses our client: an id made there, and a text. */
export function textMessage(
  n: number,
  bytes: number,
): { readonly hex: string; readonly text: string } {
  const hex = freshMessageId();
  return { hex, text: payloadText(hex, n, bytes) };
}

export interface Message {
  readonly id: Uint8Array;
  readonly hex: string;
  readonly text: string;
  readonly payload: Uint8Array;
}

export function message(n: number, bytes: number): Message {
  const id = timeOrderedId();
  const hex = messageIdToHex(id);
  const text = payloadText(hex, n, bytes);
  return { id, hex, text, payload: ENCODER.encode(text) };
}

/** Members of many kinds, with white space and escapes: what another program may send. */
export function mixedPayload(bytes: number): Uint8Array {
  const { hex } = message(0, 200);
  const head =
    `{ "message_id": "${hex}", "at": "2025-01-01T12:00:00.000", "level": 3, "ratio": 0.25, "ok": true,` +
    ' "tags": ["a", "b\\u00e9", null], "text": "';
  const fill = bytes - head.length - 3;
  if (fill < 0) throw new Error(`a mixed payload needs ${head.length + 3} bytes at least`);
  return ENCODER.encode(
    `${head}${"line\\n of text, "
      .repeat(Math.ceil(fill / 16))
      .slice(0, fill)
      .replace(/\\$/, "x")}" }`,
  );
}
