// Frames as plain objects, for tests only: what is said with the encoders, and what the reader heard.
// The core has no such objects; comparing them finds a field that is written or read in a wrong place.

import { FrameReader } from "../../../src/shared/protocol/session/frame.js";
import type { AckSource } from "../../../src/shared/protocol/session/frame-ack.js";
import { putAck } from "../../../src/shared/protocol/session/frame-ack.js";
import {
  putClose,
  putKeys,
  putPath,
  putPing,
  putRekey,
} from "../../../src/shared/protocol/session/frame-control.js";
import {
  putRefuse,
  putSettled,
  ReceiptWriter,
} from "../../../src/shared/protocol/session/frame-receipt.js";
import { putCredit, putHave } from "../../../src/shared/protocol/session/frame-transfer.js";
import { FRAME, NO_FRAME } from "../../../src/shared/protocol/session/frame-type.js";
import { MESSAGE_FLAG } from "../../../src/shared/protocol/session/message-digest.js";
import { MessageWriter } from "../../../src/shared/protocol/session/message-writer.js";
import { NumberRanges } from "../../../src/shared/protocol/session/number-ranges.js";
import type { KeyRole } from "../../../src/shared/protocol/session/ports.js";

/** First and last, or start and end. */
export type Pair = readonly [number, number];

export type Said =
  | { readonly kind: "ping" }
  | { readonly kind: "ack"; readonly delayUs: number; readonly ranges: readonly Pair[] }
  | ({ readonly kind: "message" } & SaidMessage)
  | {
      readonly kind: "receipt";
      readonly boot: string;
      /** Number, low and high word of the digest. */
      readonly entries: readonly (readonly [number, number, number])[];
    }
  | {
      readonly kind: "refuse";
      readonly boot: string;
      readonly number: number;
      readonly digest: Pair;
      readonly reason: number;
      readonly delaySeconds: number;
    }
  | { readonly kind: "settled"; readonly below: number }
  | {
      readonly kind: "have";
      readonly dropped: boolean;
      readonly messageId: string;
      readonly digest16: string;
      readonly total: number;
      readonly ranges: readonly Pair[];
    }
  | { readonly kind: "credit"; readonly messages: number; readonly bytes: number }
  | {
      readonly kind: "rekey";
      readonly message: 1 | 2;
      readonly sessionId: number;
      readonly answers: number;
      readonly noise: string;
    }
  | { readonly kind: "challenge" | "response"; readonly data: string }
  | { readonly kind: "close"; readonly reason: number }
  | { readonly kind: "keys"; readonly keys: readonly (readonly [KeyRole, string])[] };

/** Bytes are hex. What a message does not have is undefined. */
export interface SaidMessage {
  readonly number: number;
  readonly bytes: boolean;
  readonly priority: number;
  readonly messageId: string;
  readonly lifeSeconds: number;
  readonly total: number;
  readonly inReplyTo: string | undefined;
  readonly ordered:
    | { readonly stream: string; readonly sequence: number; readonly base: number }
    | undefined;
  readonly piece: { readonly digest16: string; readonly offset: number } | undefined;
  readonly data: string;
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
export const unhex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));

/** The frames back to back. */
export function encode(...frames: readonly Said[]): Uint8Array {
  const into = new Uint8Array(70_000);
  let at = 0;
  for (const frame of frames) at = put(into, at, into.length, frame);
  return into.slice(0, at);
}

/** Writes a frame to end before `end`, where its encoder can be told so. */
export function put(into: Uint8Array, at: number, end: number, frame: Said): number {
  switch (frame.kind) {
    case "ping":
      return putPing(into, at);
    case "ack":
      return putAck(into, at, end, ackSource(frame.ranges), frame.delayUs);
    case "message":
      return putMessage(into, at, frame);
    case "receipt": {
      const writer = new ReceiptWriter();
      writer.open(into, at, end, unhex(frame.boot));
      for (const entry of frame.entries) if (!writer.add(...entry)) break;
      return writer.close();
    }
    case "refuse":
      return putRefuse(
        into,
        at,
        unhex(frame.boot),
        frame.number,
        ...frame.digest,
        frame.reason,
        frame.delaySeconds,
      );
    case "settled":
      return putSettled(into, at, frame.below);
    case "have": {
      const ranges = new NumberRanges(100);
      for (const range of frame.ranges) ranges.addRange(...range);
      const ids = unhex(frame.messageId + frame.digest16);
      return putHave(into, at, end, ids, frame.dropped, frame.total, ranges);
    }
    case "credit":
      return putCredit(into, at, frame.messages, frame.bytes);
    case "rekey":
      return putRekey(into, at, frame.message, frame.sessionId, frame.answers, unhex(frame.noise));
    case "challenge":
      return putPath(into, at, FRAME.pathChallenge, unhex(frame.data));
    case "response":
      return putPath(into, at, FRAME.pathResponse, unhex(frame.data));
    case "close":
      return putClose(into, at, frame.reason);
    case "keys":
      return putKeys(
        into,
        at,
        frame.keys.map(([role, id]) => ({ role, id: unhex(id) })),
      );
  }
}

/** What a reader hears in `bytes[at .. at + length)`; the last entry is "fault" if it ended so. */
export function decode(
  bytes: Uint8Array,
  at = 0,
  length = bytes.length - at,
  reader = new FrameReader(),
): (Said | "fault")[] {
  const heard: (Said | "fault")[] = [];
  reader.open(bytes, at, length);
  for (;;) {
    const said = hear(reader, bytes);
    if (said === undefined) return heard;
    heard.push(said);
    if (said === "fault") return heard;
  }
}

