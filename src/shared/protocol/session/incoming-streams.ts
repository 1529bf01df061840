// The ordered streams from one boot of a peer, and which of their messages wait or are at the store.
// A stream with nothing unfinished is remembered for its position; when there are too many, the oldest
// goes whose numbers are all settled: what comes of it then says a base that is not below its position.

import { CLOSING, type Closing } from "./reasons.js";
import { PAYLOAD_OFFSET_BYTES } from "./reassembly.js";
import { StreamIn, type Waiting } from "./stream-in.js";

/** Streams that are looked at for one to forget. */
const LOOKS_MAX = 16;

interface Ordered {
  readonly stream: StreamIn;
  readonly sequence: number;
}

export class IncomingStreams {
  readonly #streamsMax: number;
  readonly #byName = new Map<string, StreamIn>();
  /** Messages that wait or are at the store, by number. */
  readonly #byNumber = new Map<number, Ordered>();
  #heldBytes = 0;

  constructor(streamsMax: number) {
    this.#streamsMax = streamsMax;
  }

  get size(): number {
    return this.#byName.size;
  }
  /** Payload bytes that wait. */
  get heldBytes(): number {
    return this.#heldBytes;
  }
  has(number: number): boolean {
    return this.#byNumber.has(number);
  }

  /** The stream of that name, for a message; undefined when there is no room for one more. */
  of(name: string, number: number, settledBelow: number): StreamIn | undefined {
    let stream = this.#byName.get(name);
    if (stream === undefined) {
      if (this.#byName.size >= this.#streamsMax && !this.#forgetOne(settledBelow)) return undefined;
      stream = new StreamIn(name);
      this.#byName.set(name, stream);
    }
    if (number > stream.lastNumber) stream.lastNumber = number;
    return stream;
  }

  /** A message is here in full, and waits for its turn. */
  wait(stream: StreamIn, message: Waiting): Closing | undefined {
    // One sequence has one number.
    if (stream.waits(message.sequence)) return CLOSING.conflict;
    this.#heldBytes += heldBytesOf(message);
    this.#byNumber.set(message.number, { stream, sequence: message.sequence });
    stream.wait(message);
    return undefined;
  }

  /** The message of a stream whose turn has come was handed to the store. */
  hand(stream: StreamIn, message: Waiting): void {
    this.#heldBytes -= heldBytesOf(message);
    stream.hand(message);
  }

  /** The store answered for a number. The stream that may go on, if it was of one. */
  answered(number: number, stored: boolean): StreamIn | undefined {
    const ordered = this.#byNumber.get(number);
    if (ordered === undefined) return undefined;
    const { stream, sequence } = ordered;
    // One that still waits: it is about a piece of it that was handed before.
    if (stream.waits(sequence)) {
      this.drop(number);
      if (stored) stream.stored(sequence);
    } else {
      this.#byNumber.delete(number);
      stream.answered(sequence, stored);
    }
    return stream;
  }

  /** A message is not waited for any more; false when it does not wait. */
  drop(number: number): boolean {
    const ordered = this.#byNumber.get(number);
    const waiting = ordered?.stream.drop(ordered.sequence);
    if (waiting === undefined) return false;
    this.#heldBytes -= heldBytesOf(waiting);
    this.#byNumber.delete(number);
    return true;
  }

  /**
   * Every number below is settled, and nothing that a message waits for has a higher one than itself: one
   * with this number waits for nothing any more. Its stream was forgotten, or its sender gave up what
   * is missing. The stream that may go on.
   */
  release(below: number): StreamIn | undefined {
    const ordered = this.#byNumber.get(below);
    if (ordered === undefined || !ordered.stream.waits(ordered.sequence)) return undefined;
    ordered.stream.handleBase(ordered.sequence);
    return ordered.stream;
  }

  clear(): void {
    this.#byName.clear();
    this.#byNumber.clear();
    this.#heldBytes = 0;
  }

  #forgetOne(settledBelow: number): boolean {
    let looks = LOOKS_MAX;
    for (const [name, stream] of this.#byName) {
      this.#byName.delete(name);
      if (stream.idle && stream.lastNumber < settledBelow) return true;
      this.#byName.set(name, stream);
      looks -= 1;
      if (looks === 0) return false;
    }
    return false;
  }
}

const heldBytesOf = ({ bytes }: Waiting): number => bytes.length - PAYLOAD_OFFSET_BYTES;
