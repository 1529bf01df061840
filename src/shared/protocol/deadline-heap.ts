// Which of many slots is due first. A binary heap in typed arrays, with the place of every slot
// known, so that a deadline is moved or removed in log n steps, without search or allocation.

import { assert } from "../base/assert.js";

const SLOTS_INITIAL = 64;
/** Place of a slot that is not in the heap. */
const NOWHERE = -1;

/** Slots are numbers from 0 to `capacity - 1`, each in the heap once or not at all. */
export class DeadlineHeap {
  readonly #capacity: number;
  /** Heap order: slots, and beside them their deadlines. */
  #slots: Uint32Array;
  #deadlines: Float64Array;
  /** Place in heap order, by slot. */
  #places: Int32Array;
  #size = 0;
  /** Deadline of the entry that is moved: handed on in a call, it would be an object each time. */
  readonly #moved = new Float64Array(1);

  constructor(capacity: number) {
    this.#capacity = capacity;
    const initial = Math.min(SLOTS_INITIAL, capacity);
    this.#slots = new Uint32Array(initial);
    this.#deadlines = new Float64Array(initial);
    this.#places = new Int32Array(initial).fill(NOWHERE);
  }

  get size(): number {
    return this.#size;
  }

  has(slot: number): boolean {
    return slot < this.#places.length && this.#places[slot] !== NOWHERE;
  }

  /** Puts the slot in at `at`, or moves it there. Any number but NaN; Infinity is never due. */
  set(slot: number, at: number): void {
    this.#moved[0] = at;
    this.#enter(slot);
  }

  /** The same with what `times` has for the slot. */
  setFrom(times: Float64Array, slot: number): void {
    this.#moved[0] = times[slot];
    this.#enter(slot);
  }

  #enter(slot: number): void {
    assert(slot >= 0 && slot < this.#capacity, "a slot is below the capacity");
    assert(!Number.isNaN(this.#moved[0]), "a deadline is a number");
    if (slot >= this.#places.length) this.#grow(slot + 1);
    let place = this.#places[slot];
    if (place === NOWHERE) {
      place = this.#size;
      this.#size += 1;
    }
    this.#sift(place, slot);
  }

  /** Takes the slot out; false when it was not in. */
  remove(slot: number): boolean {
    if (!this.has(slot)) return false;
    const place = this.#places[slot];
    this.#places[slot] = NOWHERE;
    this.#size -= 1;
    if (place < this.#size) {
      this.#moved[0] = this.#deadlines[this.#size];
      this.#sift(place, this.#slots[this.#size]);
    }
    return true;
  }

  /** The slot due first, or -1. Among equal deadlines any, but always the same one. */
  peekSlot(): number {
    return this.#size === 0 ? -1 : this.#slots[0];
  }

  /** The earliest deadline, or Infinity. */
  peekAt(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#deadlines[0];
  }

  /** Settles an entry that belongs at `place` or somewhere above or below it. */
  #sift(from: number, slot: number): void {
    const at = this.#moved[0];
    let place = from;
    for (let above = (place - 1) >> 1; place > 0 && this.#deadlines[above] > at; ) {
      this.#put(place, this.#slots[above], this.#deadlines[above]);
      place = above;
      above = (place - 1) >> 1;
    }
    for (let below = this.#lesserChild(place); below < this.#size; ) {
      if (this.#deadlines[below] >= at) break;
      this.#put(place, this.#slots[below], this.#deadlines[below]);
      place = below;
      below = this.#lesserChild(place);
    }
    this.#put(place, slot, at);
  }

  #lesserChild(place: number): number {
    const left = place * 2 + 1;
    const right = left + 1;
    return right < this.#size && this.#deadlines[right] < this.#deadlines[left] ? right : left;
  }

  #put(place: number, slot: number, at: number): void {
    this.#slots[place] = slot;
    this.#deadlines[place] = at;
    this.#places[slot] = place;
  }

  #grow(slots: number): void {
    const length = Math.min(this.#capacity, Math.max(slots, this.#places.length * 2));
    const { length: old } = this.#places;
    const places = new Int32Array(length).fill(NOWHERE, old);
    places.set(this.#places);
    const order = new Uint32Array(length);
    order.set(this.#slots);
    const deadlines = new Float64Array(length);
    deadlines.set(this.#deadlines);
    this.#places = places;
    this.#slots = order;
    this.#deadlines = deadlines;
  }
}
