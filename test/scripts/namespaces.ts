// Three network namespaces, hosts at both ends and a router between them, with a link to each. What the
// kernel can do of loss and delay it does (tc netem at the router); without that module a relay in the
// router's namespace stands in, and the links are real all the same. Needs root on Linux.

import { execFileSync } from "node:child_process";
import type { Place } from "../daemon/harness.js";

/** Benchmarking range (RFC 2544): nobody's network. */
export const ADDRESSES = {
  alice: { host: "198.18.77.2", router: "198.18.77.1" },
  bob: { host: "198.19.77.2", router: "198.19.77.1" },
} as const;
const FOREIGN_NETWORK = "198.18.128.0/17";
/** Where a stranger's link to bob ends: an address of it, which bob never sends to by itself. */
const STRANGER = { own: "198.19.78.2", bob: "198.19.78.1" } as const;

type HostName = "alice" | "bob";

export class Namespaces {
  readonly #place: Place;
  readonly #names = {
    alice: `sgd-a-${process.pid}`,
    bob: `sgd-b-${process.pid}`,
    router: `sgd-r-${process.pid}`,
    stranger: `sgd-s-${process.pid}`,
  } as const;

  private constructor(place: Place) {
    this.#place = place;
  }

  /** Made and connected, or the reason why that is not possible here. `linkBytes`: MTU of bob's link. */
  static make(place: Place, linkBytes: number): Namespaces | string {
    if (process.platform !== "linux") return "network namespaces are Linux's";
    if (process.getuid?.() !== 0) return "only root may make network namespaces";
    const made = new Namespaces(place);
    try {
      for (const name of ["alice", "bob", "router"] as const) made.#add(name);
      made.#link("alice", 0);
      made.#link("bob", linkBytes);
      made.#run(
        "ip",
        "netns",
        "exec",
        made.#names.router,
        "sysctl",
        "-qw",
        "net.ipv4.ip_forward=1",
      );
      return made;
    } catch (thrown) {
      return sentenceOf(thrown);
    }
  }

  /** Words in front of a program that shall run there. */
  wrapper(name: HostName | "router" | "stranger"): readonly string[] {
    return ["ip", "netns", "exec", this.#names[name]];
  }

  /** Shapes what the router sends to each host; says why it cannot. */
  shape(qdisc: string): string | undefined {
    try {
      for (const host of ["alice", "bob"] as const) {
        this.#run(
          ...["tc", "-n", this.#names.router, "qdisc", "replace", "dev", this.#device("r", host)],
          ...["root", ...qdisc.split(" ")],
        );
      }
      return undefined;
    } catch (thrown) {
      return sentenceOf(thrown);
    }
  }

  /**
   * A namespace with a link of its own to bob, in which any address of `spoofed`, and a network of
   * foreign ones, counts as local: a process there sends from addresses that are not its own.
   */
  addStranger(spoofed: readonly string[]): void {
    this.#add("stranger");
    const { stranger, bob } = this.#names;
    const [inner, outer] = [`vs-${process.pid}`, `rs-${process.pid}`];
    this.#run(
      "ip",
      "link",
      "add",
      inner,
      "netns",
      stranger,
      "type",
      "veth",
      "peer",
      outer,
      "netns",
      bob,
    );
    this.#within(bob, "address", "add", `${STRANGER.bob}/30`, "dev", outer);
    this.#within(stranger, "address", "add", `${STRANGER.own}/30`, "dev", inner);
    this.#within(bob, "link", "set", outer, "up");
    for (const device of ["lo", inner]) this.#within(stranger, "link", "set", device, "up");
    this.#within(stranger, "route", "add", ADDRESSES.bob.host, "via", STRANGER.bob);
    for (const local of [...spoofed, FOREIGN_NETWORK]) {
      this.#within(stranger, "route", "add", "local", local, "dev", "lo");
    }
    // A host that checks where its packets come from would spare itself all this.
    for (const device of ["all", outer]) {
      this.#run("ip", "netns", "exec", bob, "sysctl", "-qw", `net.ipv4.conf.${device}.rp_filter=0`);
    }
  }

  #add(name: HostName | "router" | "stranger"): void {
    const full = this.#names[name];
    this.#run("ip", "netns", "add", full);
    // Links inside go with it.
    this.#place.after(() => this.#run("ip", "netns", "del", full));
  }

  #link(host: HostName, linkBytes: number): void {
    const { router: middle, [host]: end } = this.#names;
    const [inner, outer] = [this.#device("v", host), this.#device("r", host)];
    const { host: address, router } = ADDRESSES[host];
    this.#run(
      "ip",
      "link",
      "add",
      inner,
      "netns",
      end,
      "type",
      "veth",
      "peer",
      outer,
      "netns",
      middle,
    );
    this.#within(end, "address", "add", `${address}/24`, "dev", inner);
    this.#within(middle, "address", "add", `${router}/24`, "dev", outer);
    for (const [name, device] of [
      [end, inner],
      [middle, outer],
    ] as const) {
      if (linkBytes > 0) this.#within(name, "link", "set", device, "mtu", String(linkBytes));
      for (const each of [device, "lo"]) this.#within(name, "link", "set", each, "up");
    }
    this.#within(end, "route", "add", "default", "via", router);
  }

  #device(side: "v" | "r", host: HostName): string {
    return `${side}${host[0]}-${process.pid}`;
  }

  #within(name: string, ...words: readonly string[]): void {
    this.#run("ip", "-n", name, ...words);
  }

  #run(...[command = "", ...words]: readonly string[]): void {
    execFileSync(command, words, { stdio: ["ignore", "ignore", "pipe"] });
  }
}

function sentenceOf(thrown: unknown): string {
  const { stderr, message } = thrown as { readonly stderr?: Buffer; readonly message: string };
  return (stderr?.toString().trim() || message).replaceAll("\n", "; ");
}
