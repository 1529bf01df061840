// Waits for a descriptor with poll(2), in a thread of libuv's pool: at most one call is in flight. An
// eventfd beside the descriptor ends it early: when other events are wanted, at stop, and when the
// process exits, since libuv waits for its threads and this one would wait for ever.
//
// While a call is in flight, its memory is held by its callback, and neither descriptor is closed: a
// number that is closed may be given to somebody else.

import type { Libc } from "./libc.js";
import { LINUX, SIZE } from "./linux-abi.js";
import { NativeMemory } from "./native-memory.js";

const FOR_EVER_MS = -1;
/** poll itself fails only when a signal came, unless the machine is in trouble. */
const FAILURES_MAX = 100;
const POLLFDS = 2;

const live = new Set<Readiness>();
const wakeAll = (): void => {
  for (const each of live) each.wake();
};

export class Readiness {
  readonly #libc: Libc;
  readonly #descriptor: number;
  readonly #event: number;
  /** Two of pollfd, and 8 bytes to read the eventfd into. */
  readonly #memory: NativeMemory;
  readonly #onReady: (happened: number) => void;
  readonly #onBroken: () => void;
  #inFlight = false;
  #stopped: (() => void) | undefined;
  #isStopped = false;
  #failures = 0;

  /** Does not own the descriptor. `onReady` gets what poll saw of it, 0 when it saw nothing. */
  constructor(
    libc: Libc,
    descriptor: number,
    events: {
      readonly onReady: (happened: number) => void;
      readonly onBroken: () => void;
    },
  ) {
    this.#libc = libc;
    this.#descriptor = descriptor;
    this.#onReady = events.onReady;
    this.#onBroken = events.onBroken;
    this.#memory = new NativeMemory(libc, (POLLFDS + 1) * SIZE.pollfd);
    this.#event = libc.eventfd(0, LINUX.SOCK_NONBLOCK | LINUX.SOCK_CLOEXEC);
    if (live.size === 0) process.on("exit", wakeAll);
    live.add(this);
  }

  /** False when the system had no eventfd to give: it waits for nothing then. */
  get isUsable(): boolean {
    return this.#event >= 0;
  }

  get isWaiting(): boolean {
    return this.#inFlight;
  }

  /** Waits for these events, once, or so long; a call in flight goes on as it is. */
  wait(events: number, timeoutMs: number = FOR_EVER_MS): void {
    if (this.#inFlight || this.#isStopped) return;
    const memory = this.#memory;
    memory.words[0] = this.#descriptor;
    memory.words[1] = events;
    memory.words[2] = this.#event;
    memory.words[3] = LINUX.POLLIN;
    this.#inFlight = true;
    this.#libc.poll(memory.at, POLLFDS, timeoutMs, (result) => this.#returned(memory, result));
  }

  /** Ends a call in flight: `onReady` follows. */
  wake(): void {
    if (this.#inFlight) this.#libc.eventfdWrite(this.#event, 1);
  }

  /** Resolves when no call is in flight any more; `onReady` is not called again. */
  stop(): Promise<void> {
    this.#isStopped = true;
    return new Promise((resolve) => {
      this.#stopped = resolve;
      if (this.#inFlight) this.wake();
      else this.#end();
    });
  }

  #returned(memory: NativeMemory, result: number): void {
    this.#inFlight = false;
    if (this.#isStopped) return this.#end();
    if (result < 0) {
      this.#failures += 1;
      if (this.#failures > FAILURES_MAX) return this.#onBroken();
    } else this.#failures = 0;
    const happened = result > 0 ? memory.words[1] >>> 16 : 0;
    if (result > 0 && memory.words[3] >>> 16 !== 0) {
      this.#libc.eventfdRead(this.#event, memory.at + POLLFDS * SIZE.pollfd);
    }
    this.#onReady(happened);
  }

  #end(): void {
    live.delete(this);
    if (live.size === 0) process.off("exit", wakeAll);
    if (this.#event >= 0) this.#libc.close(this.#event);
    this.#stopped?.();
  }
}
