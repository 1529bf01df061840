// Bugs to be planted, to see that the simulator finds them. Some are switches of the models, the others
// replace a method of the real core while a run lasts. Each names the promise that it breaks.

import { NonceMemory } from "../../src/shared/protocol/nonce-memory.js";
import { Outbound } from "../../src/shared/protocol/outbound.js";
import type { OpenedPacket } from "../../src/shared/protocol/slot.js";
import { StampGate } from "../../src/shared/protocol/stamp-gate.js";
import { TombstoneAges } from "../../src/workers/tombstone-ages.js";

import { SESSION_PLANTS } from "./session-plants.js";

/** Switches of the store's model. */
export interface StorePlants {
  /** What is stored is reported before it is committed. */
  readonly reportsBeforeCommit: boolean;
  /** What is committed is reported before it is synced; syncs come now and then. */
  readonly reportsBeforeSync: boolean;
  /** One id is one message, whoever sent it and whatever it says. */
  readonly dedupesById: boolean;
  /** Every copy becomes a row. */
  readonly storesCopies: boolean;
  readonly forgetsTombstones: boolean;
  /** A settlement counts for whatever the row has become. */
  readonly ignoresGenerations: boolean;
  /** The bound of sealed stamps is reported before it is committed, and not committed. */
  readonly keepsNoStamps: boolean;
  /**
   * What a killed process committed and did not sync is taken for synced at the next start, and by the
   * first reservation too, whose sync stands in front of every ACK.
   */
  readonly trustsUnsyncedLog: boolean;
  /** Stamps of handshakes are reported before they are committed. */
  readonly stampsBeforeCommit: boolean;
}

/** Switches of the adapter that drives the core. */
export interface HostPlants {
  /** A settlement that the store could not take is dropped. */
  readonly dropsFailedSettlements: boolean;
  /** After a restart the nonces begin anew. */
  readonly repeatsNonces: boolean;
  /** A batch that the store refused is acknowledged all the same. */
  readonly acknowledgesFailedBatches: boolean;
  /** An answer that does not fit ends the handshake that it seems to answer. */
  readonly forgetsInitiationsOnForgery: boolean;
}

export interface Plant {
  readonly name: string;
  readonly store: Partial<StorePlants>;
  readonly host: Partial<HostPlants>;
  /** Changes the core; returns what changes it back. */
  readonly patch?: () => () => void;
  /** Where it is to be found. */
  readonly protocol: "classic" | "session";
}

export const NO_STORE_PLANTS: StorePlants = {
  reportsBeforeCommit: false,
  reportsBeforeSync: false,
  dedupesById: false,
  storesCopies: false,
  forgetsTombstones: false,
  ignoresGenerations: false,
  keepsNoStamps: false,
  trustsUnsyncedLog: false,
  stampsBeforeCommit: false,
};
export const NO_HOST_PLANTS: HostPlants = {
  dropsFailedSettlements: false,
  repeatsNonces: false,
  acknowledgesFailedBatches: false,
  forgetsInitiationsOnForgery: false,
};

const CLASSIC: readonly Omit<Plant, "protocol">[] = [
  { name: "ACK before commit", store: { reportsBeforeCommit: true }, host: {} },
  { name: "ACK before sync", store: { reportsBeforeSync: true }, host: {} },
  {
    name: "ACK of a batch that was refused",
    store: {},
    host: { acknowledgesFailedBatches: true },
  },
  { name: "log found at the start not synced", store: { trustsUnsyncedLog: true }, host: {} },
  { name: "dedupe by id only", store: { dedupesById: true }, host: {} },
  { name: "no dedupe", store: { storesCopies: true }, host: {} },
  { name: "no tombstones", store: { forgetsTombstones: true }, host: {} },
  { name: "generations ignored", store: { ignoresGenerations: true }, host: {} },
  { name: "failed settlements dropped", store: {}, host: { dropsFailedSettlements: true } },
  { name: "nonces begin anew", store: {}, host: { repeatsNonces: true } },
  { name: "sealed stamps not kept", store: { keepsNoStamps: true }, host: {} },
  { name: "nonces forgotten", store: {}, host: {}, patch: forgetNonces },
  { name: "stamps from before the start believed", store: {}, host: {}, patch: believeOldStamps },
  { name: "dates of tombstones believed", store: {}, host: {}, patch: believeDates },
  { name: "ACK taken under any key", store: {}, host: {}, patch: takeAnyAck },
];

export const PLANTS: readonly Plant[] = [
  ...CLASSIC.map((plant) => ({ ...plant, protocol: "classic" as const })),
  ...SESSION_PLANTS.map((plant) => ({ ...plant, protocol: "session" as const })),
];

function forgetNonces(): () => void {
  const { has } = NonceMemory.prototype;
  NonceMemory.prototype.has = () => false;
  return () => {
    NonceMemory.prototype.has = has;
  };
}

function believeOldStamps(): () => void {
  const { check } = StampGate.prototype;
  StampGate.prototype.check = function (high, low, wallNs) {
    const refused = check.call(this, high, low, wallNs);
    return refused === "stamp_before_start" ? undefined : refused;
  };
  return () => {
    StampGate.prototype.check = check;
  };
}

function believeDates(): () => void {
  const { begin } = TombstoneAges.prototype;
  TombstoneAges.prototype.begin = function (wallMs, monotonicMs) {
    const { before } = begin.call(this, wallMs, monotonicMs);
    return { before, from: Number.NEGATIVE_INFINITY, to: before };
  };
  return () => {
    TombstoneAges.prototype.begin = begin;
  };
}

/** Rings that a small world has. */
const RINGS_MAX = 8;

function takeAnyAck(): () => void {
  const { handleAck } = Outbound.prototype;
  Outbound.prototype.handleAck = function (now, packet) {
    let refused = handleAck.call(this, now, packet);
    for (let ring = 0; ring < RINGS_MAX && refused === "ack_other_ring"; ring++) {
      refused = handleAck.call(this, now, underRing(packet, ring));
    }
    return refused;
  };
  return () => {
    Outbound.prototype.handleAck = handleAck;
  };
}

function underRing(packet: OpenedPacket, ring: number): OpenedPacket {
  const { bytes, nonceAt, stampLow, stampHigh, datagramLength, messageIdAt, digestAt } = packet;
  const { bodyAt, bodyLength, address, port } = packet;
  return {
    ...{ bytes, nonceAt, stampLow, stampHigh, ring, datagramLength, messageIdAt, digestAt },
    ...{ bodyAt, bodyLength, address, port },
  };
}
