// What strangers may cost: opening a datagram is paid for in CPU time before any cipher runs. A
// source that proved itself has a budget of its own; all strangers share one, and each has a part
// of it. Memory is the same whatever they send: nothing is allocated for who proved nothing.

import { assert } from "../base/assert.js";
import { type Nanoseconds, NS_PER_MS, NS_PER_SECOND } from "../base/units.js";
import { isMapped, parseAddress, ADDRESS_WORDS as WORDS } from "./address.js";
import { DATAGRAM_BYTES_MAX } from "./constants.js";
import { IdTable } from "./id-table.js";
import { hashWords } from "./keyed-hash.js";

/** CPU time that one datagram is charged with, ns. Source: ours; bench/aead: open 0.59 us at 64 B,
 * 1.63 at 1,200 B, a failed one 1.1 us; more for copy, table and the second key of a ring. */
export const OPEN_COST_NS = 1_000;
export const OPEN_COST_NS_PER_BYTE = 1.5;
/** Shares of a core, unless told. Source: wire.md section 2 (known) and 3.2 (all strangers). */
export const KNOWN_SHARE = 0.5;
export const STRANGER_SHARE = 0.05;
export const STRANGERS_SHARE = 0.25;
/** CPU time that a bucket saves up, as time of its share: a pause in the traffic is no loss. */
export const BUDGET_BURST_NS = 250 * NS_PER_MS;
/** Buckets of strangers. Two may meet in one, by a seeded hash: they share it. */
export const STRANGER_BUCKETS = 4_096;
/** Sources with a bucket of their own: configured ones, and those that proved themselves. */
export const KNOWN_SOURCES_MAX = 4_096;
/** How long a source stays proven after a datagram of it authenticated, ns. */
export const PROVEN_NS = 600 * NS_PER_SECOND;

const WORD_BYTES = 4;
const NO_SOURCE = -1;

/**
 * Buckets of CPU time that fill at a share of a core each. One number a bucket: the instant at
 * which it was, or will be, empty; so idle buckets need no upkeep.
 */
export class CpuBudget {
  readonly #share: number;
  readonly #depthNs: number;
  readonly #emptyAt: Float64Array;

  /** `share` of a core, above 0. `depthNs`: time in which an empty bucket fills. All begin full. */
  constructor(options: {
    readonly share: number;
    readonly depthNs?: number;
    readonly buckets?: number;
  }) {
    assert(options.share > 0, "a budget of nothing admits nothing");
    this.#share = options.share;
    this.#depthNs = options.depthNs ?? BUDGET_BURST_NS;
    this.#emptyAt = new Float64Array(options.buckets ?? 1).fill(Number.NEGATIVE_INFINITY);
  }

  /** Takes `costNs` of CPU time out of a bucket; false, with nothing taken, when there is less. */
  spend(now: Nanoseconds, costNs: number, bucket = 0): boolean {
    const emptyAt = Math.max(this.#emptyAt[bucket], now - this.#depthNs) + costNs / this.#share;
    if (emptyAt > now) return false;
    this.#emptyAt[bucket] = emptyAt;
    return true;
  }

  /** Gives back what was spent; a bucket never holds more than its depth. */
  refund(costNs: number, bucket = 0): void {
    this.#emptyAt[bucket] -= costNs / this.#share;
  }

  /** Fills a bucket. */
  fill(bucket: number): void {
    this.#emptyAt[bucket] = Number.NEGATIVE_INFINITY;
  }
}

/** Why a datagram was not admitted: its source's budget, or that of all strangers, is spent. */
export type Admission = "admitted" | "source_budget" | "stranger_budget";

export class SourceBudgets {
  readonly #seeds: readonly [number, number];
  readonly #sources: CpuBudget;
  readonly #strangers: CpuBudget;
  readonly #known: KnownSources;
  readonly #ofKnown: CpuBudget;
  readonly #words = new Uint32Array(WORDS);
  #text = "";

