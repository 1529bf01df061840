// What the sending half of classic is told, and what it asks of the store.

import type { Nanoseconds } from "../base/units.js";
import type { InFlight } from "./in-flight.js";

/** How long a message is tried. Both undefined: exponential backoff until it expires. */
export interface RetryPolicy {
  /** Fixed wait between tries, for those who set --retry-interval; undefined: backoff. */
  readonly intervalNs: Nanoseconds | undefined;
  /** Retransmissions after which a message fails, for those who set --max-retries. */
  readonly retriesMax: number | undefined;
}

/** What the core asks of the store: new rows, and rows in flight whose bytes it wants once more. */
export interface LeaseOrder {
  readonly rowsMax: number;
  readonly again: { readonly rowIds: Float64Array; readonly tickets: Uint32Array };
}

/** The order for so many new rows, and for those in the slots given. */
export const orderOf = (
  flight: InFlight,
  rowsMax: number,
  slots: readonly number[],
): LeaseOrder => ({
  rowsMax,
  again: {
    rowIds: Float64Array.from(slots, (slot) => flight.rowIds[slot] as number),
    tickets: Uint32Array.from(slots, (slot) => flight.ticketOf(slot)),
  },
});

/** Rows of one order. */
export const LEASE_ROWS_MAX = 1_024;
const LEASE_ROWS_MIN = 16;

/** Rows of one order at a rate: what goes in a tenth of a second, so that urgent rows jump in. */
export function lotRows(ratePerSecond: number): number {
  if (ratePerSecond === 0) return LEASE_ROWS_MAX;
  return Math.min(LEASE_ROWS_MAX, Math.max(LEASE_ROWS_MIN, Math.ceil(ratePerSecond / 10)));
}

/** What last_error says of a message that expired without an ACK. */
export const expiredReason = (wasSent: boolean): string =>
  wasSent ? "expired, may have been delivered" : "expired, not sent";
