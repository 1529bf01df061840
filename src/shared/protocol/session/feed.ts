// What of one peer's messages goes into the next packet: by class of priority, repairs before new
// messages, flows in turn, within the credit. A message gets its number here, when its first piece is
// written. Nothing here knows what happens to a message afterwards.

import { type Nanoseconds, NS_PER_MS } from "../../base/units.js";
import { MESSAGE_ID_BYTES } from "../constants.js";
import { CONTENT } from "./content-log.js";
import { Credit } from "./credit.js";
import { LARGE_TRANSFERS_MAX } from "./large-in.js";
import { MESSAGE_DIGEST_BYTES } from "./limits.js";
import { MessageWriter } from "./message-writer.js";
import { NumberIndex } from "./number-index.js";
import { type Outgoing, STANDING } from "./outgoing.js";
import type { PacketBuilder } from "./packet-builder.js";
import { Payloads } from "./payloads.js";
import { type Flow, PRIORITY_CLASSES, SendQueue } from "./send-queue.js";
import { TicketQueue } from "./ticket-queue.js";
import { Transfer } from "./transfer.js";

/** What came of trying to write a message into a packet. */
const WROTE = { all: 0, waits: 1, packetFull: 2 } as const;
type Wrote = (typeof WROTE)[keyof typeof WROTE];
const NO_TICKET = -1;

export interface FeedEvents {
  /** A message got its number. */
  readonly onRelease: (slot: number, now: Nanoseconds) => void;
  /** Whether the stream of a message may become one more that the other end has to remember. */
  readonly mayRelease: (slot: number) => boolean;
  /** There is credit for a parked message whose time has come. */
  readonly onReturn: (slot: number) => void;
}

export class Feed {
  readonly queue = new SendQueue();
  readonly payloads: Payloads;
  readonly credit = new Credit();
  /** Slots of the messages that have a number. */
  readonly numbers = new NumberIndex();
  readonly #out: Outgoing;
  readonly #events: FeedEvents;
  readonly #writer = new MessageWriter();
  #next = 1;
  /** Large messages that have a number: the other end takes so many at a time. */
  #begun = 0;
  /** Parked messages whose time has come: they go before anything new, as credit allows. */
  readonly #returning = new TicketQueue();
  /** What they wait for may have come since they were looked at; and whether that is credit. */
  #mayReturn = true;
  #creditSeen = 0;
  #starving = false;
  /** Flows that let the others pass while a packet is written. */
  readonly #passing: Flow[] = [];
  /** No credit is left for what is written now. */
  #exhausted = false;
  /** Ticket of a message that credit was too short for: nothing new overtakes it for ever. */
  #reserved = NO_TICKET;
  /** Wall ms since the epoch at the last write. */
  #wallMs = 0;

  constructor(outgoing: Outgoing, events: FeedEvents) {
    this.#out = outgoing;
    this.#events = events;
    this.payloads = new Payloads(outgoing);
  }

