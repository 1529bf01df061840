// Hosts in one process under a virtual clock: the real core, slabs, crypto work and batches; a network
// that the test steers datagram by datagram; a table in memory in place of SQLite. Nothing sleeps.

import assert from "node:assert/strict";
import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../../src/shared/base/units.js";
import { prepareOutbound } from "../../src/shared/protocol/classic-body.js";
import { Endpoint, type ProtocolConfig } from "../../src/shared/protocol/endpoint.js";
import { messageIdFromHex, messageIdToHex } from "../../src/shared/protocol/message-id.js";
import type { StampSpan } from "../../src/shared/protocol/sealed-stamps.js";
import type { Settlement } from "../../src/shared/protocol/settlement.js";
import type {
  OpenedPacket,
  OpenSink,
  SealSink,
  StoreSink,
} from "../../src/shared/protocol/slot.js";
import { NO_RING, TAG_ACK } from "../../src/shared/protocol/slot.js";
import type { RingKeys } from "../../src/shared/runtime/messages.js";
import {
  OutboundBatchReader,
  OutboundBatchWriter,
  TICKET_NONE,
} from "../../src/shared/runtime/outbound-batch.js";
import {
  BODY_OFFSET_BYTES,
  datagramLengthOf,
  JOB,
  OUTCOME,
  SlabTable,
  wordOf,
} from "../../src/shared/runtime/slab.js";
import { SlabCursor, SlabRoutes } from "../../src/shared/runtime/slab-cursor.js";
import { KeyRings } from "../../src/workers/key-rings.js";
import { SlabWork } from "../../src/workers/slab-work.js";

export interface Datagram {
  readonly bytes: Uint8Array;
  readonly from: string;
  readonly fromPort: number;
  readonly to: string;
  readonly toPort: number;
}

export interface Row {
  id: number;
  messageId: string;
  payload: string;
  dstAddr: string;
  dstPort: number;
  state: "pending" | "sent" | "acknowledged" | "send_failed";
  generation: number;
  expiresAt: number;
  retries: number;
  lastError: string | undefined;
  leased: boolean;
}

export interface StoredMessage {
  readonly scope: string;
  readonly messageId: string;
  readonly payload: string;
  readonly digest: string;
  readonly source: string;
}

export const WALL_START_NS = 1_760_000_000_000 * NS_PER_MS;
const LIFE_MS = 7 * 86_400_000;

export const SECRET = "5ec2e7".padEnd(64, "0");
export const ringKeys = (current: string, previous?: string, next?: string): RingKeys => ({
  current: Uint8Array.from(Buffer.from(current, "hex")),
  previous: previous === undefined ? undefined : Uint8Array.from(Buffer.from(previous, "hex")),
  next: next === undefined ? undefined : Uint8Array.from(Buffer.from(next, "hex")),
  pairInfo: undefined,
});

export const defaultConfig: ProtocolConfig = {
  rings: [{ name: "", addresses: [], keys: 1 }],
  windowNs: 10_000 * NS_PER_MS,
  ratePerSecond: 0,
  burst: 64,
  retry: { intervalNs: undefined, retriesMax: undefined },
  knownShare: 0.5,
  strangerShare: 0.05,
  strangersShare: 0.25,
};

export class World {
  now: Nanoseconds = nanoseconds(0);
  wallNs = WALL_START_NS;
  readonly hosts: Host[] = [];
  /** Every datagram that left a host, in order. */
  readonly sent: Datagram[] = [];
  /** Decides what the network does with a datagram; delivers by default. */
  route: (datagram: Datagram) => readonly Datagram[] = (datagram) => [datagram];
  #seed = 1;

  uniform = (): number => {
    this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#seed / 2 ** 32;
  };

  host(options: Partial<HostOptions> & { readonly address: string }): Host {
    const host = new Host(this, {
      port: 61_773,
      config: defaultConfig,
      keys: [ringKeys(SECRET)],
      wallOffsetMs: 0,
      sealed: [],
      ...options,
    });
    this.hosts.push(host);
    return host;
  }

  /** Hands a datagram to the host at its address, as the kernel would. */
  deliver(datagram: Datagram): void {
    const host = this.hosts.find(
      (h) => h.address === datagram.to && h.port === datagram.toPort && h.up,
    );
    host?.receive(datagram);
  }

  transmit(datagram: Datagram): void {
    this.sent.push(datagram);
    for (const copy of this.route(datagram)) this.deliver(copy);
  }

