// A list of whole numbers that is filled and emptied again and again, and keeps its memory: an array that
// is emptied lets it go, and grows anew under the next thousand messages.

const CAPACITY_INITIAL = 64;

export class NumberList {
  #numbers = new Float64Array(CAPACITY_INITIAL);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** From 0 to below {@link size}. */
  at(index: number): number {
    return this.#numbers[index] as number;
  }

  push(number: number): void {
    if (this.#size === this.#numbers.length) {
      const larger = new Float64Array(this.#size * 2);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    this.#numbers[this.#size] = number;
    this.#size += 1;
  }

  clear(): void {
    this.#size = 0;
  }
}
