// Which rows go to a session peer: its name, or an address of it, in dst_addr, while sessions are what
// is spoken with it. The core and the DB worker ask the same table, so they never differ about a row.

import { canonicalAddress } from "../address.js";

export type PeerMode = "classic" | "session" | "auto";

export interface PeerEntry {
  readonly name: string;
  /** Base64, 44 characters: the scope of its message ids. Undefined: a peer of classic alone. */
  readonly publicKey: string | undefined;
  readonly mode: PeerMode;
  /** Addresses in their one spelling, or host names in lower case. Port undefined: any port. */
  readonly addresses: readonly { readonly address: string; readonly port: number | undefined }[];
  /** A session was confirmed before: `auto` means session from then on. */
  readonly sessionSince: boolean;
}

/** In place of an index: the row goes by classic. */
export const NO_PEER_ID = -1;

export class PeerTable {
  readonly entries: readonly PeerEntry[];
  readonly #since: boolean[];
  readonly #byName = new Map<string, number>();
  /** By address, and by address and port. */
  readonly #byPlace = new Map<string, number>();
  readonly #byKey = new Map<string, number>();

  constructor(entries: readonly PeerEntry[]) {
    this.entries = entries;
    this.#since = entries.map(({ sessionSince }) => sessionSince);
    entries.forEach(({ name, addresses, publicKey }, peer) => {
      this.#byName.set(name, peer);
      if (publicKey !== undefined) this.#byKey.set(publicKey, peer);
      for (const { address, port } of addresses) this.#byPlace.set(place(address, port), peer);
    });
  }

  /** Index of the peer that rows for this destination go to in sessions, or {@link NO_PEER_ID}. */
  ofDestination(address: string, port: number): number {
    const peer = this.#owner(address, port);
    return peer !== undefined && this.speaksSession(peer) ? peer : NO_PEER_ID;
  }

  /** Public key of the peer that rows go to in classic only until there was a session with it. */
  tentativeKey(address: string, port: number): string | undefined {
    const peer = this.#owner(address, port);
    if (peer === undefined || this.speaksSession(peer)) return undefined;
    const { mode, publicKey } = this.entries[peer] as PeerEntry;
    return mode === "auto" ? publicKey : undefined;
  }

  /** Index of the peer with this public key in base64, or {@link NO_PEER_ID}. */
  ofKey(publicKey: string): number {
    return this.#byKey.get(publicKey) ?? NO_PEER_ID;
  }

  /** Whether nothing but sessions is spoken with the peer. */
  speaksSession(peer: number): boolean {
    const { mode, publicKey } = this.entries[peer] as PeerEntry;
    if (publicKey === undefined) return false;
    return mode === "session" || (mode === "auto" && this.#since[peer] === true);
  }

  /** A first session with the peer is confirmed, and that is durable. True when rows move by it. */
  confirmed(peer: number): boolean {
    const before = this.speaksSession(peer);
    this.#since[peer] = true;
    return !before && this.speaksSession(peer);
  }

  /** A name stands before an address; an address with its port before one for any port. */
  #owner(address: string, port: number): number | undefined {
    const named = this.#byName.get(address);
    if (named !== undefined) return named;
    const spelled = canonicalAddress(address) ?? hostName(address);
    return this.#byPlace.get(place(spelled, port)) ?? this.#byPlace.get(place(spelled, undefined));
  }
}

const place = (address: string, port: number | undefined): string =>
  port === undefined ? address : `${address} ${port}`;

/** Lower case without a final dot, as the configuration spells host names. */
const hostName = (text: string): string => {
  const lower = text.toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
};
