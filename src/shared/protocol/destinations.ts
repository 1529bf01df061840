// All destinations: from the dst_addr of a row (address, host name, peer name) to a Destination, its
// address and its ring. Names wait for the connector; what cannot be sent to carries the reason.

import { assert } from "../base/assert.js";
import type { Nanoseconds } from "../base/units.js";
import { canonicalAddress } from "./address.js";
import { DESTINATIONS_MAX } from "./constants.js";
import { Destination } from "./destination.js";
import type { Rings } from "./rings.js";
import { NO_RING } from "./slot.js";

/** What the outside knows of the network. */
export interface Reach {
  /** True when a datagram to it would come back to our own socket. */
  readonly isSelf: (address: string, port: number) => boolean;
  /** Undefined when our socket can send there, else a sentence for last_error. */
  readonly refusal: (address: string) => string | undefined;
}

export interface Limit {
  readonly address: string;
  readonly port: number;
  readonly rowsMax: number;
}

export class Destinations {
  readonly #rings: Rings;
  readonly #reach: Reach;
  #all: Destination[] = [];
  #byName = new Map<string, Destination>();
  #vacant: number[] = [];
  #changed = new Set<Destination>();
  /** Host names to look up, each once. */
  #wanted = new Set<string>();
  #silent = new Set<Destination>();
  #isElsewhere: (name: string, port: number) => boolean = () => false;

  constructor(rings: Rings, reach: Reach) {
    this.#rings = rings;
    this.#reach = reach;
  }

  get size(): number {
    return this.#byName.size;
  }
  get anySilent(): boolean {
    return this.#silent.size > 0;
  }

  of(index: number): Destination {
    const destination = this.#all[index];
    assert(destination !== undefined, "a message in flight keeps its destination");
    return destination;
  }

  /** The destination of a row, made on first sight. */
  named(name: string, port: number, now: Nanoseconds): Destination {
    const key = `${name}|${port}`;
    const known = this.#byName.get(key);
    if (known !== undefined) return known;
    if (this.#byName.size >= DESTINATIONS_MAX) this.#evictIdle();
    const index = this.#vacant.pop() ?? this.#all.length;
    const destination = new Destination(index, name, port, now);
    this.#all[index] = destination;
    this.#byName.set(key, destination);
    destination.elsewhere = this.#isElsewhere(name, port);
    this.#locate(destination);
    this.changed(destination);
    return destination;
  }

  /** Silent destinations at an address: those that a sign of life is news of. */
  *at(address: string): Iterable<Destination> {
    for (const destination of this.#silent) {
      if (destination.address === address) yield destination;
    }
  }

  /** Notes that the limit or the health of a destination may have changed. */
  changed(destination: Destination): void {
    this.#changed.add(destination);
    if (destination.silent) this.#silent.add(destination);
    else this.#silent.delete(destination);
  }

  /** Which destinations, as rows spell them, are not ours: looked at anew with each call. */
  divert(isElsewhere: (name: string, port: number) => boolean): void {
    this.#isElsewhere = isElsewhere;
    for (const destination of this.#byName.values()) {
      const before = destination.elsewhere;
      destination.elsewhere = isElsewhere(destination.name, destination.port);
      if (!before || destination.elsewhere) continue;
      destination.forgetAnnounced();
      this.changed(destination);
    }
  }

  /** A destination that stays silent may have moved: its name is looked up once more. */
  resolveAgain(destination: Destination): void {
    const host = this.#hostOf(destination);
    if (host !== undefined) this.#wanted.add(host);
  }

  /** The next limit that the store should know; undefined when it knows all. */
  pollLimit(): Limit | undefined {
    if (this.#changed.size === 0) return undefined;
    for (const destination of this.#changed) {
      this.#changed.delete(destination);
      const rowsMax = destination.elsewhere ? undefined : destination.announce();
      if (rowsMax !== undefined) {
        return { address: destination.name, port: destination.port, rowsMax };
      }
    }
    return undefined;
  }

  /** The next host name to look up. */
  pollResolve(): string | undefined {
    if (this.#wanted.size === 0) return undefined;
    for (const host of this.#wanted) {
      this.#wanted.delete(host);
      return host;
    }
    return undefined;
  }

  /** Peers whose entries give a host name are looked up at once: they may speak first. */
  watchPeers(): void {
    for (const { config } of this.#rings.peers()) {
      for (const { address } of config.addresses) {
        if (canonicalAddress(address) === undefined) this.#wanted.add(address);
      }
    }
  }

  /** Address of a host name; yields the destinations that may be sent to now. */
  *resolved(host: string, address: string): Iterable<Destination> {
    for (const { ring, config } of this.#rings.peers()) {
      for (const entry of config.addresses) {
        if (entry.address === host) this.#rings.learn(ring, address, entry.port);
      }
    }
    for (const destination of this.#byName.values()) {
      if (this.#hostOf(destination) !== host) continue;
      this.#settle(destination, address);
      yield destination;
    }
  }

  /** After a reload: addresses and rings anew; yields every destination. */
  *reconfigured(): Iterable<Destination> {
    for (const destination of this.#byName.values()) {
      this.#locate(destination);
      yield destination;
    }
  }

  #locate(destination: Destination): void {
    destination.refusal = undefined;
    destination.address = undefined;
    if (destination.port < 1 || destination.port > 65_535) {
      destination.refusal = `dst_port ${destination.port} is not a port: use 1 to 65535`;
      return;
    }
    const literal = canonicalAddress(this.#addressText(destination));
    if (literal !== undefined) this.#settle(destination, literal);
    else this.resolveAgain(destination);
  }

  #settle(destination: Destination, address: string): void {
    const peer = this.#rings.peer(destination.name);
    const { port } = destination;
    const ring = peer?.ring ?? this.#rings.ofDestination(address, port);
    destination.refusal = this.#reach.refusal(address);
    if (this.#reach.isSelf(address, port)) {
      destination.refusal = `${address} port ${port} is this daemon itself: a row cannot go to its own host`;
    } else if (ring === NO_RING) {
      destination.refusal = `no secret covers ${address}: give it a [[peer]] entry, or set SECUREDGRAM_SECRET`;
    }
    destination.address = address;
    destination.ring = ring;
    destination.affinity = ring === NO_RING ? 0 : this.#rings.affinity(ring, address);
  }

  /** dst_addr, or the address that a peer's entry gives for its name. */
  #addressText(destination: Destination): string {
    const peer = this.#rings.peer(destination.name);
    return peer?.config.addresses[0]?.address ?? destination.name;
  }

  #hostOf(destination: Destination): string | undefined {
    const text = this.#addressText(destination);
    return canonicalAddress(text) === undefined ? text : undefined;
  }

  /** Frees destinations with nothing in flight; what is in flight bounds those that stay. */
  #evictIdle(): void {
    for (const [key, destination] of this.#byName) {
      if (destination.inFlight > 0) continue;
      this.#byName.delete(key);
      this.#changed.delete(destination);
      this.#silent.delete(destination);
      this.#vacant.push(destination.index);
      if (this.#byName.size < DESTINATIONS_MAX / 2) return;
    }
  }
}
