// One ordered stream from one boot of a peer: what may go to the store now, what waits for what is
// missing in front of it, and which sequences never came. Position moves only behind commits.

import type { LargeIn } from "./large-in.js";
import type { Arrival } from "./ports.js";

/** A message that waits for its turn: its own memory, since its packet is gone. */
export interface Waiting {
  readonly number: number;
  readonly sequence: number;
  readonly flags: number;
  /** Message id, id replied to, payload. */
  readonly bytes: Uint8Array;
  /** A large one lies in its spool file: only its turn is waited for. */
  readonly large: LargeIn | undefined;
  readonly arrival: Arrival;
}

export interface Gap {
  readonly first: number;
  readonly last: number;
}

export class StreamIn {
  readonly name: string;
  /** Next sequence to commit; 0 until the first message says a base. */
  #position = 0;
  /** Next sequence to hand to the store. */
  #handed = 0;
  #base = 0;
  /** Handed and not answered. */
  #atStore = 0;
  #refused = false;
  #resume = true;
  readonly #waiting = new Map<number, Waiting>();

  constructor(name: string) {
    this.name = name;
  }

  get position(): number {
    return this.#position;
  }
  get idle(): boolean {
    return this.#waiting.size === 0 && this.#atStore === 0;
  }

  /** Every message of the stream says which sequence is the lowest that is still owed. */
  handleBase(base: number): void {
    if (this.#position === 0) {
      this.#position = base;
      this.#handed = base;
    }
    if (base > this.#base) this.#base = base;
  }

  /** Whether a sequence was passed: committed, or given up. */
  passed(sequence: number): boolean {
    return sequence < this.#handed;
  }
  waits(sequence: number): boolean {
    return this.#waiting.has(sequence);
  }

  wait(message: Waiting): void {
    this.#waiting.set(message.sequence, message);
  }

  /**
   * The next message that may go to the store, with the gap in front of it; undefined when none may.
   * Behind a refusal nothing goes until everything handed was answered.
   */
  next():
    | { readonly message: Waiting; readonly gap: Gap | undefined; readonly resume: boolean }
    | undefined {
    if (this.#refused && this.#atStore > 0) return undefined;
    if (this.#refused) {
      this.#refused = false;
      this.#handed = this.#position;
      this.#resume = true;
    }
    const sequence = this.#due();
    const message = sequence === undefined ? undefined : this.#waiting.get(sequence);
    if (message === undefined) return undefined;
    const gap =
      message.sequence > this.#handed
        ? { first: this.#handed, last: message.sequence - 1 }
        : undefined;
    return { message, gap, resume: this.#resume };
  }

  /** The message of `next` was handed to the store. */
  hand(message: Waiting): void {
    this.#waiting.delete(message.sequence);
    this.#handed = message.sequence + 1;
    this.#resume = false;
    this.#atStore += 1;
  }

  /** The store answered for a message that was handed. */
  answered(sequence: number, stored: boolean): void {
    this.#atStore -= 1;
    if (!stored) this.#refused = true;
    else if (!this.#refused) this.#position = Math.max(this.#position, sequence + 1);
  }

  /** What waits although it is settled, and will never be asked for. */
  drop(sequence: number): Waiting | undefined {
    const waiting = this.#waiting.get(sequence);
    this.#waiting.delete(sequence);
    return waiting;
  }

  /** The lowest waiting sequence that is next, or lies below the base. */
  #due(): number | undefined {
    if (this.#waiting.has(this.#handed)) return this.#handed;
    if (this.#base <= this.#handed) return undefined;
    let lowest: number | undefined;
    for (const sequence of this.#waiting.keys()) {
      if (lowest === undefined || sequence < lowest) lowest = sequence;
    }
    // In front of it nothing is owed any more when it lies at or below the base.
    return lowest !== undefined && lowest <= this.#base ? lowest : undefined;
  }
}
