// Messages from one session peer, for the newest boot of it: numbers decide what is new, pieces become
// messages, ordered ones wait for their turn, whole ones go to the store. A receipt is queued in one
// place, `handleDelivered`, and only for what the store says is committed.

import { wordAt } from "../keyed-hash.js";
import { DeliveryDraft } from "./delivery-draft.js";
import { IncomingFiles, type SpoolFound } from "./incoming-files.js";
import { IncomingNumbers } from "./incoming-numbers.js";
import type { LargeIn } from "./large-in.js";
import { BOOT_ID_BYTES, MESSAGE_IN_MEMORY_BYTES_MAX, STREAMS_MAX } from "./limits.js";
import type { MessageFrame } from "./message-frame.js";
import { type Arrival, DELIVERED, type DeliveredRecord, type DeliverySink } from "./ports.js";
import { CLOSING, type Closing, REFUSAL } from "./reasons.js";
import { idsInto, PAYLOAD_OFFSET_BYTES, Reassembly, type ReassemblyBudget } from "./reassembly.js";
import { ReceiptQueue } from "./receipt-queue.js";
import { Refusals } from "./refusals.js";
import { StreamIn } from "./stream-in.js";
import { textOf } from "./utf8.js";

/** How far a peer may exceed what we granted before its session is closed. */
const CREDIT_GRACE = 2;
const TWO_32 = 2 ** 32;
/** Waits that refusals for a while ask for, s. */
const RETRY_SECONDS = 1;
const RETRY_FULL_SECONDS = 10;

interface Ordered {
  readonly stream: StreamIn;
  readonly sequence: number;
}

export class Receiver {
  readonly receipts = new ReceiptQueue();
  readonly refusals = new Refusals();
  readonly files = new IncomingFiles();
  readonly #numbers = new IncomingNumbers();
  readonly #reassembly: Reassembly;
  readonly #streams = new Map<string, StreamIn>();
  /** Ordered messages that wait or are at the store, by number. */
  readonly #ordered = new Map<number, Ordered>();
  readonly #creditMessages: number;
  readonly #creditBytes: number;
  readonly #messageBytesMax: number;
  readonly #draft: DeliveryDraft;
  /** Boot of the peer that all of this is about, and how many there were in this run. */
  #boot = new Uint8Array(BOOT_ID_BYTES);
  #boots = 0;
  /** Bytes of partial and waiting messages. */
  #heldBytes = 0;

  constructor(options: {
    readonly peer: number;
    readonly budget: ReassemblyBudget;
    readonly creditMessages: number;
    readonly creditBytes: number;
    readonly messageBytesMax: number;
  }) {
    this.#reassembly = new Reassembly(options.budget);
    this.#creditMessages = options.creditMessages;
    this.#creditBytes = options.creditBytes;
    this.#messageBytesMax = options.messageBytesMax;
    this.#draft = new DeliveryDraft(options.peer);
  }

  /** Boot of the peer that numbers are counted in. */
  get boot(): Uint8Array {
    return this.#boot;
  }
  get heldBytes(): number {
    return this.#heldBytes;
  }
  get pending(): number {
    return this.#numbers.pending;
  }

  /** What an earlier run left of large messages. */
  resume(found: SpoolFound): void {
    this.files.resume(found);
  }

