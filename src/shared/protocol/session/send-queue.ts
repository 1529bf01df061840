// What of one peer's messages is written next. By class of priority; in a class first what was lost,
// then the flows in turn by deficit round robin: one for the unordered messages, one for each stream,
// two for messages too large for a batch (to begin, and to go on with), so that large messages do not
// hold up the others. Source: RFC 8290 section 4.2 (DRR).

import { TicketQueue } from "./ticket-queue.js";

export const PRIORITY_CLASSES = 4;
/** Bytes that a flow may write in a turn. About four packets. */
const QUANTUM_BYTES = 4_096;

/** Messages that go one behind the other. */
export class Flow {
  readonly priority: number;
  readonly tickets = new TicketQueue();
  deficitBytes = 0;
  following: Flow | undefined;
  queued = false;

  constructor(priority: number) {
    this.priority = priority;
  }
}

class PriorityClass {
  readonly repairs = new TicketQueue();
  /** Flows with messages, in a ring of links: `last.following` is the one whose turn it is. */
  last: Flow | undefined;

  get turn(): Flow | undefined {
    return this.last?.following;
  }

  enter(flow: Flow): void {
    if (flow.queued) return;
    flow.queued = true;
    flow.deficitBytes = QUANTUM_BYTES;
    if (this.last === undefined) flow.following = flow;
    else {
      flow.following = this.last.following;
      this.last.following = flow;
    }
    this.last = flow;
  }

  /** The flow whose turn it is goes to the end. */
  rotate(): void {
    this.last = this.turn;
  }

  /** The flow whose turn it is has nothing more. */
  leave(): void {
    const flow = this.turn;
    if (flow === undefined || this.last === undefined) return;
    flow.queued = false;
    if (flow === this.last) this.last = undefined;
    else this.last.following = flow.following;
    flow.following = undefined;
  }
}

export class SendQueue {
  readonly #classes = Array.from({ length: PRIORITY_CLASSES }, () => new PriorityClass());
  readonly #unordered = Array.from({ length: PRIORITY_CLASSES }, (_, i) => new Flow(i));
  readonly #large = Array.from({ length: PRIORITY_CLASSES }, (_, i) => new Flow(i));
  readonly #begun = Array.from({ length: PRIORITY_CLASSES }, (_, i) => new Flow(i));

  /** The flow of unordered messages of a class; those read in pieces have one of their own. */
  unordered(priority: number, large: boolean): Flow {
    return (large ? this.#large : this.#unordered)[priority] as Flow;
  }

  /** The flow of large messages of a class that were begun, and go on. */
  begun(priority: number): Flow {
    return this.#begun[priority] as Flow;
  }

  /** A message that was not written yet. */
  push(flow: Flow, ticket: number): void {
    flow.tickets.push(ticket);
    this.#class(flow.priority).enter(flow);
  }

  /** A message of which bytes are to be written again, before anything new of its class. */
  repair(priority: number, ticket: number): void {
    this.#class(priority).repairs.push(ticket);
  }

  repairs(priority: number): TicketQueue {
    return this.#class(priority).repairs;
  }

  /** The flow whose turn it is: the next one that has not written more than its share. */
  turn(priority: number): Flow | undefined {
    const each = this.#class(priority);
    let flow = each.turn;
    while (flow !== undefined && flow.deficitBytes <= 0) {
      flow.deficitBytes =
        flow.following === flow ? QUANTUM_BYTES : flow.deficitBytes + QUANTUM_BYTES;
      each.rotate();
      flow = each.turn;
    }
    return flow;
  }

  /** The flow whose turn it is wrote so many bytes. */
  charge(priority: number, bytes: number): void {
    const flow = this.#class(priority).turn;
    if (flow !== undefined) flow.deficitBytes -= bytes;
  }

  /** The flow whose turn it is lets the others pass. */
  pass(priority: number): void {
    this.#class(priority).rotate();
  }

  /** The flow whose turn it is has nothing to write, or cannot until `enter`. */
  leave(priority: number): void {
    this.#class(priority).leave();
  }

  /** A flow may go on. */
  enter(flow: Flow): void {
    if (flow.tickets.size > 0) this.#class(flow.priority).enter(flow);
  }

  #class(priority: number): PriorityClass {
    return this.#classes[priority] as PriorityClass;
  }
}
