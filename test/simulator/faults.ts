// Fate. Either drawn, and written down as it is, or read from what was written down before: a run is
// replayed from the list in place of the generator, and shrunk by cutting the list.

import { Prng } from "./prng.js";
import type {
  Decision,
  NetworkSetting,
  PacketFault,
  Scenario,
  Setting,
  StoreFault,
} from "./scenario.js";

const NTH_MAX = 2 ** 32;
const BIT_MAX = 2 ** 20;
/** A delay of the heavy tail, in mean delays, and how often it comes. */
const TAIL_DELAYS = 20;
const TAIL_SHARE = 0.03;
const DELAY_NS_MAX = 5e9;

export class Faults {
  /** What was decided, in order. */
  readonly taken: Decision[] = [];
  readonly #setting: Setting;
  readonly #packetDraws: Prng;
  readonly #storeDraws: Prng;
  readonly #written: boolean;
  readonly #packets = new Map<number, PacketFault>();
  readonly #stores = new Map<number, StoreFault>();
  /** Faults with their instants, in the order of the list. */
  readonly plan: readonly Extract<Decision, { kind: "fault" }>[];
  /** The phase of faults is over: everything goes well from here. */
  frozen = false;

  constructor(scenario: Scenario, drawPlan: () => readonly Extract<Decision, { kind: "fault" }>[]) {
    this.#setting = scenario.setting;
    this.#packetDraws = Prng.of(scenario.seed, "packets");
    this.#storeDraws = Prng.of(scenario.seed, "stores");
    const written = scenario.decisions;
    this.#written = written !== undefined;
    this.plan =
      written === undefined ? drawPlan() : written.filter((each) => each.kind === "fault");
    this.taken.push(...this.plan);
    for (const each of written ?? []) {
      if (each.kind === "packet") this.#packets.set(each.link * NTH_MAX + each.nth, each.fault);
      if (each.kind === "store") this.#stores.set(each.host * NTH_MAX + each.nth, each.fault);
    }
  }

  /** Fate of the n-th datagram of a link; undefined: it arrives after the usual delay. */
  packet(link: number, nth: number): PacketFault | undefined {
    if (this.frozen) return undefined;
    const fault = this.#written
      ? this.#packets.get(link * NTH_MAX + nth)
      : drawPacket(this.#packetDraws, this.#setting.network);
    if (fault !== undefined) this.taken.push({ kind: "packet", link, nth, fault });
    return fault;
  }

  /** Fate of the n-th job of a store; undefined: it goes well, after the usual delay. */
  store(host: number, nth: number): StoreFault | undefined {
    if (this.frozen) return undefined;
    const fault = this.#written
      ? this.#stores.get(host * NTH_MAX + nth)
      : drawStore(this.#storeDraws, this.#setting);
    if (fault !== undefined) this.taken.push({ kind: "store", host, nth, fault });
    return fault;
  }
}

function drawPacket(draws: Prng, network: NetworkSetting): PacketFault | undefined {
  if (draws.chance(network.lossShare)) return { dropped: true };
  const delayNs = network.delay === "fixed" ? undefined : drawDelay(draws, network);
  const copied = draws.chance(network.copyShare);
  const flipped = draws.chance(network.flipShare);
  const cut = draws.chance(network.cutShare);
  if (delayNs === undefined && !copied && !flipped && !cut) return undefined;
  return {
    ...(delayNs === undefined ? {} : { delayNs }),
    ...(copied ? { copyDelayNs: drawDelay(draws, network) } : {}),
    ...(flipped ? { flippedBit: draws.below(BIT_MAX) } : {}),
    ...(cut ? { cutToBytes: draws.below(200) } : {}),
  };
}

function drawDelay(draws: Prng, { delay, delayNs }: NetworkSetting): number {
  const mean = Math.max(delayNs, 1_000);
  const tail = delay === "heavy tail" && draws.chance(TAIL_SHARE) ? TAIL_DELAYS : 1;
  return Math.min(DELAY_NS_MAX, Math.floor(draws.exponential(mean * tail)));
}

function drawStore(draws: Prng, setting: Setting): StoreFault | undefined {
  const trouble = draws.chance(setting.storeTroubleShare);
  if (!trouble && setting.storeDelayNs === 0) return undefined;
  const delayNs = Math.floor(draws.exponential(setting.storeDelayNs));
  if (!trouble) return { outcome: "well", delayNs };
  const kind = draws.below(20);
  const outcome =
    kind < 9 ? "busy" : kind < 17 ? "full" : kind < 19 ? "broken" : ("half broken" as const);
  return { outcome, delayNs };
}
