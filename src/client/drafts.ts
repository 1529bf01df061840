// Messages before they are rows: what the daemon would refuse later is refused here first, for the
// same reason.

import { isUtf8 } from "node:buffer";
import { DaemonError } from "../shared/base/errors.js";
import { prepareOutbound } from "../shared/protocol/classic-body.js";
import { MESSAGE_ID_BYTES } from "../shared/protocol/constants.js";
import { messageIdFromHex, messageIdToHex } from "../shared/protocol/message-id.js";
import { MESSAGE_BYTES_MAX } from "../shared/protocol/session/limits.js";

/** A message that has passed the checks. */
export interface Draft {
  /** Text or bytes as they go into the column; of JSON, as the user wrote it, but for an id spliced in. */
  readonly payload: string | Uint8Array;
  /** 24 hex digits; undefined leaves it to the daemon. */
  readonly messageId: string | undefined;
}

/** Stands for the id that the daemon will make: only its length matters here. */
const ID_TO_COME = new Uint8Array(MESSAGE_ID_BYTES);

/**
 * Checks a payload by the daemon's own rules for classic. `messageId` is 24 lower-case hex digits and
 * gets into the payload. Throws ERR_PAYLOAD with the sentence that the daemon would put into last_error.
 */
export function draft(payload: Uint8Array, messageId: string | undefined): Draft {
  const id = messageId === undefined ? undefined : requiredId(messageId);
  const prepared = prepareOutbound(payload, id, ID_TO_COME);
  if ("refused" in prepared) throw refusal(prepared.refused);
  if (messageId !== undefined) return { payload: text(prepared.payload), messageId };
  if (prepared.changed) return { payload: text(payload), messageId: undefined };
  return { payload: text(payload), messageId: messageIdToHex(prepared.id) };
}

/**
 * A message for session peers alone: its payload is any text or any bytes, and goes as it is. Throws
 * ERR_PAYLOAD when it is too large, or no text although it should be.
 */
export function plainDraft(
  payload: Uint8Array,
  messageId: string | undefined,
  kind: "text" | "bytes",
): Draft {
  if (messageId !== undefined) requiredId(messageId);
  if (payload.length > MESSAGE_BYTES_MAX) {
    const limit = `a message has at most ${MESSAGE_BYTES_MAX}`;
    throw refusal(`payload is ${payload.length} bytes, and ${limit}; shorten or split it`);
  }
  if (kind === "bytes") return { payload, messageId };
  if (!isUtf8(payload)) throw refusal("payload is not valid UTF-8; send it with --bytes");
  return { payload: text(payload), messageId };
}

/** The 12 bytes of an id; throws ERR_MESSAGE_ID when it is none. */
export function requiredId(messageId: string): Uint8Array {
  const id = messageIdFromHex(messageId);
  if (id !== undefined) return id;
  throw new DaemonError(
    "ERR_MESSAGE_ID",
    "the message id is not 24 hex digits",
    "Give 24 characters 0-9 a-f, or none and one is made.",
  );
}

/** A refusal of the core is one sentence: what is wrong; what to do. */
function refusal(sentence: string): DaemonError {
  const at = sentence.indexOf("; ");
  const next = sentence.slice(at + 2);
  return new DaemonError(
    "ERR_PAYLOAD",
    sentence.slice(0, at),
    next.charAt(0).toUpperCase() + next.slice(1),
  );
}

/** Exact: the scanner accepts valid UTF-8 only. */
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");
