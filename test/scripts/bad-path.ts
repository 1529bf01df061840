// Two daemons with a path of a given kind between them: in network namespaces where they may be made,
// else on loopback. netem of the kernel shapes the path, or a relay where there is none. Which it was
// stands in one line.

import { LOOPBACK, type Place } from "../daemon/harness.js";
import { type PairOptions, SessionPair } from "../daemon/session-hosts.js";
import { ADDRESSES, Namespaces } from "./namespaces.js";
import { RelayProcess, type Shape } from "./relay-process.js";

export interface PathWanted extends Shape {
  /** MTU of the link to bob; 0: as it is. */
  readonly linkBytes: number;
  readonly seed: number;
  /** A relay even where netem is: it can keep copies. */
  readonly relayed?: boolean;
}

export interface PathMade {
  /** Not started. */
  readonly pair: SessionPair;
  readonly relay: RelayProcess | undefined;
  readonly namespaces: Namespaces | undefined;
}

/** Says in one line what the path is made of, and in another what could not be had. */
export async function layPath(
  place: Place,
  wanted: PathWanted,
  options: Omit<PairOptions, "places" | "relayed"> = {},
): Promise<PathMade> {
  const namespaces = Namespaces.make(place, wanted.linkBytes);
  if (typeof namespaces === "string") {
    console.log(`NOT IN NETWORK NAMESPACES: ${namespaces}`);
    const pair = await SessionPair.make(place, options);
    const relay = await putBetween(place, pair, wanted, undefined);
    console.log(`a relay on loopback in place of them: ${said(wanted)}`);
    return { pair, relay, namespaces: undefined };
  }
  const at = (name: "alice" | "bob") => ({
    address: ADDRESSES[name].host,
    wrapper: namespaces.wrapper(name),
  });
  const places = { alice: at("alice"), bob: at("bob") };
  const pair = await SessionPair.make(place, { ...options, places });
  const link = wanted.linkBytes === 0 ? "" : `, a link of ${wanted.linkBytes} bytes`;
  const { lossShare, delayMs, jitterMs } = wanted;
  const isShaped = lossShare > 0 || delayMs > 0 || jitterMs > 0;
  if (wanted.relayed !== true) {
    const qdisc = `netem limit 100000 loss ${lossShare * 100}% delay ${delayMs + jitterMs / 2}ms ${jitterMs / 2}ms`;
    const trouble = isShaped ? namespaces.shape(qdisc) : undefined;
    if (trouble === undefined) {
      console.log(`network namespaces${link}${isShaped ? `, ${qdisc}` : ""}`);
      return { pair, relay: undefined, namespaces };
    }
    console.log(`NOT BY NETEM: ${trouble}`);
  }
  const relay = await putBetween(place, pair, wanted, namespaces);
  console.log(`network namespaces${link}, a relay in the router's: ${said(wanted)}`);
  return { pair, relay, namespaces };
}

async function putBetween(
  place: Place,
  pair: SessionPair,
  wanted: PathWanted,
  namespaces: Namespaces | undefined,
): Promise<RelayProcess> {
  const { alice, bob } = pair;
  const inside = namespaces !== undefined;
  const sides = {
    alice: inside ? ADDRESSES.alice.router : LOOPBACK,
    bob: inside ? ADDRESSES.bob.router : LOOPBACK,
  };
  const { lossShare, delayMs, jitterMs, bytesMax, seed } = wanted;
  const relay = await RelayProcess.start(
    place,
    {
      sides,
      hosts: {
        toAlice: { address: pair.addresses.alice, port: alice.port },
        toBob: { address: pair.addresses.bob, port: bob.port },
      },
      shape: { lossShare, delayMs, jitterMs, bytesMax },
      seed,
    },
    namespaces?.wrapper("router"),
  );
  pair.configure("alice", { address: sides.alice, port: relay.ports.toBob });
  pair.configure("bob", { address: sides.bob, port: relay.ports.toAlice });
  return relay;
}

const said = ({ lossShare, delayMs, jitterMs, bytesMax }: Shape): string =>
  `${lossShare * 100} % loss, ${delayMs} to ${delayMs + jitterMs} ms each way, nothing above ` +
  `${bytesMax} bytes of payload`;
