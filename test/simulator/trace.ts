// What happened: a rolling hash of every event, and the last ones as small tuples. Two runs of one seed
// have one hash; a failure shows what came before it.

/** Events that a failure can show. */
const EVENTS_KEPT = 10_000;

export interface TraceEntry {
  readonly step: number;
  /** True time, ns. */
  readonly at: number;
  readonly kind: string;
  readonly host: number;
  readonly detail: number;
}

export class Trace {
  readonly #ring: TraceEntry[] = [];
  #steps = 0;
  #low = 0x811c_9dc5;
  #high = 0x9e37_79b9;

  get steps(): number {
    return this.#steps;
  }

  /** 16 hex digits over everything noted so far. */
  get hash(): string {
    const hex = (word: number) => (word >>> 0).toString(16).padStart(8, "0");
    return hex(this.#high) + hex(this.#low);
  }

  note(at: number, kind: string, host: number, detail: number): void {
    const entry = { step: this.#steps, at, kind, host, detail };
    const slot = this.#steps % EVENTS_KEPT;
    if (slot < this.#ring.length) this.#ring[slot] = entry;
    else this.#ring.push(entry);
    this.#steps += 1;
    this.mix(at);
    this.mix(Math.floor(at / 2 ** 32));
    for (let i = 0; i < kind.length; i += 1) this.mix(kind.charCodeAt(i));
    this.mix(host);
    this.mix(detail);
  }

  /** Takes a number into the hash alone. */
  mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x0100_0193);
    this.#high = Math.imul((this.#high << 13) | (this.#high >>> 19), 5) + this.#low;
  }

  /** The last `count` events, oldest first. */
  last(count: number): readonly TraceEntry[] {
    const from = Math.max(0, this.#steps - Math.min(count, this.#ring.length));
    const entries: TraceEntry[] = [];
    for (let step = from; step < this.#steps; step++) {
      entries.push(this.#ring[step % EVENTS_KEPT] as TraceEntry);
    }
    return entries;
  }
}

/** One line for a person. */
export function lineOf({ step, at, kind, host, detail }: TraceEntry): string {
  const ms = (at / 1e6).toFixed(3).padStart(13);
  const who = host < 0 ? "-" : String(host);
  return `${String(step).padStart(7)} ${ms} ms  host ${who}  ${kind} ${detail}`;
}
