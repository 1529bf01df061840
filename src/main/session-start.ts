// Builds the actor of the sessions: hands out the keys, tells the store whose rows go where, gives the
// core what earlier runs left, and looks up the names of peers.

import { randomFillSync } from "node:crypto";
import { canonicalAddress } from "../shared/protocol/address.js";
import type { Endpoint } from "../shared/protocol/endpoint.js";
import { PeerTable } from "../shared/protocol/session/peer-table.js";
import { SessionLayer } from "../shared/protocol/session/session-layer.js";
import type { Counters } from "../shared/runtime/counters.js";
import type { StoreOpened } from "../shared/runtime/messages.js";
import type { Clock } from "./clock.js";
import type { CryptoPool } from "./crypto-pool.js";
import type { SessionSettings } from "./session-settings.js";
import { Sessions } from "./sessions.js";
import type { Store } from "./store.js";

export interface SessionStart {
  readonly settings: SessionSettings;
  readonly opened: StoreOpened;
  readonly pool: CryptoPool;
  readonly store: Store;
  readonly endpoint: Endpoint;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly send: (message: Uint8Array, address: string, port: number) => void;
  readonly onProgress: () => void;
  readonly onReport: (sentence: string) => void;
}

/** Starts the sessions. Wipes the keys of the settings once the workers have them. */
export async function startSessions(start: SessionStart): Promise<Sessions> {
  const { settings, opened, pool, store, clock } = start;
  const table = new PeerTable(settings.table(new Set(opened.sessionSince)));
  store.order({ kind: "peers", peers: table.entries });
  const installed = await pool.installPeers(
    settings.identities,
    settings.peers.map(({ keys }) => keys),
  );
  const now = clock.now();
  const layer = new SessionLayer({
    now,
    random: (into) => void randomFillSync(into),
    uniform: Math.random,
    settlements: start.endpoint.settlements,
    ownPublicKey: settings.ownPublicKey,
    peers: settings.peers.map(({ config, key }) => ({
      config,
      stamps: opened.stamps.find(({ peer }) => peer === key) ?? { sent: 0n, accepted: 0n },
      spools: opened.spools.filter(({ peer }) => peer === key),
    })),
    events: { onReport: start.onReport },
  });
  layer.handleHintKeys(
    installed.map((ring) => (ring ?? []).flatMap(({ hintKey }) => hintKey ?? [])),
  );
  const sessions = new Sessions({
    layer,
    entries: settings.peers.map(({ key, config }) => ({
      key,
      places: config.places.map(({ address, port }) => ({ host: address, port })),
    })),
    table,
    sink: pool.sessions,
    store,
    counters: start.counters,
    clock,
    send: start.send,
    onProgress: start.onProgress,
  });
  store.serveSessions(sessions.storeEvents);
  for (const host of sessions.hosts) {
    const address = canonicalAddress(host);
    if (address !== undefined) sessions.handleResolved(now, host, address);
  }
  // Whoever had a session with us before this start should hear that it is over.
  for (const { index } of layer.peers) layer.announce(now, index);
  return sessions;
}
