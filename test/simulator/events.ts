// What is to happen, in order of time. Events of one instant keep the order in which they were put in;
// in a fuzzed run a drawn number decides among them, to look for bugs that hide behind an order.

/** One thing that happens. `host` -1: to none. `detail`: a number for the trace. */
export interface SimEvent {
  readonly kind: string;
  readonly host: number;
  readonly detail: number;
  readonly run: () => void;
}

interface Entry {
  readonly at: number;
  readonly rank: number;
  readonly order: number;
  readonly event: SimEvent;
}

export class EventQueue {
  readonly #heap: Entry[] = [];
  readonly #rank: () => number;
  #inserted = 0;

  /** `rank`: decides among events of one instant before their order of insertion; 0 for plain runs. */
  constructor(rank: () => number) {
    this.#rank = rank;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Time of the next event, ns of true time; Infinity when there is none. */
  get nextAt(): number {
    return this.#heap[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  push(at: number, event: SimEvent): void {
    const entry = { at, rank: this.#rank(), order: this.#inserted, event };
    this.#inserted += 1;
    let index = this.#heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(entry, this.#heap[parent])) break;
      this.#heap[index] = this.#heap[parent];
      index = parent;
    }
    this.#heap[index] = entry;
  }

  pop(): SimEvent | undefined {
    const first = this.#heap[0];
    const last = this.#heap.pop();
    if (first === undefined || last === undefined) return undefined;
    if (this.#heap.length > 0) this.#sink(last);
    return first.event;
  }

  #sink(entry: Entry): void {
    const heap = this.#heap;
    let index = 0;
    for (let child = 1; child < heap.length; child = index * 2 + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child += 1;
      if (!isBefore(heap[child], entry)) break;
      heap[index] = heap[child];
      index = child;
    }
    heap[index] = entry;
  }
}

const isBefore = (a: Entry, b: Entry): boolean =>
  a.at !== b.at ? a.at < b.at : a.rank !== b.rank ? a.rank < b.rank : a.order < b.order;
