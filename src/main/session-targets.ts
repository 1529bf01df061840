// Destinations of rows that go in sessions, as the rows spell them: the store is told for each how many
// rows may be out, which depends on the peer behind it.

import type { SessionLayer } from "../shared/protocol/session/session-layer.js";
import type { Store } from "./store.js";

/** Destinations that are remembered. */
const TARGETS_MAX = 16_384;
/** Rows of a destination that is not ours any more, until somebody else says otherwise. */
const ROWS_ELSEWHERE = 16;
const NO_TARGETS: ReadonlySet<Target> = new Set();

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
  /** The same by their peers: only those of peers that had a turn are looked at. */
  readonly #byPeer = new Map<number, Set<Target>>();
  /** Their owner is new. */
  readonly #fresh: Target[] = [];

  constructor(layer: SessionLayer, store: Store) {
    this.#layer = layer;
    this.#store = store;
  }

  /** Rows for a destination came. */
  add(address: string, port: number, peer: number): void {
    const key = `${port} ${address}`;
    let target = this.#targets.get(key);
    if (target?.peer === peer) return;
    if (target === undefined) {
      if (this.#targets.size >= TARGETS_MAX) this.#clear();
      target = { address, port, peer, announced: -1 };
      this.#targets.set(key, target);
    }
    this.#own(target, peer);
  }

  /** Destinations changed their owners. */
  configure(peerOf: (address: string, port: number) => number | undefined): void {
    for (const [key, target] of this.#targets) {
      const peer = peerOf(target.address, target.port);
      if (peer !== undefined) {
        this.#own(target, peer);
        continue;
      }
      this.#byPeer.get(target.peer)?.delete(target);
      this.#targets.delete(key);
      this.#store.limit(target.address, target.port, ROWS_ELSEWHERE);
    }
  }

  /** Tells the store what changed. */
  announce(): void {
    const layer = this.#layer;
    for (let peer = layer.pollLimit(); peer !== undefined; peer = layer.pollLimit()) {
      for (const target of this.#byPeer.get(peer) ?? NO_TARGETS) this.#tell(target);
    }
    for (const target of this.#fresh) this.#tell(target);
    this.#fresh.length = 0;
  }

  #own(target: Target, peer: number): void {
    this.#byPeer.get(target.peer)?.delete(target);
    target.peer = peer;
    const all = this.#byPeer.get(peer);
    if (all === undefined) this.#byPeer.set(peer, new Set([target]));
    else all.add(target);
    this.#fresh.push(target);
  }

  #tell(target: Target): void {
    const rowsMax = this.#layer.peers[target.peer]?.rowsMax ?? 0;
    if (rowsMax === target.announced) return;
    target.announced = rowsMax;
    this.#store.limit(target.address, target.port, rowsMax);
  }

  #clear(): void {
    this.#targets.clear();
    this.#byPeer.clear();
    this.#fresh.length = 0;
  }
}
