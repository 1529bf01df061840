// Two message layers (Sender, Receiver, what answers for them) over a network that the test rules, in
// virtual time, without handshakes, keys or congestion: a session is there when the test says so. The
// fate of a packet is told when the test says so, too: in any order with the frames of the other side.

import assert from "node:assert/strict";
import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../../../src/shared/base/units.js";
import { AnswerFrames } from "../../../src/shared/protocol/session/answer-frames.js";
import {
  CONTENT,
  type Content,
  ContentLog,
} from "../../../src/shared/protocol/session/content-log.js";
import { FrameReader } from "../../../src/shared/protocol/session/frame.js";
import { FRAME, NO_FRAME } from "../../../src/shared/protocol/session/frame-type.js";
import { NumberRanges } from "../../../src/shared/protocol/session/number-ranges.js";
import { Outgoing } from "../../../src/shared/protocol/session/outgoing.js";
import { PacketBuilder } from "../../../src/shared/protocol/session/packet-builder.js";
import type { SessionRow } from "../../../src/shared/protocol/session/ports.js";
import { ReassemblyBudget } from "../../../src/shared/protocol/session/reassembly.js";
import { Receiver } from "../../../src/shared/protocol/session/receiver.js";
import { Sender } from "../../../src/shared/protocol/session/sender.js";
import { SettlementQueue } from "../../../src/shared/protocol/settlement.js";
import { digestOf, type Random } from "./layer-parts.js";
import { hex, MessageStore } from "./message-store.js";

const WALL_MS = 1.7e12;
const PACKETS_IN_FLIGHT = 64;

export interface Row {
  readonly id: number;
  readonly payload: Uint8Array;
  readonly stream: string;
  readonly priority: number;
  readonly expiresAt: number;
  released: boolean;
  /** waiting, leased; then one of the ends. */
  state: "waiting" | "leased" | "acknowledged" | "failed" | "deleted";
  reason: string;
  /** Number it had last, of this boot. */
  number: number;
}

export interface Terms {
  readonly creditMessages: number;
  readonly creditBytes: number;
  readonly budgetBytes: number;
}

export interface Fate {
  /** Delays of the copies that arrive, ms; none: it is lost on the way. */
  readonly arrives: readonly number[];
  /** When its fate is known, and what it is said to be. */
  readonly toldAfter: number;
  readonly acked: boolean;
}

export const messageIdOf = (rowId: number, from: number): Uint8Array => {
  const id = new Uint8Array(12);
  new DataView(id.buffer).setUint32(0, from + 1);
  new DataView(id.buffer).setUint32(8, rowId);
  return id;
};

export class MessageWorld {
  readonly random: Random;
  readonly hosts: readonly [MessageHost, MessageHost];
  readonly terms: Terms;
  fate: (bytes: number) => Fate;
  /** Bytes of frames of the next packet. */
  capacity: () => number = () => 1_172;
  /** Whether large messages may send while so many packets fly. */
  bulkAllowed: (flying: number) => boolean = () => true;
  nowMs = 0;
  session = 0;
  #events: { at: number; order: number; run: () => void }[] = [];
  #order = 0;

  constructor(random: Random, terms: Terms, fate: (bytes: number) => Fate) {
    this.random = random;
    this.terms = terms;
    this.fate = fate;
    this.hosts = [new MessageHost(this, 0), new MessageHost(this, 1)];
  }

  after(delayMs: number, run: () => void): void {
    const at = this.nowMs + Math.ceil(delayMs);
    this.#order += 1;
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#events[middle] as { at: number }).at > at) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, { at, order: this.#order, run });
  }

  other(host: MessageHost): MessageHost {
    return this.hosts[1 - host.index] as MessageHost;
  }

  /** A session begins; what the one before had under way is lost to both. */
  connect(fresh: boolean): void {
    this.session += 1;
    for (const host of this.hosts) host.endSession();
    for (const host of this.hosts) host.beginSession(fresh);
  }

  run(untilMs: number, done: () => boolean = () => false): void {
    let turns = 0;
    for (const host of this.hosts) host.pump();
    while (!done()) {
      const next = this.#events.at(-1);
      const at = Math.min(
        next?.at ?? Number.POSITIVE_INFINITY,
        ...this.hosts.map((h) => h.wakesAt),
      );
      if (at > untilMs) {
        this.nowMs = untilMs;
        return;
      }
      turns = at > this.nowMs ? 0 : turns + 1;
      assert.ok(turns < 20_000, `time stands still at ${at} ms`);
      this.nowMs = Math.max(this.nowMs, at);
      if (next !== undefined && next.at <= at) {
        this.#events.pop();
        next.run();
      }
      for (const host of this.hosts) host.pump();
    }
  }
}

