// Somebody without any key who hears every datagram and sends what he likes from any address: copies,
// late, twice, to others, thrown back, patched together, altered, made up.

import type { Datagram } from "./network.js";
import { Prng } from "./prng.js";
import type { Fault } from "./scenario.js";

/** Datagrams that he remembers. */
const SEEN_MAX = 1_024;

export class Attacker {
  readonly #seen: Datagram[] = [];
  #count = 0;

  overhear(datagram: Datagram): void {
    this.#seen[this.#count % SEEN_MAX] = datagram;
    this.#count += 1;
  }

  /** What he sends. `addressOf`: of a host by number. */
  datagrams(
    attack: Extract<Fault, { kind: "attack" }>,
    addressOf: (host: number) => string,
    port: number,
  ): readonly Datagram[] {
    if (attack.what === "garbage") {
      const bytes = new Uint8Array(attack.word % 1_500);
      Prng.of(attack.word, "garbage").fill(bytes);
      const from = addressOf(attack.spoof);
      return [{ bytes, from, fromPort: port, to: addressOf(attack.target), toPort: port }];
    }
    const made: Datagram[] = [];
    for (let i = 0; i < attack.count; i++) {
      const seen = this.#nthLast(attack.pick - i);
      if (seen !== undefined) made.push(this.#make(attack, seen, addressOf, port));
    }
    return made;
  }

  #make(
    attack: Extract<Fault, { kind: "attack" }>,
    seen: Datagram,
    addressOf: (host: number) => string,
    port: number,
  ): Datagram {
    switch (attack.what) {
      case "mutate": {
        const bytes = seen.bytes.slice();
        if (bytes.length > 0) bytes[(attack.word >>> 3) % bytes.length] ^= 1 << (attack.word & 7);
        return { ...seen, bytes };
      }
      case "splice": {
        const other = this.#nthLast(attack.word % SEEN_MAX) ?? seen;
        const cut = attack.word % 64;
        const bytes = new Uint8Array(seen.bytes.length);
        bytes.set(seen.bytes);
        bytes.set(other.bytes.subarray(0, Math.min(cut, bytes.length)));
        return { ...seen, bytes };
      }
      case "reflect":
        return {
          bytes: seen.bytes,
          from: seen.to,
          fromPort: seen.toPort,
          to: seen.from,
          toPort: seen.fromPort,
        };
      case "spoof":
        return { ...seen, from: addressOf(attack.spoof), fromPort: port + (attack.word % 3) };
      case "redirect":
        return { ...seen, to: addressOf(attack.target), toPort: port };
      default:
        return seen;
    }
  }

  /** 0: the last one he heard. */
  #nthLast(n: number): Datagram | undefined {
    const kept = Math.min(this.#count, SEEN_MAX);
    if (kept === 0 || n < 0) return undefined;
    return this.#seen[(this.#count - 1 - (n % kept)) % SEEN_MAX];
  }
}
