// Payloads that the store was asked for and has not brought: so many of each peer at a time, since a peer
// decides how often what was read is let go, and all peers wait for the one store.

import type { PayloadOrder } from "./ports.js";
import type { Sender } from "./sender.js";

/** Reads of one peer at a time; the next one follows when one is answered. Source: ours; 4 MiB of pieces. */
export const READS_OUT_MAX = 16;

interface Out {
  readonly peer: number;
  reads: number;
}

export class ReadsOut {
  /** By tag: what is read for a slot has that of the slot, however many pieces. */
  readonly #byTag = new Map<number, Out>();
  readonly #byPeer = new Map<number, number>();

  /** What the sender of a peer wants to be read next, unless enough of it is being read. */
  poll(peer: number, sender: Pick<Sender, "pollRead">): PayloadOrder | undefined {
    const reads = this.#byPeer.get(peer) ?? 0;
    const order = reads < READS_OUT_MAX ? sender.pollRead() : undefined;
    if (order === undefined) return undefined;
    this.#byPeer.set(peer, reads + 1);
    const out = this.#byTag.get(order.tag);
    if (out === undefined) this.#byTag.set(order.tag, { peer, reads: 1 });
    else out.reads += 1;
    return order;
  }

  /** The peer that one was read for, which may have another read now; -1: nobody knows of it. */
  ended(tag: number): number {
    const out = this.#byTag.get(tag);
    if (out === undefined) return -1;
    out.reads -= 1;
    if (out.reads === 0) this.#byTag.delete(tag);
    this.#byPeer.set(out.peer, (this.#byPeer.get(out.peer) ?? 1) - 1);
    return out.peer;
  }
}
