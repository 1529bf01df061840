// What main spends on a datagram before it trusts it: nonce memory, id table, budget and stamp. The
// tables are filled as at 35,000 datagrams a second, because an empty one lies in the cache.

import { randomFillSync } from "node:crypto";
import { NS_PER_MS, NS_PER_SECOND, nanoseconds } from "../src/shared/base/units.js";
import { DATAGRAM_BYTES_MAX } from "../src/shared/protocol/constants.js";
import { SourceBudgets } from "../src/shared/protocol/cpu-budget.js";
import { IdTable } from "../src/shared/protocol/id-table.js";
import { Inbound } from "../src/shared/protocol/inbound.js";
import { NonceMemory } from "../src/shared/protocol/nonce-memory.js";
import { Rings } from "../src/shared/protocol/rings.js";
import { SealedStamps } from "../src/shared/protocol/sealed-stamps.js";
import type { OpenedPacket, OpenSink, StoreSink } from "../src/shared/protocol/slot.js";
import type { Part } from "./micro.js";
import { partsReport } from "./parts-report.js";
import type { Suite } from "./suite.js";

const ID_BYTES = 12;
/** Nonces that two windows of 10 s hold at 35,000 datagrams a second. */
const REMEMBERED = 700_000;
const DATAGRAMS_PER_SECOND = 35_000;
const IDS_IN_FLIGHT = 4_096;
const DATAGRAM_BYTES = 236;
const SEEDS: readonly [number, number] = [0x1234_5678, 0x9abc_def0];
/** Nonces cut out of random bytes, one at every fourth. */
const CUTS = 2 ** 20;

export const suite: Suite = {
  title: "replay: what main remembers and asks for a datagram, this thread",
  run: (context) =>
    partsReport(
      {
        title: "Nonce memory, id table and the whole gate",
        parts: [...nonceParts(), ...idParts(), gate()],
        settings: { "nonces in memory": REMEMBERED, "ids in table": IDS_IN_FLIGHT },
        notes: [
          `remember and expire run at ${DATAGRAMS_PER_SECOND} datagrams a second of a clock of their own: the ` +
            "cost of growing and of dropping whole generations is spread over the calls",
          "`gate and belief` is all of it for one datagram of a known source: both nonce sets before and " +
            "after opening, ring, CPU budget, stamp, remember, expire; without socket and cipher",
        ],
        per: "call",
      },
      context,
    ),
};

function nonceParts(): readonly Part[] {
  const steady = new Flow();
  const full = new Flow();
  for (let i = 0; i < REMEMBERED; i++) {
    steady.remember();
    full.remember();
  }
  let missed = 0;
  let found = 0;
  return [
    {
      name: "nonce memory: has, not there",
      run: () => {
        missed = (missed + 1) % CUTS;
        if (full.memory.has(full.nonces.bytes, 4 * missed + 1)) throw new Error("never seen");
      },
    },
    {
      name: "nonce memory: has, there",
      run: () => {
        found = (found + 7_919) % REMEMBERED;
        if (!full.memory.has(full.nonces.bytes, 4 * found)) throw new Error("forgotten");
      },
    },
    { name: "nonce memory: remember and expire", run: () => steady.remember() },
  ];
}

/** Remembers a nonce at each step of a clock that runs at DATAGRAMS_PER_SECOND, for 20 s. */
class Flow {
  readonly memory = new NonceMemory({ seeds: SEEDS, entriesMax: 2 ** 20 });
  readonly nonces = new Nonces();
  #now = NS_PER_SECOND;
  #expireAt = 0;

  remember(): void {
    this.#now += NS_PER_SECOND / DATAGRAMS_PER_SECOND;
    const now = nanoseconds(this.#now);
    if (now >= this.#expireAt) {
      this.memory.expire(now);
      this.#expireAt = now + 250 * NS_PER_MS;
    }
    const until = nanoseconds(now + 20 * NS_PER_SECOND);
    const at = this.nonces.next();
    if (!this.memory.remember(now, until, this.nonces.bytes, at)) {
      throw new Error("the nonce memory is full");
    }
  }
}

/** Ever new nonces: the bytes are drawn again where a round begins anew. */
class Nonces {
  readonly bytes = randomFillSync(new Uint8Array(4 * CUTS + ID_BYTES));
  #cut = -1;

  /** Offset of the next one. */
  next(): number {
    this.#cut += 1;
    if (this.#cut === CUTS) {
      this.#cut = 0;
      randomFillSync(this.bytes);
    }
    return 4 * this.#cut;
  }
}

function idParts(): readonly Part[] {
  const table = new IdTable({ seeds: SEEDS, entriesMax: 65_536 });
  const { bytes: random } = new Nonces();
  for (let i = 0; i < IDS_IN_FLIGHT; i++) table.insert(random, 4 * i, 0, i);
  let there = 0;
  let oldest = 0;
  return [
    {
      name: "id table: find",
      run: () => {
        there = (there + 1) % CUTS;
        table.find(random, 4 * there, 0);
      },
    },
    {
      name: "id table: insert one, delete the oldest",
      run: () => {
        table.insert(random, 4 * ((oldest + IDS_IN_FLIGHT) % CUTS), 0, oldest);
        table.delete(random, 4 * oldest, 0);
        oldest = (oldest + 1) % CUTS;
      },
    },
  ];
}

function gate(): Part {
  const wallStartNs = 1.7e18;
  const address = "192.0.2.7";
  const rings = new Rings([{ name: "", addresses: [], keys: 1 }]);
  const budgets = new SourceBudgets({ now: nanoseconds(0), seeds: SEEDS, knownShare: 64 });
  const inbound = new Inbound({
    wallNs: wallStartNs,
    windowNs: 10 * NS_PER_SECOND,
    seeds: SEEDS,
    rings,
    budgets,
    stamps: new SealedStamps([]),
  });
  const nonces = new Nonces();
  const packet = fixedPacket(address);
  const sink: OpenSink = { open: () => true };
  const store: StoreSink = { accepting: true, append: () => true };
  let now = 0;
  let expireAt = 0;
  const datagram = new Uint8Array(DATAGRAM_BYTES);
  const run = (): void => {
    now += NS_PER_SECOND / DATAGRAMS_PER_SECOND;
    const wallNs = wallStartNs + now;
    const at = nonces.next();
    datagram.set(nonces.bytes.subarray(at, at + ID_BYTES));
    const refused = inbound.handleDatagram(nanoseconds(now), datagram, address, 7_777, store, sink);
    packet.bytes.set(datagram.subarray(0, ID_BYTES));
    packet.stampHigh = Math.floor(wallNs / 2 ** 32);
    packet.stampLow = wallNs % 2 ** 32;
    const dropped = refused ?? inbound.believe(nanoseconds(now), wallNs, packet);
    if (dropped !== undefined) throw new Error(`a good datagram was dropped: ${dropped}`);
    if (now < expireAt) return;
    inbound.expire(wallNs);
    expireAt = now + 250 * NS_PER_MS;
  };
  for (let i = 0; i < 12 * DATAGRAMS_PER_SECOND; i++) run();
  return { name: "gate and belief of one datagram", run };
}

type Settable<T> = { -readonly [K in keyof T]: T[K] };

const fixedPacket = (address: string): Settable<OpenedPacket> => ({
  bytes: new Uint8Array(DATAGRAM_BYTES_MAX),
  nonceAt: 0,
  stampLow: 0,
  stampHigh: 0,
  ring: 0,
  datagramLength: DATAGRAM_BYTES,
  messageIdAt: 0,
  digestAt: 0,
  bodyAt: 0,
  bodyLength: 0,
  address,
  port: 7_777,
});
