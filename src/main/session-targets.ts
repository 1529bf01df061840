// Destinations of rows that go in sessions, as the rows spell them: the store is told for each how many
// rows may be out, which depends on the peer behind it.

import type { SessionLayer } from "../shared/protocol/session/session-layer.js";
import type { Store } from "./store.js";

/** Destinations that are remembered. */
const TARGETS_MAX = 16_384;
/** Rows of a destination that is not ours any more, until somebody else says otherwise. */
const ROWS_ELSEWHERE = 16;

interface Target {
  readonly address: string;
  readonly port: number;
  peer: number;
  announced: number;
}

export class SessionTargets {
  readonly #layer: SessionLayer;
  readonly #store: Store;
  readonly #targets = new Map<string, Target>();

  constructor(layer: SessionLayer, store: Store) {
    this.#layer = layer;
    this.#store = store;
  }

  /** Rows for a destination came. */
  add(address: string, port: number, peer: number): void {
    const key = `${port} ${address}`;
    const known = this.#targets.get(key);
    if (known !== undefined) {
      known.peer = peer;
      return;
    }
    if (this.#targets.size >= TARGETS_MAX) this.#targets.clear();
    this.#targets.set(key, { address, port, peer, announced: -1 });
  }

  /** Destinations changed their owners. */
  configure(peerOf: (address: string, port: number) => number | undefined): void {
    for (const [key, target] of this.#targets) {
      const peer = peerOf(target.address, target.port);
      if (peer !== undefined) {
        target.peer = peer;
        continue;
      }
      this.#targets.delete(key);
      this.#store.limit(target.address, target.port, ROWS_ELSEWHERE);
    }
  }

  /** Tells the store what changed. */
  announce(): void {
    for (const target of this.#targets.values()) {
      const rowsMax = this.#layer.peers[target.peer]?.rowsMax ?? 0;
      if (rowsMax === target.announced) continue;
      target.announced = rowsMax;
      this.#store.limit(target.address, target.port, rowsMax);
    }
  }
}
