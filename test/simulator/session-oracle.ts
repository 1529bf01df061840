// What must hold inside a host that speaks sessions, after each thing that it does: who may speak, which
// packet may move a path or a window, which numbers may be called settled, and that no timer spins.

import type { Nanoseconds } from "../../src/shared/base/units.js";
import { IN_FLIGHT_MESSAGES_MAX } from "../../src/shared/protocol/constants.js";
import { RECEIPTS_QUEUED_MAX } from "../../src/shared/protocol/session/limits.js";
import { STANDING } from "../../src/shared/protocol/session/outgoing.js";
import type { SessionLayer } from "../../src/shared/protocol/session/session-layer.js";
import { SESSION_OUTCOME } from "../../src/shared/runtime/session-slab.js";
import type { Birth } from "./host.js";
import type { SessionCrypto } from "./symbolic-session.js";
import { Violation } from "./violation.js";

/** Credit may be overrun by as much again, and by one message: what a peer had released before. */
const CREDIT_GRACE = 2;
const MESSAGE_BYTES = 256 * 1_024;
/** Timers in a row that do nothing and are due at once. */
const IDLE_TIMERS_MAX = 50;

interface Numbered {
  readonly rowId: number;
  readonly generation: number;
}

export class SessionOracle {
  readonly #birth: Birth;
  readonly #layer: SessionLayer;
  readonly #crypto: SessionCrypto;
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  /** Sessions that we answered and that nothing opened in yet, by key slot. */
  readonly #silent = new Set<number>();
  /** Highest counter that was believed, by key. */
  readonly #newest = new Map<string, number>();
  readonly #places: unknown[] = [];
  /** Rows by number, of each peer, until their number is settled. */
  readonly #numbered: Map<number, Numbered>[] = [];
  readonly #settledBelow: number[] = [];
  #idleTimers = 0;

  constructor(
    birth: Birth,
    layer: SessionLayer,
    options: {
      readonly crypto: SessionCrypto;
      readonly creditMessages: number;
      readonly creditBytes: number;
    },
  ) {
    this.#birth = birth;
    this.#layer = layer;
    this.#crypto = options.crypto;
    this.#messagesMax = CREDIT_GRACE * options.creditMessages + 1;
    this.#bytesMax = CREDIT_GRACE * options.creditBytes + MESSAGE_BYTES;
    for (const _ of layer.peers) {
      this.#numbered.push(new Map());
      this.#settledBelow.push(1);
    }
  }

  /** What the layer holds more of than it may. */
  get overfull(): string | undefined {
    const { outgoing, peers } = this.#layer;
    if (outgoing.size > IN_FLIGHT_MESSAGES_MAX) return `${outgoing.size} rows in flight`;
    for (const { receiver } of peers) {
      const { heldBytes, pending, receipts } = receiver;
      if (heldBytes > this.#bytesMax) return `${heldBytes} bytes held of a peer`;
      if (pending > this.#messagesMax) return `${pending} messages pending of a peer`;
      if (receipts.waiting > RECEIPTS_QUEUED_MAX) return `${receipts.waiting} receipts waiting`;
    }
    return undefined;
  }

  /** Rows that may be out, by peer, as the store was told. */
  limits(told: readonly number[]): void {
    const index = this.#layer.peers.findIndex(({ rowsMax }, peer) => rowsMax !== told[peer]);
    if (index < 0) return;
    throw new Violation("limit", `host ${this.#birth.host} did not tell the rows of peer ${index}`);
  }

  // --- Packets --------------------------------------------------------------------------------------

  /** The worker sealed a packet. */
  sealed(keySlot: number, counter: number): void {
    const { outputs, host } = this.#birth;
    outputs.counted(this.#crypto.keyName(keySlot, true) ?? "", counter);
    if (!this.#silent.has(keySlot)) return;
    throw new Violation(
      "spoke before it was spoken to",
      `host ${host} seals in a session that nobody confirmed`,
    );
  }

  /** The worker did a job that is no packet; `open`: handshakes that were open in front of it. */
  worked(outcome: number, keySlot: number, reads: boolean, open: number): void {
    if (reads && outcome === SESSION_OUTCOME.refused && this.#crypto.open < open) {
      throw new Violation(
        "a forged answer ended a handshake",
        `host ${this.#birth.host} had ${open} open, and has ${this.#crypto.open}`,
      );
    }
    if (outcome === SESSION_OUTCOME.responded) this.#silent.add(keySlot);
    if (outcome === SESSION_OUTCOME.forgotten || outcome === SESSION_OUTCOME.completed) {
      this.#silent.delete(keySlot);
    }
  }

  /** A datagram came, and nothing of it was opened yet: it moved no window. */
  arrived(): void {
    for (const { session } of this.#layer.peers) {
      if (session === undefined) continue;
      const { newest } = session.window;
      if (newest < 0) continue;
      const key = this.#crypto.keyName(session.keySlot, false);
      if (key === undefined || newest <= (this.#newest.get(key) ?? -1)) continue;
      throw new Violation(
        "a window moved for a packet that nobody opened",
        `host ${this.#birth.host}, to ${newest}`,
      );
    }
  }

  /** A packet that opened is about to be taken; {@link taken} says what came of it. */
  opened(keySlot: number): void {
    const { peers } = this.#layer;
    for (let peer = 0; peer < peers.length; peer++) this.#places[peer] = peers[peer]?.path.place;
    this.#silent.delete(keySlot);
  }

  taken(key: string, counter: number): void {
    const { outputs, host } = this.#birth;
    outputs.believed(key, counter);
    const newest = this.#newest.get(key) ?? -1;
    if (counter > newest) this.#newest.set(key, counter);
    const { peers } = this.#layer;
    for (let peer = 0; counter < newest && peer < peers.length; peer++) {
      if (peers[peer]?.path.place === this.#places[peer]) continue;
      throw new Violation(
        "roamed on an old packet",
        `host ${host}, packet ${counter} of ${newest}`,
      );
    }
  }

  // --- After each input -----------------------------------------------------------------------------

  /** Which row has which number, and that none is called settled while it is work. */
  numbers(): void {
    const { outgoing, peers } = this.#layer;
    for (let slot = 0, left = outgoing.size; left > 0; slot++) {
      if (outgoing.standings[slot] === STANDING.free) continue;
      left -= 1;
      const number = outgoing.numbers[slot] as number;
      if (number === 0) continue;
      const numbered = this.#numbered[outgoing.peers[slot] as number];
      if (numbered?.has(number) !== false) continue;
      const [rowId, generation] = [outgoing.rowIds[slot], outgoing.generations[slot]];
      numbered.set(number, { rowId: rowId as number, generation: generation as number });
    }
    for (let peer = 0; peer < peers.length; peer++) {
      const below = peers[peer]?.sender.settled.below ?? 0;
      const numbered = this.#numbered[peer];
      for (let number = this.#settledBelow[peer] as number; number < below; number++) {
        const row = numbered?.get(number);
        if (row !== undefined) this.#birth.outputs.settles(row.rowId, row.generation);
        numbered?.delete(number);
      }
      this.#settledBelow[peer] = below;
    }
  }

  /** A deadline that is over, and a timer that changes nothing about it, again and again. */
  idleness(busy: boolean, deadline: number, now: Nanoseconds): void {
    const idle = !busy && deadline <= now;
    this.#idleTimers = idle ? this.#idleTimers + 1 : 0;
    if (this.#idleTimers < IDLE_TIMERS_MAX) return;
    throw new Violation("spins", `host ${this.#birth.host} has a deadline that nothing comes of`);
  }
}
