// The classic daemon as a process of the simulator: the real core and the real slabs, and around them in
// few lines what scheduler.ts and store.ts of src/main do.

import assert from "node:assert/strict";
import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../../src/shared/base/units.js";
import { IN_FLIGHT_MESSAGES_MAX, QUEUE_ACKS_MAX } from "../../src/shared/protocol/constants.js";
import { Endpoint, type ProtocolConfig } from "../../src/shared/protocol/endpoint.js";
import type { Settlement } from "../../src/shared/protocol/settlement.js";
import { type OpenedPacket, type StoreSink, TAG_ACK } from "../../src/shared/protocol/slot.js";
import { stampNanoseconds } from "../../src/shared/protocol/stamp-gate.js";
import {
  InboundBatchReader,
  InboundBatchWriter,
  RECORD_SUSPECT_FLAG,
  STORED,
} from "../../src/shared/runtime/inbound-batch.js";
import type { StoreResult } from "../../src/shared/runtime/messages.js";
import { OutboundBatchReader } from "../../src/shared/runtime/outbound-batch.js";
import { OUTCOME, type SlabTable } from "../../src/shared/runtime/slab.js";
import type { SlabCursor } from "../../src/shared/runtime/slab-cursor.js";
import { KeyRings } from "../../src/workers/key-rings.js";
import { SlabWork } from "../../src/workers/slab-work.js";
import type { Birth, HostInput, SimProcess } from "./host.js";
import { addressOf, HOSTS_MAX } from "./network.js";
import { type HostPlants, NO_HOST_PLANTS, type Plant } from "./plants.js";
import { Prng } from "./prng.js";
import type { ProtocolAdapter } from "./protocol-adapter.js";
import type { Scenario } from "./scenario.js";
import { giveBack, SlabDesk } from "./slabs.js";
import { SymbolicWork, Vault } from "./symbolic-crypto.js";

const BATCH_ROWS_MAX = 8_192;
const BATCH_BYTES_MAX = 8 * 1_024 * 1_024;
const LEASE_BYTES_MAX = 1_024 * 1_024;
const PAUSE_NS = 250 * NS_PER_MS;

/** Runs a slab's jobs; symbolic, or the real worker's function. */
export interface CryptoWork {
  run(table: SlabTable): void;
  /** Gives its memory back. */
  free(): void;
}

export interface ClassicOptions {
  readonly config: ProtocolConfig;
  readonly crypto: CryptoWork;
  /** Number of the key that seals, by ring. */
  readonly sealingKeys: readonly number[];
  readonly draws: Prng;
  readonly plants: HostPlants;
}

export class ClassicHost implements SimProcess, StoreSink {
  readonly drops: Record<string, number> = {};
  readonly #birth: Birth;
  readonly #options: ClassicOptions;
  readonly #endpoint: Endpoint;
  readonly #desk = new SlabDesk();
  readonly #pending = new InboundBatchWriter(BATCH_BYTES_MAX);
  #opening = false;
  #storing = false;
  #stored: InboundBatchReader | undefined;
  #settling: Settlement | undefined;
  #settleAgain: Settlement | undefined;
  #full = false;
  #now: Nanoseconds;
  #pausedUntil: Nanoseconds = nanoseconds(0);

