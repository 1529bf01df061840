// From the number of a message to its slot. Numbers in flight are dense but for a few that wait long,
// so a ring holds nearly all, and a map the stragglers whose place in the ring a newer one took.

const CAPACITY_INITIAL = 64;
const CAPACITY_MAX = 65_536;

export class NumberIndex {
  #numbers = new Float64Array(CAPACITY_INITIAL);
  #slots = new Uint32Array(CAPACITY_INITIAL);
  readonly #stragglers = new Map<number, number>();
  #inRing = 0;

  get size(): number {
    return this.#inRing + this.#stragglers.size;
  }

  /** Slot of a number from 1 up, or -1. */
  find(number: number): number {
    const at = number % this.#numbers.length;
    if (this.#numbers[at] === number) return this.#slots[at] as number;
    return this.#stragglers.get(number) ?? -1;
  }

  set(number: number, slot: number): void {
    if (this.#inRing >= this.#numbers.length / 2 && this.#numbers.length < CAPACITY_MAX)
      this.#grow();
    const at = number % this.#numbers.length;
    const before = this.#numbers[at] as number;
    if (before !== 0) this.#stragglers.set(before, this.#slots[at] as number);
    else this.#inRing += 1;
    this.#numbers[at] = number;
    this.#slots[at] = slot;
  }

  delete(number: number): void {
    const at = number % this.#numbers.length;
    if (this.#numbers[at] !== number) {
      this.#stragglers.delete(number);
      return;
    }
    this.#numbers[at] = 0;
    this.#inRing -= 1;
  }

  /** All slots, in the order of their numbers. Allocates: for a new session, not for a packet. */
  slots(): readonly number[] {
    const entries: [number, number][] = [...this.#stragglers];
    for (let at = 0; at < this.#numbers.length; at++) {
      const number = this.#numbers[at] as number;
      if (number !== 0) entries.push([number, this.#slots[at] as number]);
    }
    return entries.sort((a, b) => a[0] - b[0]).map(([, slot]) => slot);
  }

  #grow(): void {
    const [numbers, slots] = [this.#numbers, this.#slots];
    this.#numbers = new Float64Array(numbers.length * 2);
    this.#slots = new Uint32Array(this.#numbers.length);
    this.#inRing = 0;
    for (let at = 0; at < numbers.length; at++) {
      const number = numbers[at] as number;
      if (number !== 0) this.set(number, slots[at] as number);
    }
  }
}
