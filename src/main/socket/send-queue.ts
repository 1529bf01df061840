// Datagrams on their way to the kernel, in order, as a ring of columns: nothing is allocated for one.
// What lies in shared memory (the slabs) is sent from where it is; the ring holds the array until its
// datagram has left, so its address stays true. Other memory could be transferred, so it is copied.

import type { SendDone } from "./datagram-socket.js";
import type { Libc } from "./libc.js";

/** All slabs of all workers, full, and half as much again for handshakes. */
export const SEND_QUEUE_DATAGRAMS_MAX = 65_536;
const QUEUE_DATAGRAMS_FIRST = 256;
const NO_BYTES = new Uint8Array(0);
const nobody: SendDone = () => {};

export class SendQueue {
  readonly #libc: Pick<Libc, "addressOf">;
  /** Where the memory of each array begins; an array that is gone is forgotten. */
  readonly #bases = new WeakMap<Uint8Array, number>();
  #lastBytes: Uint8Array = NO_BYTES;
  #lastBase = 0;
  #mask = 0;
  #held: Uint8Array[] = [];
  #dones: SendDone[] = [];
  /** Columns: use `slotOf`. Where it is in memory, and in the array that it was sent with. */
  wheres = new Float64Array(0);
  ats = new Int32Array(0);
  lengths = new Uint32Array(0);
  ports = new Uint16Array(0);
  wholes = new Uint8Array(0);
  addresses: string[] = [];
  /** Positions count up: [first, end) is queued. */
  first = 0;
  end = 0;

  constructor(libc: Pick<Libc, "addressOf">) {
    this.#libc = libc;
    this.#grow(QUEUE_DATAGRAMS_FIRST);
  }

  get size(): number {
    return this.end - this.first;
  }

  slotOf(position: number): number {
    return position & this.#mask;
  }

  /** False when it is full: the caller answers. */
  push(
    bytes: Uint8Array,
    at: number,
    length: number,
    address: string,
    port: number,
    done: SendDone,
    whole: boolean,
  ): boolean {
    if (this.size > this.#mask) {
      if (this.size >= SEND_QUEUE_DATAGRAMS_MAX) return false;
      this.#grow(this.size * 2);
    }
    const slot = this.end & this.#mask;
    const isInPlace = bytes === this.#lastBytes || bytes.buffer instanceof SharedArrayBuffer;
    const held = isInPlace ? bytes : sharedCopy(bytes, at, length);
    this.#held[slot] = held;
    this.#dones[slot] = done;
    // Memory of no length is nowhere.
    this.wheres[slot] = length === 0 ? 0 : this.#baseOf(held) + (isInPlace ? at : 0);
    this.ats[slot] = at;
    this.lengths[slot] = length;
    this.ports[slot] = port;
    this.wholes[slot] = whole ? 1 : 0;
    this.addresses[slot] = address;
    this.end += 1;
    return true;
  }

  /** Takes the first one out and tells its sender. */
  shift(code: string | undefined): void {
    const slot = this.first & this.#mask;
    const done = this.#dones[slot];
    this.#held[slot] = NO_BYTES;
    this.#dones[slot] = nobody;
    this.first += 1;
    done(code, this.ats[slot]);
  }

  /** Of shared memory. The last array is mostly this one, too: packets of a slab leave together. */
  #baseOf(bytes: Uint8Array): number {
    if (bytes === this.#lastBytes) return this.#lastBase;
    let base = this.#bases.get(bytes);
    if (base === undefined) {
      base = this.#libc.addressOf(bytes);
      this.#bases.set(bytes, base);
    }
    this.#lastBytes = bytes;
    this.#lastBase = base;
    return base;
  }

  #grow(size: number): void {
    const old = { ...this.#columns() };
    const slots = Array.from({ length: this.size }, (_, i) => (this.first + i) & this.#mask);
    const positions = slots.map((_, i) => (this.first + i) & (size - 1));
    this.#mask = size - 1;
    this.wheres = new Float64Array(size);
    this.ats = new Int32Array(size);
    this.lengths = new Uint32Array(size);
    this.ports = new Uint16Array(size);
    this.wholes = new Uint8Array(size);
    this.addresses = new Array<string>(size).fill("");
    this.#held = new Array<Uint8Array>(size).fill(NO_BYTES);
    this.#dones = new Array<SendDone>(size).fill(nobody);
    for (const [i, slot] of slots.entries()) {
      const to = positions[i];
      this.wheres[to] = old.wheres[slot];
      this.ats[to] = old.ats[slot];
      this.lengths[to] = old.lengths[slot];
      this.ports[to] = old.ports[slot];
      this.wholes[to] = old.wholes[slot];
      this.addresses[to] = old.addresses[slot];
      this.#held[to] = old.held[slot];
      this.#dones[to] = old.dones[slot];
    }
  }

  #columns() {
    const { wheres, ats, lengths, ports, wholes, addresses } = this;
    return { wheres, ats, lengths, ports, wholes, addresses, held: this.#held, dones: this.#dones };
  }
}

function sharedCopy(bytes: Uint8Array, at: number, length: number): Uint8Array {
  const copy = new Uint8Array(new SharedArrayBuffer(length));
  copy.set(bytes.subarray(at, at + length));
  return copy;
}
