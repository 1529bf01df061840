// What the digest of a message covers (PROTOCOL, section 19): everything that its receiver stores of
// it. The head is written here; who hashes appends the payload.

import { MESSAGE_ID_BYTES } from "../constants.js";
import { STREAM_BYTES_MAX } from "./limits.js";

/** Bits of the flags of MESSAGE that belong to the message, not to its packet. */
export const MESSAGE_FLAG = { ordered: 1, bytes: 2, fragmented: 4, reply: 8 } as const;
/** The flags that the digest covers. */
export const DIGEST_FLAGS_MASK = MESSAGE_FLAG.ordered | MESSAGE_FLAG.bytes | MESSAGE_FLAG.reply;

/** ASCII of "securedgram message 1". */
const LABEL = Uint8Array.of(
  ...[115, 101, 99, 117, 114, 101, 100, 103, 114, 97, 109, 32],
  ...[109, 101, 115, 115, 97, 103, 101, 32, 49],
);

/** Longest head: label, flags, length and stream, two ids, total. */
export const DIGEST_HEAD_BYTES_MAX =
  LABEL.length + 1 + 1 + STREAM_BYTES_MAX + 2 * MESSAGE_ID_BYTES + 8;

/**
 * Writes what stands in front of the payload; returns its length. `stream`: UTF-8, empty when the
 * message is unordered. Ids are read from `bytes` at their offsets.
 */
export function writeDigestHead(
  into: Uint8Array,
  flags: number,
  stream: Uint8Array,
  bytes: Uint8Array,
  messageIdAt: number,
  inReplyToAt: number,
  total: number,
): number {
  into.set(LABEL, 0);
  let at = LABEL.length;
  into[at++] = flags & DIGEST_FLAGS_MASK;
  const streamBytes = (flags & MESSAGE_FLAG.ordered) === 0 ? 0 : stream.length;
  into[at++] = streamBytes;
  for (let i = 0; i < streamBytes; i++) into[at++] = stream[i] as number;
  for (let i = 0; i < MESSAGE_ID_BYTES; i++) into[at++] = bytes[messageIdAt + i] as number;
  if ((flags & MESSAGE_FLAG.reply) !== 0) {
    for (let i = 0; i < MESSAGE_ID_BYTES; i++) into[at++] = bytes[inReplyToAt + i] as number;
  }
  let rest = total;
  for (let i = 7; i >= 0; i--) {
    into[at + i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return at + 8;
}
