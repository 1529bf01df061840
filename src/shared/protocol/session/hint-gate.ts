// Whose handshake a datagram may be: its last 8 bytes are a hint that only the pair can compute. A
// compare costs a SipHash; cheapest guess first, and what all strangers together cost is bounded.

import type { Nanoseconds } from "../../base/units.js";
import { TAG_BYTES } from "../constants.js";
import { CpuBudget } from "../cpu-budget.js";
import { wordAt } from "../keyed-hash.js";
import { SIPHASH_BYTES, SipHash } from "./siphash.js";

/** What one compare costs, ns. Source: ours; SipHash-2-4 over 16 bytes. */
const HINT_COST_NS = 300;
/** Share of a core that hints of strangers may cost. Source: wire.md 3.2. */
const HINTS_SHARE = 0.25;
/** Sources that a peer was last heard at, remembered at most. */
const SOURCES_MAX = 4_096;
/** Shortest handshake datagram: envelope, type and id, Noise message 2 without payload, hint. */
export const HANDSHAKE_BYTES_MIN = 12 + 8 + 1 + 4 + 48 + 16 + SIPHASH_BYTES;

export class HintGate {
  /** Hint keys of each peer, by peer. */
  #keys: readonly (readonly SipHash[])[] = [];
  /** Peers in the order in which strangers are compared: those without session first. */
  #order: number[] = [];
  /** Keys of all rings. */
  #compares = 0;
  readonly #sources = new Map<string, number>();
  readonly #strangers = new CpuBudget({ share: HINTS_SHARE });

  /** Incoming hint keys, 16 bytes each, of every peer. */
  configure(keys: readonly (readonly Uint8Array[])[]): void {
    this.#keys = keys.map((ring) => ring.map((key) => new SipHash(key)));
    this.#compares = keys.reduce((sum, ring) => sum + ring.length, 0);
    this.#order = keys.map((_, peer) => peer);
    this.#sources.clear();
  }

  /** A peer was heard, authentically, at a source. */
  heard(peer: number, address: string, port: number): void {
    const source = `${address} ${port}`;
    this.#sources.delete(source);
    this.#sources.set(source, peer);
    if (this.#sources.size <= SOURCES_MAX) return;
    for (const oldest of this.#sources.keys()) {
      this.#sources.delete(oldest);
      break;
    }
  }

  /** The peer got a session, or lost its last one. */
  moved(peer: number, inSession: boolean): void {
    this.#order = this.#order.filter((each) => each !== peer);
    if (inSession) this.#order.push(peer);
    else this.#order.unshift(peer);
  }

  /** The peer whose hint it is; -1: nobody's; -2: the budget for strangers is spent. */
  peerOf(now: Nanoseconds, datagram: Uint8Array, address: string, port: number): number {
    if (datagram.length < HANDSHAKE_BYTES_MIN || this.#keys.length === 0) return -1;
    const known = this.#sources.get(`${address} ${port}`);
    if (known !== undefined && this.#fits(known, datagram)) return known;
    if (!this.#strangers.spend(now, this.#compares * HINT_COST_NS)) return -2;
    for (const peer of this.#order) if (this.#fits(peer, datagram)) return peer;
    return -1;
  }

  #fits(peer: number, datagram: Uint8Array): boolean {
    const hintAt = datagram.length - SIPHASH_BYTES;
    const low = wordAt(datagram, hintAt);
    const high = wordAt(datagram, hintAt + 4);
    for (const hash of this.#keys[peer] ?? []) {
      hash.hash(datagram, hintAt - TAG_BYTES, TAG_BYTES);
      if (hash.low === low && hash.high === high) return true;
    }
    return false;
  }
}
