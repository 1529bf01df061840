// Messages from one session peer that are too large for memory: their pieces go to the store as they
// come, each once, and the last one asks it to make a row of them. What is dropped on the way is asked
// for again with HAVE.

import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../../base/units.js";
import type { Admission } from "./admission.js";
import type { DeliveryDraft } from "./delivery-draft.js";
import type { IncomingFiles } from "./incoming-files.js";
import type { IncomingStreams } from "./incoming-streams.js";
import { LARGE_TRANSFERS_MAX, type LargeIn } from "./large-in.js";
import type { MessageFrame } from "./message-frame.js";
import { type Arrival, DELIVERED, type DeliveredRecord, type DeliverySink } from "./ports.js";
import { CLOSING, type Closing, REFUSAL } from "./reasons.js";
import { idsInto, PAYLOAD_OFFSET_BYTES } from "./reassembly.js";
import type { StreamIn } from "./stream-in.js";

/** Unfinished files of a peer that are dropped, a second and at once, before new ones must wait. */
const DROPS_PER_SECOND = 4;
const DROPS_BURST = 2 * LARGE_TRANSFERS_MAX;
/** Leftovers make way one at a time, so far apart, ns: sooner than a sender tries again. */
const LEFTOVER_EVERY_NS = 5 * NS_PER_SECOND;

export class LargeReceiver {
  readonly #files: IncomingFiles;
  readonly #admission: Admission;
  readonly #streams: IncomingStreams;
  readonly #draft: DeliveryDraft;

  /** Set before each packet. */
  now: Nanoseconds = nanoseconds(0);
  #drops = 0;
  #paidAt: Nanoseconds = nanoseconds(0);
  #leftoverAt = Number.NEGATIVE_INFINITY;
  /** Message ids of dropped files that the store could not be told of yet. */
  readonly #undropped: Uint8Array[] = [];

  constructor(options: {
    readonly files: IncomingFiles;
    readonly admission: Admission;
    readonly streams: IncomingStreams;
    readonly draft: DeliveryDraft;
  }) {
    this.#files = options.files;
    this.#admission = options.admission;
    this.#streams = options.streams;
    this.#draft = options.draft;
  }

