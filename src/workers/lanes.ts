// Where the rows of the outbound table wait: a lane per destination and priority class. A destination
// may have a limited number of rows out; the others lie in the table, so one that does not answer
// holds nothing but its few. Whoever has work and room takes turns, round robin.

import { ID_SANE_MAX } from "../shared/store/migrate.js";

export const PRIORITY_CLASSES = 4;
/** Rows of a destination out at a time while nobody said otherwise. */
export const LIMIT_ROWS_DEFAULT = 256;
/** Destinations known at a time; the rest waits in the table until some have no work left. */
const DESTINATIONS_MAX = 32_768;
/** Announced limits remembered at most; the oldest is forgotten, and announced anew when used. */
const LIMITS_MAX = 65_536;
/** Lanes that had rows lately: looked at first when another process committed. */
const RECENT_LANES_MAX = 32;
/** Streams of a destination of which is known how far they were read. */
const STREAMS_MAX = 4_096;
/** Ids of a lane to be read out of turn. */
const MISSED_ROWS_MAX = 1_024;
/** Lower than any id. */
export const BEFORE_FIRST = -ID_SANE_MAX;

export class Lane {
  readonly destination: Destination;
  readonly priority: number;
  /** Rows up to this id were read; what lies below and is worked on is out. */
  cursor = BEFORE_FIRST;
  /** Nothing was behind the cursor when it was looked at last. */
  dry = true;
  /** Ids below the cursor that are to be read after all: redriven, promoted, re-addressed. */
  readonly missed = new Set<number>();
  /** How far the calendar has looked for expired rows. */
  checked = BEFORE_FIRST;
  /** The next row must be written to before it leaves, and the write lock was not to be had. */
  held = false;

  constructor(destination: Destination, priority: number) {
    this.destination = destination;
    this.priority = priority;
  }
  get hasWork(): boolean {
    return !this.held && (!this.dry || this.missed.size > 0);
  }
}

export class Destination {
  readonly key: string;
  readonly address: string;
  readonly port: number;
  limit: number;
  out = 0;
  /** How many commits of others there were when its lanes were looked at last. */
  looks = 0;
  /** By priority class. */
  readonly lanes: readonly Lane[];
  /** By stream: every row up to this id was handed out, or needs no more. Nothing: is not known. */
  readonly #streams = new Map<string, number>();
  /** What stands for each of its rows of generation 0 that main answers for. */
  readonly outUnchanged: Out = { destination: this, generation: 0 };

  constructor(key: string, address: string, port: number, limit: number) {
    this.key = key;
    this.address = address;
    this.port = port;
    this.limit = limit;
    this.lanes = Array.from({ length: PRIORITY_CLASSES }, (_, i) => new Lane(this, i));
  }
  /** Every row of the stream up to this id was handed out, as far as is known. */
  passedOf(stream: string): number {
    return this.#streams.get(stream) ?? BEFORE_FIRST;
  }
  passed(stream: string, id: number): void {
    if (this.#streams.size >= STREAMS_MAX && !this.#streams.has(stream)) this.#streams.clear();
    this.#streams.set(stream, Math.max(id, this.passedOf(stream)));
  }
  /** Rows of its streams lie in the table again. */
  rewind(): void {
    this.#streams.clear();
  }
  /** The lane of the highest priority that has work. */
  get next(): Lane | undefined {
    for (let i = PRIORITY_CLASSES - 1; i >= 0; i--) if (this.lanes[i].hasWork) return this.lanes[i];
    return undefined;
  }
}

/** A row that main answers for. */
export interface Out {
  readonly destination: Destination;
  readonly generation: number;
}

const keyOf = (address: string, port: number): string => `${port} ${address}`;

/** A text that SQLite and JavaScript read alike, and a port: what a datagram can be sent to. */
export function isAddressable(address: unknown, port: unknown): boolean {
  return (
    typeof address === "string" &&
    address.length > 0 &&
    address.length <= 255 &&
    !/[\0-\x20\x7f\ufffd]/.test(address) &&
    typeof port === "number" &&
    Number.isInteger(port) &&
    port >= 1 &&
    port <= 65_535
  );
}

export class Lanes {
  readonly #destinations = new Map<string, Destination>();
  readonly #limits = new Map<string, number>();
  readonly #ready = new Set<Destination>();
  readonly #out = new Map<number, Out>();
  #recent: Lane[] = [];
  #held: Lane[] = [];

