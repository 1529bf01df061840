// Named counters: drops by reason, and what the actors did. Fixed names, so that an increment is a
// property access; read by the summary line, `status` and tests.

import { DROP_REASONS, type DropReason } from "../base/errors.js";

export const COUNTER_NAMES = [
  "datagrams_received",
  "datagrams_sent",
  "send_errors",
  "messages_opened",
  "acks_opened",
  "acks_sent",
  "messages_stored",
  "messages_known",
  "messages_conflicting",
  "messages_reflected",
  "messages_over_quota",
  "messages_unstored",
  "rows_leased",
  "rows_acknowledged",
  "rows_failed",
  "rows_postponed",
  "store_busy",
  "store_full",
  "unsealed",
  "packets_opened",
  "handshakes_sent",
  "reassembly_bytes_peak",
] as const;
export type CounterName = (typeof COUNTER_NAMES)[number];

const zeros = <Name extends string>(names: readonly Name[]): Record<Name, number> => {
  const record = {} as Record<Name, number>;
  for (const name of names) record[name] = 0;
  return record;
};

export class Counters {
  readonly of: Record<CounterName, number> = zeros(COUNTER_NAMES);
  readonly drops: Record<DropReason, number> = zeros(DROP_REASONS);

  /** Everything above zero, drops with a prefix. */
  snapshot(): Record<string, number> {
    const all: Record<string, number> = {};
    for (const [name, value] of Object.entries(this.of)) if (value > 0) all[name] = value;
    for (const [name, value] of Object.entries(this.drops)) {
      if (value > 0) all[`drop_${name}`] = value;
    }
    return all;
  }
}