  /** Fills what room the packet has. True when it wrote something. */
  write(now: Nanoseconds, wallNs: number, packet: PacketBuilder): boolean {
    this.#wallMs = wallNs / NS_PER_MS;
    this.#exhausted = false;
    this.#takeBack();
    const before = packet.at;
    for (let priority = PRIORITY_CLASSES - 1; priority >= 0; priority--) {
      if (!this.#writeRepairs(now, priority, packet)) break;
      if (!this.#writeNew(now, priority, packet)) break;
    }
    return packet.at > before;
  }

  /** A parked message has waited long enough. */
  comeBack(slot: number): void {
    this.#returning.push(this.#out.ticketOf(slot));
    this.#mayReturn = true;
  }

  #takeBack(): void {
    if (this.#returning.size === 0) return;
    // There may be thousands, and whoever keeps its credit from them can ask for a packet at any time.
    if (!this.#mayReturn && this.credit.version === this.#creditSeen) {
      this.#exhausted = this.#starving;
      return;
    }
    this.#mayReturn = false;
    this.#creditSeen = this.credit.version;
    const out = this.#out;
    for (let left = this.#returning.size; left > 0; left--) {
      const ticket = this.#returning.first;
      this.#returning.shift();
      const slot = out.slotOf(ticket);
      if (slot < 0 || out.standings[slot] !== STANDING.parked) continue;
      // The first of a stream waits for no credit: what waits behind it may have it all.
      const isFirst = out.streams[slot]?.owed === out.sequences[slot];
      this.#exhausted ||= !isFirst && !this.credit.allows(out, slot);
      if (isFirst || !this.#exhausted) {
        this.credit.count(out, slot);
        this.#events.onReturn(slot);
      } else this.#returning.push(ticket);
    }
    this.#starving = this.#exhausted;
  }

  /** What was lost, or is to be sent once more. False: the packet is full. */
  #writeRepairs(now: Nanoseconds, priority: number, packet: PacketBuilder): boolean {
    const repairs = this.queue.repairs(priority);
    while (repairs.size > 0) {
      const ticket = repairs.first;
      const slot = this.#out.slotOf(ticket);
      if (slot < 0 || this.#out.standings[slot] !== STANDING.queued) repairs.shift();
      else if (this.#writeSlot(now, slot, ticket, packet, repairs) === WROTE.packetFull)
        return false;
    }
    return true;
  }

  /** New messages, each flow in its turn. False: the packet is full. */
  #writeNew(now: Nanoseconds, priority: number, packet: PacketBuilder): boolean {
    const room = this.#writeFlows(now, priority, packet);
    for (let i = 0; i < this.#passing.length; i++) this.queue.enter(this.#passing[i] as Flow);
    this.#passing.length = 0;
    return room;
  }

  #writeFlows(now: Nanoseconds, priority: number, packet: PacketBuilder): boolean {
    const out = this.#out;
    for (;;) {
      const flow = this.queue.turn(priority);
      if (flow === undefined) return true;
      const slot = this.#headOf(flow);
      const isNew = slot >= 0 && out.numbers[slot] === 0;
      if (slot < 0 || (isNew && (out.streams[slot]?.postponed ?? 0) > 0)) {
        this.queue.leave(priority);
        continue;
      }
      // What others have begun must go on: their ends are what gives credit back.
      if (this.#isHeldBack(slot, packet) || (isNew && !this.#mayRelease(slot))) {
        this.queue.leave(priority);
        this.#passing.push(flow);
        continue;
      }
      const before = packet.at;
      const wrote = this.#writeSlot(now, slot, out.ticketOf(slot), packet, flow.tickets);
      this.queue.charge(priority, packet.at - before);
      if (wrote === WROTE.packetFull) return false;
      if (wrote === WROTE.waits && out.numbers[slot] === 0) this.queue.leave(priority);
    }
  }

  /** A large message waits while there is too much under way; what was lost of it does not. */
  #isHeldBack(slot: number, packet: PacketBuilder): boolean {
    const transfer = this.#out.transfers[slot];
    if (packet.bulkAllowed || transfer?.large !== true || transfer.repairing) return false;
    packet.bulkHeldBack = true;
    return true;
  }

  /** Slot of the first message of a flow that has something to write, or -1. */
  #headOf(flow: Flow): number {
    while (flow.tickets.size > 0) {
      const slot = this.#out.slotOf(flow.tickets.first);
      if (slot >= 0 && this.#out.standings[slot] === STANDING.queued) return slot;
      flow.tickets.shift();
    }
    return -1;
  }

  /** Whether a new message may be released. One that may not is the next of its class that may. */
  #mayRelease(slot: number): boolean {
    const out = this.#out;
    if (this.#exhausted || !this.#events.mayRelease(slot)) return false;
    if (out.transfers[slot]?.large === true && this.#begun >= LARGE_TRANSFERS_MAX) return false;
    const first = this.#reserved === NO_TICKET ? -1 : out.slotOf(this.#reserved);
    if (first >= 0 && first !== slot && this.#isDue(first)) {
      if ((out.priorities[slot] as number) <= (out.priorities[first] as number)) return false;
    }
    if (this.credit.allows(out, slot)) {
      if (first === slot) this.#reserved = NO_TICKET;
      return true;
    }
    this.#exhausted = true;
    this.#reserved = out.ticketOf(slot);
    return false;
  }

  /** Whether only credit keeps a message from its release. */
  #isDue(slot: number): boolean {
    const out = this.#out;
    const isNew = out.standings[slot] === STANDING.queued && out.numbers[slot] === 0;
    return isNew && (out.streams[slot]?.postponed ?? 0) === 0;
  }

  /** Writes pieces of one message until all are written, the packet is full, or a payload is missing. */
  #writeSlot(
    now: Nanoseconds,
    slot: number,
    ticket: number,
    packet: PacketBuilder,
    queue: TicketQueue,
  ): Wrote {
    const out = this.#out;
    const total = out.totals[slot] as number;
    const transfer = this.#transferFor(slot, packet);
    for (;;) {
      if (transfer?.large === true) {
        this.payloads.want(slot);
        if (!transfer.repairing && queue === this.queue.repairs(out.priorities[slot] as number)) {
          queue.shift();
          this.goOn(slot);
          return WROTE.all;
        }
      }
      const offset = transfer === undefined ? 0 : transfer.next;
      const run = transfer === undefined ? total : transfer.run;
      if (offset < 0 || (run === 0 && total > 0)) {
        queue.shift();
        out.standings[slot] = STANDING.flying;
        return WROTE.all;
      }
      if (!this.payloads.locate(slot, offset)) {
        this.payloads.want(slot);
        // Before its release it keeps its place: what is behind it in a stream must not overtake it.
        if (out.numbers[slot] === 0) return WROTE.waits;
        queue.shift();
        out.standings[slot] = STANDING.reading;
        return WROTE.waits;
      }
      this.#describe(slot, offset, transfer !== undefined);
      const length = this.#writer.fit(packet.room, Math.min(run, this.payloads.length));
      if (length < 0 || !packet.note(CONTENT.piece, ticket, offset, length))
        return WROTE.packetFull;
      if (out.numbers[slot] === 0) this.#release(slot, now);
      packet.at = this.#writer.write(packet.bytes, packet.at, this.payloads, length);
      packet.eliciting = true;
      if (transfer !== undefined) transfer.written(offset, length);
      else {
        queue.shift();
        out.standings[slot] = STANDING.flying;
        return WROTE.all;
      }
    }
  }