  get anyHeld(): boolean {
    return this.#held.length > 0;
  }
  get outRows(): ReadonlyMap<number, Out> {
    return this.#out;
  }
  get destinations(): ReadonlyMap<string, Destination> {
    return this.#destinations;
  }
  /** The destination whose turn it is. */
  get nextReady(): Destination | undefined {
    for (const destination of this.#ready) return destination;
    return undefined;
  }

  /** The destination of an address and a port; undefined while too many others have work. */
  of(address: string, port: number): Destination | undefined {
    const key = keyOf(address, port);
    let found = this.#destinations.get(key);
    if (found === undefined) {
      if (this.#destinations.size >= DESTINATIONS_MAX && !this.#forgetIdle()) return undefined;
      found = new Destination(key, address, port, this.#limits.get(key) ?? LIMIT_ROWS_DEFAULT);
      this.#destinations.set(key, found);
    }
    return found;
  }

  limit(address: string, port: number, rowsMax: number): void {
    const key = keyOf(address, port);
    this.#limits.delete(key);
    this.#limits.set(key, rowsMax);
    if (this.#limits.size > LIMITS_MAX) {
      for (const oldest of this.#limits.keys()) {
        this.#limits.delete(oldest);
        break;
      }
    }
    const destination = this.#destinations.get(key);
    if (destination === undefined) return;
    destination.limit = rowsMax;
    this.wake(destination);
  }

  /** There may be rows behind the lane's cursor. */
  stir(lane: Lane): void {
    lane.dry = false;
    this.wake(lane.destination);
  }

  /** This row of the lane is to be read, wherever the cursor stands. */
  note(lane: Lane, id: number): void {
    if (id > lane.cursor) lane.dry = false;
    else lane.missed.add(id);
    if (lane.missed.size > MISSED_ROWS_MAX) this.#goBack(lane);
    this.wake(lane.destination);
  }

  /** Lanes that had rows lately are worth a look. */
  stirRecent(): void {
    for (const lane of this.#recent) this.stir(lane);
  }

  /** A lane that is known to have rows ahead, if any: sooner or later it is read to its end. */
  get reading(): Lane | undefined {
    return this.#recent.find(({ dry }) => !dry);
  }

  /** The lane gave rows. */
  used(lane: Lane): void {
    if (this.#recent.includes(lane)) return;
    this.#recent.unshift(lane);
    if (this.#recent.length > RECENT_LANES_MAX) this.#recent.pop();
  }

  wake(destination: Destination): void {
    if (destination.out < destination.limit && destination.next !== undefined) {
      this.#ready.add(destination);
    }
  }

  /** Ends a turn: to the end of the queue, or out of it. */
  turn(destination: Destination): void {
    this.#ready.delete(destination);
    this.wake(destination);
  }

  /** The lane's next row needs the write lock; it waits, and others go on. */
  hold(lane: Lane): void {
    lane.held = true;
    this.#held.push(lane);
  }

  /** Lanes that wait for the write lock may try again. */
  release(): void {
    for (const lane of this.#held) {
      lane.held = false;
      this.wake(lane.destination);
    }
    this.#held = [];
  }

  lend(id: number, out: Out): void {
    const before = this.#out.get(id);
    if (before !== undefined) before.destination.out -= 1;
    this.#out.set(id, out);
    out.destination.out += 1;
  }

  /** The row is not out any more; false when it is out under another generation, or not at all. */
  free(id: number, generation: number | undefined): boolean {
    const out = this.#out.get(id);
    if (out === undefined || (generation !== undefined && out.generation !== generation)) {
      return false;
    }
    this.#out.delete(id);
    out.destination.out -= 1;
    this.wake(out.destination);
    return true;
  }

  /** Too many to remember one by one: reads the lane again, past the rows that are out. */
  #goBack(lane: Lane): void {
    for (const id of lane.missed) if (id <= lane.cursor) lane.cursor = id - 1;
    lane.missed.clear();
    lane.dry = false;
  }

  #forgetIdle(): boolean {
    const before = this.#destinations.size;
    for (const destination of this.#destinations.values()) {
      const held = destination.lanes.some((lane) => lane.held);
      if (destination.out === 0 && destination.next === undefined && !held) {
        this.#destinations.delete(destination.key);
        this.#recent = this.#recent.filter((lane) => lane.destination !== destination);
      }
      if (before - this.#destinations.size >= DESTINATIONS_MAX / 8) break;
    }
    return this.#destinations.size < before;
  }
}
