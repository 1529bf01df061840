// Messages from one session peer, for the newest boot of it: numbers decide what is new, pieces become
// messages, ordered ones wait for their turn, whole ones go to the store. A receipt is queued in one
// place, `handleDelivered`, and only for what the store says is committed.

import type { Nanoseconds } from "../../base/units.js";
import { Admission } from "./admission.js";
import { DeliveryDraft, TOKEN_BOOTS } from "./delivery-draft.js";
import { IncomingFiles, type SpoolFound } from "./incoming-files.js";
import type { IncomingNumbers } from "./incoming-numbers.js";
import { IncomingStreams } from "./incoming-streams.js";
import { LargeReceiver } from "./large-receiver.js";
import { BOOT_ID_BYTES, MESSAGE_IN_MEMORY_BYTES_MAX, STREAMS_MAX } from "./limits.js";
import type { MessageFrame } from "./message-frame.js";
import { type Arrival, DELIVERED, type DeliveredRecord, type DeliverySink } from "./ports.js";
import { CLOSING, type Closing, REFUSAL } from "./reasons.js";
import { idsInto, PAYLOAD_OFFSET_BYTES, Reassembly, type ReassemblyBudget } from "./reassembly.js";
import { ReceiptQueue } from "./receipt-queue.js";
import type { Refusals } from "./refusals.js";
import type { StreamIn } from "./stream-in.js";
import { textOf } from "./utf8.js";

/** How far a peer may exceed what we granted before its session is closed. */
const CREDIT_GRACE = 2;

export class Receiver {
  readonly receipts = new ReceiptQueue();
  readonly files = new IncomingFiles();
  readonly #admission = new Admission();
  readonly #numbers: IncomingNumbers;
  readonly #reassembly: Reassembly;
  readonly #streams = new IncomingStreams(STREAMS_MAX);
  readonly #draft: DeliveryDraft;
  readonly #large: LargeReceiver;
  #creditMessages: number;
  #creditBytes: number;
  #messageBytesMax: number;
  /** Boot of the peer that all of this is about, and how many there were in this run. */
  #boot = new Uint8Array(BOOT_ID_BYTES);
  #boots = 0;
  /** Streams whose next message found no room towards the store. */
  readonly #roomless = new Set<StreamIn>();
  /** What the store is to hear is settled; 0 when it heard. */
  #settledUntold = 0;

