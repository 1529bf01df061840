// A table of messages received, as the store of one host keeps it for one peer: dedupes by message id,
// holds streams up behind a refusal, spools large messages, keeps tombstones of what was deleted until
// its sender settled it. What it answers is committed; what it is told to fail did not happen.

import assert from "node:assert/strict";
import { NumberRanges } from "../../../src/shared/protocol/session/number-ranges.js";
import {
  DELIVERED,
  type DeliveredRecord,
  type DeliverySink,
  type MessageDelivery,
  type PieceDelivery,
} from "../../../src/shared/protocol/session/ports.js";
import { digestOf } from "./layer-parts.js";

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const stored = (outcome: number): boolean =>
  outcome === DELIVERED.inserted || outcome === DELIVERED.known;

interface Kept {
  readonly digest: string;
  boot: string;
  number: number;
}

interface Spooled {
  readonly digest16: string;
  readonly total: number;
  readonly bytes: Uint8Array;
  readonly ranges: NumberRanges;
}

interface Record {
  readonly kind: "message" | "piece" | "settled" | "drop";
  readonly token: number;
  readonly number: number;
  readonly boot: string;
  readonly id: string;
  readonly stream: string;
  readonly sequence: number;
  readonly resume: boolean;
  readonly gapFirst: number;
  readonly gapLast: number;
  readonly payload: Uint8Array;
  readonly total: number;
  readonly offset: number;
  readonly digest16: string;
  readonly last: boolean;
}

const NOTHING = {
  token: 0,
  stream: "",
  sequence: 0,
  resume: false,
  gapFirst: 0,
  gapLast: 0,
  payload: new Uint8Array(0),
  total: 0,
  offset: 0,
  digest16: "",
  last: false,
};

export interface Inserted {
  readonly id: string;
  readonly payload: Uint8Array;
  readonly stream: string;
  readonly sequence: number;
  readonly boot: string;
}

export class MessageStore implements DeliverySink {
  /** Every row that was ever inserted, in the order of insertion. */
  readonly inserted: Inserted[] = [];
  readonly gaps: { readonly stream: string; readonly first: number; readonly last: number }[] = [];
  /** What the store says instead, for a record that it could take. */
  refuses: (() => number | undefined) | undefined;
  /** Records that wait at most. */
  recordsMax = 1_000;
  #queue: Record[] = [];
  readonly #rows = new Map<string, Kept>();
  readonly #tombstones = new Map<string, Kept>();
  readonly #ever = new Set<string>();
  readonly #files = new Map<string, Spooled>();
  readonly #held = new Set<string>();
  #settled = { boot: "", below: 0 };

  get accepting(): boolean {
    return this.#queue.length < this.recordsMax;
  }
  get waiting(): number {
    return this.#queue.length;
  }
  get files(): number {
    return this.#files.size;
  }

  // --- From the core ----------------------------------------------------------------------------

  message(delivery: MessageDelivery): boolean {
    return this.#push({ ...recordOf(delivery), kind: "message" });
  }

  piece(delivery: PieceDelivery): boolean {
    const { bytes, digest16At, total, offset, last } = delivery;
    const digest16 = hex(bytes.slice(digest16At, digest16At + 16));
    const piece = { total, offset, last, digest16 };
    return this.#push({ ...recordOf(delivery), ...piece, kind: "piece" });
  }

  settled(_peer: number, boot: Uint8Array, below: number): boolean {
    return this.#push({ ...NOTHING, id: "", kind: "settled", boot: hex(boot), number: below });
  }

  drop(_peer: number, messageId: Uint8Array): boolean {
    return this.#push({ ...NOTHING, id: hex(messageId), kind: "drop", boot: "", number: 0 });
  }

