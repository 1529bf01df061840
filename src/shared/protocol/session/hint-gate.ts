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
/** Shortest handshake datagram: envelope, type and id, Noise message 2 without payload, hint. */
export const HANDSHAKE_BYTES_MIN = 12 + 8 + 1 + 4 + 48 + 16 + SIPHASH_BYTES;

/** Of the peers heard at one source so many are compared for nothing: a listener can move many there. */
const KNOWN_LOOKS_MAX = 8;

interface Source {
  readonly address: string;
  readonly port: number;
}

export class HintGate {
  /** Hint keys of each peer, by peer. */
  #keys: readonly (readonly SipHash[])[] = [];
  /** Peers in the order in which strangers are compared: those without session first. */
  #order: number[] = [];
  /** Keys of all rings. */
  #compares = 0;
  /**
   * The peers last heard at an address and port: each in one place at most. All of them, since a peer
   * can write another one's address on what it sends.
   */
  readonly #sources = new Map<string, Map<number, readonly number[]>>();
  #heardAt: (Source | undefined)[] = [];
  readonly #strangers = new CpuBudget({ share: HINTS_SHARE });

  /** Incoming hint keys, 16 bytes each, of every peer. */
  configure(keys: readonly (readonly Uint8Array[])[]): void {
    this.#keys = keys.map((ring) => ring.map((key) => new SipHash(key)));
    this.#compares = keys.reduce((sum, ring) => sum + ring.length, 0);
    this.#order = keys.map((_, peer) => peer);
    this.#sources.clear();
    this.#heardAt = [];
  }

  /** A peer was heard, authentically, at a source; the one before is forgotten. */
  heard(peer: number, address: string, port: number): void {
    const before = this.#heardAt[peer];
    if (before?.port === port && before.address === address) return;
    if (before !== undefined) this.#forget(peer, before);
    this.#heardAt[peer] = { address, port };
    const ports = this.#sources.get(address) ?? new Map<number, readonly number[]>();
    ports.set(port, [...(ports.get(port) ?? []), peer]);
    this.#sources.set(address, ports);
  }

  #forget(peer: number, { address, port }: Source): void {
    const ports = this.#sources.get(address);
    const others = (ports?.get(port) ?? []).filter((each) => each !== peer);
    if (others.length > 0) ports?.set(port, others);
    else ports?.delete(port);
    if (ports?.size === 0) this.#sources.delete(address);
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
    const known = this.#sources.get(address)?.get(port) ?? [];
    for (let i = known.length - 1; i >= 0 && known.length - i <= KNOWN_LOOKS_MAX; i--) {
      const peer = known[i] as number;
      if (this.#fits(peer, datagram)) return peer;
    }
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
