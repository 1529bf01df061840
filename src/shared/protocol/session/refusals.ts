// Refusals on their way to a peer. Each is kept until the packet that carried it is acknowledged. One
// that waits covers all pieces of its message that come meanwhile. Bounded: what finds no room is
// refused by silence, which takes more refusals than a peer can have messages.

import { UNFINISHED_MESSAGES_MAX } from "./limits.js";
import { TicketQueue } from "./ticket-queue.js";

export interface Refusal {
  readonly number: number;
  readonly digestLow: number;
  readonly digestHigh: number;
  readonly reason: number;
  readonly delaySeconds: number;
}

export class Refusals {
  readonly #all = new Map<number, Refusal>();
  readonly #waiting = new TicketQueue();
  /** Numbers of those that wait: the refusal of one is said once. */
  readonly #numbers = new Set<number>();
  #next = 1;

  get waiting(): boolean {
    return this.#waiting.size > 0;
  }
  /** Refusals that are not acknowledged. */
  get size(): number {
    return this.#all.size;
  }

  append(refusal: Refusal): void {
    if (this.#numbers.has(refusal.number) || this.#all.size >= UNFINISHED_MESSAGES_MAX) return;
    const token = this.#next;
    this.#next = (this.#next + 1) >>> 0;
    this.#all.set(token, refusal);
    this.#wait(token, refusal);
  }

  /** The refusal that is written next, and the token that its packet notes. */
  peek(): { readonly token: number; readonly refusal: Refusal } | undefined {
    while (this.#waiting.size > 0) {
      const token = this.#waiting.first;
      const refusal = this.#all.get(token);
      if (refusal !== undefined) return { token, refusal };
      this.#waiting.shift();
    }
    return undefined;
  }

  /** The one of `peek` was written. */
  sent(): void {
    const refusal = this.#all.get(this.#waiting.first);
    if (refusal !== undefined) this.#numbers.delete(refusal.number);
    this.#waiting.shift();
  }
  acknowledged(token: number): void {
    this.#all.delete(token);
  }
  /** It goes once more, unless a newer one of its number waits. */
  lost(token: number): void {
    const refusal = this.#all.get(token);
    if (refusal === undefined) return;
    if (this.#numbers.has(refusal.number)) this.#all.delete(token);
    else this.#wait(token, refusal);
  }

  /** A session that knows nothing of the packets before: all go again. */
  restart(): void {
    this.#waiting.clear();
    this.#numbers.clear();
    for (const token of [...this.#all.keys()].reverse()) this.lost(token);
  }
  clear(): void {
    this.#all.clear();
    this.#waiting.clear();
    this.#numbers.clear();
  }

  #wait(token: number, refusal: Refusal): void {
    this.#waiting.push(token);
    this.#numbers.add(refusal.number);
  }
}