  /** A piece. A reason closes the session. */
  piece(
    frame: MessageFrame,
    stream: StreamIn | undefined,
    arrival: Arrival,
    sink: DeliverySink,
  ): Closing | undefined {
    const { number, offset, length } = frame;
    if (!frame.fragmented) return CLOSING.frame;
    const isStored = this.#admission.numbers.isStored(number);
    // Of what is stored only that is answered which asks for the receipt.
    if (isStored && offset !== 0 && offset + length !== frame.total) return undefined;
    const known = this.#files.ofNumber(number);
    if (known !== undefined && known !== this.#files.of(frame)) return CLOSING.conflict;
    if (known !== undefined && !this.#files.fits(known, frame)) return CLOSING.conflict;
    const large = this.#fileFor(frame, stream, sink);
    if (large === undefined || large.finishing) return undefined;
    if (!large.handed.covers(offset, offset + length)) {
      this.#draft.ofFrame(frame, stream, arrival).ofFile(large);
      if (!sink.piece(this.#draft)) {
        this.#giveUp(large, frame);
        return undefined;
      }
      // Its packet is acknowledged, so only HAVE brings it back.
      if (!large.handed.addRange(offset, offset + length)) large.fallBack();
    }
    return large.complete ? this.#completed(large, frame, stream, arrival, sink) : undefined;
  }

  /** What the store says of a large message, whatever boot it began in. */
  handleDelivered(large: LargeIn, record: DeliveredRecord, sink: DeliverySink): void {
    this.#answered(large, record);
    if (this.#files.ofToken(large.token) === undefined) return;
    // Settled while the store was at it: it will not come again.
    if (!large.finishing && this.#isSettled(large)) this.#drop(large, sink);
  }

  /** The peer's quota is used up: what nobody goes on with is to leave it to what comes. */
  makeRoom(sink: DeliverySink): void {
    const leftover = this.#files.leftover();
    if (leftover === undefined || this.now - this.#leftoverAt < LEFTOVER_EVERY_NS) return;
    this.#leftoverAt = this.now;
    this.#files.forget(leftover);
    this.#drop(leftover, sink);
  }

  /** Files that were dropped and may lie in the folder still. */
  get waitsForRoom(): boolean {
    return this.#undropped.length > 0;
  }

  handleRoom(sink: DeliverySink): void {
    const { peer } = this.#draft;
    for (let id = this.#undropped.at(-1); id !== undefined; id = this.#undropped.at(-1)) {
      // What began anew under its id uses the file.
      if (!this.#files.has(id) && !sink.drop(peer, id)) return;
      this.#undropped.pop();
    }
  }

  #answered(large: LargeIn, record: DeliveredRecord): void {
    switch (record.outcome) {
      case DELIVERED.spooled:
        large.spooled(record.offset, record.payloadLength);
        return;
      case DELIVERED.inserted:
      case DELIVERED.known:
      case DELIVERED.conflict:
        this.#files.end(large);
        return;
      case DELIVERED.quota:
      case DELIVERED.held:
        large.fallBack();
        this.#files.number(large, 0);
        return;
      default:
        // The file may be gone with what was said to be in it: all of it comes again.
        large.startOver();
        this.#files.number(large, 0);
    }
  }

  /** Every number below is settled: what is unfinished of them will not be asked for. */
  settle(below: number, sink: DeliverySink): void {
    if (this.#files.size === 0) return;
    for (const large of [...this.#files.all()]) {
      const { lastNumber, finishing } = large;
      if (lastNumber !== 0 && lastNumber < below && !finishing) this.#drop(large, sink);
    }
  }

  #isSettled({ lastNumber }: LargeIn): boolean {
    return lastNumber !== 0 && lastNumber < this.#admission.numbers.below;
  }

  /** What an earlier run, or another session, left of a message goes on under the number it has now. */
  #fileFor(
    frame: MessageFrame,
    stream: StreamIn | undefined,
    sink: DeliverySink,
  ): LargeIn | undefined {
    const { number } = frame;
    const { numbers } = this.#admission;
    let large = this.#files.of(frame);
    if (large !== undefined && !this.#files.fits(large, frame)) {
      this.#drop(large, sink);
      large = undefined;
    }
    if (large?.number === number) return large;
    if (stream?.passed(frame.sequence) === true && !numbers.isStored(number)) return undefined;
    if (numbers.isPending(number)) return undefined;
    if (large === undefined && this.#files.full) {
      const unclaimed = this.#files.unclaimed();
      if (unclaimed === undefined) {
        this.#admission.refuse(frame, REFUSAL.memory);
        return undefined;
      }
      this.#files.forget(unclaimed);
      this.#drop(unclaimed, sink);
    }
    if (large === undefined && !this.#mayBegin()) {
      this.#admission.refuse(frame, REFUSAL.busy);
      return undefined;
    }
    if (!this.#admission.begin(frame)) return undefined;
    if (large === undefined) large = this.#files.begin(frame);
    // Its sender may not have heard of what is here: without that it stops short of it.
    else large.tell ||= large.onDisk.size > 0;
    this.#release(large);
    this.#files.number(large, number);
    large.stream = stream;
    large.sequence = frame.sequence;
    return large;
  }

  #completed(
    large: LargeIn,
    frame: MessageFrame,
    stream: StreamIn | undefined,
    arrival: Arrival,
    sink: DeliverySink,
  ): Closing | undefined {
    const { number, sequence, messageFlags } = frame;
    if (stream !== undefined && !stream.passed(sequence)) {
      if (this.#streams.has(number)) return undefined;
      const bytes = new Uint8Array(PAYLOAD_OFFSET_BYTES);
      idsInto(frame, bytes);
      const { address, port, sentWallNs } = arrival;
      return this.#streams.wait(stream, {
        number,
        sequence,
        flags: messageFlags,
        bytes,
        large,
        arrival: { address, port, sentWallNs },
      });
    }
    if (stream !== undefined && !this.#admission.numbers.isStored(number)) {
      // Its sender gave it up, and the stream is past it.
      this.#drop(large, sink);
      return undefined;
    }
    this.#draft.ofFrame(frame, stream, arrival);
    large.finishing = sink.piece(this.#draft.finishing(large));
    if (!large.finishing) this.#giveUp(large, frame);
    return undefined;
  }

  /** The store has no room: its sender waits a while, then goes on with what is on disk. */
  #giveUp(large: LargeIn, frame: MessageFrame): void {
    this.#streams.drop(large.number);
    this.#files.number(large, 0);
    large.fallBack();
    this.#admission.giveUp(frame, REFUSAL.busy);
  }

  /** Whether another file may be made: each that is dropped unfinished has cost the store its making. */
  #mayBegin(): boolean {
    const paid = (this.now - this.#paidAt) * (DROPS_PER_SECOND / NS_PER_SECOND);
    this.#drops = Math.max(0, this.#drops - paid);
    this.#paidAt = this.now;
    return this.#drops < DROPS_BURST;
  }

  #drop(large: LargeIn, sink: DeliverySink): void {
    this.#drops += 1;
    this.#release(large);
    this.#files.end(large);
    const { messageId } = large;
    if (!sink.drop(this.#draft.peer, messageId)) this.#undropped.push(messageId);
  }

  /** The number under which it came is not under way any more. */
  #release(large: LargeIn): void {
    if (large.number === 0) return;
    this.#streams.drop(large.number);
    this.#admission.numbers.end(large.number, false);
  }
}
