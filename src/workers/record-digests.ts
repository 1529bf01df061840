// Digests of the messages of a batch (delivery.ts), in memory that is kept from one batch to the next.

import { MESSAGE_DIGEST_BYTES } from "../shared/protocol/session/limits.js";
import { MESSAGE_FLAG } from "../shared/protocol/session/message-digest.js";
import type { DeliveryBatchReader } from "../shared/runtime/delivery-batch.js";
import { sessionDigest } from "./session-digest.js";

const NO_STREAM = new Uint8Array(0);

export class RecordDigests {
  /** Of each record of the batch; views of one memory that outlive it. */
  readonly #digests: Buffer[] = [];
  /** UTF-8 of the streams of the batch. */
  readonly #streams = new Map<string, Uint8Array>();

  /** A batch begins with so many records. */
  begin(rows: number): void {
    this.#streams.clear();
    if (this.#digests.length >= rows) return;
    const bytes = Buffer.alloc(2 * rows * MESSAGE_DIGEST_BYTES);
    for (let row = 0; row < 2 * rows; row++) {
      const at = row * MESSAGE_DIGEST_BYTES;
      this.#digests[row] = bytes.subarray(at, at + MESSAGE_DIGEST_BYTES);
    }
  }

  /** The digest of a record, once it was computed. */
  of(row: number): Buffer {
    return this.#digests[row] as Buffer;
  }

  /** Computes what the message at the cursor hashes to. */
  compute(into: Buffer, record: DeliveryBatchReader, payload: Uint8Array): void {
    const { bytes, flags, messageIdAt, inReplyToAt } = record;
    const ordered = (flags & MESSAGE_FLAG.ordered) !== 0;
    const stream = ordered ? this.#streamBytes(record.stream) : NO_STREAM;
    sessionDigest(into, { flags, stream, bytes, messageIdAt, inReplyToAt }, payload);
  }

  #streamBytes(stream: string): Uint8Array {
    let bytes = this.#streams.get(stream);
    if (bytes === undefined) {
      bytes = Buffer.from(stream);
      this.#streams.set(stream, bytes);
    }
    return bytes;
  }
}
