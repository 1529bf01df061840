// From a message as a program gives it to a row: checked, so that what is wrong is said where it was
// called, and with its id. Messages of a kind that follow one another share an envelope.

import { DaemonError, reasonOf } from "../shared/base/errors.js";
import { MESSAGE_BYTES_MAX, STREAM_BYTES_MAX } from "../shared/protocol/session/limits.js";
import { timeText } from "../shared/store/text-time.js";
import { draft, requiredId } from "./drafts.js";
import { freshMessageId } from "./message-ids.js";
import type { OutgoingMessage } from "./messages.js";
import { type Envelope, PRIORITIES, type Row } from "./outbox.js";

/** UDP port of a daemon where nothing else is said. Source: classic. */
const PORT_DEFAULT = 61_773;
const PORT_MAX = 65_535;
/** A DNS name is shorter, and so is a peer's. */
const ADDRESS_CHARACTERS_MAX = 255;
const NOT_IN_ADDRESS = /[\s\p{C}]/u;
/** Half of a pair: such a text has no bytes in UTF-8. */
const LONE_SURROGATE = /\p{Cs}/u;

/** A row with an id, and what it counts against the bounds of the outbox. */
export interface Outgoing {
  readonly row: Row & { readonly messageId: string };
  readonly bytes: number;
}

/** Judges messages one after another. Throws a DaemonError; nothing was queued then. */
export class OutgoingDesk {
  #envelope: Envelope | undefined;

  take(message: OutgoingMessage): Outgoing {
    const messageId = message.id ?? freshMessageId();
    if (message.id !== undefined) requiredId(messageId);
    const text = payloadOf(message.payload);
    const envelope = this.#envelopeOf(message);
    const payload = message.classic ? draft(bytesOf(text), messageId).payload : text;
    const bytes = typeof payload === "string" ? Buffer.byteLength(payload) : payload.length;
    if (bytes > MESSAGE_BYTES_MAX) throw tooLarge(bytes);
    return { row: { envelope, messageId, payload }, bytes };
  }

  #envelopeOf(message: OutgoingMessage): Envelope {
    const { to, port = PORT_DEFAULT, priority = "normal", stream, inReplyTo } = message;
    const before = this.#envelope;
    const isTimed = message.notBefore !== undefined || message.expiresAt !== undefined;
    if (
      before !== undefined &&
      !isTimed &&
      before.notBefore === undefined &&
      before.expiresAt === undefined &&
      before.address === to &&
      before.port === port &&
      before.priority === priority &&
      before.stream === stream &&
      before.inReplyTo === inReplyTo
    ) {
      return before;
    }
    checkAddress(to, port);
    if (!Object.hasOwn(PRIORITIES, priority)) {
      throw wrong(`priority ${show(priority)} does not exist`, "give bulk, normal, high or urgent");
    }
    if (stream !== undefined) checkStream(stream);
    if (inReplyTo !== undefined) requiredId(inReplyTo);
    const times = timesOf(message);
    this.#envelope = { address: to, port, priority, stream, inReplyTo, ...times };
    return this.#envelope;
  }
}

function payloadOf(payload: OutgoingMessage["payload"]): string | Uint8Array {
  if (payload instanceof Uint8Array) return payload;
  if (typeof payload !== "string") return jsonOf(payload);
  if (!LONE_SURROGATE.test(payload)) return payload;
  throw badPayload("is no well-formed text (it has half of a surrogate pair)", "send it as bytes");
}

function jsonOf(value: unknown): string {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (thrown) {
    throw badPayload(`cannot be written as JSON: ${reasonOf(thrown)}`, "send a string or bytes");
  }
  if (json !== undefined) return json;
  throw badPayload("is nothing that JSON can say", "give a JSON value, a string or bytes");
}

const bytesOf = (payload: string | Uint8Array): Uint8Array =>
  typeof payload === "string" ? Buffer.from(payload) : payload;

function checkAddress(to: unknown, port: number): void {
  const fits =
    typeof to === "string" &&
    to !== "" &&
    to.length <= ADDRESS_CHARACTERS_MAX &&
    !NOT_IN_ADDRESS.test(to);
  if (!fits) {
    const next = "give an IP address, a host name or the name of a peer";
    throw wrong(`destination ${show(to)} is no address`, next);
  }
  if (Number.isInteger(port) && port >= 1 && port <= PORT_MAX) return;
  throw wrong(`port ${show(port)} does not exist`, `give a number from 1 to ${PORT_MAX}`);
}

function checkStream(stream: unknown): void {
  const fits =
    typeof stream === "string" &&
    stream !== "" &&
    Buffer.byteLength(stream) <= STREAM_BYTES_MAX &&
    !LONE_SURROGATE.test(stream);
  if (fits) return;
  throw wrong(
    `stream ${show(stream)} is no text of 1 to ${STREAM_BYTES_MAX} bytes`,
    "give a shorter name, or none",
  );
}

function timesOf(message: OutgoingMessage): Pick<Envelope, "notBefore" | "expiresAt"> {
  const [notBeforeMs, expiresAtMs] = [wallMs(message, "notBefore"), wallMs(message, "expiresAt")];
  if (expiresAtMs !== undefined && expiresAtMs <= Math.max(Date.now(), notBeforeMs ?? 0)) {
    const when = notBeforeMs === undefined ? "is over" : "is over, or comes before notBefore";
    throw wrong(`expiresAt ${timeText(expiresAtMs)} ${when}`, "give a later time");
  }
  return {
    notBefore: notBeforeMs === undefined ? undefined : timeText(notBeforeMs),
    expiresAt: expiresAtMs === undefined ? undefined : timeText(expiresAtMs),
  };
}

function wallMs(message: OutgoingMessage, name: "notBefore" | "expiresAt"): number | undefined {
  const time = message[name];
  if (time === undefined) return undefined;
  const ms = Number(time);
  if (Number.isFinite(ms)) return ms;
  throw wrong(`${name} is no time`, "give a Date, or milliseconds since the epoch");
}

const show = (value: unknown): string => (JSON.stringify(value) ?? String(value)).slice(0, 80);

export const wrong = (what: string, next: string): DaemonError =>
  new DaemonError("ERR_USAGE", what, next);

const badPayload = (what: string, next: string): DaemonError =>
  new DaemonError("ERR_PAYLOAD", `payload ${what}`, next);

const tooLarge = (bytes: number): DaemonError =>
  badPayload(
    `is ${bytes} bytes, and a message has at most ${MESSAGE_BYTES_MAX}`,
    "shorten or split it",
  );
