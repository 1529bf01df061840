// Payloads of outbound rows that are under way, in pieces: large ones are leased without, and what was
// dropped under pressure is read again. A large payload is read from the table once and kept while its
// pieces are asked for.

import { MESSAGE_BYTES_MAX } from "../shared/protocol/session/limits.js";
import type { PayloadOrder } from "../shared/protocol/session/ports.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import { WORKED } from "../shared/store/schema.js";

/** Bytes of the payloads kept: what is not kept is read as a whole again for each piece of it. */
export const PAYLOADS_KEPT_BYTES_MAX = 2 * MESSAGE_BYTES_MAX;
/** A payload that nobody asked for so long is let go, ms. */
export const PAYLOAD_IDLE_MS = 10_000;
/** Longest piece, bytes. */
export const PAYLOAD_PIECE_BYTES_MAX = 256 * 1_024;

interface Kept {
  readonly rowId: number;
  readonly generation: number;
  readonly payload: Uint8Array;
  usedAt: number;
}

export class PayloadReader {
  readonly #isThere: Statement;
  readonly #payload: Statement;
  readonly #now: () => number;
  readonly #keptBytesMax: number;
  /** The one read last at the end. */
  #kept: Kept[] = [];

  /** `now`: ms, of any origin. */
  constructor(db: Connection, now: () => number, keptBytesMax = PAYLOADS_KEPT_BYTES_MAX) {
    this.#now = now;
    this.#keptBytesMax = keptBytesMax;
    this.#isThere = db
      .prepare(
        `SELECT octet_length(payload) FROM outbound_messages
         WHERE id = ? AND generation = ? AND ${WORKED}`,
      )
      .pluck();
    this.#payload = db
      .prepare(
        "SELECT CAST(payload AS BLOB) FROM outbound_messages WHERE id = ? AND generation = ?",
      )
      .pluck();
  }

  /**
   * The bytes from `offset` on, at most `length` and 256 KiB of them, in memory of their own; undefined
   * when the row is gone, final or of another generation, or ends in front of `offset`.
   */
  read({ rowId, generation, offset, length }: PayloadOrder): Uint8Array<ArrayBuffer> | undefined {
    const payload = this.whole(rowId, generation);
    if (payload === undefined || offset < 0 || offset > payload.length) return undefined;
    const end = Math.min(offset + length, offset + PAYLOAD_PIECE_BYTES_MAX, payload.length);
    const piece = new Uint8Array(Math.max(0, end - offset));
    piece.set(payload.subarray(offset, end));
    return piece;
  }

  /** Bytes that are kept. */
  get keptBytes(): number {
    return this.#kept.reduce((sum, { payload }) => sum + payload.length, 0);
  }

  /** Lets go what nobody asked for lately. */
  tend(): void {
    const before = this.#now() - PAYLOAD_IDLE_MS;
    this.#kept = this.#kept.filter(({ usedAt }) => usedAt > before);
  }

  /** The whole payload; undefined as for {@link read}. A view of what is kept. */
  whole(rowId: number, generation: number): Uint8Array | undefined {
    const bytes = this.#isThere.get(rowId, generation);
    const at = this.#kept.findIndex((kept) => kept.rowId === rowId);
    const kept = this.#kept[at];
    if (typeof bytes !== "number" || bytes > MESSAGE_BYTES_MAX) {
      if (at >= 0) this.#kept.splice(at, 1);
      return undefined;
    }
    if (kept !== undefined && kept.generation === generation) {
      this.#kept.push(...this.#kept.splice(at, 1));
      kept.usedAt = this.#now();
      return kept.payload;
    }
    if (at >= 0) this.#kept.splice(at, 1);
    const payload = this.#payload.get(rowId, generation) as Uint8Array;
    if (bytes > PAYLOAD_PIECE_BYTES_MAX) {
      this.#kept.push({ rowId, generation, payload, usedAt: this.#now() });
      while (this.keptBytes > this.#keptBytesMax) this.#kept.shift();
    }
    return payload;
  }
}
