// Messages on their way to one session peer: rows come from leases, are cut into pieces that fit into
// packets, get their number when the first piece is written, and end with a receipt, a refusal, or
// their expiry. Which bytes go next is decided for each packet. All rows live in Outgoing.

import { type Nanoseconds, NS_PER_MS, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import { nextDelay } from "../backoff.js";
import { RETRY_JITTER_SHARE } from "../constants.js";
import type { SettlementQueue } from "../settlement.js";
import { Feed } from "./feed.js";
import { LargeSlots } from "./large-slots.js";
import { REFUSED_DELAY_FIRST_NS, REFUSED_DELAY_MAX_NS } from "./limits.js";
import { MESSAGE_FLAG } from "./message-digest.js";
import type { NumberRanges } from "./number-ranges.js";
import { type Outgoing, STANDING } from "./outgoing.js";
import type { OutgoingStream } from "./outgoing-stream.js";
import { OutgoingStreams } from "./outgoing-streams.js";
import type { PacketBuilder } from "./packet-builder.js";
import type { PayloadOrder, SessionRow } from "./ports.js";
import { isPermanent, REFUSAL, refusalSentence, waitingSentence } from "./reasons.js";
import type { Flow } from "./send-queue.js";
import { SettledNumbers } from "./settled-numbers.js";
import { Transfer } from "./transfer.js";

/** After this long without a receipt the table says that the row was sent, ns. */
const SHOW_AFTER_NS = NS_PER_SECOND;
/** Expiry is looked at again after so long at most, ns. */
const EXPIRY_LOOK_NS = 60 * NS_PER_SECOND;
const EXPIRED_SENT = "expired, may have been delivered";
const EXPIRED_UNSENT = "expired, not sent";

/**
 * How a row ends here. `given back` is not the end of its message: the number is never settled, or the
 * other end would forget what may come once more.
 */
type Ending = "acknowledged" | "failed" | "gone" | "given back";

export class Sender {
  readonly #peer: number;
  readonly #out: Outgoing;
  readonly #settlements: SettlementQueue;
  readonly #uniform: () => number;
  readonly #streams = new OutgoingStreams();
  readonly #feed: Feed;
  /** Slots of the rows whose payload is read in pieces: HAVE may be about one of them. */
  readonly #large: LargeSlots;
  /** What SETTLED is about. */
  readonly settled = new SettledNumbers();
  #rows = 0;
  /** Wall ms since the epoch at the last input. */
  #wallMs = 0;

  constructor(options: {
    readonly peer: number;
    readonly outgoing: Outgoing;
    readonly settlements: SettlementQueue;
    /** Uniform in [0, 1): jitter only. */
    readonly uniform: () => number;
  }) {
    this.#peer = options.peer;
    this.#out = options.outgoing;
    this.#settlements = options.settlements;
    this.#uniform = options.uniform;
    this.#large = new LargeSlots(options.outgoing);
    this.#feed = new Feed(options.outgoing, {
      onRelease: (slot, now) => {
        const stream = this.#out.streams[slot];
        if (stream !== undefined) {
          this.#streams.released(stream, this.#out.numbers[slot] as number);
        }
        if (this.#out.shown[slot] === 0) this.#wake(slot, now, SHOW_AFTER_NS);
      },
      mayRelease: (slot) => {
        const stream = this.#out.streams[slot];
        return stream === undefined || this.#streams.mayRelease(stream, this.settled.below);
      },
      onReturn: (slot) => {
        this.#unpark(slot);
        this.#out.standings[slot] = STANDING.flying;
        this.#requeue(slot);
      },
    });
  }

  /** Rows that are out for this peer. */
  get rows(): number {
    return this.#rows;
  }
  /** Bytes of their payloads in memory. */
  get heldBytes(): number {
    return this.#feed.payloads.heldBytes;
  }
  /** Of them, those of rows that were leased with their payload. */
  get leasedBytes(): number {
    return this.#feed.payloads.wholeBytes;
  }
  /** Streams that the other end has to remember, as far as is known; and all names. */
  get streamsInUse(): number {
    return this.#streams.inUse;
  }
  get streamNames(): number {
    return this.#streams.names;
  }
  get unfinishedMessages(): number {
    return this.#feed.credit.messages;
  }

  // --- From the store ---------------------------------------------------------------------------

  /** Takes a leased row. The batch that it lies in must stay as it is: the row keeps a view of it. */
  enqueue(now: Nanoseconds, wallNs: number, row: SessionRow): void {
    this.#wallMs = wallNs / NS_PER_MS;
    const slot = this.#out.add(this.#peer, row);
    this.#rows += 1;
    this.#feed.payloads.held(slot);
    if (!row.inBatch) {
      this.#out.transfers[slot] = new Transfer(row.total);
      this.#large.add(slot);
    }
    if ((row.flags & MESSAGE_FLAG.ordered) !== 0) {
      const stream = this.#streams.of(row.stream, row.priority);
      stream.enter(slot);
      this.#out.streams[slot] = stream;
      this.#out.priorities[slot] = stream.flow.priority;
    }
    this.#out.standings[slot] = STANDING.queued;
    this.#wake(slot, now, Number.POSITIVE_INFINITY);
    this.#feed.queue.push(this.#flowOf(slot), this.#out.ticketOf(slot));
  }

  /** The next payload, or piece of one, that the store should read. */
  pollRead(): PayloadOrder | undefined {
    return this.#feed.payloads.poll();
  }

  /** What was read: undefined when the row is gone, or is another message by now. */
  handleRead(
    now: Nanoseconds,
    ticket: number,
    offset: number,
    bytes: Uint8Array | undefined,
  ): void {
    const slot = this.#out.slotOf(ticket);
    if (slot < 0) return;
    if (bytes === undefined || !this.#feed.payloads.provide(slot, offset, bytes)) {
      this.#finish(slot, now, "gone");
      return;
    }
    if (this.#out.standings[slot] === STANDING.reading) this.#feed.goOn(slot);
    else if (this.#out.numbers[slot] === 0) this.#feed.queue.enter(this.#flowOf(slot));
  }

  // --- Packets ----------------------------------------------------------------------------------

  /** Fills what room the packet has. True when it wrote something. */
  write(now: Nanoseconds, wallNs: number, packet: PacketBuilder): boolean {
    this.#wallMs = wallNs / NS_PER_MS;
    return this.#feed.write(now, wallNs, packet);
  }

  /** A piece arrived at the other end. */
  acked(ticket: number, offset: number, length: number): void {
    const slot = this.#out.slotOf(ticket);
    if (slot >= 0) this.#feed.payloads.acked(slot, offset, length);
  }

  /** A piece was lost. */
  lost(ticket: number, offset: number, length: number): void {
    const slot = this.#out.slotOf(ticket);
    if (slot < 0 || this.#out.standings[slot] === STANDING.parked) return;
    const transfer = this.#out.transfers[slot];
    if (transfer === undefined || transfer.lost(offset, length)) this.#requeue(slot);
  }

  // --- Frames -----------------------------------------------------------------------------------

  /** False: the digest is not that of the message, which somebody should hear of. */
  handleReceipt(now: Nanoseconds, number: number, digestLow: number, digestHigh: number): boolean {
    const slot = this.#feed.numbers.find(number);
    if (slot < 0) return true;
    if (!this.#out.hasDigestWords(slot, digestLow, digestHigh)) return false;
    this.#settlements.acknowledge(
      this.#out.rowIds[slot] as number,
      this.#out.generations[slot] as number,
    );
    this.#finish(slot, now, "acknowledged");
    return true;
  }

  /** A refusal, for good or for a while. False: as with a receipt. */
  handleRefusal(
    now: Nanoseconds,
    number: number,
    digestLow: number,
    digestHigh: number,
    reason: number,
    delayNs: number,
  ): boolean {
    const slot = this.#feed.numbers.find(number);
    if (slot < 0) return true;
    if (!isPermanent(reason)) {
      // A message in pieces may be refused once for each: that is one refusal.
      if (this.#out.standings[slot] !== STANDING.parked) {
        this.#postpone(slot, now, delayNs, reason);
      }
    } else if (
      this.#out.hasDigestWords(slot, digestLow, digestHigh) ||
      // Of what is too large the other end knows no digest, unless it came in pieces.
      (reason === REFUSAL.tooLarge && digestLow === 0 && digestHigh === 0)
    ) {
      this.#fail(slot, now, refusalSentence(reason));
    } else return false;
    return true;
  }

  /** What of a large message is on the other end's disk. */
  handleHave(
    bytes: Uint8Array,
    idAt: number,
    digestAt: number,
    total: number,
    ranges: NumberRanges,
    dropped: boolean,
  ): void {
    for (const slot of this.#large.like(bytes, idAt)) {
      if (!this.#out.hasId(slot, bytes, idAt)) continue;
      const transfer = this.#out.transfers[slot] as Transfer;
      const same = total === transfer.total && this.#out.hasDigest(slot, bytes, digestAt);
      if (dropped || !same) this.#restart(slot);
      if (same) transfer.have(ranges);
      this.#feed.payloads.recount(transfer);
      this.#requeue(slot);
    }
  }

  handleCredit(messages: number, bytes: number): void {
    this.#feed.credit.raise(messages, bytes);
  }

  // --- Sessions ---------------------------------------------------------------------------------

  /**
   * A session is there. `fresh`: made outside of an earlier one, so nobody knows what of the packets
   * before arrived, and every message without receipt is sent again.
   */
  sessionUp(fresh: boolean, creditMessages: number, creditBytes: number): void {
    this.#feed.credit.reset(creditMessages, creditBytes);
    if (!fresh) return;
    for (const slot of this.#feed.numbers.slots()) {
      this.#restart(slot);
      this.#requeue(slot);
    }
    this.#streams.forgotten();
    this.settled.untold();
  }

  // --- Time, settlement -------------------------------------------------------------------------

  /** The deadline of a slot has come. */
  handleDue(slot: number, now: Nanoseconds, wallNs: number): void {
    this.#wallMs = wallNs / NS_PER_MS;
    const out = this.#out;
    if ((out.expiresAt[slot] as number) <= this.#wallMs) {
      this.#fail(slot, now, out.released[slot] === 1 ? EXPIRED_SENT : EXPIRED_UNSENT);
      return;
    }
    let at = Number.POSITIVE_INFINITY;
    if (out.standings[slot] === STANDING.parked) {
      const returnAt = out.returnAt[slot] as number;
      // It may be what holds up all that others wait for.
      const hurried = this.#streams.crowded && returnAt !== at;
      if (returnAt > now && !hurried) at = returnAt;
      else {
        out.returnAt[slot] = at;
        this.#feed.comeBack(slot);
      }
    } else if (out.released[slot] === 1 && out.shown[slot] === 0) this.#show(slot, now);
    this.#wake(slot, now, at - now);
  }

  /** The settlement that was taken is committed. */
  handleCommitted(now: Nanoseconds): void {
    this.settled.committed(now);
    for (const stream of this.#streams.committing) {
      stream.commit();
      this.#advance(stream);
      this.#streams.rest(stream);
    }
    this.#streams.committing.length = 0;
  }

  /** What became final until now is in the settlement that the store takes. False: nothing did. */
  handleTaken(): boolean {
    this.#streams.taken();
    return this.settled.taken();
  }

  /** The peer is not spoken with any more: its rows go back to the table, and may be leased anew. */
  giveBack(now: Nanoseconds, wallNs: number): void {
    this.#wallMs = wallNs / NS_PER_MS;
    const out = this.#out;
    for (let slot = 0; this.#rows > 0 && slot < out.capacity; slot++) {
      if (out.standings[slot] === STANDING.free || out.peers[slot] !== this.#peer) continue;
      if (out.released[slot] === 1 && out.shown[slot] === 0) this.#show(slot, now);
      const { rowIds, generations } = out;
      this.#settlements.giveBack(rowIds[slot] as number, generations[slot] as number);
      this.#finish(slot, now, "given back");
    }
  }

  // --- Steps of a row's life --------------------------------------------------------------------

  /** Bytes of a message are to be written again; its payload is asked for if it was dropped. */
  #requeue(slot: number): void {
    const out = this.#out;
    if (out.standings[slot] !== STANDING.flying) return;
    const atHand = out.transfers[slot]?.large === true || out.sources[slot] !== undefined;
    if (atHand) this.#feed.goOn(slot);
    else {
      out.standings[slot] = STANDING.reading;
      this.#feed.payloads.want(slot);
    }
  }

  /**
   * All of a message is to be written again. What of it is under way counts for nothing: the other end
   * may have dropped what it acknowledges.
   */
  #restart(slot: number): void {
    const out = this.#out;
    const transfer = out.transfers[slot];
    if (transfer !== undefined) {
      transfer.restart();
      this.#feed.payloads.recount(transfer);
    }
    if (out.numbers[slot] === 0 || out.standings[slot] === STANDING.parked) return;
    out.renew(slot);
    out.standings[slot] = STANDING.flying;
  }

  /**
   * What was skipped in a stream may hold up what the other end has of it: the first message behind
   * goes again, with the new base.
   */
  #advance(stream: OutgoingStream): void {
    if (!stream.advance()) return;
    const slot = stream.firstOwed(this.#out.sequences);
    if (slot < 0 || this.#out.standings[slot] !== STANDING.flying) return;
    this.#out.transfers[slot]?.again();
    this.#requeue(slot);
  }

  #fail(slot: number, now: Nanoseconds, reason: string): void {
    const { rowIds, generations } = this.#out;
    this.#settlements.fail(rowIds[slot] as number, generations[slot] as number, reason);
    this.#finish(slot, now, "failed");
  }

  /** The row needs nothing more: its final state is on its way to the store, or it is gone there. */
  #finish(slot: number, now: Nanoseconds, how: Ending): void {
    const out = this.#out;
    const number = out.numbers[slot] as number;
    const settling = how === "acknowledged" || how === "failed";
    if (out.standings[slot] === STANDING.parked) this.#unpark(slot);
    else if (number === 0) this.#feed.queue.enter(this.#flowOf(slot));
    const stream = out.streams[slot];
    if (stream?.finish(slot, out.sequences[slot] as number, settling, how === "acknowledged")) {
      this.#streams.final(stream);
    }
    if (number !== 0 && settling) this.settled.final(number);
    else if (number !== 0 && how === "gone") this.settled.gone(number, now);
    this.#feed.forget(slot);
    if (out.transfers[slot] !== undefined) this.#large.delete(slot);
    this.#rows -= 1;
    out.remove(slot);
    if (stream === undefined || settling) return;
    this.#advance(stream);
    this.#streams.rest(stream);
  }

  /** It does not hold up its stream any more. */
  #unpark(slot: number): void {
    const stream = this.#out.streams[slot];
    if (stream === undefined) return;
    stream.postponed -= 1;
    this.#feed.queue.enter(stream.flow);
  }

  /** Refused for a while: it keeps its number, and goes again when its own time has come. */
  #postpone(slot: number, now: Nanoseconds, delayNs: number, reason: number): void {
    const out = this.#out;
    const step = out.backoffs[slot] as number;
    out.backoffs[slot] = Math.min(31, step + 1);
    const delay = nextDelay({
      attempt: step,
      first: nanoseconds(Math.max(delayNs, REFUSED_DELAY_FIRST_NS)),
      max: nanoseconds(Math.max(delayNs, REFUSED_DELAY_MAX_NS)),
      jitterShare: RETRY_JITTER_SHARE,
      random: this.#uniform(),
    });
    this.#feed.credit.uncount(this.#out, slot);
    this.#restart(slot);
    this.#feed.payloads.drop(slot);
    out.standings[slot] = STANDING.parked;
    out.returnAt[slot] = now + delay;
    const stream = out.streams[slot];
    if (stream !== undefined) stream.postponed += 1;
    out.attempts[slot] = (out.attempts[slot] as number) + 1;
    out.postponements += 1;
    this.#tell(slot, now, now + delay, waitingSentence(reason));
    this.#wake(slot, now, delay);
  }

  /** The table says that the row was sent, once it waits longer than a round trip should take. */
  #show(slot: number, now: Nanoseconds): void {
    this.#out.shown[slot] = 1;
    this.#tell(slot, now, now + SHOW_AFTER_NS);
  }

  #tell(slot: number, now: Nanoseconds, nextAt: number, reason?: string): void {
    const out = this.#out;
    this.#settlements.wait(
      out.rowIds[slot] as number,
      out.generations[slot] as number,
      out.attempts[slot] as number,
      this.#wallMs - (now - (out.sentAt[slot] as number)) / NS_PER_MS,
      this.#wallMs + (nextAt - now) / NS_PER_MS,
      reason,
    );
  }

  /** Wakes the slot in `spanNs`, or when its message expires. */
  #wake(slot: number, now: Nanoseconds, spanNs: number): void {
    const expiresInMs = (this.#out.expiresAt[slot] as number) - this.#wallMs;
    // Not in one sleep: a wall clock may be set while it lasts.
    const look = Math.min(Math.max(0, expiresInMs) * NS_PER_MS, EXPIRY_LOOK_NS);
    this.#out.wakesAt[slot] = now + Math.min(spanNs, look);
    this.#out.wake(slot);
  }

  /** Where a row waits for its release. */
  #flowOf(slot: number): Flow {
    const large = this.#out.transfers[slot]?.large === true;
    const { queue } = this.#feed;
    const stream = this.#out.streams[slot];
    return stream?.flow ?? queue.unordered(this.#out.priorities[slot] as number, large);
  }
}
