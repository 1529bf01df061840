// Frames that no honest peer sends, from noise to what is almost right: for a peer that has the keys.

import { randomBytes } from "node:crypto";
import { putVarint } from "../../src/shared/protocol/session/varint.js";

const FLAG = { ordered: 1, bytes: 2, fragmented: 4, reply: 8 } as const;
const PACKET_BYTES_MAX = 1_150;
const EDGES = [
  0,
  1,
  63,
  64,
  16_383,
  16_384,
  2 ** 30 - 1,
  2 ** 30,
  2 ** 32,
  Number.MAX_SAFE_INTEGER,
];

/** What it sends: `faulty` ends a session, most of the others do not. */
export class RogueFrames {
  readonly #random: () => number;
  readonly #noise = randomBytes(1 << 16);
  readonly #ids = Array.from({ length: 16 }, () => randomBytes(12));
  #number = 1;
  #sequence = 1;

  /** `random`: uniform in [0, 1). */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** A new session of the same boot: numbers go on. */
  next(): Uint8Array {
    const kind = this.#random();
    if (kind < 0.2) return this.#endless();
    if (kind < 0.35) return this.#overlapping();
    if (kind < 0.45) return this.#large();
    if (kind < 0.55) return this.#ordered();
    if (kind < 0.63) return this.#have();
    if (kind < 0.7) return this.#receipts();
    if (kind < 0.76) return this.#credit();
    if (kind < 0.8) return this.#whole();
    if (kind < 0.84) return this.#rekey();
    if (kind < 0.88) return this.#keys();
    if (kind < 0.9) return this.#path();
    if (kind < 0.92) return this.#settled();
    if (kind < 0.94) return this.#acks();
    if (kind < 0.97) return this.#mutated();
    return this.#noiseOf(1 + this.#below(PACKET_BYTES_MAX));
  }