  /** Lets everything due happen until `ms` of virtual time have passed. */
  run(ms: number): void {
    const end = this.now + ms * NS_PER_MS;
    for (let steps = 0; ; steps++) {
      assert.ok(steps < 1_000_000, "the world comes to rest");
      for (const host of this.hosts) host.pump();
      if (this.hosts.some((host) => host.restless)) continue;
      const next = Math.min(...this.hosts.map((host) => host.deadline()), end);
      if (next >= end) break;
      this.#advanceTo(Math.max(next, this.now + 1_000));
    }
    this.#advanceTo(end);
  }

  #advanceTo(at: number): void {
    this.wallNs += at - this.now;
    this.now = nanoseconds(at);
  }
}

export interface HostOptions {
  readonly address: string;
  readonly port: number;
  readonly config: ProtocolConfig;
  readonly keys: readonly RingKeys[];
  readonly wallOffsetMs: number;
  readonly sealed: readonly StampSpan[];
}

export class Host implements StoreSink {
  readonly address: string;
  readonly port: number;
  readonly drops: Record<string, number> = {};
  /** Outbound and inbound tables: what survives a restart. */
  rows = new Map<number, Row>();
  stored: StoredMessage[] = [];
  readonly reported: string[] = [];
  /** What the store does with a batch; replaced to make it fail. */
  commits = true;
  up = true;
  wallOffsetMs: number;
  endpoint: Endpoint;
  readonly #world: World;
  readonly #options: HostOptions;
  #pool: TestPool;
  #pending: {
    packet: StoredMessage;
    ring: number;
    id: Uint8Array;
    port: number;
    suspect: boolean;
  }[] = [];
  #order = false;
  #sealed: readonly StampSpan[] = [];

  constructor(world: World, options: HostOptions) {
    this.#world = world;
    this.#options = options;
    this.address = options.address;
    this.port = options.port;
    this.wallOffsetMs = options.wallOffsetMs;
    this.#pool = new TestPool(options.keys);
    this.endpoint = this.#endpoint(options.config, options.sealed);
  }

  get wallNs(): number {
    return this.#world.wallNs + this.wallOffsetMs * NS_PER_MS;
  }

  /** A clean stop: nothing is sealed any more, and the store keeps the last stamp that was. */
  stop(): void {
    this.#sealed = this.endpoint.endSealing();
    this.up = false;
  }

  /** The process ends, and a new one starts from the tables. */
  restart(config: ProtocolConfig = this.#options.config): void {
    this.#pool = new TestPool(this.#options.keys);
    this.#pending = [];
    this.#order = false;
    for (const row of this.rows.values()) row.leased = false;
    this.endpoint = this.#endpoint(config, this.#sealed);
    this.up = true;
  }

  /** A reload: the same process, other keys or settings. */
  reload(config: ProtocolConfig, keys: readonly RingKeys[]): void {
    this.#pool.install(keys);
    this.endpoint.configure(this.#world.now, config);
  }

  insert(dstAddr: string, payload: string, messageId?: string, dstPort = 61_773): Row {
    const fresh = Uint8Array.from({ length: 12 }, () => Math.floor(this.#world.uniform() * 256));
    const prepared = prepareOutbound(
      new TextEncoder().encode(payload),
      messageId === undefined ? undefined : messageIdFromHex(messageId),
      fresh,
    );
    assert.ok(!("refused" in prepared), "the test's payload may be sent");
    const row: Row = {
      id: this.rows.size + 1,
      messageId: messageIdToHex(prepared.id, 0),
      payload: new TextDecoder().decode(prepared.payload),
      dstAddr,
      dstPort,
      state: "pending",
      generation: 0,
      expiresAt: this.wallNs / NS_PER_MS + LIFE_MS,
      retries: 0,
      lastError: undefined,
      leased: false,
    };
    this.rows.set(row.id, row);
    return row;
  }

  // --- What the scheduler does ------------------------------------------------------------------

  receive(datagram: Datagram): void {
    const dropped = this.endpoint.handleDatagram(
      this.#world.now,
      datagram.bytes,
      datagram.from,
      datagram.fromPort,
      this,
      this.#pool,
    );
    this.#count(dropped);
  }

  get restless(): boolean {
    return (
      this.up &&
      (this.#pool.waiting > 0 || this.#pending.length > 0 || this.endpoint.acksQueued > 0)
    );
  }

  deadline(): number {
    return this.up ? this.endpoint.pollDeadline(this.#world.now) : Number.POSITIVE_INFINITY;
  }

  pump(): void {
    if (!this.up) return;
    const { now } = this.#world;
    this.endpoint.handleTimeout(now, this.wallNs);
    this.#lease();
    const reserve = this.endpoint.pollReserve(this.wallNs);
    if (reserve !== undefined) this.#reserve(reserve);
    while (this.endpoint.pollSeal(now, this.wallNs, this.#pool));
    const again = this.endpoint.pollReserve(this.wallNs);
    if (again !== undefined) this.#reserve(again);
    while (this.endpoint.pollSeal(now, this.wallNs, this.#pool));
    this.#pool.run((code, packet) => this.#visit(code, packet));
    this.#commit();
    const settlement = this.endpoint.pollSettlement();
    if (settlement !== undefined) this.#settle(settlement);
    while (this.endpoint.pollLimit() !== undefined);
  }

  #reserve({ untilNs, spans }: { untilNs: number; spans: readonly StampSpan[] }): void {
    this.#sealed = spans;
    this.endpoint.handleReserved(untilNs);
  }

  #visit(code: number, packet: SlabCursor): void {
    const { now } = this.#world;
    if (code === OUTCOME.sealed) {
      if (!this.endpoint.handleSealed(now, this.wallNs, packet)) return;
      this.#world.transmit({
        bytes: packet.bytes.slice(packet.at, packet.at + packet.length),
        from: this.address,
        fromPort: this.port,
        to: packet.address,
        toPort: packet.port,
      });
    } else if (code === OUTCOME.message || code === OUTCOME.ack) {
      this.#count(this.endpoint.handleOpened(now, this.wallNs, packet, code === OUTCOME.ack, this));
    } else if (code === OUTCOME.keyless) {
      this.endpoint.handleUnsealed(now, packet.tag);
    } else {
      this.#count("not_authentic");
    }
  }

  #count(dropped: string | undefined): void {
    if (dropped !== undefined) this.drops[dropped] = (this.drops[dropped] ?? 0) + 1;
  }

  // --- What the store does ----------------------------------------------------------------------

  get accepting(): boolean {
    return this.#pending.length < 1_000;
  }

  append(packet: OpenedPacket, scope: string, suspect: boolean): boolean {
    const { bytes } = packet;
    this.#pending.push({
      packet: {
        scope,
        messageId: messageIdToHex(bytes, packet.messageIdAt),
        payload: new TextDecoder().decode(
          bytes.slice(packet.bodyAt, packet.bodyAt + packet.bodyLength),
        ),
        digest: Buffer.from(bytes.subarray(packet.digestAt, packet.digestAt + 32)).toString("hex"),
        source: packet.address,
      },
      ring: packet.ring,
      id: bytes.slice(packet.messageIdAt, packet.messageIdAt + 12),
      port: packet.port,
      suspect,
    });
    return true;
  }

  #commit(): void {
    const batch = this.#pending;
    this.#pending = [];
    if (!this.commits) return;
    for (const { packet, ring, id, port, suspect } of batch) {
      if (
        suspect &&
        [...this.rows.values()].some(
          (row) => row.messageId === packet.messageId && row.payload === packet.payload,
        )
      ) {
        continue;
      }
      const known = this.stored.filter(
        (m) => m.scope === packet.scope && m.messageId === packet.messageId,
      );
      const same = known.some((m) => m.digest === packet.digest);
      if (!same && known.length > 0) this.reported.push(packet.messageId);
      if (!same && known.length > 0 && packet.scope !== "") continue;
      if (!same) this.stored.push(packet);
      this.endpoint.handleStored(id, 0, ring, packet.source, port);
    }
  }

  #lease(): void {
    const order = this.endpoint.pollLease();
    if (order !== undefined) {
      this.#order = true;
      this.#again(order.again);
    }
    if (!this.#order) return;
    const rows = [...this.rows.values()].filter(
      (row) => !row.leased && (row.state === "pending" || row.state === "sent"),
    );
    if (rows.length === 0) return;
    this.#order = false;
    const writer = new OutboundBatchWriter(1_000_000);
    for (const row of rows.slice(0, 512)) this.#write(writer, row, TICKET_NONE);
    this.endpoint.handleLeased(
      this.#world.now,
      new OutboundBatchReader(writer.take()),
      new Uint32Array(0),
    );
  }

  #again({
    rowIds,
    tickets,
  }: {
    readonly rowIds: Float64Array;
    readonly tickets: Uint32Array;
  }): void {
    if (rowIds.length === 0) return;
    const writer = new OutboundBatchWriter(1_000_000);
    const gone: number[] = [];
    rowIds.forEach((rowId, i) => {
      const row = this.rows.get(rowId);
      if (row === undefined || row.state === "acknowledged" || row.state === "send_failed") {
        gone.push(tickets[i] as number);
      } else this.#write(writer, row, tickets[i] as number);
    });
    this.#order = false;
    this.endpoint.handleLeased(
      this.#world.now,
      new OutboundBatchReader(writer.take()),
      Uint32Array.from(gone),
    );
  }

  #write(writer: OutboundBatchWriter, row: Row, ticket: number): void {
    row.leased = true;
    const id = messageIdFromHex(row.messageId);
    assert.ok(id !== undefined, "rows of the model have ids");
    writer.append(
      {
        rowId: row.id,
        expiresAt: row.expiresAt,
        destination: writer.destination(row.dstAddr, row.dstPort),
        generation: row.generation,
        attempts: row.retries,
        ticket,
        released: row.state === "sent",
        priority: 1,
      },
      id,
      new TextEncoder().encode(row.payload),
    );
  }

  #settle(settlement: Settlement): void {
    for (const rowId of settlement.acknowledged.rowIds)
      this.#finish(rowId, "acknowledged", undefined);
    for (const { rowId, reason } of settlement.failed) this.#finish(rowId, "send_failed", reason);
    settlement.waiting.rowIds.forEach((rowId, i) => {
      const row = this.rows.get(rowId);
      if (row === undefined) return;
      row.state = "sent";
      row.retries = settlement.waiting.attempts[i] as number;
    });
  }

  #finish(rowId: number, state: "acknowledged" | "send_failed", reason: string | undefined): void {
    const row = this.rows.get(rowId);
    if (row === undefined) return;
    row.state = state;
    row.lastError = reason;
  }

  #endpoint(config: ProtocolConfig, sealed: readonly StampSpan[]): Endpoint {
    return new Endpoint({
      now: this.#world.now,
      wallNs: this.wallNs,
      seeds: [1, 2],
      uniform: this.#world.uniform,
      reach: {
        isSelf: (address, port) => address === this.address && port === this.port,
        refusal: () => undefined,
      },
      config,
      sealed,
    });
  }
}

