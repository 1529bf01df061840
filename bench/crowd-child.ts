// Many hosts in one process, as bench/crowd needs them: all hold a session with one daemon. They take
// what it sends, or send batches in turn, so many messages under way in all, however many they are.

import { setTimeout as nap } from "node:timers/promises";
import { systemClock } from "../src/main/clock.js";
import { NS_PER_MS } from "../src/shared/base/units.js";
import { DeadlineHeap } from "../src/shared/protocol/deadline-heap.js";
import { CrowdBatch, CrowdMember } from "./crowd-member.js";

/** What the parent says. */
export type CrowdOrder =
  | { readonly kind: "make"; readonly members: number }
  | { readonly kind: "begin"; readonly publicKey: Uint8Array; readonly port: number }
  | {
      readonly kind: "send";
      readonly bytes: number;
      readonly batch: number;
      readonly seconds: number;
    }
  | { readonly kind: "count" };

/** What this process answers: one answer an order, and `started` behind a warm-up. */
export type CrowdAnswer =
  | { readonly kind: "made"; readonly members: readonly { publicKey: Uint8Array; port: number }[] }
  | { readonly kind: "up" }
  | { readonly kind: "started" }
  | {
      readonly kind: "sent";
      /** All, and those behind the warm-up. */
      readonly messages: number;
      readonly measured: number;
      /** From the first to the last acknowledgement of those. */
      readonly elapsedMs: number;
    }
  | { readonly kind: "count"; readonly received: number };

/** Members that begin at a time, and the wait behind them, ms: a daemon bounds what handshakes cost. */
const BEGIN_AT_ONCE = 10;
const BEGIN_MS = 20;
const LOOK_MS = 20;
const UP_MS_MAX = 60_000;
/** Batches under way in all. */
const BATCHES = 16;
const WARM_UP_BATCHES = 64;
const STILL_MS_MAX = 30_000;

class Crowd {
  readonly #members: CrowdMember[] = [];
  #waiting = new Set<CrowdMember>();
  #soon: NodeJS.Immediate | undefined;
  #deadlines = new DeadlineHeap(0);
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #onAcknowledged: (rowIds: Float64Array) => void = () => {};
  #payloadOf: (rowId: number) => Uint8Array = () => new Uint8Array(0);

  async make(count: number): Promise<readonly { publicKey: Uint8Array; port: number }[]> {
    this.#deadlines = new DeadlineHeap(count);
    for (let i = 0; i < count; i++) {
      this.#members.push(
        await CrowdMember.make(i, {
          onInput: (member) => this.#later(member),
          payloadOf: (rowId) => this.#payloadOf(rowId),
          onAcknowledged: (rowIds) => this.#onAcknowledged(rowIds),
        }),
      );
    }
    return this.#members.map(({ publicKey, port }) => ({ publicKey, port }));
  }

  /** Resolves when each has its session. */
  async begin(publicKey: Uint8Array, port: number): Promise<void> {
    for (const [i, member] of this.#members.entries()) {
      member.begin(publicKey, port);
      if (i % BEGIN_AT_ONCE === BEGIN_AT_ONCE - 1) await nap(BEGIN_MS);
    }
    const end = performance.now() + UP_MS_MAX;
    while (!this.#members.every(({ isUp }) => isUp)) {
      if (performance.now() > end) throw new Error("a session did not come up");
      await nap(LOOK_MS);
    }
  }

  get received(): number {
    return this.#members.reduce((sum, { received }) => sum + received, 0);
  }

  /** Warm-up, then batches for so long; resolves when the last of them is acknowledged. */
  async send({ bytes, batch: rows, seconds }: Extract<CrowdOrder, { kind: "send" }>) {
    const free = Array.from({ length: BATCHES }, () => new CrowdBatch(rows, bytes));
    /** By number: the rows of batch n are n x rows and those behind. */
    const underWay = new Map<number, { readonly batch: CrowdBatch; left: number }>();
    let [batches, acknowledged] = [0, 0];
    let isOver = (): boolean => batches >= WARM_UP_BATCHES;
    const next = (): void => {
      while (free.length > 0 && !isOver()) {
        const batch = (free.pop() as CrowdBatch).fill();
        underWay.set(batches, { batch, left: rows });
        this.#members[batches % this.#members.length].send(batch, batches * rows);
        batches += 1;
      }
    };
    this.#payloadOf = (rowId) => {
      const of = underWay.get(Math.floor(rowId / rows));
      if (of === undefined) throw new Error(`row ${rowId} is not under way`);
      return of.batch.payloadOf(rowId % rows);
    };
    this.#onAcknowledged = (rowIds) => {
      acknowledged += rowIds.length;
      for (const row of rowIds) {
        const number = Math.floor(row / rows);
        const of = underWay.get(number);
        if (of === undefined) throw new Error(`row ${row} is acknowledged twice`);
        of.left -= 1;
        if (of.left > 0) continue;
        underWay.delete(number);
        free.push(of.batch);
      }
      next();
    };
    const finished = async (): Promise<void> => {
      let [before, movedAt] = [-1, 0];
      while (underWay.size > 0 || !isOver()) {
        if (acknowledged !== before) [before, movedAt] = [acknowledged, performance.now()];
        if (performance.now() - movedAt > STILL_MS_MAX) throw new Error("no message moved");
        await nap(1);
      }
    };
    next();
    await finished();
    const warmedUp = batches;
    process.send?.({ kind: "started" } satisfies CrowdAnswer);
    const startedAt = performance.now();
    isOver = () => performance.now() - startedAt >= seconds * 1_000;
    next();
    await finished();
    const elapsedMs = performance.now() - startedAt;
    return { messages: batches * rows, measured: (batches - warmedUp) * rows, elapsedMs };
  }

  #later(member: CrowdMember): void {
    this.#waiting.add(member);
    this.#soon ??= setImmediate(() => this.#turns());
  }

  #turns(): void {
    this.#soon = undefined;
    const now = systemClock.now();
    while (this.#deadlines.size > 0 && this.#deadlines.peekAt() <= now) {
      const slot = this.#deadlines.peekSlot();
      this.#deadlines.remove(slot);
      this.#waiting.add(this.#members[slot]);
    }
    const members = this.#waiting;
    this.#waiting = new Set();
    for (const member of members) this.#deadlines.set(member.index, member.turn());
    this.#arm();
  }

  #arm(): void {
    const at = this.#deadlines.peekAt();
    if (at >= this.#timerAt && this.#timer !== undefined) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    if (!Number.isFinite(at)) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#timerAt = Number.POSITIVE_INFINITY;
        this.#soon ??= setImmediate(() => this.#turns());
      },
      Math.max(0, (at - systemClock.now()) / NS_PER_MS),
    );
  }
}

const crowd = new Crowd();
const answer = async (order: CrowdOrder): Promise<CrowdAnswer> => {
  switch (order.kind) {
    case "make":
      return { kind: "made", members: await crowd.make(order.members) };
    case "begin":
      await crowd.begin(order.publicKey, order.port);
      return { kind: "up" };
    case "send":
      return { kind: "sent", ...(await crowd.send(order)) };
    case "count":
      return { kind: "count", received: crowd.received };
  }
};

process.on("message", async (order: CrowdOrder) => {
  process.send?.(await answer(order));
});