  /** The transfer of a message that does not go in one packet; undefined for one that does. */
  #transferFor(slot: number, packet: PacketBuilder): Transfer | undefined {
    const known = this.#out.transfers[slot];
    if (known !== undefined || this.#out.totals[slot] === 0) return known;
    this.#describe(slot, 0, false);
    if (this.#writer.fits(packet.capacity, this.#out.totals[slot] as number)) return undefined;
    const transfer = new Transfer(this.#out.totals[slot] as number);
    this.#out.transfers[slot] = transfer;
    return transfer;
  }

  #release(slot: number, now: Nanoseconds): void {
    const out = this.#out;
    out.numbers[slot] = this.#next;
    this.numbers.set(this.#next, slot);
    this.#next += 1;
    const stream = out.streams[slot];
    if (stream !== undefined) out.sequences[slot] = stream.release();
    out.released[slot] = 1;
    out.sentAt[slot] = now;
    if (out.transfers[slot]?.large === true) this.#begun += 1;
    this.credit.count(out, slot);
    this.#events.onRelease(slot, now);
  }

  /** Bytes of a message that was released are to be written: what was lost, or what is left. */
  goOn(slot: number): void {
    const out = this.#out;
    const priority = out.priorities[slot] as number;
    const transfer = out.transfers[slot];
    out.standings[slot] = STANDING.queued;
    // What is left of a large message takes turns with the others; a repair is short.
    if (transfer?.large === true && !transfer.repairing) {
      this.queue.push(this.queue.begun(priority), out.ticketOf(slot));
    } else this.queue.repair(priority, out.ticketOf(slot));
  }

  /** A message is final, or its row is gone. */
  forget(slot: number): void {
    const out = this.#out;
    const number = out.numbers[slot] as number;
    this.#mayReturn = true;
    if (number !== 0) {
      this.numbers.delete(number);
      if (out.transfers[slot]?.large === true) this.#begun -= 1;
    }
    this.credit.uncount(out, slot);
    this.payloads.drop(slot);
  }

  /** Tells the writer about a message, as it will be once released. */
  #describe(slot: number, offset: number, fragmented: boolean): void {
    const out = this.#out;
    const { header } = this.#writer;
    const stream = out.streams[slot];
    const number = out.numbers[slot] as number;
    header.number = number === 0 ? this.#next : number;
    header.flags = out.flags[slot] as number;
    header.priority = out.priorities[slot] as number;
    header.fragmented = fragmented;
    header.lifeSeconds = Math.max(
      1,
      Math.ceil(((out.expiresAt[slot] as number) - this.#wallMs) / 1_000),
    );
    header.total = out.totals[slot] as number;
    header.offset = offset;
    header.ids = out.ids;
    header.replies = out.replies;
    header.digests = out.digests;
    header.messageIdAt = slot * MESSAGE_ID_BYTES;
    header.digestAt = slot * MESSAGE_DIGEST_BYTES;
    header.stream = stream?.name;
    header.sequence = number === 0 ? (stream?.next ?? 0) : (out.sequences[slot] as number);
    header.base = stream?.base ?? 0;
  }
}