/** Slabs without threads: filled, worked through and visited at once. */
class TestPool implements SealSink, OpenSink {
  readonly #rings = new KeyRings();
  readonly #work = new SlabWork(this.#rings);
  #table = SlabTable.allocate();
  #routes = new SlabRoutes();
  #index = 0;
  bytes: Uint8Array = this.#table.bytes;
  bodyAt = 0;

  constructor(keys: readonly RingKeys[]) {
    this.install(keys);
  }

  install(keys: readonly RingKeys[]): void {
    const copy = (secret: Uint8Array | undefined) => secret && Uint8Array.from(secret);
    this.#rings.install(
      keys.map((ring) => ({
        current: Uint8Array.from(ring.current),
        previous: copy(ring.previous),
        next: copy(ring.next),
        pairInfo: ring.pairInfo,
      })),
    );
  }

  get waiting(): number {
    return this.#table.entries;
  }

  room(_affinity: number, bodyLength: number): boolean {
    const length = datagramLengthOf(bodyLength);
    if (!this.#table.fits(length)) return false;
    this.#index = this.#table.add(length);
    const word = wordOf(this.#index);
    this.#table.words[word] = JOB.seal;
    this.#table.words[word + 2] = bodyLength;
    this.bytes = this.#table.bytes;
    this.bodyAt = (this.#table.words[word + 1] as number) + BODY_OFFSET_BYTES;
    return true;
  }

  seal(ring: number, wallNs: number, tag: number, address: string, port: number): void {
    const { words } = this.#table;
    const word = wordOf(this.#index);
    const high = Math.floor(wallNs / 2 ** 32);
    words[word + 3] = ring;
    words[word + 5] = wallNs - high * 2 ** 32;
    words[word + 6] = high;
    words[word + 7] = tag;
    this.#route(address, port, tag);
  }

  open(
    _affinity: number,
    datagram: Uint8Array,
    ring: number,
    other: number,
    address: string,
    port: number,
  ): boolean {
    if (!this.#table.fits(datagram.length)) return false;
    this.#index = this.#table.add(datagram.length);
    const word = wordOf(this.#index);
    const { words } = this.#table;
    words[word] = JOB.open;
    words[word + 3] = ring;
    words[word + 4] = other ?? NO_RING;
    this.#table.bytes.set(datagram, words[word + 1] as number);
    this.#route(address, port, TAG_ACK);
    return true;
  }

  #route(address: string, port: number, tag: number): void {
    this.#routes.addresses[this.#index] = address;
    this.#routes.ports[this.#index] = port;
    this.#routes.tags[this.#index] = tag;
  }

  /** Visits what a fresh slab's work left; datagrams sent meanwhile go into the next one. */
  run(visit: (code: number, packet: SlabCursor) => void): void {
    const table = this.#table;
    const routes = this.#routes;
    if (table.entries === 0) return;
    this.#table = SlabTable.allocate();
    this.#routes = new SlabRoutes();
    this.#work.run(table);
    const cursor = new SlabCursor(table, routes);
    for (let index = 0; index < table.entries; index++) {
      visit(table.codeOf(index), cursor.move(table, routes, index));
    }
  }
}