export class MessageHost {
  readonly index: number;
  readonly rows: Row[] = [];
  readonly store = new MessageStore();
  readonly closings: number[] = [];
  mismatches = 0;
  boot = new Uint8Array(8);
  outgoing = new Outgoing();
  sender: Sender;
  receiver: Receiver;
  budget: ReassemblyBudget;
  /** Rows that may be leased at a time. */
  rowsMax = 100;
  storeDelayMs: () => number = () => 3;
  storeFailure: () => number | undefined = () => undefined;
  settleDelayMs: () => number = () => 4;
  up = false;
  readonly #world: MessageWorld;
  #life = 0;
  #settlements = new SettlementQueue();
  #answers: AnswerFrames;
  #log = new ContentLog();
  readonly #builder = new PacketBuilder();
  readonly #reader = new FrameReader();
  readonly #ranges = new NumberRanges(32);
  readonly #flying = new Map<number, number>();
  #packets = 0;
  #settling = false;
  #storing = false;
  /** Rows before it do not wait for a lease. */
  #leased = 0;
  /** Numbers that are final in the table, committed, or whose row is gone. */
  readonly #over = new Set<number>();
  #bytes = new Uint8Array(65_536);

  constructor(world: MessageWorld, index: number) {
    this.#world = world;
    this.index = index;
    this.budget = new ReassemblyBudget(world.terms.budgetBytes);
    [this.sender, this.receiver] = this.#born();
    this.#answers = new AnswerFrames(this.receiver, this.sender.settled);
  }

