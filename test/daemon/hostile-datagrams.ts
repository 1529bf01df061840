// An endless supply of datagrams that must draw nothing: noise of all lengths, true datagrams that were
// flipped, cut, extended or spliced, exact copies, and the receiver's own.

import { randomBytes } from "node:crypto";

const NOISE_BYTES = 1 << 20;
const DATAGRAM_BYTES_MAX = 65_507;
/** Lengths: nearly all short, some of a packet, few as long as can be. */
const LENGTHS = [
  { share: 0.96, bytesMax: 200 },
  { share: 0.998, bytesMax: 1_500 },
  { share: 1, bytesMax: DATAGRAM_BYTES_MAX },
] as const;

export class HostileDatagrams {
  readonly #captured: readonly Uint8Array[];
  readonly #random: () => number;
  readonly #noise = randomBytes(NOISE_BYTES);

  /** `captured`: true datagrams, of both directions. `random`: uniform in [0, 1). */
  constructor(captured: readonly Uint8Array[], random: () => number) {
    this.#captured = captured;
    this.#random = random;
  }

  next(): Uint8Array {
    const kind = this.#random();
    if (kind < 0.4) return this.#noiseOf(this.#length());
    const original = this.#pick();
    if (kind < 0.55) return this.#flipped(original);
    if (kind < 0.65) return original.subarray(0, this.#below(original.length));
    if (kind < 0.75) return Buffer.concat([original, this.#noiseOf(1 + this.#below(40))]);
    if (kind < 0.85) return this.#spliced(original, this.#pick());
    return original;
  }

  #flipped(original: Uint8Array): Uint8Array {
    const copy = Uint8Array.from(original);
    for (let flips = 1 + this.#below(3); flips > 0; flips--) {
      const at = this.#below(copy.length);
      copy[at] = (copy[at] ?? 0) ^ (1 << this.#below(8));
    }
    // Two flips of one bit are none: then the tag gives it away all the same.
    copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 0x80;
    return copy;
  }

  /** The head of one and the rest of another. */
  #spliced(one: Uint8Array, other: Uint8Array): Uint8Array {
    const at = 1 + this.#below(Math.min(one.length, other.length) - 1);
    return Buffer.concat([one.subarray(0, at), other.subarray(at)]);
  }

  #noiseOf(length: number): Uint8Array {
    const at = this.#below(NOISE_BYTES - length);
    return this.#noise.subarray(at, at + length);
  }

  #length(): number {
    const draw = this.#random();
    const { bytesMax } = LENGTHS.find(({ share }) => draw < share) ?? LENGTHS[2];
    return this.#below(bytesMax + 1);
  }

  #pick(): Uint8Array {
    return this.#captured[this.#below(this.#captured.length)] ?? new Uint8Array();
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}
