// A message in the hands of a consumer.

import type { InboundRow } from "./inbox-rows.js";
import type { IncomingMessage } from "./messages.js";
import { dateOf } from "./receipts.js";

/** Where a message reports to what came of it. */
export interface Desk {
  done(rowId: number): void;
  release(rowId: number, afterMs: number | undefined): void;
}

export class HandedMessage implements IncomingMessage {
  readonly rowId: number;
  readonly #row: InboundRow;
  readonly #desk: Desk;
  #payload: string | Uint8Array | undefined;

  constructor(rowId: number, row: InboundRow, desk: Desk) {
    this.rowId = rowId;
    this.#row = row;
    this.#desk = desk;
  }

  get id(): string {
    return this.#row[0];
  }
  get peer(): string {
    return this.#row[1];
  }
  get address(): string {
    return this.#row[2];
  }
  get port(): number {
    return this.#row[3];
  }
  get stream(): string | undefined {
    return this.#row[4] ?? undefined;
  }
  get sequence(): number | undefined {
    return this.#row[5] ?? undefined;
  }
  get inReplyTo(): string | undefined {
    return this.#row[6] ?? undefined;
  }
  get sentAt(): Date {
    return dateOf(this.#row[7]);
  }
  get receivedAt(): Date {
    return dateOf(this.#row[8]);
  }
  get payload(): string | Uint8Array {
    const [, , , , , , , , , type, bytes] = this.#row;
    this.#payload ??= type === "blob" ? bytes : bytes.toString("utf8");
    return this.#payload;
  }
  json(): unknown {
    return JSON.parse(this.#row[10].toString("utf8"));
  }
  done(): void {
    this.#desk.done(this.rowId);
  }
  release(afterMs?: number): void {
    this.#desk.release(this.rowId, afterMs);
  }
}