  get now(): Nanoseconds {
    return nanoseconds(this.#world.nowMs * NS_PER_MS);
  }
  get wallMs(): number {
    return WALL_MS + this.#world.nowMs;
  }
  get wallNs(): number {
    return this.wallMs * NS_PER_MS;
  }
  get flying(): number {
    return this.#flying.size;
  }
  get wakesAt(): number {
    const canWrite = this.up && this.#flying.size < PACKETS_IN_FLIGHT;
    const settledAt = canWrite ? this.sender.settled.deadline : Number.POSITIVE_INFINITY;
    return Math.ceil(Math.min(this.outgoing.nextDeadline, settledAt) / NS_PER_MS);
  }

  // --- Inputs -----------------------------------------------------------------------------------

  send(payload: Uint8Array, stream = "", priority = 1, lifeMs = 1e9): Row {
    const id = this.rows.length + 1;
    const expiresAt = this.wallMs + Math.ceil(lifeMs);
    const row: Row = {
      ...{ id, payload, stream, priority, expiresAt },
      ...{ released: false, state: "waiting", reason: "", number: 0 },
    };
    this.rows.push(row);
    return row;
  }

  /** The process dies with all that was in memory, and starts again. */
  restart(): void {
    this.#life += 1;
    this.#log = new ContentLog();
    this.#flying.clear();
    this.#settling = false;
    this.#storing = false;
    this.#over.clear();
    this.#leased = 0;
    this.#settlements = new SettlementQueue();
    this.outgoing = new Outgoing();
    this.budget = new ReassemblyBudget(this.#world.terms.budgetBytes);
    this.store.crash();
    [this.sender, this.receiver] = this.#born();
    this.#answers = new AnswerFrames(this.receiver, this.sender.settled);
    for (const row of this.rows) {
      row.number = 0;
      if (row.state !== "leased") continue;
      row.state = "waiting";
      row.released = true;
    }
    this.up = false;
  }

  #born(): [Sender, Receiver] {
    this.#world.random?.bytes(this.boot);
    this.boot = this.boot.slice();
    const sender = new Sender({
      peer: 0,
      outgoing: this.outgoing,
      settlements: this.#settlements,
      uniform: () => this.#world.random.next(),
    });
    const { creditMessages, creditBytes } = this.#world.terms;
    const receiver = new Receiver({
      ...{ peer: 0, budget: this.budget, creditMessages, creditBytes },
      messageBytesMax: 64 * 1_024 * 1_024,
    });
    for (const found of this.store.found()) receiver.resume(found);
    return [sender, receiver];
  }

  endSession(): void {
    for (const handle of this.#flying.values()) this.#told(handle, false);
    this.#flying.clear();
    this.#log = new ContentLog();
  }

  beginSession(fresh: boolean): void {
    const { creditMessages, creditBytes } = this.#world.terms;
    this.up = true;
    this.sender.sessionUp(fresh, creditMessages, creditBytes);
    this.receiver.sessionUp(this.#world.other(this).boot, fresh);
  }

  // --- Work -------------------------------------------------------------------------------------

  pump(): void {
    for (let slot = this.outgoing.due(this.now); slot >= 0; slot = this.outgoing.due(this.now)) {
      this.sender.handleDue(slot, this.now, this.wallNs);
    }
    for (let i = this.#leased; i < this.rows.length && this.sender.rows < this.rowsMax; i++) {
      const row = this.rows[i] as Row;
      if (row.state === "waiting") this.#lease(row);
      if (i === this.#leased) this.#leased += 1;
    }
    if (this.up) while (this.#flying.size < PACKETS_IN_FLIGHT && this.#write());
    for (let order = this.sender.pollRead(); order; order = this.sender.pollRead()) {
      const { rowId, offset, length, tag } = order;
      this.#after(1, () => {
        const row = this.rows[rowId - 1] as Row;
        const there = row.state === "leased";
        const bytes = there ? row.payload.slice(offset, offset + length) : undefined;
        this.sender.handleRead(this.now, tag, offset, bytes);
        if (!there) this.#over.add(row.number);
      });
    }
    this.#settle();
    this.#runStore();
  }

  #lease(row: Row): void {
    row.state = "leased";
    const id = messageIdOf(row.id, this.index);
    const inBatch = row.payload.length <= 256 * 1_024;
    const bytes = new Uint8Array(56 + (inBatch ? row.payload.length : 0));
    bytes.set(id, 0);
    bytes.set(digestOf(hex(id), row.payload), 24);
    if (inBatch) bytes.set(row.payload, 56);
    const leased: SessionRow = {
      ...{ bytes, rowId: row.id, generation: 0, attempts: 0, expiresAt: row.expiresAt },
      ...{ priority: row.priority, flags: row.stream === "" ? 2 : 3, stream: row.stream },
      ...{ messageIdAt: 0, inReplyToAt: 12, digestAt: 24, payloadAt: 56 },
      ...{ released: row.released, total: row.payload.length, inBatch },
    };
    this.sender.enqueue(this.now, this.wallNs, leased);
  }

  #settle(): void {
    if (this.#settling || this.#settlements.size === 0) return;
    this.#settling = true;
    const settlement = this.#settlements.take();
    this.sender.handleTaken();
    this.#after(this.settleDelayMs(), () => {
      this.#settling = false;
      for (const rowId of settlement.acknowledged.rowIds) this.#final(rowId, "acknowledged", "");
      for (const { rowId, reason } of settlement.failed) this.#final(rowId, "failed", reason);
      this.sender.handleCommitted(this.now);
    });
  }

