// The ordered streams towards one peer, by name. Of one with nothing out only the next sequence is
// kept; and not for ever: a name that was forgotten goes on behind all that were, never with a
// sequence that was used. The other end can forget a stream when all its numbers are settled, so until
// then it is in use, and only so many are.

import { STREAMS_IN_USE_MAX } from "./limits.js";
import { OutgoingStream } from "./outgoing-stream.js";
import { Flow } from "./send-queue.js";
import { utf8Of } from "./utf8.js";

/** Names that are kept beside the streams in use. More than a receiver keeps. */
const NAMES_KEPT_MAX = 65_536;

export class OutgoingStreams {
  readonly #namesMax: number;
  readonly #inUseMax: number;
  readonly #active = new Map<string, OutgoingStream>();
  /** Next sequence, by name; the one that became idle last at the end. */
  readonly #idle = new Map<string, number>();
  /** Active streams of which a message was released, and the highest numbers of those that rest. */
  #begun = 0;
  readonly #unsettled = new Map<string, number>();
  /** Streams wait until others are not in use any more. */
  crowded = false;
  /** Numbers that were settled when #unsettled was last looked through. */
  #lookedBelow = 0;
  /** Streams of which messages became final; and those of them that the store has taken. */
  readonly #final: OutgoingStream[] = [];
  readonly committing: OutgoingStream[] = [];
  /** No sequence of a forgotten name is this, or above. */
  #floor = 1;

  constructor(namesMax: number = NAMES_KEPT_MAX, inUseMax: number = STREAMS_IN_USE_MAX) {
    this.#namesMax = namesMax;
    this.#inUseMax = inUseMax;
  }

  /** The stream of a new row. The first one decides the priority of those behind it. */
  of(key: string, priority: number): OutgoingStream {
    let stream = this.#active.get(key);
    if (stream === undefined) {
      const next = this.#idle.get(key) ?? this.#floor;
      stream = new OutgoingStream({ key, name: utf8Of(key), flow: new Flow(priority), next });
      this.#idle.delete(key);
      this.#active.set(key, stream);
    }
    return stream;
  }

  /** Whether a stream may release a message. `below`: all numbers below it are settled. */
  mayRelease(stream: OutgoingStream, below: number): boolean {
    if (stream.lastNumber !== 0 || this.#unsettled.has(stream.key)) return true;
    if (this.inUse >= this.#inUseMax && this.#lookedBelow !== below) {
      this.#lookedBelow = below;
      for (const [key, number] of this.#unsettled) if (number < below) this.#unsettled.delete(key);
    }
    this.crowded = this.inUse >= this.#inUseMax;
    return !this.crowded;
  }

  /** A message of the stream got this number. */
  released(stream: OutgoingStream, number: number): void {
    if (stream.lastNumber === 0) this.#begun += 1;
    stream.lastNumber = number;
    this.#unsettled.delete(stream.key);
  }

  /** Streams that the other end has to remember, as far as is known. */
  get inUse(): number {
    return this.#begun + this.#unsettled.size;
  }
  /** Names that are remembered, of streams in use and others. */
  get names(): number {
    return this.#active.size + this.#idle.size;
  }

  /** Messages of the stream became final. */
  final(stream: OutgoingStream): void {
    this.#final.push(stream);
  }

  /** What became final until now is in the settlement that the store takes. */
  taken(): void {
    for (const stream of this.#final) {
      stream.taken();
      this.committing.push(stream);
    }
    this.#final.length = 0;
  }

  /** The other end may have forgotten what it has of them. */
  forgotten(): void {
    for (const stream of this.#active.values()) stream.forgotten();
  }

  /** Nothing of the stream may be out: then its name is enough. */
  rest(stream: OutgoingStream): void {
    if (!stream.idle) return;
    this.#active.delete(stream.key);
    if (stream.lastNumber !== 0) {
      this.#begun -= 1;
      this.#unsettled.set(stream.key, stream.lastNumber);
    }
    // A name of which nothing was ever sent would begin here again.
    if (stream.next !== this.#floor) this.#idle.set(stream.key, stream.next);
    if (this.#idle.size <= this.#namesMax) return;
    for (const [key, next] of this.#idle) {
      this.#idle.delete(key);
      this.#floor = Math.max(this.#floor, next);
      return;
    }
  }
}
