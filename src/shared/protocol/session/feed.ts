// What of one peer's messages goes into the next packet: by class of priority, repairs before new
// messages, flows in turn, within the credit. A message gets its number here, when its first piece is
// written. Nothing here knows what happens to a message afterwards.

import { type Nanoseconds, NS_PER_MS } from "../../base/units.js";
import { MESSAGE_ID_BYTES } from "../constants.js";
import { CONTENT } from "./content-log.js";
import { Credit } from "./credit.js";
import { MESSAGE_DIGEST_BYTES } from "./limits.js";
import { MessageWriter } from "./message-writer.js";
import { NumberIndex } from "./number-index.js";
import { type Outgoing, STANDING } from "./outgoing.js";
import type { PacketBuilder } from "./packet-builder.js";
import { Payloads } from "./payloads.js";
import { PRIORITY_CLASSES, SendQueue } from "./send-queue.js";
import type { TicketQueue } from "./ticket-queue.js";
import { Transfer } from "./transfer.js";

/** What came of trying to write a message into a packet. */
const WROTE = { all: 0, waits: 1, packetFull: 2 } as const;
type Wrote = (typeof WROTE)[keyof typeof WROTE];

export class Feed {
  readonly queue = new SendQueue();
  readonly payloads: Payloads;
  readonly credit = new Credit();
  /** Slots of the messages that have a number. */
  readonly numbers = new NumberIndex();
  readonly #out: Outgoing;
  readonly #onRelease: (slot: number, now: Nanoseconds) => void;
  readonly #writer = new MessageWriter();
  #next = 1;
  /** Wall ms since the epoch at the last write. */
  #wallMs = 0;

  constructor(outgoing: Outgoing, onRelease: (slot: number, now: Nanoseconds) => void) {
    this.#out = outgoing;
    this.#onRelease = onRelease;
    this.payloads = new Payloads(outgoing);
  }

  /** Fills what room the packet has. True when it wrote something. */
  write(now: Nanoseconds, wallNs: number, packet: PacketBuilder): boolean {
    this.#wallMs = wallNs / NS_PER_MS;
    const before = packet.at;
    for (let priority = PRIORITY_CLASSES - 1; priority >= 0; priority--) {
      if (!this.#writeRepairs(now, priority, packet)) break;
      if (!this.#writeNew(now, priority, packet)) break;
    }
    return packet.at > before;
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
    for (;;) {
      const flow = this.queue.turn(priority);
      if (flow === undefined) return true;
      if (flow.tickets.size === 0) {
        this.queue.leave(priority);
        continue;
      }
      const ticket = flow.tickets.first;
      const slot = this.#out.slotOf(ticket);
      if (slot < 0 || this.#out.standings[slot] !== STANDING.queued) {
        flow.tickets.shift();
        continue;
      }
      if ((this.#out.streams[slot]?.postponed ?? 0) > 0) {
        this.queue.leave(priority);
        continue;
      }
      if (this.#out.numbers[slot] === 0 && !this.credit.allows(this.#out, slot)) return true;
      const before = packet.at;
      const wrote = this.#writeSlot(now, slot, ticket, packet, flow.tickets);
      this.queue.charge(priority, packet.at - before);
      if (wrote === WROTE.packetFull) return false;
      if (wrote === WROTE.waits && this.#out.numbers[slot] === 0) this.queue.leave(priority);
    }
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
    if (known !== undefined) return known;
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
    this.credit.count(out, slot);
    this.#onRelease(slot, now);
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
