// What became of outbound rows, gathered in typed arrays until the store takes it in one transaction.

/** Rows that reached a final state, or must show that they wait. Parallel arrays, one entry a row. */
export interface Settlement {
  /** Rows whose ACK was opened: outbound_messages.id and the generation that was sent. */
  readonly acknowledged: { readonly rowIds: Float64Array; readonly generations: Uint32Array };
  /** Rows sent and still waiting: attempts so far, wall ms of the last send and of the next. */
  readonly waiting: {
    readonly rowIds: Float64Array;
    readonly generations: Uint32Array;
    readonly attempts: Uint32Array;
    readonly sentAt: Float64Array;
    readonly nextAttemptAt: Float64Array;
    /** Sentences, why the other end did not take a row yet; empty: it said nothing. Absent: of none. */
    readonly reasons?: readonly string[];
  };
  /** Rows that go another way by now: their lease ends, and they are leased anew. Rare. */
  readonly givenBack: readonly { readonly rowId: number; readonly generation: number }[];
  /** Rows given up, each with a sentence for a person. Rare, so objects will do. */
  readonly failed: readonly {
    readonly rowId: number;
    readonly generation: number;
    readonly reason: string;
  }[];
}

const WAITING_FIELDS = 5;

/** Collects outcomes; `take` hands them over and starts anew. Bounded by the rows in flight. */
export class SettlementQueue {
  #acknowledged = 0;
  #ackRows = new Float64Array(256);
  #ackGenerations = new Uint32Array(256);
  #waiting: number[] = [];
  /** By place in #waiting; rare, so a row without one has no entry behind the last that has. */
  #reasons: string[] = [];
  #givenBack: { rowId: number; generation: number }[] = [];
  #failed: { rowId: number; generation: number; reason: string }[] = [];

  get size(): number {
    return (
      this.#acknowledged +
      this.#waiting.length / WAITING_FIELDS +
      this.#givenBack.length +
      this.#failed.length
    );
  }

  acknowledge(rowId: number, generation: number): void {
    if (this.#acknowledged === this.#ackRows.length) this.#grow();
    this.#ackRows[this.#acknowledged] = rowId;
    this.#ackGenerations[this.#acknowledged] = generation;
    this.#acknowledged += 1;
  }

  wait(
    rowId: number,
    generation: number,
    attempts: number,
    sentAtMs: number,
    nextAtMs: number,
    reason?: string,
  ): void {
    if (reason !== undefined) {
      const row = this.#waiting.length / WAITING_FIELDS;
      while (this.#reasons.length < row) this.#reasons.push("");
      this.#reasons.push(reason);
    }
    this.#waiting.push(rowId, generation, attempts, sentAtMs, nextAtMs);
  }

  giveBack(rowId: number, generation: number): void {
    this.#givenBack.push({ rowId, generation });
  }

  fail(rowId: number, generation: number, reason: string): void {
    this.#failed.push({ rowId, generation, reason });
  }

  take(): Settlement {
    const waiting = this.#waiting;
    const rows = waiting.length / WAITING_FIELDS;
    const column = (at: number) =>
      Float64Array.from({ length: rows }, (_, i) => waiting[i * WAITING_FIELDS + at] as number);
    const settlement: Settlement = {
      acknowledged: {
        rowIds: this.#ackRows.slice(0, this.#acknowledged),
        generations: this.#ackGenerations.slice(0, this.#acknowledged),
      },
      waiting: {
        rowIds: column(0),
        generations: Uint32Array.from(column(1)),
        attempts: Uint32Array.from(column(2)),
        sentAt: column(3),
        nextAttemptAt: column(4),
        ...(this.#reasons.length > 0 && { reasons: this.#reasons }),
      },
      givenBack: this.#givenBack,
      failed: this.#failed,
    };
    this.#acknowledged = 0;
    this.#waiting = [];
    this.#reasons = [];
    this.#givenBack = [];
    this.#failed = [];
    return settlement;
  }

  #grow(): void {
    const rows = new Float64Array(this.#ackRows.length * 2);
    const generations = new Uint32Array(rows.length);
    rows.set(this.#ackRows);
    generations.set(this.#ackGenerations);
    this.#ackRows = rows;
    this.#ackGenerations = generations;
  }
}
