// Where a peer is: the address that its newest authentic packet came from, and until it answered a
// challenge there, no more than three times what came from it. Before there is a session, the places
// of the configuration in turn. Source: RFC 9000 sections 8 and 9.

import type { Nanoseconds } from "../../base/units.js";
import type { MtuOptions } from "../transport/mtu.js";
import { TransportPath } from "../transport/transport-path.js";
import type { HandshakePlace } from "./handshakes.js";

/** Bytes that may go to an unproven address for each that came from it. Source: RFC 9000 8.1. */
const AMPLIFICATION = 3;
export const CHALLENGE_BYTES = 8;

export class PeerPath {
  readonly #random: (into: Uint8Array) => void;
  readonly #mtu: MtuOptions;
  /** Places of the configuration, resolved. */
  #places: readonly HandshakePlace[] = [];
  #turn = 0;
  #place: HandshakePlace | undefined;
  /** The last place that was proven. */
  #provenPlace: HandshakePlace | undefined;
  #transport: TransportPath;
  readonly #challenge = new Uint8Array(CHALLENGE_BYTES);
  /** A challenge is to be written. */
  challenging = false;
  #proven = true;
  #received = 0;
  #sent = 0;

  constructor(options: {
    readonly now: Nanoseconds;
    readonly random: (into: Uint8Array) => void;
    readonly mtu: MtuOptions;
  }) {
    this.#random = options.random;
    this.#mtu = options.mtu;
    this.#transport = new TransportPath({ now: options.now, mtu: options.mtu });
  }

  get transport(): TransportPath {
    return this.#transport;
  }
  /** Where packets go. */
  get place(): HandshakePlace | undefined {
    return this.#place;
  }
  get challenge(): Uint8Array {
    return this.#challenge;
  }
  get proven(): boolean {
    return this.#proven;
  }

  /** Addresses of the configuration, and what its names resolved to. True when one is new. */
  handlePlaces(places: readonly HandshakePlace[]): boolean {
    const fresh = places.some((place) => !this.#places.some((known) => same(known, place)));
    this.#places = places;
    return fresh;
  }

  /**
   * Where the next handshake goes: where the peer was last, as far as that is proven, then each place in
   * turn. One that is not proven may be anybody's, who would get handshakes for as long as there is no
   * session.
   */
  nextPlace(again: boolean): HandshakePlace | undefined {
    if (again) this.#turn += 1;
    const last = this.#provenPlace;
    const candidates = last === undefined ? this.#places : [last, ...this.#places];
    return candidates[this.#turn % Math.max(1, candidates.length)];
  }

  /**
   * A handshake was done: the other end got what we sent to this place. Where its own datagram came from
   * proves nothing, since its sender, or who copies it, may write any address.
   */
  handleAgreed(now: Nanoseconds, place: HandshakePlace): void {
    const { address, port } = place;
    this.#turn = 0;
    this.#proven = true;
    this.challenging = false;
    this.#provenPlace = { address, port };
    if (this.#place !== undefined && same(this.#place, place)) return;
    this.#place = this.#provenPlace;
    this.#transport = new TransportPath({ now, mtu: this.#mtu });
  }

  /** The newest packet came from here. True when the peer moved. */
  handleNewest(now: Nanoseconds, address: string, port: number): boolean {
    const place = this.#place;
    if (place !== undefined && place.port === port && place.address === address) return false;
    this.#place = { address, port };
    this.#transport = new TransportPath({ now, mtu: this.#mtu });
    this.#random(this.#challenge);
    this.challenging = true;
    this.#proven = false;
    this.#received = 0;
    this.#sent = 0;
    return true;
  }

  /** What came from elsewhere proves nothing of where the peer is said to be. */
  handleReceived(bytes: number, address: string, port: number): void {
    const place = this.#place;
    if (this.#proven || place?.port !== port || place.address !== address) return;
    this.#received += bytes;
  }
  handleSent(bytes: number): void {
    if (!this.#proven) this.#sent += bytes;
  }

  /** Bytes that may go to where the peer is. */
  get allowance(): number {
    if (this.#proven) return Number.POSITIVE_INFINITY;
    return Math.max(0, AMPLIFICATION * this.#received - this.#sent);
  }

  /** Where a datagram may go: a last word, which cannot wait, to where the peer was proven to be. */
  placeOf(datagramBytes: number): HandshakePlace | undefined {
    return datagramBytes <= this.allowance ? this.#place : this.#provenPlace;
  }

  /** PATH_RESPONSE: true when it proves the address. */
  handleResponse(bytes: Uint8Array, at: number): boolean {
    if (this.#proven || !this.#challenge.every((byte, i) => byte === bytes[at + i])) return false;
    this.#proven = true;
    this.#provenPlace = this.#place;
    this.challenging = false;
    return true;
  }
}

const same = (a: HandshakePlace, b: HandshakePlace): boolean =>
  a.port === b.port && a.address === b.address;
