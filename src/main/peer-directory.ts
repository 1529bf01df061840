// The peers of sessions as main knows them: which index of the core each has, for as long as the daemon
// lives; where they are, with what names stand for; and by that, which rows and sources are theirs.

import { DaemonError } from "../shared/base/errors.js";
import { canonicalAddress } from "../shared/protocol/address.js";
import type { HandshakePlace } from "../shared/protocol/session/handshakes.js";
import type { LayerPeer } from "../shared/protocol/session/peer-surroundings.js";
import { NO_PEER_ID, type PeerEntry, PeerTable } from "../shared/protocol/session/peer-table.js";
import { SESSION_PEERS_MAX } from "../shared/protocol/session/session-layer.js";
import type { PeerKeys } from "../shared/runtime/messages.js";
import { keysOf, type PeerMemory } from "./peer-memory.js";
import type { SessionSettings, SettledPeer } from "./session-settings.js";

/** Addresses that a host name stood for, remembered at most; the newest ones. */
const ADDRESSES_PER_HOST_MAX = 8;

/** What a configuration makes of the peers: decided before anything of it is done. */
export interface PeerPlan {
  readonly settings: SessionSettings | undefined;
  /** By index; undefined: not configured. */
  readonly peers: readonly (SettledPeer | undefined)[];
}

export class PeerDirectory {
  readonly #memory: PeerMemory;
  /** By index: what is configured, and what was. */
  #peers: readonly (SettledPeer | undefined)[] = [];
  readonly #byKey = new Map<string, number>();
  #keys: string[] = [];
  readonly #confirmed = new Set<string>();
  /** By host name, oldest first. */
  readonly #addresses = new Map<string, string[]>();
  #entries: readonly PeerEntry[] = [];
  #table = new PeerTable([]);

  constructor(memory: PeerMemory) {
    this.#memory = memory;
  }

  get table(): PeerTable {
    return this.#table;
  }
  /** Host names of all peers. */
  get hosts(): readonly string[] {
    return this.#peers.flatMap((_, peer) => this.hostsOf(peer));
  }

  /** Index of the peer that the store knows by this key; it may have another one by now. */
  indexOf(key: string): number | undefined {
    return this.#byKey.get(key);
  }
  /** Public key, in base64, that the store knows the peer by. */
  keyOf(peer: number): string {
    return this.#keys[peer] as string;
  }
  isConfigured(peer: number): boolean {
    return this.#peers[peer] !== undefined;
  }
  configOf(peer: number): SettledPeer["config"] | undefined {
    return this.#peers[peer]?.config;
  }

  // --- Configurations ---------------------------------------------------------------------------

  /** Finds an index for each peer: the one that a public key of it had. */
  plan(settings: SessionSettings | undefined): PeerPlan {
    const peers: (SettledPeer | undefined)[] = this.#peers.map(() => undefined);
    for (const peer of settings?.peers ?? []) {
      const known = keysOf(peer.config).flatMap((key) => this.#byKey.get(key) ?? []);
      const index = known.find((each) => peers[each] === undefined) ?? peers.length;
      peers[index] = peer;
    }
    if (peers.length > SESSION_PEERS_MAX) {
      throw new DaemonError(
        "ERR_CONFIG",
        `more than ${SESSION_PEERS_MAX} session peers came and went since the start`,
        "Restart the daemon.",
      );
    }
    return { settings, peers };
  }

  /** The plan is carried out. */
  adopt({ settings, peers }: PeerPlan): void {
    this.#peers = peers;
    peers.forEach((peer, index) => {
      if (peer === undefined) return;
      this.#keys[index] = peer.key;
      for (const key of keysOf(peer.config)) this.#byKey.set(key, index);
    });
    this.#entries = settings?.table ?? [];
    for (const { publicKey, mode } of this.#entries) {
      if (publicKey !== undefined && mode === "classic") this.#confirmed.delete(publicKey);
    }
    this.#rebuild();
  }

  /** What the core is to know of each peer. */
  layerPeers({ peers }: PeerPlan): readonly (LayerPeer | undefined)[] {
    const configured = new Set(peers.flatMap((peer) => peer?.key ?? []));
    return peers.map((peer, index) => {
      if (peer === undefined) return undefined;
      const { isConfirmed, ...memory } = this.#memory.recall(peer.config, configured);
      const before = this.#keys[index];
      const wasConfirmed = before !== undefined && this.#confirmed.has(before);
      const isNew = before === undefined;
      if (wasConfirmed || (isNew && isConfirmed)) this.#confirmed.add(peer.key);
      return { config: peer.config, ...memory };
    });
  }

  /** Where the keys of each peer come from, by index. */
  static keysOf({ peers }: PeerPlan): readonly (PeerKeys | undefined)[] {
    return peers.map((peer) => peer?.keys);
  }

  // --- What is spoken ---------------------------------------------------------------------------

  isConfirmed(peer: number): boolean {
    return this.#confirmed.has(this.keyOf(peer));
  }

  /** It is durable that only sessions are spoken with the peer; true when rows move by that. */
  confirm(peer: number): boolean {
    const key = this.keyOf(peer);
    this.#confirmed.add(key);
    const entry = this.#table.ofKey(key);
    return entry !== NO_PEER_ID && this.#table.confirmed(entry);
  }

  /** True while classic is spoken with the peer, until there was a session. */
  isTentative(peer: number): boolean {
    return this.#peers[peer]?.config.mode === "auto" && !this.isConfirmed(peer);
  }

  /** The peer of a destination with which classic is spoken until there was a session. */
  tentativeAt(address: string, port: number): number | undefined {
    const key = this.#table.tentativeKey(address, port);
    return key === undefined ? undefined : this.#byKey.get(key);
  }

  // --- Places -----------------------------------------------------------------------------------

  hostsOf(peer: number): readonly string[] {
    const places = this.#peers[peer]?.config.places ?? [];
    return places.flatMap(({ address }) =>
      canonicalAddress(address) === undefined ? address : [],
    );
  }

  /** A name stands for an address; true when that changes which sources are whose. */
  resolved(host: string, address: string): boolean {
    const before = this.#addresses.get(host) ?? [];
    if (before[before.length - 1] === address) return false;
    const others = before.filter((each) => each !== address);
    this.#addresses.set(host, [...others, address].slice(-ADDRESSES_PER_HOST_MAX));
    this.#rebuild();
    return true;
  }

  placesOf(peer: number): readonly HandshakePlace[] {
    const places = this.#peers[peer]?.config.places ?? [];
    return places.flatMap(({ address: host, port }) => {
      const address = canonicalAddress(host) ?? this.#addresses.get(host)?.at(-1);
      return address === undefined ? [] : [{ address, port }];
    });
  }

  /** What is configured stands before what a name stands for. */
  #rebuild(): void {
    const taken = new Set(this.#entries.flatMap(({ addresses }) => addresses.map(placeText)));
    const entries = this.#entries.map((entry): PeerEntry => {
      const found = entry.addresses.flatMap(({ address: host, port }) =>
        (this.#addresses.get(host) ?? []).map((address) => ({ address, port })),
      );
      const addresses = [
        ...entry.addresses,
        ...found.filter((each) => !taken.has(placeText(each))),
      ];
      const { publicKey } = entry;
      const sessionSince = publicKey !== undefined && this.#confirmed.has(publicKey);
      return { ...entry, addresses, sessionSince };
    });
    this.#table = new PeerTable(entries);
  }
}

const placeText = ({ address, port }: PeerEntry["addresses"][number]): string =>
  `${address} ${port ?? ""}`;
