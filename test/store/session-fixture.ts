// Deliveries of session peers to a store, told as a test wants to tell them.

import { join } from "node:path";
import type { TestContext } from "node:test";
import { messageIdFromHex } from "../../src/shared/protocol/message-id.js";
import type { MessageDelivery, PieceDelivery } from "../../src/shared/protocol/session/ports.js";
import {
  type DeliveryBatch,
  DeliveryBatchReader,
  DeliveryBatchWriter,
} from "../../src/shared/runtime/delivery-batch.js";
import { Delivery, type Failure } from "../../src/workers/delivery.js";
import { InboundIds } from "../../src/workers/inbound-ids.js";
import { sessionDigest } from "../../src/workers/session-digest.js";
import { SessionInbox } from "../../src/workers/session-inbox.js";
import { SettledTombstones } from "../../src/workers/settled-tombstones.js";
import { Spool, spoolFolder } from "../../src/workers/spool.js";
import { StoreUnderTest, temporaryFolder } from "./fixture.js";

/** Base64 of the public keys of two peers. */
export const ALICE = Buffer.alloc(32, 0xa1).toString("base64");
export const BOB = Buffer.alloc(32, 0xb0).toString("base64");
export const PEERS = [ALICE, BOB];
export const BOOT = Buffer.alloc(8, 1);
export const BOOT_2 = Buffer.alloc(8, 2);
export const FLAG = { ordered: 1, bytes: 2, reply: 8 } as const;

export interface Message {
  readonly kind?: "message";
  readonly peer?: number;
  readonly id: string;
  readonly payload?: string | Uint8Array;
  readonly boot?: Uint8Array;
  readonly number?: number;
  readonly flags?: number;
  readonly stream?: string;
  readonly sequence?: number;
  readonly resume?: boolean;
  readonly gap?: readonly [number, number];
  readonly inReplyTo?: string;
  readonly sentWallNs?: number;
}
export interface Piece extends Omit<Message, "kind"> {
  readonly kind: "piece";
  /** Of the whole message; the piece is cut out of it. */
  readonly payload: Uint8Array;
  readonly from: number;
  readonly to: number;
  readonly last?: boolean;
  /** In place of the right one. */
  readonly digest?: Uint8Array;
}
export type Handed =
  | Message
  | Piece
  | { readonly kind: "settled"; readonly peer?: number; readonly boot?: Uint8Array; below: number }
  | { readonly kind: "drop"; readonly peer?: number; readonly id: string };

export const bytesOf = (id: string): Uint8Array => messageIdFromHex(id) ?? new Uint8Array(12);

/** Payload of a message that the caller left to us. */
export const textOf = (id: string): string => `text of ${id}`;

export function digestOf(message: Message | Piece): Buffer {
  const digest = Buffer.alloc(32);
  const payload = payloadBytes(message);
  const bytes = Buffer.concat([bytesOf(message.id), bytesOf(message.inReplyTo ?? "")]);
  sessionDigest(
    digest,
    {
      flags: message.flags ?? 0,
      stream: Buffer.from(message.stream ?? ""),
      bytes,
      messageIdAt: 0,
      inReplyToAt: 12,
    },
    payload,
  );
  return digest;
}

const payloadBytes = ({ id, payload }: Message | Piece): Buffer => {
  const given = payload ?? textOf(id);
  return typeof given === "string" ? Buffer.from(given) : Buffer.from(given);
};

export function deliveryBatch(handed: readonly Handed[], now = Date.now()): DeliveryBatch {
  const writer = new DeliveryBatchWriter({
    rowsMax: 100_000,
    bytesMax: 256 * 1_024 * 1_024,
    scopeOf: (peer) => PEERS[peer] as string,
  });
  for (const [token, each] of handed.entries()) append(writer, each, token, now);
  return writer.take();
}