  constructor(birth: Birth, options: ClassicOptions) {
    this.#birth = birth;
    this.#options = options;
    this.#now = birth.now;
    this.#endpoint = new Endpoint({
      now: birth.now,
      wallNs: birth.wallNs,
      seeds: [options.draws.u32(), options.draws.u32()],
      uniform: options.draws.uniform,
      reach: {
        isSelf: (address, port) => address === birth.address && port === birth.port,
        refusal: () => undefined,
      },
      config: options.config,
      sealed: birth.sealed,
    });
  }

  get overfull(): string | undefined {
    const { inFlight, acksQueued } = this.#endpoint;
    if (inFlight > IN_FLIGHT_MESSAGES_MAX) return `${inFlight} rows in flight`;
    if (acksQueued > QUEUE_ACKS_MAX) return `${acksQueued} ACKs queued`;
    return this.#pending.rows > BATCH_ROWS_MAX ? "too many messages for the store" : undefined;
  }

  handle(input: HostInput, now: Nanoseconds, wallNs: number): void {
    this.#now = now;
    switch (input.kind) {
      case "datagram": {
        const { bytes, address, port } = input;
        const dropped = this.#endpoint.handleDatagram(now, bytes, address, port, this, this.#desk);
        this.#count(dropped);
        if (dropped === undefined) this.#opening = true;
        break;
      }
      case "result":
        this.#result(input.result);
        break;
      case "worked":
        this.#worked(input.work, now, wallNs);
        break;
      case "timer":
        break;
    }
    this.#pump(now, wallNs);
  }

  deadline(now: Nanoseconds): number {
    const pause = this.#pausedUntil > now ? this.#pausedUntil : Number.POSITIVE_INFINITY;
    return Math.min(pause, this.#endpoint.pollDeadline(now));
  }

  stop(): ReturnType<SimProcess["stop"]> {
    return this.#endpoint.endSealing();
  }

  discard(): void {
    this.#desk.discard();
    this.#options.crypto.free();
  }

  #pump(now: Nanoseconds, wallNs: number): void {
    const { outputs } = this.#birth;
    this.#endpoint.handleTimeout(now, wallNs);
    while (this.#endpoint.pollSeal(now, wallNs, this.#desk));
    const work = this.#desk.flush();
    if (work !== undefined) outputs.work(work, this.#opening ? "opening" : "sealing");
    this.#opening = false;
    for (;;) {
      const limit = this.#endpoint.pollLimit();
      if (limit === undefined) break;
      outputs.job({ kind: "limit", ...limit });
    }
    const reserve = this.#endpoint.pollReserve(wallNs);
    if (reserve !== undefined) {
      const { untilNs, spans } = reserve;
      outputs.job({ kind: "reserve", stamp: BigInt(untilNs), spans });
    }
    if (now >= this.#pausedUntil) this.#write();
    const order = this.#endpoint.pollLease();
    if (order !== undefined) outputs.job({ kind: "lease", bytesMax: LEASE_BYTES_MAX, ...order });
  }

  // --- Crypto -------------------------------------------------------------------------------------

  #worked(number: number, now: Nanoseconds, wallNs: number): void {
    const slab = this.#desk.take(number);
    assert.ok(slab !== undefined, "a slab comes back once");
    const { table, routes, cursor } = slab;
    this.#options.crypto.run(table);
    for (let index = 0; index < table.entries; index++) {
      this.#visit(table.codeOf(index), cursor.move(table, routes, index), now, wallNs);
    }
    giveBack(slab);
  }

  #visit(code: number, packet: SlabCursor, now: Nanoseconds, wallNs: number): void {
    const { outputs } = this.#birth;
    if (code === OUTCOME.sealed) {
      const { bytes, at, length, tag, address, port } = packet;
      outputs.sealed(this.#options.sealingKeys[packet.ring], bytes, at);
      if (!this.#endpoint.handleSealed(now, wallNs, packet)) return;
      outputs.transmit(bytes.slice(at, at + length), tag === TAG_ACK, address, port);
    } else if (code === OUTCOME.message || code === OUTCOME.ack) {
      const isAck = code === OUTCOME.ack;
      // A stamp after the start passes the gate, and what an earlier process opened is forgotten: so it
      // is where the sender's clock is ahead, or ours went back over the start.
      const stampNs = stampNanoseconds(packet.stampHigh, packet.stampLow);
      const mayRepeat = stampNs > this.#birth.wallNs;
      if (!isAck) outputs.opened(packet.bytes, packet.nonceAt, mayRepeat);
      this.#count(this.#endpoint.handleOpened(now, wallNs, packet, isAck, this));
    } else if (code === OUTCOME.keyless) {
      this.#endpoint.handleUnsealed(now, packet.tag);
    } else {
      this.#count("not_authentic");
    }
  }

  #count(dropped: string | undefined): void {
    if (dropped !== undefined) this.drops[dropped] = (this.drops[dropped] ?? 0) + 1;
  }

  // --- Store --------------------------------------------------------------------------------------

  get accepting(): boolean {
    if (this.#pending.rows >= BATCH_ROWS_MAX) return false;
    return !this.#full || this.#now >= this.#pausedUntil;
  }

  append(packet: OpenedPacket, scope: string, suspect: boolean): boolean {
    const pending = this.#pending;
    if (pending.rows >= BATCH_ROWS_MAX || !pending.fits(packet.bodyLength)) return false;
    const { address, port, stampLow, stampHigh, ring, bytes } = packet;
    const flags = suspect ? RECORD_SUSPECT_FLAG : 0;
    const { messageIdAt, digestAt, bodyAt, bodyLength } = packet;
    pending.append(
      ...([scope, address, port, stampLow, stampHigh, flags, ring] as const),
      ...([bytes, messageIdAt, digestAt, bodyAt, bodyLength] as const),
    );
    return true;
  }

  #write(): void {
    const { outputs } = this.#birth;
    if (!this.#storing && this.#pending.rows > 0) {
      this.#storing = true;
      const batch = this.#pending.take();
      this.#stored = new InboundBatchReader(batch);
      outputs.job({ kind: "store", batch });
    }
    if (this.#settling !== undefined) return;
    const settlement = this.#settleAgain ?? this.#endpoint.pollSettlement();
    this.#settleAgain = undefined;
    if (settlement === undefined) return;
    this.#settling = settlement;
    outputs.job({ kind: "settle", settlement });
  }

  #result(result: StoreResult): void {
    switch (result.kind) {
      case "leased": {
        const rows = new OutboundBatchReader(result.batch);
        this.#endpoint.handleLeased(this.#now, rows, result.gone);
        return;
      }
      case "stored": {
        this.#storing = false;
        this.#full = false;
        const records = new InboundBatchReader(result.batch);
        while (records.next()) {
          const { outcome } = records;
          if (outcome === STORED.inserted || outcome === STORED.known) this.#acknowledge(records);
        }
        return;
      }
      case "settled":
        this.#settling = undefined;
        this.#full = false;
        return;
      case "reserved":
        this.#endpoint.handleReserved(Number(result.stamp));
        return;
      case "failed":
        this.#failed(result);
        return;
      default:
        assert.fail(`the classic host gets no result ${result.kind}`);
    }
  }

  #acknowledge(record: InboundBatchReader): void {
    const { bytes, messageIdAt, ring, source, port } = record;
    this.#endpoint.handleStored(bytes, messageIdAt, ring, source, port);
  }

  #failed({ job, code }: Extract<StoreResult, { kind: "failed" }>): void {
    const { plants } = this.#options;
    this.#full = code === "full";
    this.#pausedUntil = nanoseconds(this.#now + PAUSE_NS);
    if (job === "store") {
      this.#storing = false;
      const records = this.#stored;
      while (plants.acknowledgesFailedBatches && records?.next() === true) {
        this.#acknowledge(records);
      }
    } else if (job === "settle") {
      this.#settleAgain = plants.dropsFailedSettlements ? undefined : this.#settling;
      this.#settling = undefined;
    } else {
      this.#endpoint.handleReserveFailed();
    }
  }
}

