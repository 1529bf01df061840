// Between the core and the workers, for handshakes alone: lets a reload wait until no worker has one,
// so that a result never speaks of keys by the roles that they had before.

import type { HandshakeSink } from "../shared/protocol/session/ports.js";

export class HandshakeGate implements HandshakeSink {
  readonly #sink: HandshakeSink;
  #isClosed = false;
  /** Jobs that a worker has. */
  #out = 0;
  #whenNone: (() => void) | undefined;

  constructor(sink: HandshakeSink) {
    this.#sink = sink;
  }

  initiate(order: Parameters<HandshakeSink["initiate"]>[0]): boolean {
    return this.#count(!this.#isClosed && this.#sink.initiate(order));
  }
  readDatagram(order: Parameters<HandshakeSink["readDatagram"]>[0]): boolean {
    return this.#count(!this.#isClosed && this.#sink.readDatagram(order));
  }
  readRekey(order: Parameters<HandshakeSink["readRekey"]>[0]): boolean {
    return this.#count(!this.#isClosed && this.#sink.readRekey(order));
  }
  respond(order: Parameters<HandshakeSink["respond"]>[0]): boolean {
    return this.#count(!this.#isClosed && this.#sink.respond(order));
  }
  forget(affinity: number, keySlot: number): void {
    this.#sink.forget(affinity, keySlot);
  }

  /** A worker answered one. */
  answered(): void {
    this.#out -= 1;
    if (this.#out === 0) this.#whenNone?.();
  }

  /** Takes no more; resolves when no worker has one. What is refused meanwhile is tried again. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#out === 0) return;
    await new Promise<void>((resolve) => {
      this.#whenNone = resolve;
    });
    this.#whenNone = undefined;
  }

  open(): void {
    this.#isClosed = false;
  }

  #count(taken: boolean): boolean {
    if (taken) this.#out += 1;
    return taken;
  }
}
