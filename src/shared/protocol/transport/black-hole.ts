// Whether packets above a size vanish while smaller ones arrive: a path that became narrower and does
// not say so. Losses in which every packet was that large count, until one of their size arrives.

export class BlackHole {
  readonly #bytesBelow: number;
  readonly #lossesMax: number;
  #losses = 0;
  /** Smallest packet among the losses that count. */
  #bytes = Number.POSITIVE_INFINITY;

  /** Packets up to `bytesBelow` say nothing; so many losses running make a black hole. */
  constructor(bytesBelow: number, lossesMax: number) {
    this.#bytesBelow = bytesBelow;
    this.#lossesMax = lossesMax;
  }

  /** A packet arrived. */
  handleAcked(bytes: number): void {
    if (bytes >= this.#bytes) this.clear();
  }

  /** Packets of one moment were lost, the smallest of so many bytes. True: it is a black hole. */
  handleLosses(bytesMin: number): boolean {
    // Where small ones are lost as well, there is no black hole for large ones.
    if (bytesMin <= this.#bytesBelow) return false;
    this.#losses += 1;
    this.#bytes = Math.min(this.#bytes, bytesMin);
    return this.#losses >= this.#lossesMax;
  }

  clear(): void {
    this.#losses = 0;
    this.#bytes = Number.POSITIVE_INFINITY;
  }
}
