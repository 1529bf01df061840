// The ordered streams towards one peer, by name. Of one with nothing out only the next sequence is
// kept; and not for ever: a name that was forgotten goes on behind all that were, never with a
// sequence that was used.

import { OutgoingStream } from "./outgoing-stream.js";
import { Flow } from "./send-queue.js";
import { utf8Of } from "./utf8.js";

/** Names that are kept beside the streams in use. More than a receiver keeps. */
const NAMES_KEPT_MAX = 65_536;

export class OutgoingStreams {
  readonly #namesMax: number;
  readonly #active = new Map<string, OutgoingStream>();
  /** Next sequence, by name; the one that became idle last at the end. */
  readonly #idle = new Map<string, number>();
  /** Streams of which messages became final; and those of them that the store has taken. */
  readonly #final: OutgoingStream[] = [];
  readonly committing: OutgoingStream[] = [];
  /** No sequence of a forgotten name is this, or above. */
  #floor = 1;

  constructor(namesMax: number = NAMES_KEPT_MAX) {
    this.#namesMax = namesMax;
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
    this.#idle.set(stream.key, stream.next);
    if (this.#idle.size <= this.#namesMax) return;
    for (const [key, next] of this.#idle) {
      this.#idle.delete(key);
      this.#floor = Math.max(this.#floor, next);
      return;
    }
  }
}