function append(writer: DeliveryBatchWriter, handed: Handed, token: number, now: number): void {
  const peer = handed.peer ?? 0;
  if (handed.kind === "settled") {
    writer.settled(peer, handed.boot ?? BOOT, handed.below);
    return;
  }
  if (handed.kind === "drop") {
    writer.drop(peer, bytesOf(handed.id));
    return;
  }
  const whole = payloadBytes(handed);
  const part = handed.kind === "piece" ? whole.subarray(handed.from, handed.to) : whole;
  const digest = (handed.kind === "piece" ? handed.digest : undefined) ?? digestOf(handed);
  const bytes = Buffer.concat([
    bytesOf(handed.id),
    bytesOf(handed.inReplyTo ?? ""),
    digest.subarray(0, 16),
    part,
  ]);
  const delivery: MessageDelivery = {
    peer,
    token,
    boot: handed.boot ?? BOOT,
    number: handed.number ?? 1,
    flags: handed.flags ?? 0,
    stream: handed.stream ?? "",
    sequence: handed.sequence ?? 0,
    resume: handed.resume ?? false,
    gapFirst: handed.gap?.[0] ?? 0,
    gapLast: handed.gap?.[1] ?? 0,
    bytes,
    messageIdAt: 0,
    inReplyToAt: 12,
    payloadAt: 40,
    payloadLength: part.length,
    sentWallNs: handed.sentWallNs ?? now * 1e6,
    address: "192.0.2.9",
    port: 5_001,
  };
  if (handed.kind !== "piece") {
    writer.message(delivery);
    return;
  }
  const piece: PieceDelivery = {
    ...delivery,
    total: whole.length,
    offset: handed.from,
    digest16At: 24,
    last: handed.last ?? false,
  };
  writer.piece(piece);
}

/** Pieces of equal length, in order; the last one says so. */
export function piecesOf(
  message: Omit<Piece, "kind" | "from" | "to">,
  length: number,
): readonly Piece[] {
  const pieces: Piece[] = [];
  for (let from = 0; from < message.payload.length; from += length) {
    const to = Math.min(from + length, message.payload.length);
    pieces.push({ ...message, kind: "piece", from, to, last: to === message.payload.length });
  }
  return pieces;
}

/** Bytes that are no well-formed text and differ everywhere. */
export function largePayload(length: number, seed = 1): Buffer {
  const payload = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    payload[i] = state >>> 24;
  }
  return payload;
}

/** The store with what sessions add, on the same connection. */
export class SessionStoreUnderTest extends StoreUnderTest {
  readonly sessionInbox: SessionInbox;
  readonly settled: SettledTombstones;
  readonly spool: Spool;
  readonly delivery: Delivery;
  failure: Failure | undefined;

  constructor(
    t: TestContext,
    options: {
      path?: string;
      quotaBytes?: number;
      peerOf?: (address: string, port: number) => string | undefined;
    } = {},
  ) {
    const path = options.path ?? join(temporaryFolder(t), "queue.db");
    super(t, { ...options, path });
    const now = (): number => this.now;
    const ids = new InboundIds(this.db);
    this.sessionInbox = new SessionInbox(this.db, ids);
    this.settled = new SettledTombstones(this.db);
    this.spool = new Spool({ folder: spoolFolder(path), now });
    this.delivery = new Delivery(this.db, {
      inbox: this.sessionInbox,
      ids,
      spool: this.spool,
      settled: this.settled,
      report: (sentence) => void this.reports.push(sentence),
      nameOf: (scope) => (scope === ALICE ? "alice" : "bob"),
      now,
      quotaBytes: options.quotaBytes ?? Number.MAX_SAFE_INTEGER,
    });
  }

  override spooledOf(scope: string): number {
    return this.spool.bytesOf(scope);
  }

  /** Hands a batch over; the outcome of each record. */
  deliver(handed: readonly Handed[], deadlineMs = 500): readonly number[] {
    const batch = deliveryBatch(handed, this.now);
    this.failure = this.delivery.apply(batch, deadlineMs);
    return deliveredOf(batch);
  }

  /** Rows of sessions, as another process sees them. */
  rows(columns: string): readonly unknown[] {
    return this.outside.prepare(`SELECT ${columns} FROM inbound_messages ORDER BY id`).raw().all();
  }

  load() {
    return this.spool.load((scope, id) => this.sessionInbox.isStored(scope, id));
  }
}

export function deliveredOf(batch: DeliveryBatch): readonly number[] {
  const outcomes: number[] = [];
  const reader = new DeliveryBatchReader(batch);
  while (reader.next()) outcomes.push(reader.outcome);
  return outcomes;
}

/** First 8 bytes of the digest that each record came back with, in hex. */
export function digestsOf(batch: DeliveryBatch): readonly string[] {
  const digests: string[] = [];
  const reader = new DeliveryBatchReader(batch);
  while (reader.next()) {
    digests.push(Buffer.from(reader.bytes.buffer, reader.digest16At, 8).toString("hex"));
  }
  return digests;
}