  /** First pieces of messages that never end. */
  #endless(): Uint8Array {
    const total = 2 + this.#below(256 * 1_024 - 2);
    return this.#message({
      number: this.#number++,
      total,
      offset: 0,
      data: this.#noiseOf(Math.min(total - 1, 1 + this.#below(1_000))),
    });
  }

  /** Pieces of few messages, across each other, now and then with another total. */
  #overlapping(): Uint8Array {
    const number = 1 + this.#below(8);
    const total = this.#random() < 0.98 ? 4_096 : 4_096 + this.#below(3);
    const offset = this.#below(4_000);
    const data = this.#noiseOf(1 + this.#below(Math.min(1_000, total - offset)));
    const id = this.#ids[number];
    return this.#message({ number, total, offset, data, id });
  }

  /** Pieces of large messages: each opens a file. */
  #large(): Uint8Array {
    const number = 100 + this.#below(40);
    const total = 256 * 1_024 + 1 + this.#below(4);
    const offset = this.#random() < 0.5 ? total - 100 : this.#below(total - 1_000);
    const data = this.#noiseOf(Math.min(total - offset, 100));
    const id = this.#ids[number % 16];
    return this.#message({ number, total, offset, data, id });
  }

  #ordered(): Uint8Array {
    const stream = this.#noiseOf(1 + this.#below(3)).map((byte) => 97 + (byte % 26));
    const sequence = this.#sequence++ + this.#below(1_000);
    const base = this.#random() < 0.9 ? 1 : 1 + this.#below(sequence);
    const data = this.#noiseOf(this.#below(200));
    return this.#message({
      number: this.#number++,
      total: data.length,
      data,
      stream,
      sequence,
      base,
    });
  }

  #whole(): Uint8Array {
    const data = this.#noiseOf(this.#below(900));
    const number = this.#random() < 0.9 ? this.#number++ : this.#edge();
    return this.#message({ number, total: data.length, data });
  }

  #have(): Uint8Array {
    const ranges = this.#below(32);
    return frame((put) => {
      put(Uint8Array.of(0x07, this.#below(2)), this.#id(), this.#noiseOf(16));
      put(Number.MAX_SAFE_INTEGER, ranges);
      for (let i = 0; i < ranges; i++) put(this.#below(1_000), 1 + this.#below(1_000));
    });
  }

  #receipts(): Uint8Array {
    const count = 1 + this.#below(64);
    return frame((put) => {
      put(Uint8Array.of(0x04), this.#noiseOf(8), count);
      for (let i = 0; i < count; i++) put(1 + this.#below(9), this.#noiseOf(8));
    });
  }

  #credit(): Uint8Array {
    return frame((put) => put(Uint8Array.of(0x08), this.#edge(), this.#edge()));
  }

  #rekey(): Uint8Array {
    const noise = this.#noiseOf(48 + this.#below(200));
    const first = this.#random() < 0.5;
    return frame((put) => {
      put(Uint8Array.of(0x09, first ? 1 : 2), this.#noiseOf(4));
      put(first ? new Uint8Array(4) : this.#noiseOf(4), noise.length, noise);
    });
  }

  #keys(): Uint8Array {
    const role = 1 + this.#below(3);
    return frame((put) => put(Uint8Array.of(0x0d), 1, Uint8Array.of(role), this.#noiseOf(8)));
  }

  #path(): Uint8Array {
    return frame((put) => put(Uint8Array.of(0x0a + this.#below(2)), this.#noiseOf(8)));
  }

  #settled(): Uint8Array {
    const below = this.#random() < 0.8 ? this.#below(this.#number) + 1 : this.#edge();
    return frame((put) => put(Uint8Array.of(0x06), below));
  }

  /** Mostly of what was never sent. */
  #acks(): Uint8Array {
    return frame((put) => put(Uint8Array.of(0x02), this.#edge(), this.#edge(), 0, this.#below(4)));
  }

  /** A frame that was right until it was changed. */
  #mutated(): Uint8Array {
    const copy = Uint8Array.from(this.#overlapping());
    for (let flips = 1 + this.#below(4); flips > 0; flips--) {
      const at = this.#below(Math.min(60, copy.length));
      copy[at] = (copy[at] ?? 0) ^ (1 << this.#below(8));
    }
    return this.#random() < 0.5 ? copy : copy.subarray(0, this.#below(copy.length) + 1);
  }

  #message(said: {
    readonly number: number;
    readonly total: number;
    readonly data: Uint8Array;
    /** Undefined: the message is whole. */
    readonly offset?: number;
    readonly id?: Uint8Array | undefined;
    readonly stream?: Uint8Array;
    readonly sequence?: number;
    readonly base?: number;
  }): Uint8Array {
    const { stream, offset, data } = said;
    const flags =
      FLAG.bytes |
      (stream === undefined ? 0 : FLAG.ordered) |
      (offset === undefined ? 0 : FLAG.fragmented);
    return frame((put) => {
      put(Uint8Array.of(0x03), said.number, Uint8Array.of(flags), said.id ?? this.#id());
      put(3_600, said.total);
      if (stream !== undefined) {
        put(Uint8Array.of(stream.length), stream, said.sequence ?? 1, said.base ?? 1);
      }
      // One digest for each number: only what differs by intent conflicts.
      if (offset !== undefined) put(new Uint8Array(16).fill(said.number & 255), offset);
      put(data.length, data);
    });
  }

  #id(): Uint8Array {
    return this.#random() < 0.5 ? randomBytes(12) : (this.#ids[this.#below(16)] as Uint8Array);
  }

  #edge(): number {
    return this.#random() < 0.5
      ? (EDGES[this.#below(EDGES.length)] as number)
      : this.#below(2 ** 31);
  }

  #noiseOf(length: number): Uint8Array {
    const at = this.#below(this.#noise.length - length);
    return this.#noise.subarray(at, at + length);
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}

/** Bytes as they are, numbers as varints. */
type Put = (...parts: readonly (number | Uint8Array)[]) => void;

function frame(write: (put: Put) => void): Uint8Array {
  const bytes = new Uint8Array(2_048);
  let at = 0;
  write((...parts) => {
    for (const part of parts) {
      if (typeof part === "number") at = putVarint(bytes, at, part);
      else {
        bytes.set(part, at);
        at += part.length;
      }
    }
  });
  return bytes.subarray(0, at);
}