/** Classic among hosts that share one secret, or each pair one of its own. */
export class ClassicAdapter implements ProtocolAdapter {
  readonly firstAnswers = 0;
  readonly #plants: HostPlants;
  #vault = new Vault();
  #seed = 0;
  #hosts = 0;
  #shared = false;
  #isReal = false;

  constructor(plant?: Plant) {
    this.#plants = { ...NO_HOST_PLANTS, ...plant?.host };
  }

  begin({ seed, setting }: Scenario): void {
    this.#vault = new Vault();
    this.#seed = seed;
    this.#hosts = setting.hosts;
    this.#shared = setting.keys === "shared";
    this.#isReal = setting.crypto === "real";
  }

  newProcess(birth: Birth, identity: number): SimProcess {
    const others = Array.from({ length: this.#hosts }, (_, host) => host).filter(
      (host) => host !== identity,
    );
    const keys = this.#shared ? [0] : others.map((host) => pairKey(identity, host));
    const rings = this.#shared
      ? [{ name: "", addresses: [], keys: 1 }]
      : others.map((host) => ({
          name: `host${host}`,
          addresses: [{ address: addressOf(host), port: undefined }],
          keys: 1,
        }));
    return new ClassicHost(birth, {
      config: { ...CONFIG, rings },
      crypto: this.#isReal ? realWork(keys) : this.#symbolicWork(birth, keys),
      sealingKeys: keys,
      draws: Prng.of(this.#seed, "process", birth.host, birth.incarnation),
      plants: this.#plants,
    });
  }

  scopeOf(identity: number): string {
    return this.#shared ? "" : `host${identity}`;
  }

  #symbolicWork(birth: Birth, keys: readonly number[]): CryptoWork {
    const incarnation = this.#plants.repeatsNonces ? 0 : birth.incarnation;
    const nonces = Prng.of(this.#seed, "nonces", birth.host, incarnation);
    return new SymbolicWork(
      this.#vault,
      nonces,
      keys.map((key) => [key]),
    );
  }
}

const CONFIG: Omit<ProtocolConfig, "rings"> = {
  windowNs: 10_000 * NS_PER_MS,
  ratePerSecond: 0,
  burst: 64,
  retry: { intervalNs: undefined, retriesMax: undefined },
  knownShare: 0.5,
  strangerShare: 0.05,
  strangersShare: 0.25,
};

/** Number of the key of two identities; 0 is the one of all. */
const pairKey = (a: number, b: number): number => 1 + Math.min(a, b) * HOSTS_MAX + Math.max(a, b);

function realWork(keys: readonly number[]): CryptoWork {
  const rings = new KeyRings();
  rings.install(
    keys.map((key) => ({
      current: new Uint8Array(32).fill(key + 1),
      previous: undefined,
      next: undefined,
      pairInfo: undefined,
    })),
  );
  const work = new SlabWork(rings);
  return { run: (table) => work.run(table), free: () => rings.free() };
}
