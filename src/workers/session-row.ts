// One row of outbound_messages for a session peer: its payload may be any text or bytes, and goes as it
// is; a large one stays in the table until its pieces are asked for.

import { isUtf8 } from "node:buffer";
import { messageIdFromHex } from "../shared/protocol/message-id.js";
import {
  MESSAGE_BYTES_MAX,
  MESSAGE_DIGEST_BYTES,
  STREAM_BYTES_MAX,
} from "../shared/protocol/session/limits.js";
import { MESSAGE_FLAG } from "../shared/protocol/session/message-digest.js";
import type { OutboundSessionFields } from "../shared/runtime/outbound-batch.js";
import { sessionDigest } from "./session-digest.js";

/** Which rows go in sessions, and where their large payloads are read. */
export interface SessionRoutes {
  /** Public key, in base64, of the peer that rows for this destination go to; undefined: classic. */
  peerOf(address: string, port: number): string | undefined;
  /** The whole payload of a row while it is of this generation. */
  payload(rowId: number, generation: number): Uint8Array | undefined;
}

/** What a row says beside what every row says. */
export interface SessionPart {
  /** "": unordered. */
  readonly stream: string;
  readonly inReplyTo: Uint8Array | undefined;
  /** The column holds bytes, not text. */
  readonly isBytes: boolean;
  readonly total: number;
}

/** Columns that {@link sessionPart} reads, in order, behind the others of a row. */
export const SESSION_COLUMNS = "stream, in_reply_to, typeof(payload), octet_length(payload)";
const COLUMNS = 4;

/** The stream of a row that was read with these columns behind the others; "": none, or no name. */
export function streamOf(row: readonly unknown[]): string {
  const stream = row.at(-COLUMNS);
  return typeof stream === "string" ? stream : "";
}

/** Reads the last columns of a row, or says why it cannot go. */
export function sessionPart(row: readonly unknown[]): SessionPart | { readonly refused: string } {
  const [stream, inReplyTo, type, bytes] = row.slice(-COLUMNS);
  if (typeof bytes !== "number") return { refused: "payload is NULL" };
  if (bytes > MESSAGE_BYTES_MAX) {
    const limit = `a message has at most ${MESSAGE_BYTES_MAX}`;
    return { refused: `payload is ${bytes} bytes, and ${limit}; shorten or split it` };
  }
  const name = stream === null ? "" : stream;
  if (typeof name !== "string" || Buffer.byteLength(name) > STREAM_BYTES_MAX) {
    return {
      refused: `stream is no text of 1 to ${STREAM_BYTES_MAX} bytes; correct it, or set it to NULL`,
    };
  }
  const isReply = inReplyTo !== null && inReplyTo !== "";
  const replied = typeof inReplyTo === "string" ? messageIdFromHex(inReplyTo) : undefined;
  if (isReply && replied === undefined) {
    return {
      refused: "in_reply_to is not 24 lower-case hex digits; correct it, or set it to NULL",
    };
  }
  return { stream: name, inReplyTo: replied, isBytes: type === "blob", total: bytes };
}

/** What goes into a batch: flags and digest need the whole payload. Text that is none goes as bytes. */
export function sessionFields(
  part: SessionPart,
  id: Uint8Array,
  payload: Uint8Array,
): OutboundSessionFields {
  const { stream, inReplyTo, isBytes, total } = part;
  let flags = stream === "" ? 0 : MESSAGE_FLAG.ordered;
  if (isBytes || !isUtf8(payload)) flags |= MESSAGE_FLAG.bytes;
  if (inReplyTo !== undefined) flags |= MESSAGE_FLAG.reply;
  const bytes = inReplyTo === undefined ? id : Buffer.concat([id, inReplyTo]);
  const digest = new Uint8Array(MESSAGE_DIGEST_BYTES);
  const head = { flags, stream: Buffer.from(stream), bytes, messageIdAt: 0, inReplyToAt: 12 };
  sessionDigest(digest, head, payload);
  return { flags, stream, total, inReplyTo, digest };
}
