// One packet of a slab as main's core sees it: a cursor that is moved from entry to entry.

import type { OpenedPacket, SealedPacket } from "../protocol/slot.js";
import { BODY_OFFSET_BYTES, digestAt, SLAB_ENTRIES_MAX, type SlabTable, wordOf } from "./slab.js";

/** Where the packets of a slab come from or go to; stays on main while the memory travels. */
export class SlabRoutes {
  readonly addresses: string[] = new Array<string>(SLAB_ENTRIES_MAX).fill("");
  readonly ports = new Uint16Array(SLAB_ENTRIES_MAX);
  readonly tags = new Uint32Array(SLAB_ENTRIES_MAX);
}

export class SlabCursor implements OpenedPacket, SealedPacket {
  #table: SlabTable;
  #routes: SlabRoutes;
  #index = 0;
  #word = 0;

  constructor(table: SlabTable, routes: SlabRoutes) {
    this.#table = table;
    this.#routes = routes;
  }

  move(table: SlabTable, routes: SlabRoutes, index: number): this {
    this.#table = table;
    this.#routes = routes;
    this.#index = index;
    this.#word = wordOf(index);
    return this;
  }

  get bytes(): Uint8Array {
    return this.#table.bytes;
  }
  get at(): number {
    return this.#table.words[this.#word + 1] as number;
  }
  get length(): number {
    return this.#table.words[this.#word + 8] as number;
  }
  get tag(): number {
    return this.#table.words[this.#word + 7] as number;
  }
  get address(): string {
    return this.#routes.addresses[this.#index] as string;
  }
  get port(): number {
    return this.#routes.ports[this.#index] as number;
  }
  get nonceAt(): number {
    return this.at;
  }
  get stampLow(): number {
    return this.#table.words[this.#word + 5] as number;
  }
  get stampHigh(): number {
    return this.#table.words[this.#word + 6] as number;
  }
  get ring(): number {
    return this.#table.words[this.#word + 3] as number;
  }
  get datagramLength(): number {
    return this.length;
  }
  get messageIdAt(): number {
    return (this.#word + 9) * 4;
  }
  get digestAt(): number {
    return digestAt(this.at, this.length);
  }
  get bodyAt(): number {
    return this.at + BODY_OFFSET_BYTES;
  }
  get bodyLength(): number {
    return this.#table.words[this.#word + 2] as number;
  }
}
