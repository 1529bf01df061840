// The payload of both handshake messages (docs/PROTOCOL.md, section 16): what the two ends tell each
// other before the first packet. Rare, so objects will do; whatever follows the known fields is ignored.

import { BOOT_ID_BYTES, MESSAGE_BYTES_MAX } from "./limits.js";
import { putVarint, varintAt, varintBytesFrom } from "./varint.js";

export const PROTOCOL_VERSION = 1;
export const PADDING_BYTES_MOST = 255;
/** Datagrams that either end must take, bytes. */
export const DATAGRAM_BYTES_LEAST = 1_200;
const DATAGRAM_BYTES_MOST = 65_507;
const ACK_DELAY_MS_MOST = 1_000;

export interface HandshakePayload {
  /** 8 bytes, drawn at each start of the daemon. */
  readonly boot: Uint8Array;
  /** ns since the epoch; shown as skew. */
  readonly wallNs: bigint;
  /** Highest stamp that the writer accepted from the reader. */
  readonly accepted: bigint;
  readonly messageBytesMax: number;
  readonly datagramBytesMax: number;
  readonly ackDelayMs: number;
  /** How much may be unfinished at the writer. */
  readonly creditMessages: number;
  readonly creditBytes: number;
}

/** `paddingBytes`: 0 to 255, drawn at random, so that the length tells nothing. */
export function encodeHandshakePayload(
  payload: HandshakePayload,
  paddingBytes: number,
): Uint8Array {
  const bytes = new Uint8Array(2 + BOOT_ID_BYTES + 8 + 8 + 5 * 8 + 1 + PADDING_BYTES_MOST);
  const view = new DataView(bytes.buffer);
  bytes[0] = PROTOCOL_VERSION;
  bytes[1] = PROTOCOL_VERSION;
  bytes.set(payload.boot, 2);
  let at = 2 + BOOT_ID_BYTES;
  view.setBigUint64(at, payload.wallNs);
  view.setBigUint64(at + 8, payload.accepted);
  at = putVarint(bytes, at + 16, payload.messageBytesMax);
  at = putVarint(bytes, at, payload.datagramBytesMax);
  at = putVarint(bytes, at, payload.ackDelayMs);
  at = putVarint(bytes, at, payload.creditMessages);
  at = putVarint(bytes, at, payload.creditBytes);
  bytes[at] = paddingBytes;
  return bytes.subarray(0, at + 1 + paddingBytes);
}

/** Undefined: cut off, out of range, or of versions that we do not speak. */
export function decodeHandshakePayload(bytes: Uint8Array): HandshakePayload | undefined {
  let at = 2 + BOOT_ID_BYTES + 16;
  const end = bytes.length;
  if (end < at) return undefined;
  if ((bytes[0] as number) > PROTOCOL_VERSION || (bytes[1] as number) < PROTOCOL_VERSION) {
    return undefined;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const numbers: number[] = [];
  while (numbers.length < 5) {
    const number = varintAt(bytes, at, end);
    if (number < 0) return undefined;
    numbers.push(number);
    at += varintBytesFrom(bytes[at] as number);
  }
  if (at >= end || at + 1 + (bytes[at] as number) > end) return undefined;
  const [messageBytesMax, datagramBytesMax, ackDelayMs, creditMessages, creditBytes] = numbers as [
    number,
    number,
    number,
    number,
    number,
  ];
  if (datagramBytesMax < DATAGRAM_BYTES_LEAST || ackDelayMs > ACK_DELAY_MS_MOST) return undefined;
  return {
    boot: bytes.slice(2, 2 + BOOT_ID_BYTES),
    wallNs: view.getBigUint64(2 + BOOT_ID_BYTES),
    accepted: view.getBigUint64(2 + BOOT_ID_BYTES + 8),
    messageBytesMax: Math.min(messageBytesMax, MESSAGE_BYTES_MAX),
    datagramBytesMax: Math.min(datagramBytesMax, DATAGRAM_BYTES_MOST),
    ackDelayMs,
    creditMessages,
    creditBytes,
  };
}
