// The network between simulated hosts: one link for each ordered pair, with what the decisions do to each
// datagram, and what befalls whole links: partitions, clogs, addresses that change under way.

import type { EventQueue } from "./events.js";
import type { Faults } from "./faults.js";
import { Nowhere } from "./nowhere.js";
import type { NetworkSetting, PacketFault } from "./scenario.js";
import type { Tally } from "./tally.js";

/** Hosts and clones that a run may have. */
export const HOSTS_MAX = 16;
/** Port that every host listens on. */
export const PORT_OF_HOSTS = 61_773;
/** Longest usual delay once all is healed. */
const CALM_DELAY_NS_MAX = 50e6;

export const addressOf = (host: number): string => `10.0.0.${host + 1}`;

/** A datagram as it is seen on its way. Its bytes are never written to. */
export interface Datagram {
  readonly bytes: Uint8Array;
  readonly from: string;
  readonly fromPort: number;
  readonly to: string;
  readonly toPort: number;
}

/** What the network needs of the world around it. */
export interface NetworkSurroundings {
  readonly setting: NetworkSetting;
  readonly faults: Faults;
  readonly queue: EventQueue;
  readonly tally: Tally;
  /** True time, ns. */
  readonly now: () => number;
  readonly overhears: (datagram: Datagram) => void;
  readonly arrive: (host: number, datagram: Datagram) => void;
}

interface Link {
  sent: number;
  underWay: number;
  /** The latest one sent of those that arrived. */
  arrived: number;
  cutUntil: number;
  cloggedUntil: number;
}

export class Network {
  readonly #around: NetworkSurroundings;
  readonly #links: Link[] = [];
  /** Ports that a router in front of a host shows outside, by host. */
  readonly #outsidePorts: number[] = [];
  /** Datagrams that left a host, by host. */
  readonly sent: number[] = [];
  readonly nowhere = new Nowhere();

  constructor(around: NetworkSurroundings) {
    this.#around = around;
    for (let host = 0; host < HOSTS_MAX; host++) {
      this.nowhere.isSomewhere(addressOf(host), PORT_OF_HOSTS);
    }
  }

  /** The host behind an address and port, or -1. */
  hostAt(address: string, port: number): number {
    const host = Number(address.slice(address.lastIndexOf(".") + 1)) - 1;
    const known = port === PORT_OF_HOSTS || port === this.outsidePort(host);
    return address === addressOf(host) && known ? host : -1;
  }

  outsidePort(host: number): number {
    return this.#outsidePorts[host] ?? PORT_OF_HOSTS;
  }

  /** The router in front of a host gives it another port; the one before is closed. */
  rebind(host: number, port: number): void {
    this.#outsidePorts[host] = port;
    this.nowhere.isSomewhere(addressOf(host), port);
  }

  cut(from: number, to: number, until: number): void {
    this.#link(from, to).cutUntil = until;
  }

  clog(from: number, to: number, until: number): void {
    this.#link(from, to).cloggedUntil = until;
  }

  heal(): void {
    for (const link of this.#links) {
      if (link === undefined) continue;
      link.cutUntil = 0;
      link.cloggedUntil = 0;
    }
  }

  send(host: number, bytes: Uint8Array, address: string, port: number): void {
    this.sent[host] = (this.sent[host] ?? 0) + 1;
    const { queue, faults, now, tally } = this.#around;
    const fromPort = this.outsidePort(host);
    const datagram = { bytes, from: addressOf(host), fromPort, to: address, toPort: port };
    this.#around.overhears(datagram);
    const to = this.hostAt(address, port);
    if (to < 0) {
      this.nowhere.leaves(host, address, port, bytes.length);
      return;
    }
    const link = this.#link(host, to);
    link.sent += 1;
    const fault = faults.packet(this.#number(host, to), link.sent);
    const swallowed = this.#swallowed(link, bytes.length, fault);
    if (swallowed !== undefined) {
      tally.add(swallowed);
      return;
    }
    const { delayNs } = this.#around.setting;
    const usual = faults.frozen ? Math.min(CALM_DELAY_NS_MAX, delayNs) : delayNs;
    const altered = alter(datagram, fault?.flippedBit, fault?.cutToBytes);
    if (fault?.flippedBit !== undefined) tally.add("bits flipped");
    if (fault?.cutToBytes !== undefined) tally.add("cut short");
    const delays = [fault?.delayNs ?? usual];
    if (fault?.copyDelayNs !== undefined) {
      delays.push(fault.copyDelayNs);
      tally.add("copied");
    }
    const nth = link.sent;
    for (const delay of delays) {
      link.underWay += 1;
      const at = Math.max(now() + delay, link.cloggedUntil);
      queue.push(at, {
        kind: "datagram",
        host: to,
        detail: altered.bytes.length,
        run: () => {
          link.underWay -= 1;
          if (nth < link.arrived) tally.add("reordered");
          else link.arrived = nth;
          this.inject(altered);
        },
      });
    }
  }

  /** Why a datagram vanishes, if it does. */
  #swallowed(link: Link, bytes: number, fault: PacketFault | undefined): string | undefined {
    const { setting, faults, now } = this.#around;
    if (fault?.dropped === true) return "lost";
    if (now() < link.cutUntil) return "cut off";
    if (!faults.frozen && bytes > setting.mtuBytes) return "too big";
    return link.underWay >= setting.queuePacketsMax ? "queue full" : undefined;
  }

  /** Hands a datagram to whoever is at its destination by now. */
  inject(datagram: Datagram): void {
    const host = this.hostAt(datagram.to, datagram.toPort);
    if (host < 0) return;
    this.nowhere.arrives(host, datagram.from, datagram.fromPort, datagram.bytes.length);
    this.#around.arrive(host, datagram);
  }

  #number(from: number, to: number): number {
    return from * HOSTS_MAX + to;
  }

  #link(from: number, to: number): Link {
    const number = this.#number(from, to);
    let link = this.#links[number];
    if (link === undefined) {
      link = { sent: 0, underWay: 0, arrived: 0, cutUntil: 0, cloggedUntil: 0 };
      this.#links[number] = link;
    }
    return link;
  }
}

function alter(
  datagram: Datagram,
  flippedBit: number | undefined,
  cutToBytes: number | undefined,
): Datagram {
  if (flippedBit === undefined && cutToBytes === undefined) return datagram;
  const bytes = datagram.bytes.slice(0, cutToBytes ?? datagram.bytes.length);
  if (flippedBit !== undefined && bytes.length > 0) {
    bytes[(flippedBit >> 3) % bytes.length] ^= 1 << (flippedBit & 7);
  }
  return { ...datagram, bytes };
}
