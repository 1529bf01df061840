// Peers that may have something to say, each once and in turn, so that asking costs nothing for all the
// others.

import { TicketQueue } from "./ticket-queue.js";

export class PeerMarks {
  readonly #queue = new TicketQueue();
  readonly #isMarked: Uint8Array;

  /** `peersMax`: marks are indexes below it. */
  constructor(peersMax: number) {
    this.#isMarked = new Uint8Array(peersMax);
  }

  get size(): number {
    return this.#queue.size;
  }

  mark(index: number): void {
    if (this.#isMarked[index] === 1) return;
    this.#isMarked[index] = 1;
    this.#queue.push(index);
  }

  /** The one whose turn it is, or -1. It keeps its mark. */
  get first(): number {
    return this.#queue.size === 0 ? -1 : this.#queue.first;
  }

  /** The one whose turn it is, or -1. It loses its mark. */
  take(): number {
    if (this.#queue.size === 0) return -1;
    const index = this.#queue.first;
    this.#queue.shift();
    this.#isMarked[index] = 0;
    return index;
  }

  /** As `take`, for those who ask from outside. */
  poll(): number | undefined {
    return this.size === 0 ? undefined : this.take();
  }

  /** The first one goes behind all others. */
  rotate(): void {
    const index = this.take();
    if (index >= 0) this.mark(index);
  }
}

/** What peers may be asked for. */
export class PeerTurns {
  /** Packets to write; stamps to commit; payloads to read. */
  readonly writing: PeerMarks;
  readonly stamping: PeerMarks;
  readonly reading: PeerMarks;
  /** Rows that became final; and those of them that the store has taken. */
  readonly final: PeerMarks;
  readonly committing: PeerMarks;
  /** Messages that wait for room towards the store. */
  readonly roomless: PeerMarks;
  /** A session was confirmed; the last one is gone; an attempt at one went unanswered. */
  readonly confirmed: PeerMarks;
  readonly lost: PeerMarks;
  readonly unanswered: PeerMarks;
  /** More or fewer rows may be out; marked at each turn to write, which everything ends in. */
  readonly limits: PeerMarks;

  constructor(peersMax: number) {
    this.writing = new PeerMarks(peersMax);
    this.stamping = new PeerMarks(peersMax);
    this.reading = new PeerMarks(peersMax);
    this.final = new PeerMarks(peersMax);
    this.committing = new PeerMarks(peersMax);
    this.roomless = new PeerMarks(peersMax);
    this.confirmed = new PeerMarks(peersMax);
    this.lost = new PeerMarks(peersMax);
    this.unanswered = new PeerMarks(peersMax);
    this.limits = new PeerMarks(peersMax);
  }

  /** Something came for the peer: any of these may follow from it. */
  touch(index: number, waitsForRoom: boolean): void {
    this.writing.mark(index);
    this.stamping.mark(index);
    this.reading.mark(index);
    this.final.mark(index);
    if (waitsForRoom) this.roomless.mark(index);
  }
}
