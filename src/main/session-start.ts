// Begins the sessions, and takes a new configuration over: keys go to the workers, the store learns
// whose rows go where, the core gets what earlier runs left.

import { randomFillSync } from "node:crypto";
import type { Endpoint } from "../shared/protocol/endpoint.js";
import { SessionLayer } from "../shared/protocol/session/session-layer.js";
import type { Counters } from "../shared/runtime/counters.js";
import type { StoreOpened } from "../shared/runtime/messages.js";
import type { Clock } from "./clock.js";
import type { CryptoPool } from "./crypto-pool.js";
import { PeerDirectory } from "./peer-directory.js";
import { PeerMemory } from "./peer-memory.js";
import type { SessionSettings } from "./session-settings.js";
import { Sessions } from "./sessions.js";
import type { Store } from "./store.js";

export interface SessionStart {
  readonly opened: StoreOpened;
  readonly pool: CryptoPool;
  readonly store: Store;
  readonly endpoint: Endpoint;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly send: (message: Uint8Array, address: string, port: number) => void;
  readonly resolve: (host: string) => void;
  readonly onProgress: () => void;
  readonly onReport: (sentence: string) => void;
}

/** The sessions of a daemon, whose peers may come and go. */
export class SessionControl {
  readonly #pool: CryptoPool;
  readonly #directory: PeerDirectory;
  readonly sessions: Sessions;
  /** Some keys were installed: from then on every change is. */
  #isInstalled = false;

  constructor(start: SessionStart) {
    const { pool, store, clock, endpoint, counters } = start;
    const { send, resolve, onProgress, onReport } = start;
    this.#pool = pool;
    this.#directory = new PeerDirectory(new PeerMemory(start.opened));
    const layer = new SessionLayer({
      now: clock.now(),
      random: (into) => void randomFillSync(into),
      uniform: Math.random,
      settlements: endpoint.settlements,
      ownPublicKey: new Uint8Array(0),
      peers: [],
      events: { onReport },
    });
    this.sessions = new Sessions({
      ...{ layer, directory: this.#directory, endpoint, sink: pool.sessions, store, counters },
      ...{ clock, send, resolve, onProgress, onReport },
    });
    store.serveSessions(this.sessions.storeEvents);
  }

  /**
   * Takes over the peers of a configuration; wipes the keys of the settings once the workers have
   * them. What is in flight stays in flight, or goes back to the table.
   */
  async configure(settings: SessionSettings | undefined): Promise<void> {
    const plan = this.#directory.plan(settings);
    await this.sessions.pause();
    try {
      const keys = PeerDirectory.keysOf(plan);
      this.#isInstalled ||= keys.length > 0;
      const installed = this.#isInstalled
        ? await this.#pool.installPeers(settings?.identities ?? [], keys)
        : [];
      this.sessions.configure(plan, installed);
    } finally {
      this.sessions.resume();
    }
  }
}
