// What two daemons must agree on after whatever happened to them, read from their two files by a
// connection that is no part of either.

import assert from "node:assert/strict";
import type { TestDaemon } from "./harness.js";

export interface Comparison {
  /** Rows acknowledged at the sender. */
  readonly acknowledged: number;
  /** Rows at the receiver. */
  readonly stored: number;
}

/**
 * Compares a sender's rows with a receiver's, and both with what the producer wrote: nothing that is
 * acknowledged is missing or has other bytes, and nothing is there twice. `producer`: text by number,
 * where every payload has the number as its member `n`.
 */
export function compare(
  sender: TestDaemon,
  receiver: TestDaemon,
  producer: ReadonlyMap<number, string>,
): Comparison {
  const stored = new Map<string, Buffer>();
  const numbers = new Set<number>();
  for (const { messageId, payload } of receiver.inbound()) {
    assert.ok(!stored.has(messageId), `message ${messageId} is stored once`);
    stored.set(messageId, payload);
    const { n, text } = JSON.parse(payload.toString()) as { n: number; text: string };
    assert.ok(!numbers.has(n), `the producer's message ${n} is stored once`);
    numbers.add(n);
    assert.equal(text, producer.get(n), `message ${n} has the producer's text`);
  }
  let acknowledged = 0;
  for (const row of sender.outbound()) {
    if (row.state !== "acknowledged") continue;
    acknowledged += 1;
    const copy = stored.get(row.messageId);
    assert.ok(copy !== undefined, `row ${row.id} is acknowledged, so ${row.messageId} is stored`);
    assert.ok(row.payload.equals(copy), `row ${row.id} and its copy have the same bytes`);
  }
  return { acknowledged, stored: stored.size };
}

/** SQLite's own full check of a file. */
export function requireIntegrity(daemon: TestDaemon): void {
  const said = daemon.db.pragma("integrity_check", { simple: true });
  assert.equal(said, "ok", `${daemon.database} is sound`);
}
