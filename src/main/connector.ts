// Actor: turns host names into addresses, a few at a time, and tries again later what was not found.
// Only importer of p-queue and node:dns; nothing here runs per packet.

import { lookup } from "node:dns/promises";
import PQueue from "p-queue";
import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../shared/base/units.js";
import { canonicalAddress } from "../shared/protocol/address.js";

/** Names looked up at the same time; each holds a thread of libuv's pool of four. */
const LOOKUPS_MAX = 2;
/** Names that wait at most; one more is asked for again when its row's turn comes. */
const NAMES_MAX = 4_096;
/** First and longest wait before a name that was not found is tried again, ns. */
const AGAIN_FIRST_NS = 2 * NS_PER_SECOND;
const AGAIN_MAX_NS = 300 * NS_PER_SECOND;

interface Waiting {
  at: Nanoseconds;
  tries: number;
}

export interface ConnectorEvents {
  readonly onResolved: (host: string, address: string) => void;
  /** The first failure of a name; silence afterwards, until it is found. */
  readonly onUnknown: (host: string, why: string) => void;
}

/** Looks a name up: IP text, or a rejection. Replaced in tests. */
export type Lookup = (host: string, family: 4 | 6) => Promise<string>;

export class Connector {
  readonly #queue = new PQueue({ concurrency: LOOKUPS_MAX });
  readonly #events: ConnectorEvents;
  readonly #now: () => Nanoseconds;
  readonly #lookup: Lookup;
  readonly #family: 4 | 6;
  readonly #under = new Set<string>();
  readonly #again = new Map<string, Waiting>();

  constructor(options: {
    readonly events: ConnectorEvents;
    readonly now: () => Nanoseconds;
    readonly family: 4 | 6;
    readonly lookup?: Lookup;
  }) {
    this.#events = options.events;
    this.#now = options.now;
    this.#family = options.family;
    this.#lookup = options.lookup ?? systemLookup;
  }

  /** Asks for a name; a name under way, or waiting for its next try, is not asked for twice. */
  resolve(host: string): void {
    if (this.#under.has(host) || this.#again.has(host) || this.#under.size >= NAMES_MAX) return;
    this.#ask(host, 0);
  }

  /** Starts the tries whose time has come. */
  handleTimeout(now: Nanoseconds): void {
    if (this.#again.size === 0) return;
    for (const [host, { at, tries }] of this.#again) {
      if (at > now) continue;
      this.#again.delete(host);
      this.#ask(host, tries);
    }
  }

  pollDeadline(): Nanoseconds {
    let earliest = Number.POSITIVE_INFINITY;
    if (this.#again.size === 0) return nanoseconds(earliest);
    for (const { at } of this.#again.values()) earliest = Math.min(earliest, at);
    return nanoseconds(earliest);
  }

  stop(): void {
    this.#queue.clear();
    this.#again.clear();
  }

  #ask(host: string, tries: number): void {
    this.#under.add(host);
    void this.#queue.add(async () => {
      try {
        const text = await this.#lookup(host, this.#family);
        this.#under.delete(host);
        this.#events.onResolved(host, canonicalAddress(text) ?? text);
      } catch (error) {
        this.#under.delete(host);
        const delay = Math.min(AGAIN_MAX_NS, AGAIN_FIRST_NS * 2 ** tries);
        this.#again.set(host, { at: nanoseconds(this.#now() + delay), tries: tries + 1 });
        const why = (error as NodeJS.ErrnoException).code ?? "unknown";
        if (tries === 0) this.#events.onUnknown(host, why);
      }
    });
  }
}

/** A socket of both families reaches IPv4 through mapped addresses, so it takes what comes first. */
async function systemLookup(host: string, family: 4 | 6): Promise<string> {
  const { address } = await lookup(host, family === 4 ? { family: 4 } : { verbatim: true });
  return address;
}
