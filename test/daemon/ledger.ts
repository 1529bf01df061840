// What two daemons must agree on after whatever happened to them, read from their two files by
// connections that are no part of either.

import assert from "node:assert/strict";
import type { InboundRow, OutboundRow, TestDaemon } from "./harness.js";

/** Rows acknowledged at the sender, and rows at the receiver. */
export interface Balance {
  readonly acknowledged: number;
  readonly stored: number;
}

/**
 * One direction of mail. Nothing that is acknowledged may be missing at the receiver or have other
 * bytes there, nothing may be there twice, and all of it is what the producer wrote.
 */
export class Ledger {
  readonly #sender: TestDaemon;
  readonly #receiver: TestDaemon;
  readonly #producer: ReadonlyMap<number, string>;
  readonly #stored = new Map<string, Buffer>();
  readonly #numbers = new Set<number>();
  #inboundId = 0;
  /** Rows up to this one were acknowledged, and are checked. */
  #outboundId = 0;
  #acknowledged = 0;

  /** `producer`: text by number; every payload holds the number as `n` and the text as `text`. */
  constructor(sender: TestDaemon, receiver: TestDaemon, producer: ReadonlyMap<number, string>) {
    this.#sender = sender;
    this.#receiver = receiver;
    this.#producer = producer;
  }

  /** Checks what is new since the last check, sender first: what it believes must be true by then. */
  check(): Balance {
    const believed = this.#sender.outbound(this.#outboundId);
    for (const row of this.#receiver.inbound(this.#inboundId)) this.#enter(row);
    const left = this.#receiver.count("inbound", `id <= ${this.#inboundId}`);
    assert.equal(left, this.#stored.size, "no row went away again");
    let open = false;
    let acknowledged = this.#acknowledged;
    for (const row of believed) {
      if (row.state !== "acknowledged") open = true;
      else {
        this.#verify(row);
        acknowledged += 1;
      }
      if (open) continue;
      this.#outboundId = row.id;
      this.#acknowledged = acknowledged;
    }
    return { acknowledged, stored: this.#stored.size };
  }

  #enter({ id, messageId, payload }: InboundRow): void {
    assert.ok(!this.#stored.has(messageId), `message ${messageId} is stored once`);
    this.#stored.set(messageId, payload);
    this.#inboundId = id;
    const { n, text } = JSON.parse(payload.toString()) as { n: number; text: string };
    assert.ok(!this.#numbers.has(n), `the producer's message ${n} is stored once`);
    this.#numbers.add(n);
    assert.equal(text, this.#producer.get(n), `message ${n} has the producer's text`);
  }

  #verify({ id, messageId, payload }: OutboundRow): void {
    const copy = this.#stored.get(messageId);
    assert.ok(copy !== undefined, `row ${id} is acknowledged, and ${messageId} is not stored`);
    assert.ok(payload.equals(copy), `row ${id} and its copy have the same bytes`);
  }
}

/** One check of everything. */
export const compare = (
  sender: TestDaemon,
  receiver: TestDaemon,
  producer: ReadonlyMap<number, string>,
): Balance => new Ledger(sender, receiver, producer).check();

/** SQLite's own full check of a file. */
export function requireIntegrity(daemon: TestDaemon): void {
  const said = daemon.db.pragma("integrity_check", { simple: true });
  assert.equal(said, "ok", `${daemon.database} is sound`);
}
