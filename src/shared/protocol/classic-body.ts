// The body of a classic envelope: a message of the user, or an ACK. Receive side (crypto worker,
// inbound walk step 2) and send side (DB worker, before a row is leased). Both judge by the same
// scanner, so what one host agrees to send the other agrees to read.

import type { DropReason } from "../base/errors.js";
import { BODY_BYTES_MAX, MESSAGE_ID_BYTES } from "./constants.js";
import { type JsonRefusal, JsonScanner } from "./json.js";
import { JSON_KEYS_MAX } from "./json-keys.js";
import { MESSAGE_ID_HEX_BYTES, messageIdToHex, writeMessageIdHex } from "./message-id.js";

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const ACK_HEAD = ascii('{"type":"ACK","message_id":"');
const ACK_TAIL = ascii('"}');
const MEMBER_HEAD = ascii('"message_id":"');
const COMMA = 0x2c;
const QUOTE = 0x22;

/** `{"type":"ACK","message_id":"<24 hex>"}`, bytes. Source: classic. */
export const ACK_BODY_BYTES = ACK_HEAD.length + MESSAGE_ID_HEX_BYTES + ACK_TAIL.length;

/** Writes the ACK of the id at `idAt` to `out` at `at`; returns {@link ACK_BODY_BYTES}. */
export function ackBodyInto(out: Uint8Array, at: number, id: Uint8Array, idAt: number): number {
  out.set(ACK_HEAD, at);
  const tailAt = writeMessageIdHex(out, at + ACK_HEAD.length, id, idAt);
  out.set(ACK_TAIL, tailAt);
  return ACK_BODY_BYTES;
}

type BodyDrop = Extract<DropReason, "body_not_object" | "body_hostile" | "message_id_missing">;

const DROP_OF: Readonly<Record<JsonRefusal, BodyDrop>> = {
  not_object: "body_not_object",
  malformed: "body_not_object",
  bad_utf8: "body_not_object",
  too_deep: "body_hostile",
  key_too_long: "body_hostile",
  too_many_keys: "body_hostile",
  duplicate_key: "body_hostile",
};

/** Reads opened bodies, one after another; one to a thread. Allocates nothing per body. */
export class ClassicBody {
  readonly #scanner = new JsonScanner();

  /** The 12 bytes of the message id after "message" or "ack". Overwritten by the next `parse`. */
  get id(): Uint8Array {
    return this.#scanner.id;
  }
  /** True if the body is its own canonical form, so that the digest needs no copy of it. */
  get canonical(): boolean {
    return this.#scanner.canonical;
  }

  /** Says what stands in `bytes` from `from` to `to`. Other members are not looked at. */
  parse(bytes: Uint8Array, from: number, to: number): "message" | "ack" | BodyDrop {
    const scanner = this.#scanner;
    if (!scanner.scan(bytes, from, to)) return DROP_OF[scanner.reason ?? "malformed"];
    if (scanner.messageId !== "good") return "message_id_missing";
    return scanner.isAck ? "ack" : "message";
  }
}

/** A payload ready for the wire, or one sentence for the person whose row it is. */
export type PreparedPayload =
  | { readonly payload: Uint8Array; readonly id: Uint8Array; readonly changed: boolean }
  | { readonly refused: string };

/** What is wrong, and what to do. */
const REFUSED_BECAUSE: Readonly<Record<JsonRefusal, readonly [string, string]>> = {
  not_object: ["is not a JSON object", "write it as {...}"],
  malformed: ["is not valid JSON", "correct it there"],
  bad_utf8: ["is not valid UTF-8", "write it in UTF-8"],
  too_deep: ["nests arrays and objects more than 32 deep", "flatten it"],
  key_too_long: ["has a key of more than 1,024 bytes", "shorten the key"],
  too_many_keys: ["has more than 1,024 top-level keys", "group them in nested objects"],
  duplicate_key: ["has the same top-level key twice", "keep one of them"],
};

/** Judges the rows of local producers, which need no state from one to the next. */
const outboundScanner = new JsonScanner();

/**
 * Makes the payload of a row ready to send. `rowId` is the row's message_id, 12 bytes, `freshId`
 * the one to use if neither row nor payload has any. Unless an id must be spliced in before the
 * closing brace (`changed`), the payload goes out as it is, and is the very array given.
 */
export function prepareOutbound(
  payload: Uint8Array,
  rowId: Uint8Array | undefined,
  freshId: Uint8Array,
): PreparedPayload {
  if (payload.length > BODY_BYTES_MAX) return { refused: tooLarge("payload is", payload.length) };
  const scanner = outboundScanner;
  if (!scanner.scan(payload, 0, payload.length)) {
    return { refused: scanRefusal(scanner.reason ?? "malformed", scanner.refusedAt) };
  }
  if (scanner.isAck) {
    return {
      refused: 'payload says "type":"ACK", which only acknowledgements may say; use another type',
    };
  }
  if (scanner.messageId === "malformed") {
    return {
      refused:
        "payload message_id is not 24 lower-case hex digits in quotes; correct it or leave it out",
    };
  }
  if (scanner.messageId === "good") return withOwnId(payload, scanner.id, rowId);
  if (scanner.keys === JSON_KEYS_MAX) {
    return {
      refused: "payload has 1,024 top-level keys and needs message_id as one more; remove a key",
    };
  }
  const id = rowId ?? freshId;
  const spliced = splice(payload, scanner.closeAt, scanner.keys === 0, id);
  if (spliced.length > BODY_BYTES_MAX) {
    return { refused: tooLarge("payload with its message_id is", spliced.length) };
  }
  return { payload: spliced, id, changed: true };
}

function withOwnId(
  payload: Uint8Array,
  ownId: Uint8Array,
  rowId: Uint8Array | undefined,
): PreparedPayload {
  if (rowId === undefined) return { payload, id: ownId.slice(), changed: false };
  for (let i = 0; i < MESSAGE_ID_BYTES; i++) {
    if (ownId[i] !== rowId[i]) return { refused: idMismatch(ownId, rowId) };
  }
  return { payload, id: rowId, changed: false };
}

/** The payload with `"message_id":"..."` as the last member; its object ends at `closeAt`. */
function splice(payload: Uint8Array, closeAt: number, empty: boolean, id: Uint8Array): Uint8Array {
  const member = MEMBER_HEAD.length + MESSAGE_ID_HEX_BYTES + 1;
  const out = new Uint8Array(payload.length + member + (empty ? 0 : 1));
  out.set(payload.subarray(0, closeAt));
  let at = closeAt;
  if (!empty) out[at++] = COMMA;
  out.set(MEMBER_HEAD, at);
  at = writeMessageIdHex(out, at + MEMBER_HEAD.length, id, 0);
  out[at++] = QUOTE;
  out.set(payload.subarray(closeAt), at);
  return out;
}

function scanRefusal(reason: JsonRefusal, at: number): string {
  const [what, remedy] = REFUSED_BECAUSE[reason];
  return `payload ${what} (byte ${at}); ${remedy}`;
}

function idMismatch(ownId: Uint8Array, rowId: Uint8Array): string {
  const own = `payload message_id ${messageIdToHex(ownId)}`;
  const row = `the row's message_id ${messageIdToHex(rowId)}`;
  return `${own} does not match ${row}; make them equal or leave one out`;
}

function tooLarge(what: string, bytes: number): string {
  const limit = `a classic datagram carries at most ${BODY_BYTES_MAX}`;
  return `${what} ${bytes} bytes, and ${limit}; shorten or split it`;
}
