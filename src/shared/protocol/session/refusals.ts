// Refusals on their way to a peer. Each is kept until the packet that carried it is acknowledged.
// Bounded: what finds no room is refused by silence, and the copy that follows is refused again.

export interface Refusal {
  readonly number: number;
  readonly digestLow: number;
  readonly digestHigh: number;
  readonly reason: number;
  readonly delaySeconds: number;
}

const REFUSALS_MAX = 16_384;

export class Refusals {
  readonly #all = new Map<number, Refusal>();
  #waiting: number[] = [];
  #next = 1;

  get waiting(): boolean {
    return this.#waiting.length > 0;
  }

  append(refusal: Refusal): void {
    if (this.#all.size >= REFUSALS_MAX) return;
    const token = this.#next;
    this.#next = (this.#next + 1) >>> 0;
    this.#all.set(token, refusal);
    this.#waiting.push(token);
  }

  /** The refusal that is written next, and the token that its packet notes. */
  peek(): { readonly token: number; readonly refusal: Refusal } | undefined {
    for (;;) {
      const token = this.#waiting[0];
      if (token === undefined) return undefined;
      const refusal = this.#all.get(token);
      if (refusal !== undefined) return { token, refusal };
      this.#waiting.shift();
    }
  }

  sent(): void {
    this.#waiting.shift();
  }
  acknowledged(token: number): void {
    this.#all.delete(token);
  }
  lost(token: number): void {
    if (this.#all.has(token)) this.#waiting.push(token);
  }

  /** A session that knows nothing of the packets before: all go again. */
  restart(): void {
    this.#waiting = [...this.#all.keys()];
  }
  clear(): void {
    this.#all.clear();
    this.#waiting = [];
  }
}
