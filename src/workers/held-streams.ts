// Ordered streams of which a message was refused: what is behind it must not be stored in front of it,
// and may be in the queue already. The core says with which message a stream goes on.

import { BOOT_ID_BYTES } from "../shared/protocol/session/limits.js";
import { MESSAGE_FLAG } from "../shared/protocol/session/message-digest.js";
import type { DeliveryBatchReader } from "../shared/runtime/delivery-batch.js";

export class HeldStreams {
  /** By scope: streams of the newest boot alone, since a new one begins all of them anew. */
  readonly #of = new Map<string, { readonly boot: string; readonly streams: Set<string> }>();

  /** Whether the message at the cursor must wait. */
  holds(record: DeliveryBatchReader): boolean {
    const held = this.#of.get(record.scope);
    if (held === undefined || !isOrdered(record) || record.resume) return false;
    return held.boot === bootOf(record) && held.streams.has(record.stream);
  }

  /** The message at the cursor was stored, or it was not, and its stream stops here. */
  answered(record: DeliveryBatchReader, stored: boolean): void {
    if (!isOrdered(record)) return;
    const { scope, stream } = record;
    const held = this.#of.get(scope);
    if (stored) {
      if (record.resume) held?.streams.delete(stream);
      if (held?.streams.size === 0) this.#of.delete(scope);
      return;
    }
    const boot = bootOf(record);
    if (held?.boot === boot) held.streams.add(stream);
    else this.#of.set(scope, { boot, streams: new Set([stream]) });
  }
}

const isOrdered = ({ flags }: DeliveryBatchReader): boolean => (flags & MESSAGE_FLAG.ordered) !== 0;

const bootOf = ({ bytes, bootAt }: DeliveryBatchReader): string =>
  Buffer.from(bytes.buffer, bootAt, BOOT_ID_BYTES).toString("hex");
