// Slabs for the simulated crypto workers: the real tables, taken from a store that all runs of a process
// share, since making one costs more than a short run may.

import { NO_RING, type OpenSink, type SealSink, TAG_ACK } from "../../src/shared/protocol/slot.js";
import type { OpenSlab, SlabSource } from "../../src/shared/runtime/session-sink.js";
import {
  BODY_OFFSET_BYTES,
  datagramLengthOf,
  JOB,
  SlabTable,
  wordOf,
} from "../../src/shared/runtime/slab.js";
import { SlabCursor, SlabRoutes } from "../../src/shared/runtime/slab-cursor.js";

/** Slabs of one host that may be away at once. */
const SLABS_AWAY_MAX = 6;

export interface Slab {
  readonly table: SlabTable;
  readonly routes: SlabRoutes;
  readonly cursor: SlabCursor;
}

const vacant: Slab[] = [];

function takeSlab(): Slab {
  const found = vacant.pop();
  if (found !== undefined) return found;
  const table = SlabTable.allocate();
  const routes = new SlabRoutes();
  return { table, routes, cursor: new SlabCursor(table, routes) };
}

export function giveBack(slab: Slab): void {
  slab.table.reset();
  vacant.push(slab);
}

/** One open slab to write jobs into, and those that are away, by number. */
export class SlabDesk implements SealSink, OpenSink, SlabSource {
  #open: Slab | undefined;
  #index = 0;
  #away = new Map<number, Slab>();
  #number = 0;
  bodyAt = 0;

  get bytes(): Uint8Array {
    return this.#slab().table.bytes;
  }

  room(_affinity: number, bodyLength: number): boolean {
    const length = datagramLengthOf(bodyLength);
    if (!this.#fits(length)) return false;
    const { table } = this.#slab();
    this.#index = table.add(length);
    const word = wordOf(this.#index);
    table.words[word] = JOB.seal;
    table.words[word + 2] = bodyLength;
    this.bodyAt = table.words[word + 1] + BODY_OFFSET_BYTES;
    return true;
  }

  seal(ring: number, wallNs: number, tag: number, address: string, port: number): void {
    const { words } = this.#slab().table;
    const word = wordOf(this.#index);
    const high = Math.floor(wallNs / 2 ** 32);
    words[word + 3] = ring;
    words[word + 5] = wallNs - high * 2 ** 32;
    words[word + 6] = high;
    words[word + 7] = tag;
    this.#route(address, port, tag);
  }

  open(
    _affinity: number,
    datagram: Uint8Array,
    ring: number,
    other: number,
    address: string,
    port: number,
  ): boolean {
    if (!this.#fits(datagram.length)) return false;
    const { table } = this.#slab();
    this.#index = table.add(datagram.length);
    const word = wordOf(this.#index);
    table.words[word] = JOB.open;
    table.words[word + 3] = ring;
    table.words[word + 4] = other ?? NO_RING;
    table.bytes.set(datagram, table.words[word + 1]);
    this.#route(address, port, TAG_ACK);
    return true;
  }

  laneOf(): number {
    return 0;
  }
  slabFor(_affinity: number, datagramLength: number): OpenSlab | undefined {
    return this.#fits(datagramLength) ? this.#slab() : undefined;
  }

  /** Sends the open slab off, if it has jobs: the number under which it will come back. */
  flush(): number | undefined {
    const slab = this.#open;
    if (slab === undefined || slab.table.entries === 0) return undefined;
    this.#open = undefined;
    this.#number += 1;
    this.#away.set(this.#number, slab);
    return this.#number;
  }

  /** The slab that was sent off first: a worker does them one after the other. */
  takeFirst(): Slab | undefined {
    for (const number of this.#away.keys()) return this.take(number);
    return undefined;
  }

  /** The slab that comes back. */
  take(number: number): Slab | undefined {
    const slab = this.#away.get(number);
    this.#away.delete(number);
    return slab;
  }

  discard(): void {
    if (this.#open !== undefined) giveBack(this.#open);
    for (const slab of this.#away.values()) giveBack(slab);
    this.#open = undefined;
    this.#away.clear();
  }

  #fits(length: number): boolean {
    return this.#away.size < SLABS_AWAY_MAX && this.#slab().table.fits(length);
  }

  #slab(): Slab {
    this.#open ??= takeSlab();
    return this.#open;
  }

  #route(address: string, port: number, tag: number): void {
    const { routes } = this.#slab();
    routes.addresses[this.#index] = address;
    routes.ports[this.#index] = port;
    routes.tags[this.#index] = tag;
  }
}
