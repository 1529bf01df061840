// A first-in first-out queue of tickets in a ring. A ticket whose row was settled meanwhile is found
// dead when it comes to the head, so nothing is ever searched for.

const CAPACITY_INITIAL = 16;

export class TicketQueue {
  #tickets = new Uint32Array(CAPACITY_INITIAL);
  #head = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }
  /** The ticket at the head; the queue is not empty. */
  get first(): number {
    return this.#tickets[this.#head] as number;
  }

  push(ticket: number): void {
    if (this.#size === this.#tickets.length) this.#grow();
    this.#tickets[(this.#head + this.#size) & (this.#tickets.length - 1)] = ticket;
    this.#size += 1;
  }

  shift(): void {
    this.#head = (this.#head + 1) & (this.#tickets.length - 1);
    this.#size -= 1;
  }

  clear(): void {
    this.#head = 0;
    this.#size = 0;
  }

  #grow(): void {
    const old = this.#tickets;
    const tickets = new Uint32Array(old.length * 2);
    for (let i = 0; i < this.#size; i++) {
      tickets[i] = old[(this.#head + i) & (old.length - 1)] as number;
    }
    this.#tickets = tickets;
    this.#head = 0;
  }
}
