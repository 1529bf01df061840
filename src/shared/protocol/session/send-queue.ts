// What of one peer's messages is written next. By class of priority; in a class first what was lost,
// then the flows in turn by deficit round robin: one for all unordered messages, one for each stream,
// so that a stream of large messages does not hold up the others. Source: RFC 8290 section 4.2 (DRR).

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

  /** The flow whose turn it is goes to the end, with a new quantum. */
  rotate(): void {
    const flow = this.turn;
    if (flow === undefined) return;
    flow.deficitBytes += QUANTUM_BYTES;
    this.last = flow;
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

  /** The flow of unordered messages of a class. */
  unordered(priority: number): Flow {
    return this.#unordered[priority] as Flow;
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

  /** The flow whose turn it is. */
  turn(priority: number): Flow | undefined {
    return this.#class(priority).turn;
  }

  /** A flow wrote so many bytes; its turn may end. */
  charge(priority: number, bytes: number): void {
    const each = this.#class(priority);
    const flow = each.turn;
    if (flow === undefined) return;
    flow.deficitBytes -= bytes;
    if (flow.deficitBytes <= 0) each.rotate();
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