  #final(rowId: number, state: "acknowledged" | "failed", reason: string): void {
    const row = this.rows[rowId - 1] as Row;
    this.#over.add(row.number);
    if (row.state !== "leased") return;
    row.state = state;
    row.reason = reason;
  }

  #runStore(): void {
    if (this.#storing || this.store.waiting === 0) return;
    this.#storing = true;
    this.#after(this.storeDelayMs(), () => {
      this.#storing = false;
      for (const record of this.store.run(this.storeFailure())) {
        this.receiver.handleDelivered(record, this.store);
      }
      this.receiver.handleRoom(this.store);
    });
  }

  /** Writes a packet, if there is anything to write. */
  #write(): boolean {
    const packet = this.#builder;
    const bytes = this.#bytes;
    packet.open(bytes, 0, this.#world.capacity(), this.#log);
    packet.bulkAllowed = this.#world.bulkAllowed(this.#flying.size);
    this.#answers.write(this.now, packet);
    this.sender.write(this.now, this.wallNs, packet);
    const handle = packet.close();
    if (packet.length === 0) return false;
    assert.ok(packet.length <= packet.capacity, "a packet is not longer than it may be");
    this.#packets += 1;
    const id = this.#packets;
    this.#flying.set(id, handle);
    const frames = bytes.slice(0, packet.length);
    this.#check(frames);
    const { arrives, toldAfter, acked } = this.#world.fate(frames.length);
    const to = this.#world.other(this);
    const { boot } = this;
    const toBoot = to.boot;
    for (const delay of arrives) {
      this.#world.after(delay, () => {
        // Keys die with the process.
        if (this.boot === boot && to.boot === toBoot) to.read(frames);
      });
    }
    this.#after(toldAfter, () => {
      if (!this.#flying.delete(id)) return;
      this.#told(handle, acked && arrives.length > 0);
    });
    return true;
  }

  /** What leaves is what the table allows. */
  #check(frames: Uint8Array): void {
    const reader = new FrameReader();
    reader.open(frames, 0, frames.length);
    for (let frame = reader.next(); frame !== NO_FRAME.end; frame = reader.next()) {
      assert.notEqual(frame, NO_FRAME.fault, "what is written can be read");
      if (frame === FRAME.message) {
        const { bytes, messageIdAt, number } = reader.message;
        const rowId = new DataView(bytes.buffer, bytes.byteOffset).getUint32(messageIdAt + 8);
        const row = this.rows[rowId - 1] as Row;
        assert.ok(
          row.state === "leased" || row.state === "deleted",
          "it is not written once final",
        );
        assert.ok(row.number === 0 || row.number === number, "a message keeps its number");
        row.number = number;
      } else if (frame === FRAME.settled) {
        for (let number = 1; number < reader.settled.below; number++) {
          assert.ok(this.#over.has(number), `${number} is settled before that is committed`);
        }
      }
    }
  }

  /** The frames of a packet of the other side. */
  read(frames: Uint8Array): void {
    const reader = this.#reader;
    reader.open(frames, 0, frames.length);
    this.receiver.now = this.now;
    for (let frame = reader.next(); frame !== NO_FRAME.end; frame = reader.next()) {
      const closing = this.#frame(frame);
      if (closing !== undefined) this.closings.push(closing);
    }
  }

  #frame(frame: number): number | undefined {
    const { message, receipt, refuse, have, settled } = this.#reader;
    const arrival = { address: "other", port: 1, sentWallNs: this.wallNs };
    switch (frame) {
      case FRAME.message:
        return this.receiver.handleMessage(message, arrival, this.store);
      case FRAME.receipt:
        if (hex(receipt.bytes.slice(receipt.bootAt, receipt.bootAt + 8)) !== hex(this.boot)) break;
        while (receipt.next()) {
          const { number, digestLow, digestHigh } = receipt;
          const fits = this.sender.handleReceipt(this.now, number, digestLow, digestHigh);
          if (!fits) this.mismatches += 1;
        }
        break;
      case FRAME.refuse: {
        if (hex(refuse.bytes.slice(refuse.bootAt, refuse.bootAt + 8)) !== hex(this.boot)) break;
        const { number, digestLow, digestHigh, reason } = refuse;
        const delay = nanoseconds(refuse.delaySeconds * 1e9);
        const { sender, now } = this;
        const fits = sender.handleRefusal(now, number, digestLow, digestHigh, reason, delay);
        if (!fits) this.mismatches += 1;
        break;
      }
      case FRAME.settled:
        return this.receiver.handleSettled(settled.below, this.store);
      case FRAME.have: {
        this.#ranges.clear();
        while (have.next()) this.#ranges.addRange(have.rangeStart, have.rangeEnd);
        const { bytes, messageIdAt, digest16At, total, dropped } = have;
        this.sender.handleHave(bytes, messageIdAt, digest16At, total, this.#ranges, dropped);
      }
    }
    return undefined;
  }

  #told(handle: number, acked: boolean): void {
    this.#log.take(handle, {
      item: (content: Content, a: number, b: number, c: number): void => {
        const { receipts, refusals, files } = this.receiver;
        if (content === CONTENT.piece && acked) this.sender.acked(a, b, c);
        else if (content === CONTENT.piece) this.sender.lost(a, b, c);
        else if (content === CONTENT.receipts && acked) receipts.acknowledged(a, b);
        else if (content === CONTENT.receipts) receipts.lost(a, b);
        else if (content === CONTENT.refusal && acked) refusals.acknowledged(a);
        else if (content === CONTENT.refusal) refusals.lost(a);
        else if (content === CONTENT.settled && !acked) this.sender.settled.untold();
        else if (content === CONTENT.have && !acked) files.untold(a, b === 1);
      },
    });
  }

  /** Runs later, unless this process died meanwhile. */
  #after(delayMs: number, run: () => void): void {
    const life = this.#life;
    this.#world.after(delayMs, () => {
      if (life === this.#life) run();
    });
  }
}
