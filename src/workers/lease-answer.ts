// The answer to an order while it is being gathered: rows go into a batch, each destination once.

import { assert } from "../shared/base/assert.js";
import type { StoreJob } from "../shared/runtime/messages.js";
import {
  OUTBOUND_RECORD_HEADER_BYTES,
  type OutboundBatchWriter,
  type OutboundSessionFields,
} from "../shared/runtime/outbound-batch.js";
import type { Destination } from "./lanes.js";
import type { Sendable } from "./row-writer.js";

/** A standing order of main's. */
export type Order = Extract<StoreJob, { kind: "lease" }>;

/** Rows gathered for one answer. */
export interface Answer {
  readonly order: Order;
  readonly writer: OutboundBatchWriter;
  /** Index of each destination in the batch. */
  readonly names: Map<Destination, number>;
  /** New rows, and payload and header bytes, that still fit. */
  rowsLeft: number;
  bytesLeft: number;
}

/** Bytes of a record in a batch; the writer rounds up alike. */
export const recordBytes = (payload: Uint8Array): number => recordBytesOf(payload.length);

/** What a row for a session peer has beside that. */
export interface ToPeer {
  /** Public key in base64. */
  readonly peer: string;
  readonly fields: OutboundSessionFields;
}

/** Bytes of a record with such a payload. */
export const recordBytesOf = (payloadLength: number): number =>
  (OUTBOUND_RECORD_HEADER_BYTES + payloadLength + 7) & ~7;

/** Puts a row into the batch; the caller has counted its room. */
export function append(
  answer: Answer,
  destination: Destination,
  rowId: number,
  row: Sendable,
  ticket: number,
  to: ToPeer | undefined,
): void {
  const { writer } = answer;
  const index = indexOf(answer, destination, to?.peer);
  const { expiresAt, generation, retries, released, priority } = row;
  const record = {
    rowId,
    expiresAt,
    destination: index,
    generation,
    attempts: retries,
    ticket,
    released,
    priority,
  };
  const appended = writer.append(record, row.id, row.payload, to?.fields);
  assert(appended, "the room of a batch is counted before rows are taken for it");
}

/** Where the batch names a destination, which is there once. `peer`: public key in base64. */
export function indexOf(
  { names, writer }: Answer,
  destination: Destination,
  peer: string | undefined,
): number {
  let index = names.get(destination);
  if (index === undefined) {
    index = writer.destination(destination.address, destination.port, peer);
    names.set(destination, index);
  }
  return index;
}