function hear(reader: FrameReader, bytes: Uint8Array): Said | "fault" | undefined {
  const run = (from: number, length: number) => hex(bytes.subarray(from, from + length));
  switch (reader.next()) {
    case NO_FRAME.end:
      return undefined;
    case NO_FRAME.fault:
      return "fault";
    case FRAME.ping:
      return { kind: "ping" };
    case FRAME.ack: {
      const ranges: Pair[] = [];
      do ranges.push([reader.ack.rangeFirst, reader.ack.rangeLast]);
      while (reader.ack.next());
      return { kind: "ack", delayUs: reader.ack.delayUs, ranges };
    }
    case FRAME.message:
      return hearMessage(reader, run);
    case FRAME.receipt: {
      const { receipt } = reader;
      const entries: [number, number, number][] = [];
      while (receipt.next()) {
        entries.push([receipt.number, receipt.digestLow >>> 0, receipt.digestHigh >>> 0]);
      }
      return { kind: "receipt", boot: run(receipt.bootAt, 8), entries };
    }
    case FRAME.refuse: {
      const { bootAt, number, digestLow, digestHigh, reason, delaySeconds } = reader.refuse;
      const digest: Pair = [digestLow >>> 0, digestHigh >>> 0];
      return { kind: "refuse", boot: run(bootAt, 8), number, digest, reason, delaySeconds };
    }
    case FRAME.settled:
      return { kind: "settled", below: reader.settled.below };
    case FRAME.have: {
      const { dropped, messageIdAt, digest16At, total } = reader.have;
      const ranges: Pair[] = [];
      while (reader.have.next()) ranges.push([reader.have.rangeStart, reader.have.rangeEnd]);
      const [messageId, digest16] = [run(messageIdAt, 12), run(digest16At, 16)];
      return { kind: "have", dropped, messageId, digest16, total, ranges };
    }
    case FRAME.credit: {
      const { creditMessages, creditBytes } = reader.credit;
      return { kind: "credit", messages: creditMessages, bytes: creditBytes };
    }
    case FRAME.rekey: {
      const { message, sessionId, answers, noiseAt, noiseLength } = reader.rekey;
      return { kind: "rekey", message, sessionId, answers, noise: run(noiseAt, noiseLength) };
    }
    case FRAME.pathChallenge:
      return { kind: "challenge", data: run(reader.path.dataAt, 8) };
    case FRAME.pathResponse:
      return { kind: "response", data: run(reader.path.dataAt, 8) };
    case FRAME.close:
      return { kind: "close", reason: reader.close.reason };
    case FRAME.keys: {
      const keys: [KeyRole, string][] = [];
      while (reader.keys.next()) keys.push([reader.keys.role, run(reader.keys.keyIdAt, 8)]);
      return { kind: "keys", keys };
    }
    case FRAME.padding:
      throw new Error("padding is passed over");
  }
}

function hearMessage(reader: FrameReader, run: (from: number, length: number) => string): Said {
  const { message: m } = reader;
  const isReply = (m.messageFlags & MESSAGE_FLAG.reply) !== 0;
  return {
    kind: "message",
    number: m.number,
    bytes: (m.messageFlags & MESSAGE_FLAG.bytes) !== 0,
    priority: m.priority,
    messageId: run(m.messageIdAt, 12),
    lifeSeconds: m.lifeSeconds,
    total: m.total,
    inReplyTo: isReply ? run(m.inReplyToAt, 12) : undefined,
    ordered: m.ordered
      ? { stream: run(m.streamAt, m.streamLength), sequence: m.sequence, base: m.base }
      : undefined,
    piece: m.fragmented ? { digest16: run(m.digest16At, 16), offset: m.offset } : undefined,
    data: run(m.dataAt, m.length),
  };
}

function putMessage(into: Uint8Array, at: number, said: SaidMessage): number {
  const writer = new MessageWriter();
  const { header } = writer;
  const data = unhex(said.data);
  header.number = said.number;
  header.flags =
    (said.ordered === undefined ? 0 : MESSAGE_FLAG.ordered) |
    (said.bytes ? MESSAGE_FLAG.bytes : 0) |
    (said.inReplyTo === undefined ? 0 : MESSAGE_FLAG.reply);
  header.priority = said.priority;
  header.fragmented = said.piece !== undefined;
  header.lifeSeconds = said.lifeSeconds;
  header.total = said.total;
  header.offset = said.piece?.offset ?? 0;
  header.ids = unhex(said.messageId);
  header.replies = unhex(said.inReplyTo ?? "");
  header.digests = unhex(said.piece?.digest16 ?? "");
  header.stream = said.ordered === undefined ? undefined : unhex(said.ordered.stream);
  header.sequence = said.ordered?.sequence ?? 0;
  header.base = said.ordered?.base ?? 0;
  return writer.write(into, at, { bytes: data, at: 0 }, data.length);
}

/** A cursor over ranges of counters, first and last, the newest first. */
function ackSource(ranges: readonly Pair[]): AckSource {
  let index = 0;
  return {
    largest: ranges[0]?.[1] ?? -1,
    rewind: () => {
      index = 0;
      return ranges.length > 0;
    },
    next: () => {
      index += 1;
      return index < ranges.length;
    },
    get length() {
      return ranges[index][1] - ranges[index][0];
    },
    get gap() {
      return ranges[index - 1][0] - ranges[index][1] - 2;
    },
  };
}