  #push(record: Record): boolean {
    if (!this.accepting) return false;
    this.#queue.push(record);
    return true;
  }

  // --- From the test ----------------------------------------------------------------------------

  /** The process dies: what was not committed is gone. */
  crash(): void {
    this.#queue = [];
    this.#held.clear();
  }

  /** What spool files hold, as a start finds them. */
  found(): { messageId: Uint8Array; digest16: Uint8Array; total: number; ranges: Range[] }[] {
    return [...this.#files].map(([id, { digest16, total, ranges }]) => ({
      messageId: Uint8Array.from(Buffer.from(id, "hex")),
      digest16: Uint8Array.from(Buffer.from(digest16, "hex")),
      total,
      ranges: Array.from({ length: ranges.size }, (_, i) => ({
        start: ranges.startOf(i),
        end: ranges.endOf(i),
      })),
    }));
  }

  /** Somebody reads a row and deletes it. */
  consume(pick: number): void {
    const ids = [...this.#rows.keys()];
    const id = ids[Math.floor(pick * ids.length)];
    if (id === undefined) return;
    const kept = this.#rows.get(id) as Kept;
    this.#rows.delete(id);
    const { boot, below } = this.#settled;
    if (kept.boot !== boot || kept.number >= below) this.#tombstones.set(id, kept);
  }

  /** Takes what waits in one transaction; `failure`: nothing of it happens. */
  run(failure?: number): DeliveredRecord[] {
    const queue = this.#queue;
    this.#queue = [];
    return queue.flatMap((record) => {
      const isMessage = record.kind === "message" || record.kind === "piece";
      if (!isMessage) {
        if (failure === undefined) this.#tidy(record);
        return [];
      }
      let outcome: number = failure ?? this.#take(record);
      if (failure !== undefined && (record.kind === "message" || record.last)) {
        this.#answered(record, false);
      }
      if (outcome === DELIVERED.spooled && record.last) outcome = DELIVERED.busy;
      return [this.#answer(record, outcome)];
    });
  }

  #answer(record: Record, outcome: number): DeliveredRecord {
    const { token, number, offset, payload } = record;
    const digest =
      record.kind === "piece"
        ? Buffer.from(record.digest16, "hex")
        : Buffer.from(digestOf(record.id, payload));
    return {
      ...{ peer: 0, token, number, offset, payloadLength: payload.length },
      outcome: outcome as DeliveredRecord["outcome"],
      digestLow: digest.readInt32LE(0),
      digestHigh: digest.readInt32LE(4),
    };
  }

  #tidy(record: Record): void {
    if (record.kind === "drop") this.#files.delete(record.id);
    else {
      this.#settled = { boot: record.boot, below: record.number };
      for (const [id, { boot, number }] of this.#tombstones) {
        if (boot === record.boot && number < record.number) this.#tombstones.delete(id);
      }
    }
  }

  #take(record: Record): number {
    if (record.kind === "message") {
      return this.#insert(record, record.payload, hex(digestOf(record.id, record.payload)));
    }
    const file = this.#files.get(record.id);
    if (file?.digest16 !== record.digest16 || file.total !== record.total) {
      const known = this.#known(record, (digest) => digest.startsWith(record.digest16));
      if (known !== undefined) return this.#done(record, known);
      if (record.last) return this.#done(record, DELIVERED.busy);
      this.#files.set(record.id, {
        digest16: record.digest16,
        total: record.total,
        bytes: new Uint8Array(record.total),
        ranges: new NumberRanges(4_096),
      });
    }
    const into = this.#files.get(record.id) as Spooled;
    const planned = record.last ? undefined : this.refuses?.();
    if (planned === DELIVERED.full) {
      this.#files.delete(record.id);
      return planned;
    }
    into.bytes.set(record.payload, record.offset);
    into.ranges.addRange(record.offset, record.offset + record.payload.length);
    if (!record.last) return DELIVERED.spooled;
    if (!into.ranges.covers(0, into.total)) return this.#done(record, DELIVERED.busy);
    const digest = hex(digestOf(record.id, into.bytes));
    if (!digest.startsWith(record.digest16)) {
      this.#files.delete(record.id);
      return this.#done(record, DELIVERED.corrupt);
    }
    const outcome = this.#insert(record, into.bytes, digest);
    if (outcome !== DELIVERED.quota && outcome !== DELIVERED.held) this.#files.delete(record.id);
    return outcome;
  }

  #insert(record: Record, payload: Uint8Array, digest: string): number {
    if (record.stream !== "" && this.#held.has(record.boot + record.stream) && !record.resume) {
      return this.#known(record, (each) => each === digest) ?? DELIVERED.held;
    }
    const known = this.#known(record, (each) => each === digest);
    const planned = known === undefined ? this.refuses?.() : undefined;
    if (known !== undefined || planned !== undefined) {
      return this.#done(record, known ?? (planned as number));
    }
    const { id, stream, sequence, boot, number } = record;
    assert.ok(!this.#ever.has(id), `${id} was stored before, and deleted: it is stored twice`);
    this.#ever.add(id);
    this.#rows.set(id, { digest, boot, number });
    this.inserted.push({ id, payload, stream, sequence, boot });
    const { gapFirst: first, gapLast: last } = record;
    if (last !== 0) this.gaps.push({ stream, first, last });
    return this.#done(record, DELIVERED.inserted);
  }

  #known(record: Record, same: (digest: string) => boolean): number | undefined {
    const kept = this.#rows.get(record.id) ?? this.#tombstones.get(record.id);
    if (kept === undefined) return undefined;
    if (!same(kept.digest)) return DELIVERED.conflict;
    if (kept.boot !== record.boot || kept.number < record.number) {
      kept.boot = record.boot;
      kept.number = record.number;
    }
    return DELIVERED.known;
  }

  #done(record: Record, outcome: number): number {
    this.#answered(record, stored(outcome));
    return outcome;
  }

  #answered({ stream, boot, resume }: Record, isStored: boolean): void {
    if (stream === "") return;
    if (!isStored) this.#held.add(boot + stream);
    else if (resume) this.#held.delete(boot + stream);
  }
}

interface Range {
  readonly start: number;
  readonly end: number;
}

function recordOf(delivery: MessageDelivery): Omit<Record, "kind"> {
  const { bytes, messageIdAt, payloadAt, payloadLength, boot } = delivery;
  const { token, number, stream, sequence, resume, gapFirst, gapLast } = delivery;
  return {
    ...NOTHING,
    ...{ token, number, stream, sequence, resume, gapFirst, gapLast },
    boot: hex(boot),
    id: hex(bytes.slice(messageIdAt, messageIdAt + 12)),
    payload: bytes.slice(payloadAt, payloadAt + payloadLength),
    total: payloadLength,
  };
}
