// Who shares which secret: from a source address or a destination name to a key ring.
// Index 0 upwards in the order of the configuration; a ring keeps its index for the daemon's life,
// so that what is in flight survives a reload.

import { NO_RING } from "./slot.js";

export interface RingConfig {
  /** Name of the peer, and the scope of its message ids; "" is the secret that all share. */
  readonly name: string;
  /** Scope of the ids that its keys open, where that is not the name. */
  readonly scope?: string | undefined;
  /** Addresses it is known by: IP text, or a host name; without a port, any port. */
  readonly addresses: readonly { readonly address: string; readonly port: number | undefined }[];
  /** How many keys it has, 1 to 3: current, and previous and next where there are any. */
  readonly keys: number;
}

/** Worker that a ring without an address of its own is served by: spreads hosts over the pool. */
export function addressAffinity(address: string): number {
  let hash = 0;
  for (let i = 0; i < address.length; i++) hash = (hash * 31 + address.charCodeAt(i)) >>> 0;
  return hash;
}

interface Source {
  any: number;
  readonly ports: Map<number, number>;
}

export class Rings {
  #names: string[] = [];
  #scopes: string[] = [];
  #live = new Set<number>();
  #sources = new Map<string, Source>();
  #peers = new Map<string, { readonly ring: number; readonly config: RingConfig }>();
  #shared = NO_RING;
  #keys: number[] = [];

  constructor(rings: readonly RingConfig[]) {
    this.configure(rings);
  }

  /** Index of each ring of `rings`, in their order; new names get new indexes. */
  configure(rings: readonly RingConfig[]): readonly number[] {
    this.#live.clear();
    this.#sources.clear();
    this.#peers.clear();
    this.#shared = NO_RING;
    this.#keys = [];
    return rings.map((config) => {
      let ring = this.#names.indexOf(config.name);
      if (ring < 0) ring = this.#names.push(config.name) - 1;
      this.#live.add(ring);
      this.#scopes[ring] = config.scope ?? config.name;
      this.#keys[ring] = config.keys;
      if (config.name === "") this.#shared = ring;
      else this.#peers.set(config.name, { ring, config });
      for (const { address, port } of config.addresses) this.learn(ring, address, port);
      return ring;
    });
  }

  /** Names a source of a ring: an address of the configuration, or what a host name resolved to. */
  learn(ring: number, address: string, port: number | undefined): void {
    let source = this.#sources.get(address);
    if (source === undefined) {
      source = { any: NO_RING, ports: new Map() };
      this.#sources.set(address, source);
    }
    if (port === undefined) source.any = ring;
    else source.ports.set(port, ring);
  }

  get shared(): number {
    return this.#shared;
  }
  get size(): number {
    return this.#names.length;
  }
  /** True while the configuration has this ring. */
  live(ring: number): boolean {
    return this.#live.has(ring);
  }

  /** Dedupe scope of the ids that a ring's key opened. */
  scope(ring: number): string {
    return this.#scopes[ring] as string;
  }

  /** Ring of the peer at a source, or NO_RING. */
  ofSource(address: string, port: number): number {
    const source = this.#sources.get(address);
    if (source === undefined) return NO_RING;
    return source.ports.get(port) ?? source.any;
  }

  /** Peer that a destination names, if it is a name of the configuration. */
  peer(name: string): { readonly ring: number; readonly config: RingConfig } | undefined {
    return this.#peers.get(name);
  }

  /** Every peer of the configuration. */
  peers(): Iterable<{ readonly ring: number; readonly config: RingConfig }> {
    return this.#peers.values();
  }

  /** Keys that are tried for a datagram of these rings: what opening it may cost. */
  keysOf(ring: number, otherRing: number): number {
    const keys = ring === NO_RING ? 0 : (this.#keys[ring] as number);
    return otherRing === NO_RING ? keys : keys + (this.#keys[otherRing] as number);
  }

  /** Ring that seals for a resolved address, or NO_RING when no secret covers it. */
  ofDestination(address: string, port: number): number {
    const ring = this.ofSource(address, port);
    return ring === NO_RING ? this.#shared : ring;
  }

  /** Worker of a ring's packets; a peer's key lives in one worker only. */
  affinity(ring: number, address: string): number {
    return ring === this.#shared ? addressAffinity(address) : ring;
  }
}
