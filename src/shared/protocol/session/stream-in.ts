// One ordered stream from one boot of a peer: what may go to the store now, what waits for what is
// missing in front of it, and which sequences never came. Position moves only behind commits.

import { LARGE_TRANSFERS_MAX, type LargeIn } from "./large-in.js";
import { UNFINISHED_MESSAGES_MAX } from "./limits.js";
import { NumberRanges } from "./number-ranges.js";
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

/** Sequences that wait are bounded by the messages that a peer may have unfinished. */
const RANGES_MAX = 4 * UNFINISHED_MESSAGES_MAX;
/** What is stored has its receipt, and no credit bounds it; what is forgotten looks like a gap. */
const STORED_RANGES_MAX = LARGE_TRANSFERS_MAX;

export class StreamIn {
  readonly name: string;
  /** The highest number of its messages. */
  lastNumber = 0;
  /** Next sequence to commit; 0 until the first message says a base. */
  #position = 0;
  /** Next sequence to hand to the store. */
  #handed = 0;
  #base = 0;
  /** Handed and not answered. */
  #atStore = 0;
  #refused = false;
  #resume = true;
  /** Made with the first message that waits: most streams never have one. */
  #waiting: Map<number, Waiting> | undefined;
  #waits: NumberRanges | undefined;
  /** Stored above `position`, which a refusal holds back. */
  #stored: NumberRanges | undefined;

  constructor(name: string) {
    this.name = name;
  }

  get position(): number {
    return this.#position;
  }
  get idle(): boolean {
    return (this.#waiting?.size ?? 0) === 0 && this.#atStore === 0;
  }

  /** Every message of the stream says which sequence is the lowest that is still owed. */
  handleBase(base: number): void {
    if (this.#position === 0) {
      this.#position = base;
      this.#handed = base;
    }
    if (base > this.#base) this.#base = base;
  }

  /** Whether a sequence was passed: stored, at the store, or given up. */
  passed(sequence: number): boolean {
    return sequence < this.#handed || this.#stored?.has(sequence) === true;
  }
  waits(sequence: number): boolean {
    return this.#waiting?.has(sequence) === true;
  }

  wait(message: Waiting): void {
    this.#waiting ??= new Map();
    this.#waits ??= new NumberRanges(RANGES_MAX);
    this.#waiting.set(message.sequence, message);
    this.#waits.add(message.sequence);
  }

  /**
   * The next message that may go to the store, with the gap in front of it; undefined when none may.
   * Behind a refusal nothing goes until everything handed was answered.
   */
  next():
    | { readonly message: Waiting; readonly gap: Gap | undefined; readonly resume: boolean }
    | undefined {
    if (this.#refused) {
      if (this.#atStore > 0) return undefined;
      this.#refused = false;
      this.#resume = true;
    }
    const sequence = this.#waits?.firstPresent(this.#handed) ?? Number.POSITIVE_INFINITY;
    // What lies in front of it is not owed any more when it lies at or below the base.
    if (sequence > Math.max(this.#handed, this.#base)) return undefined;
    const message = this.#waiting?.get(sequence);
    if (message === undefined) return undefined;
    return { message, gap: this.#gapBefore(sequence), resume: this.#resume };
  }

  /** The message of `next` was handed to the store. */
  hand(message: Waiting): void {
    this.drop(message.sequence);
    this.#handed = message.sequence + 1;
    this.#resume = false;
    this.#atStore += 1;
  }

  /** The store answered for a message that was handed. */
  answered(sequence: number, stored: boolean): void {
    this.#atStore -= 1;
    if (stored) this.stored(sequence);
    else {
      this.#refused = true;
      // It comes again, maybe before the others were answered: it is not passed any more.
      this.#handed = this.#position;
    }
  }

  /** A message is stored, whether it was handed or known before its turn. */
  stored(sequence: number): void {
    if (sequence < this.#position) return;
    const inTurn = sequence < this.#handed && !this.#refused;
    if (inTurn || sequence === this.#position) this.#position = sequence + 1;
    else {
      this.#stored ??= new NumberRanges(STORED_RANGES_MAX);
      this.#stored.add(sequence);
    }
    if (this.#stored === undefined) return;
    this.#position = this.#stored.firstMissing(this.#position);
    this.#stored.removeBelow(this.#position);
    this.#handed = Math.max(this.#handed, this.#position);
  }

  /** What waits although it is settled, and will never be asked for. */
  drop(sequence: number): Waiting | undefined {
    const waiting = this.#waiting?.get(sequence);
    this.#waiting?.delete(sequence);
    this.#waits?.remove(sequence);
    return waiting;
  }

  #gapBefore(sequence: number): Gap | undefined {
    let last = sequence - 1;
    while (this.#stored?.has(last) === true) last -= 1;
    return last < this.#handed ? undefined : { first: this.#handed, last };
  }
}