  /** A session is confirmed. A boot that we do not know starts everything anew, but for large files. */
  sessionUp(boot: Uint8Array, fresh: boolean): void {
    if (this.#boots === 0 || this.#boot.some((byte, i) => byte !== boot[i])) this.#restart(boot);
    if (!fresh) return;
    this.receipts.restart();
    this.refusals.restart();
    for (const large of this.files.all()) large.fallBack();
  }

  // --- Frames -----------------------------------------------------------------------------------

  /** A reason closes the session: no honest peer sends that. */
  handleMessage(frame: MessageFrame, arrival: Arrival, sink: DeliverySink): Closing | undefined {
    const { number } = frame;
    if (!this.#numbers.inRange(number)) return CLOSING.number;
    if (number < this.#numbers.below) return undefined;
    let stream: StreamIn | undefined;
    if (frame.ordered) {
      stream = this.#streamOf(frame);
      if (stream === undefined) return CLOSING.frame;
      stream.handleBase(frame.base);
    }
    const closing = this.#take(frame, stream, arrival, sink);
    if (stream !== undefined) this.#drain(stream, sink);
    if (closing !== undefined) return closing;
    const tooMany = this.#numbers.pending > CREDIT_GRACE * this.#creditMessages;
    return tooMany || this.#heldBytes > CREDIT_GRACE * this.#creditBytes
      ? CLOSING.credit
      : undefined;
  }

  /** SETTLED: forgotten here at once, in the store behind all that was handed to it before. */
  handleSettled(below: number, sink: DeliverySink): Closing | undefined {
    if (!this.#numbers.inRange(below)) return CLOSING.number;
    if (below <= this.#numbers.below || !sink.settled(this.#draft.peer, this.#boot, below)) {
      return undefined;
    }
    for (const [number, { stream, sequence }] of this.#ordered) {
      const waiting = number < below ? stream.drop(sequence) : undefined;
      if (waiting === undefined) continue;
      this.#heldBytes -= waiting.bytes.length;
      this.#ordered.delete(number);
      this.#numbers.end(number, false);
    }
    for (const number of this.#reassembly.below(below)) {
      this.#heldBytes -= this.#reassembly.of(number)?.total ?? 0;
      this.#reassembly.end(number);
      this.#numbers.end(number, false);
    }
    for (const large of [...this.files.all()]) {
      if (large.number !== 0 && large.number < below && !large.finishing)
        this.#dropLarge(large, sink);
    }
    this.#numbers.settle(below);
    return undefined;
  }

  // --- From the store ---------------------------------------------------------------------------

  /** The store answered for one record of a batch, behind its synced commit or its failure. */
  handleDelivered(record: DeliveredRecord, sink: DeliverySink): void {
    const large = this.files.ofToken(record.token % TWO_32);
    if (large !== undefined) this.#fileAnswered(large, record);
    if (Math.floor(record.token / TWO_32) !== this.#boots || record.outcome === DELIVERED.spooled)
      return;
    const { number, outcome } = record;
    const stored = outcome === DELIVERED.inserted || outcome === DELIVERED.known;
    this.#numbers.end(number, stored);
    if (stored) this.receipts.append(number, record.digestLow, record.digestHigh);
    else if (outcome !== DELIVERED.corrupt) this.#refuseFor(record);
    const ordered = this.#ordered.get(number);
    if (ordered === undefined) return;
    this.#ordered.delete(number);
    ordered.stream.answered(ordered.sequence, stored);
    this.#drain(ordered.stream, sink);
  }

  /** There is room towards the store again. */
  handleRoom(sink: DeliverySink): void {
    for (const stream of this.#streams.values()) this.#drain(stream, sink);
  }

  // --- Messages ---------------------------------------------------------------------------------

  #take(
    frame: MessageFrame,
    stream: StreamIn | undefined,
    arrival: Arrival,
    sink: DeliverySink,
  ): Closing | undefined {
    if (frame.total > this.#messageBytesMax) {
      this.#refuse(frame, REFUSAL.tooLarge, 0);
      return undefined;
    }
    if (frame.total > MESSAGE_IN_MEMORY_BYTES_MAX) return this.#piece(frame, stream, arrival, sink);
    if (frame.fragmented) return this.#partial(frame, stream, arrival, sink);
    if (this.#numbers.isPending(frame.number)) return undefined;
    if (stream === undefined || this.#passed(stream, frame)) {
      if (stream !== undefined && !this.#numbers.isStored(frame.number)) return undefined;
      if (!this.#begin(frame)) return undefined;
      this.#draft.ofFrame(frame, stream, arrival);
      if (!sink.message(this.#draft)) this.#giveUp(frame);
      return undefined;
    }
    if (stream.waits(frame.sequence) || !this.#begin(frame)) return undefined;
    const bytes = new Uint8Array(PAYLOAD_OFFSET_BYTES + frame.length);
    idsInto(frame, bytes);
    bytes.set(
      frame.bytes.subarray(frame.dataAt, frame.dataAt + frame.length),
      PAYLOAD_OFFSET_BYTES,
    );
    this.#wait(stream, frame, bytes, arrival, undefined);
    return undefined;
  }

  /** A piece of a message that is put together in memory. */
  #partial(
    frame: MessageFrame,
    stream: StreamIn | undefined,
    arrival: Arrival,
    sink: DeliverySink,
  ): Closing | undefined {
    const { number } = frame;
    let partial = this.#reassembly.of(number);
    if (partial === undefined) {
      if (this.#numbers.isPending(number)) return undefined;
      const stored = this.#numbers.isStored(number);
      if (stream !== undefined && this.#passed(stream, frame) && !stored) return undefined;
      if (!this.#begin(frame)) return undefined;
      partial = this.#reassembly.begin(frame);
      if (partial === undefined) {
        this.#numbers.end(number, false);
        this.#refuse(frame, REFUSAL.memory, RETRY_SECONDS);
        return undefined;
      }
      this.#heldBytes += partial.total;
    }
    if (!partial.fits(frame)) return CLOSING.conflict;
    if (!partial.add(frame) || !partial.complete) return undefined;
    this.#reassembly.end(number);
    this.#heldBytes -= partial.total;
    if (stream !== undefined && !this.#passed(stream, frame)) {
      this.#wait(stream, frame, partial.bytes, arrival, undefined);
      return undefined;
    }
    this.#draft.ofFrame(frame, stream, arrival).in(partial.bytes, partial.total);
    if (!sink.message(this.#draft)) this.#giveUp(frame);
    return undefined;
  }

  /** A piece of a message that is put together in a file. */
  #piece(
    frame: MessageFrame,
    stream: StreamIn | undefined,
    arrival: Arrival,
    sink: DeliverySink,
  ): Closing | undefined {
    const { number, offset, length } = frame;
    if (!frame.fragmented) return CLOSING.frame;
    if (this.#numbers.isStored(number) && offset !== 0 && offset + length !== frame.total) {
      return undefined;
    }
    const large = this.#largeFor(frame, stream, sink);
    if (large === undefined || large.finishing) return undefined;
    if (!large.handed.covers(offset, offset + length)) {
      this.#draft.ofFrame(frame, stream, arrival).ofFile(large);
      const handed = sink.piece(this.#draft) && large.handed.addRange(offset, offset + length);
      // Its packet is acknowledged, so only HAVE brings it back.
      if (!handed) large.fallBack();
    }
    if (!large.complete) return undefined;
    if (stream !== undefined && !this.#passed(stream, frame)) {
      if (!stream.waits(frame.sequence)) {
        const ids = new Uint8Array(PAYLOAD_OFFSET_BYTES);
        idsInto(frame, ids);
        this.#wait(stream, frame, ids, arrival, large);
      }
    } else {
      this.#draft.ofFrame(frame, stream, arrival);
      this.#finishLarge(large, sink);
    }
    return undefined;
  }

  #largeFor(
    frame: MessageFrame,
    stream: StreamIn | undefined,
    sink: DeliverySink,
  ): LargeIn | undefined {
    const { number } = frame;
    let large = this.files.of(frame);
    if (large !== undefined && !this.files.fits(large, frame)) {
      this.#dropLarge(large, sink);
      large = undefined;
    }
    if (large?.number === number) return large;
    const stored = this.#numbers.isStored(number);
    if (stream !== undefined && this.#passed(stream, frame) && !stored) return undefined;
    if (large === undefined && this.files.full) {
      this.#refuse(frame, REFUSAL.memory, RETRY_SECONDS);
      return undefined;
    }
    if (this.#numbers.isPending(number) || !this.#begin(frame)) return undefined;
    large ??= this.files.begin(frame);
    // The same message under another number: its owner sent it again.
    if (large.number !== 0) this.#numbers.end(large.number, false);
    this.files.number(large, number);
    return large;
  }

  #finishLarge(large: LargeIn, sink: DeliverySink): void {
    large.finishing = sink.piece(this.#draft.finishing(large));
    if (!large.finishing) large.fallBack();
  }

  // --- Order ------------------------------------------------------------------------------------

  /** Whether the stream is past this sequence: committed, or given up by its sender. */
  #passed(stream: StreamIn, frame: MessageFrame): boolean {
    return stream.passed(frame.sequence);
  }

  /** An ordered message is here in full; `drain` takes it when its turn has come. */
  #wait(
    stream: StreamIn,
    frame: MessageFrame,
    bytes: Uint8Array,
    arrival: Arrival,
    large: LargeIn | undefined,
  ): void {
    const { number, sequence, messageFlags } = frame;
    this.#heldBytes += bytes.length;
    this.#ordered.set(number, { stream, sequence });
    const { address, port, sentWallNs } = arrival;
    stream.wait({
      number,
      sequence,
      flags: messageFlags,
      bytes,
      large,
      arrival: { address, port, sentWallNs },
    });
  }

  /** Hands to the store what may go of a stream. */
  #drain(stream: StreamIn, sink: DeliverySink): void {
    for (let due = stream.next(); due !== undefined; due = stream.next()) {
      const { message, gap, resume } = due;
      const draft = this.#draft.ofWaiting(message, stream, gap, resume);
      const { large } = message;
      if (large !== undefined) {
        large.finishing = sink.piece(draft.finishing(large));
        if (!large.finishing) return;
      } else if (!sink.message(draft)) return;
      this.#heldBytes -= message.bytes.length;
      stream.hand(message);
    }
  }

  #streamOf(frame: MessageFrame): StreamIn | undefined {
    const name = textOf(frame.bytes, frame.streamAt, frame.streamLength);
    if (name === undefined) return undefined;
    let stream = this.#streams.get(name);
    if (stream === undefined) {
      if (this.#streams.size >= STREAMS_MAX) return undefined;
      stream = new StreamIn(name);
      this.#streams.set(name, stream);
    }
    return stream;
  }

  // --- Ends -------------------------------------------------------------------------------------

  /** A message begins; one whose number cannot be remembered is refused for a while. */
  #begin(frame: MessageFrame): boolean {
    if (this.#numbers.begin(frame.number)) return true;
    this.#refuse(frame, REFUSAL.busy, RETRY_SECONDS);
    return false;
  }

  /** The store has no room for it. */
  #giveUp(frame: MessageFrame): void {
    this.#numbers.end(frame.number, false);
    this.#refuse(frame, REFUSAL.busy, RETRY_SECONDS);
  }

  #refuse(frame: MessageFrame, reason: number, delaySeconds: number): void {
    const { bytes, digest16At, number } = frame;
    const digestLow = frame.fragmented ? wordAt(bytes, digest16At) : 0;
    const digestHigh = frame.fragmented ? wordAt(bytes, digest16At + 4) : 0;
    this.refusals.append({ number, digestLow, digestHigh, reason, delaySeconds });
  }

  #refuseFor({ number, outcome, digestLow, digestHigh }: DeliveredRecord): void {
    const [reason, delaySeconds] = REFUSED[outcome] ?? [REFUSAL.busy, RETRY_SECONDS];
    this.refusals.append({ number, digestLow, digestHigh, reason, delaySeconds });
  }

  /** What the store says of a large message, whatever boot it began in. */
  #fileAnswered(large: LargeIn, record: DeliveredRecord): void {
    switch (record.outcome) {
      case DELIVERED.spooled:
        large.spooled(record.offset, record.payloadLength);
        return;
      case DELIVERED.inserted:
      case DELIVERED.known:
      case DELIVERED.conflict:
        this.files.end(large);
        return;
      case DELIVERED.corrupt:
        large.startOver();
        this.files.number(large, 0);
        return;
      default:
        large.fallBack();
        this.files.number(large, 0);
    }
  }

  #dropLarge(large: LargeIn, sink: DeliverySink): void {
    if (large.number !== 0) this.#numbers.end(large.number, false);
    this.files.end(large);
    sink.drop(this.#draft.peer, large.messageId);
  }

  #restart(boot: Uint8Array): void {
    this.#boot = Uint8Array.from(boot);
    this.#boots += 1;
    this.#draft.restart(this.#boots, this.#boot);
    this.#numbers.restart();
    this.#reassembly.clear();
    this.#streams.clear();
    this.#ordered.clear();
    this.#heldBytes = 0;
    this.receipts.clear();
    this.refusals.clear();
    for (const large of this.files.all()) this.files.number(large, 0);
  }
}

const REFUSED: Readonly<Partial<Record<number, readonly [number, number]>>> = {
  [DELIVERED.conflict]: [REFUSAL.conflict, 0],
  [DELIVERED.quota]: [REFUSAL.quota, RETRY_FULL_SECONDS],
  [DELIVERED.full]: [REFUSAL.diskFull, RETRY_FULL_SECONDS],
  [DELIVERED.busy]: [REFUSAL.busy, RETRY_SECONDS],
  [DELIVERED.held]: [REFUSAL.busy, RETRY_SECONDS],
};