  /** Shares of a core: of a known source, of a stranger, of all strangers together. */
  constructor(options: {
    readonly now: Nanoseconds;
    readonly seeds: readonly [number, number];
    readonly knownShare?: number;
    readonly strangerShare?: number;
    readonly strangersShare?: number;
  }) {
    const least = options.strangerShare ?? STRANGER_SHARE;
    assert(
      least * BUDGET_BURST_NS >= openCostNs(DATAGRAM_BYTES_MAX),
      "a full bucket opens anything",
    );
    this.#seeds = options.seeds;
    this.#ofKnown = new CpuBudget({
      share: options.knownShare ?? KNOWN_SHARE,
      buckets: KNOWN_SOURCES_MAX,
    });
    this.#sources = new CpuBudget({
      share: least,
      buckets: STRANGER_BUCKETS,
    });
    this.#strangers = new CpuBudget({ share: options.strangersShare ?? STRANGERS_SHARE });
    this.#known = new KnownSources(options.seeds);
  }

  /** Addresses of the configuration: known and never replaced. Host names are passed over. */
  configure(addresses: readonly string[]): void {
    this.#known.unpin();
    for (const address of addresses) {
      if (!this.#read(address)) continue;
      const source = this.#known.find(this.#words);
      if (source !== NO_SOURCE) this.#known.pin(source);
      else this.#known.add(this.#words, Number.NEGATIVE_INFINITY, true, this.#ofKnown);
    }
  }

  /** Charges a datagram of `bytes` bytes to its source, before it is opened. */
  admit(now: Nanoseconds, address: string, bytes: number, keys = 1): Admission {
    const costNs = openCostNs(bytes) * keys;
    this.#read(address);
    const source = this.#known.proven(this.#words, now);
    if (source !== NO_SOURCE) {
      return this.#ofKnown.spend(now, costNs, source) ? "admitted" : "source_budget";
    }
    const bucket = this.#bucketOf();
    if (!this.#sources.spend(now, costNs, bucket)) return "source_budget";
    if (this.#strangers.spend(now, costNs)) return "admitted";
    this.#sources.refund(costNs, bucket);
    return "stranger_budget";
  }

  /** A datagram of this source was authentic: its charge is given back, and the source is known. */
  authenticated(now: Nanoseconds, address: string, bytes: number, keys = 1): void {
    const costNs = openCostNs(bytes) * keys;
    if (!this.#read(address)) return;
    const source = this.#known.proven(this.#words, now);
    if (source !== NO_SOURCE) {
      this.#ofKnown.refund(costNs, source);
      this.#known.prove(source, now);
      return;
    }
    this.#sources.refund(costNs, this.#bucketOf());
    this.#strangers.refund(costNs);
    const idle = this.#known.find(this.#words);
    if (idle !== NO_SOURCE) this.#known.prove(idle, now);
    else this.#known.add(this.#words, now, false, this.#ofKnown);
  }

  /** Reads an address into #words; false, with the unspecified address there, for other text. */
  #read(address: string): boolean {
    if (address === this.#text) return true;
    if (parseAddress(address, this.#words)) {
      this.#text = address;
      return true;
    }
    this.#text = "";
    this.#words.fill(0);
    return false;
  }

  /** Bucket of a stranger: of its IPv4 address, or of the /64 that an IPv6 host has at hand. */
  #bucketOf(): number {
    const words = this.#words;
    const isIpv4 = isMapped(words);
    const low = isIpv4 ? words[3] : 0;
    return (
      hashWords(this.#seeds, words[0], words[1], isIpv4 ? words[2] : 0, low) % STRANGER_BUCKETS
    );
  }
}

/** Exact addresses, each at an index: the configured ones, and those proven most recently. */
class KnownSources {
  readonly #table: IdTable;
  readonly #keys = new Uint32Array(KNOWN_SOURCES_MAX * WORDS);
  readonly #keyBytes = new Uint8Array(this.#keys.buffer);
  readonly #lookup = new Uint32Array(WORDS);
  readonly #lookupBytes = new Uint8Array(this.#lookup.buffer);
  readonly #provenAt = new Float64Array(KNOWN_SOURCES_MAX);
  readonly #pinned = new Uint8Array(KNOWN_SOURCES_MAX);
  #size = 0;

  constructor(seeds: readonly [number, number]) {
    this.#table = new IdTable({ seeds, entriesMax: KNOWN_SOURCES_MAX });
  }

  /** Index of an address, proven lately or not. */
  find(words: Uint32Array): number {
    this.#lookup.set(words);
    return this.#table.find(this.#lookupBytes, 0, words[3]);
  }

  /** Index of an address that is configured, or proven within PROVEN_NS; else NO_SOURCE. */
  proven(words: Uint32Array, now: Nanoseconds): number {
    const source = this.find(words);
    if (source === NO_SOURCE || this.#pinned[source] === 1) return source;
    return now - this.#provenAt[source] <= PROVEN_NS ? source : NO_SOURCE;
  }

  prove(source: number, now: Nanoseconds): void {
    this.#provenAt[source] = now;
  }

  pin(source: number): void {
    this.#pinned[source] = 1;
  }

  unpin(): void {
    this.#pinned.fill(0);
  }

  /** Adds an address with a full bucket; without room, in place of the one proven longest ago. */
  add(words: Uint32Array, provenAt: number, pinned: boolean, budget: CpuBudget): void {
    const source = this.#size < KNOWN_SOURCES_MAX ? this.#size : this.#oldest();
    if (source === NO_SOURCE) return;
    const at = source * WORDS;
    if (source < this.#size) {
      this.#table.delete(this.#keyBytes, at * WORD_BYTES, this.#keys[at + 3]);
    } else {
      this.#size += 1;
    }
    this.#keys.set(words, at);
    this.#table.insert(this.#keyBytes, at * WORD_BYTES, words[3], source);
    this.#provenAt[source] = provenAt;
    this.#pinned[source] = pinned ? 1 : 0;
    budget.fill(source);
  }

  /** NO_SOURCE when all are configured. */
  #oldest(): number {
    let oldest = NO_SOURCE;
    for (let source = 0; source < KNOWN_SOURCES_MAX; source++) {
      if (this.#pinned[source] === 1) continue;
      if (oldest === NO_SOURCE || this.#provenAt[source] < this.#provenAt[oldest]) oldest = source;
    }
    return oldest;
  }
}

const openCostNs = (bytes: number): number => OPEN_COST_NS + OPEN_COST_NS_PER_BYTE * bytes;