  constructor(options: {
    readonly peer: number;
    readonly budget: ReassemblyBudget;
    readonly creditMessages: number;
    readonly creditBytes: number;
    readonly messageBytesMax: number;
  }) {
    this.#numbers = this.#admission.numbers;
    this.#reassembly = new Reassembly(options.budget);
    this.#creditMessages = options.creditMessages;
    this.#creditBytes = options.creditBytes;
    this.#messageBytesMax = options.messageBytesMax;
    this.#draft = new DeliveryDraft(options.peer);
    this.#large = new LargeReceiver({
      files: this.files,
      admission: this.#admission,
      streams: this.#streams,
      draft: this.#draft,
    });
  }

  /** Boot of the peer that numbers are counted in. */
  get boot(): Uint8Array {
    return this.#boot;
  }
  get refusals(): Refusals {
    return this.#admission.refusals;
  }
  /** Bytes of partial and waiting messages. */
  get heldBytes(): number {
    return this.#reassembly.bytes + this.#streams.heldBytes;
  }
  /** Streams that are remembered. */
  get streams(): number {
    return this.#streams.size;
  }
  get pending(): number {
    return this.#numbers.pending;
  }

  /** Time goes on: set before each packet. */
  set now(now: Nanoseconds) {
    this.#large.now = now;
  }
  /** Something is to be handed to the store as soon as it has room. */
  get waitsForRoom(): boolean {
    return this.#roomless.size > 0 || this.#settledUntold !== 0 || this.#large.waitsForRoom;
  }

  /** What we promise from the next session on. */
  configure(promised: {
    readonly creditMessages: number;
    readonly creditBytes: number;
    readonly messageBytesMax: number;
  }): void {
    this.#creditMessages = promised.creditMessages;
    this.#creditBytes = promised.creditBytes;
    this.#messageBytesMax = promised.messageBytesMax;
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

  /** No session is left. The next one begins with everything that has no receipt: pieces are let go. */
  sessionDown(): void {
    for (const number of this.#reassembly.numbers()) this.#drop(number);
  }

  // --- Frames -----------------------------------------------------------------------------------

  /** A reason closes the session: no honest peer sends that. */
  handleMessage(frame: MessageFrame, arrival: Arrival, sink: DeliverySink): Closing | undefined {
    const { number } = frame;
    if (!this.#numbers.inRange(number)) return CLOSING.number;
    if (number < this.#numbers.below) return undefined;
    if (!frame.ordered) return this.#take(frame, undefined, arrival, sink) ?? this.#overdrawn();
    const name = textOf(frame.bytes, frame.streamAt, frame.streamLength);
    if (name === undefined) return CLOSING.frame;
    const stream = this.#streams.of(name, number, this.#numbers.below);
    if (stream === undefined) {
      if (!this.#numbers.isPending(number)) this.#admission.refuse(frame, REFUSAL.busy);
      return undefined;
    }
    stream.handleBase(frame.base);
    const closing = this.#take(frame, stream, arrival, sink);
    this.#drain(stream, sink);
    return closing ?? this.#overdrawn();
  }

  /** SETTLED: forgotten here at once, in the store behind all that was handed to it before. */
  handleSettled(below: number, sink: DeliverySink): Closing | undefined {
    if (!this.#numbers.inRange(below)) return CLOSING.number;
    const before = this.#numbers.below;
    if (below <= before) return undefined;
    const numbers = this.#numbers;
    for (let n = numbers.nextPending(before); n < below; n = numbers.nextPending(n + 1)) {
      this.#streams.drop(n);
      this.#drop(n);
    }
    this.#large.settle(below, sink);
    this.#admission.settle(below);
    this.#settledUntold = below;
    this.#tellSettled(sink);
    const stream = this.#streams.release(below);
    if (stream !== undefined) this.#drain(stream, sink);
    return undefined;
  }

  // --- From the store ---------------------------------------------------------------------------

  /** The store answered for one record of a batch, behind its synced commit or its failure. */
  handleDelivered(record: DeliveredRecord, sink: DeliverySink): void {
    const { token, number, outcome } = record;
    const ofLarge = Math.floor(token / TOKEN_BOOTS);
    const large = ofLarge === 0 ? undefined : this.files.ofToken(ofLarge);
    if (large !== undefined) this.#large.handleDelivered(large, record, sink);
    if (outcome === DELIVERED.quota) this.#large.makeRoom(sink);
    if (token % TOKEN_BOOTS !== this.#boots || outcome === DELIVERED.spooled) return;
    const stored = outcome === DELIVERED.inserted || outcome === DELIVERED.known;
    this.#numbers.end(number, stored);
    if (stored) this.receipts.append(number, record.digestLow, record.digestHigh);
    else if (outcome !== DELIVERED.corrupt) this.#admission.refuseFor(record);
    let stream = this.#streams.answered(number, stored);
    if (stream === undefined && stored && large?.stream !== undefined) {
      // Known by its first piece, before its turn: it will not come again.
      stream = large.stream;
      stream.stored(large.sequence);
    }
    if (stream !== undefined) this.#drain(stream, sink);
  }

  /** There is room towards the store again. */
  handleRoom(sink: DeliverySink): void {
    this.#tellSettled(sink);
    this.#large.handleRoom(sink);
    const streams = [...this.#roomless];
    this.#roomless.clear();
    for (const stream of streams) this.#drain(stream, sink);
  }

  // --- Messages ---------------------------------------------------------------------------------

  #take(
    frame: MessageFrame,
    stream: StreamIn | undefined,
    arrival: Arrival,
    sink: DeliverySink,
  ): Closing | undefined {
    if (frame.total > this.#messageBytesMax) {
      this.#admission.refuse(frame, REFUSAL.tooLarge);
      return undefined;
    }
    if (frame.total > MESSAGE_IN_MEMORY_BYTES_MAX) {
      return this.#large.piece(frame, stream, arrival, sink);
    }
    return frame.fragmented
      ? this.#partial(frame, stream, arrival, sink)
      : this.#whole(frame, stream, arrival, sink);
  }

  #whole(
    frame: MessageFrame,
    stream: StreamIn | undefined,
    arrival: Arrival,
    sink: DeliverySink,
  ): Closing | undefined {
    const { number } = frame;
    if (this.#numbers.isPending(number)) {
      const partial = this.#reassembly.of(number);
      if (partial === undefined) return undefined;
      // Pieces of it came before; now it is here in one.
      if (!partial.isOf(frame)) return CLOSING.conflict;
      this.#reassembly.end(number);
    } else if (!this.#begins(frame, stream)) return undefined;
    return this.#deliver(frame, stream, undefined, arrival, sink);
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
      // The receipt of what is stored is on its way until it is acknowledged.
      if (this.#numbers.isPending(number) || this.#numbers.isStored(number)) return undefined;
      if (!this.#begins(frame, stream)) return undefined;
      partial = this.#admission.comesBack(frame) ? this.#reassembly.begin(frame) : undefined;
      if (partial === undefined) {
        this.#admission.turnAway(frame);
        return undefined;
      }
    }
    if (!partial.fits(frame)) return CLOSING.conflict;
    if (!partial.add(frame)) {
      this.#reassembly.end(number);
      this.#admission.turnAway(frame);
      return undefined;
    }
    if (!partial.complete) return undefined;
    this.#reassembly.end(number);
    return this.#deliver(frame, stream, partial.bytes, arrival, sink);
  }

  /** Whether a message is taken up that is not under way. */
  #begins(frame: MessageFrame, stream: StreamIn | undefined): boolean {
    if (stream?.passed(frame.sequence) === true && !this.#numbers.isStored(frame.number)) {
      return false;
    }
    return this.#admission.begin(frame);
  }

  /** A message is here in full: in its packet, or, from several, in `bytes`. */
  #deliver(
    frame: MessageFrame,
    stream: StreamIn | undefined,
    bytes: Uint8Array | undefined,
    arrival: Arrival,
    sink: DeliverySink,
  ): Closing | undefined {
    if (stream !== undefined) {
      if (!stream.passed(frame.sequence)) return this.#wait(stream, frame, bytes, arrival);
      if (!this.#numbers.isStored(frame.number)) {
        // Its sender gave it up while it came, and the stream is past it.
        this.#numbers.end(frame.number, false);
        return undefined;
      }
    }
    const draft = this.#draft.ofFrame(frame, stream, arrival);
    if (bytes !== undefined) draft.in(bytes, frame.total);
    if (!sink.message(draft)) this.#admission.giveUp(frame, REFUSAL.busy);
    return undefined;
  }

  /** An ordered message is here in full; `drain` takes it when its turn has come. */
  #wait(
    stream: StreamIn,
    frame: MessageFrame,
    reassembled: Uint8Array | undefined,
    { address, port, sentWallNs }: Arrival,
  ): Closing | undefined {
    const { number, sequence, messageFlags: flags } = frame;
    const bytes = reassembled ?? copyOf(frame);
    const arrival = { address, port, sentWallNs };
    const closing = this.#streams.wait(stream, {
      number,
      sequence,
      flags,
      bytes,
      large: undefined,
      arrival,
    });
    if (closing !== undefined) this.#numbers.end(number, false);
    return closing;
  }

  /** Hands to the store what may go of a stream. */
  #drain(stream: StreamIn, sink: DeliverySink): void {
    for (let due = stream.next(); due !== undefined; due = stream.next()) {
      const { message, gap, resume } = due;
      const draft = this.#draft.ofWaiting(message, stream, gap, resume);
      const { large } = message;
      const taken = large === undefined ? sink.message(draft) : sink.piece(draft.finishing(large));
      if (large !== undefined) large.finishing = taken;
      if (!taken) {
        this.#roomless.add(stream);
        return;
      }
      this.#streams.hand(stream, message);
    }
  }

  // --- Ends -------------------------------------------------------------------------------------

  /** What is held exceeds what was granted, with grace; one message alone never does. */
  #overdrawn(): Closing | undefined {
    const { pending } = this.#numbers;
    const tooMuch = this.heldBytes > CREDIT_GRACE * this.#creditBytes && pending > 1;
    return tooMuch || pending > CREDIT_GRACE * this.#creditMessages ? CLOSING.credit : undefined;
  }

  #drop(number: number): void {
    this.#reassembly.end(number);
    this.#numbers.end(number, false);
  }

  #tellSettled(sink: DeliverySink): void {
    if (this.#settledUntold === 0) return;
    const told = sink.settled(this.#draft.peer, this.#boot, this.#settledUntold);
    if (told) this.#settledUntold = 0;
  }

  #restart(boot: Uint8Array): void {
    this.#boot = Uint8Array.from(boot);
    this.#boots = (this.#boots % (TOKEN_BOOTS - 1)) + 1;
    this.#settledUntold = 0;
    this.#draft.restart(this.#boots, this.#boot);
    this.#admission.restart();
    this.#reassembly.clear();
    this.#streams.clear();
    this.#roomless.clear();
    this.receipts.clear();
    this.files.restart();
  }
}

/** Ids and payload of a message in one packet, in memory of their own. */
function copyOf(frame: MessageFrame): Uint8Array {
  const { dataAt, length } = frame;
  const bytes = new Uint8Array(PAYLOAD_OFFSET_BYTES + length);
  idsInto(frame, bytes);
  bytes.set(frame.bytes.subarray(dataAt, dataAt + length), PAYLOAD_OFFSET_BYTES);
  return bytes;
}
