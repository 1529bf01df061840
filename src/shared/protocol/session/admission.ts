// Which messages of one boot of a peer are taken up, and how those are turned away that are not: by
// number. What is turned away for a while draws a refusal, since its packet is acknowledged.

import { signedWordAt } from "./byte-order.js";
import { IncomingNumbers } from "./incoming-numbers.js";
import type { MessageFrame } from "./message-frame.js";
import { DELIVERED, type DeliveredRecord } from "./ports.js";
import { REFUSAL } from "./reasons.js";
import { Refusals } from "./refusals.js";

/** Waits that refusals for a while ask for, s. */
const RETRY_SECONDS = 1;
const RETRY_FULL_SECONDS = 10;
/** Messages that are remembered as turned away for want of memory. */
const TURNED_AWAY_MAX = 16_384;
/** Numbers that a SETTLED pays for. */
const LOOK_SHARE = 64;

export class Admission {
  readonly numbers = new IncomingNumbers();
  readonly refusals = new Refusals();
  readonly #turnedAway = new Set<number>();
  /** What SETTLED frames have paid for a look at #turnedAway. */
  #settles = 0;

  /** A message begins; one whose number cannot be remembered is refused for a while. */
  begin(frame: MessageFrame): boolean {
    if (this.numbers.begin(frame.number)) return true;
    this.refuse(frame, REFUSAL.busy);
    return false;
  }

  /** A message that was begun is turned away for a while. */
  giveUp(frame: MessageFrame, reason: number): void {
    this.numbers.end(frame.number, false);
    this.refuse(frame, reason);
  }

  /** The same for want of memory: what is under way of its pieces must not take some after all. */
  turnAway(frame: MessageFrame): void {
    this.giveUp(frame, REFUSAL.memory);
    if (this.#turnedAway.size < TURNED_AWAY_MAX) this.#turnedAway.add(frame.number);
  }

  /** Whether a message may begin with this piece: one that was turned away comes from the start. */
  comesBack(frame: MessageFrame): boolean {
    if (frame.offset !== 0) return !this.#turnedAway.has(frame.number);
    this.#turnedAway.delete(frame.number);
    return true;
  }

  /** Numbers below are settled. */
  settle(below: number): void {
    this.numbers.settle(below);
    // Not each time: a look at all of them for each SETTLED would be dear.
    this.#settles += LOOK_SHARE;
    if (this.#settles < this.#turnedAway.size) return;
    this.#settles = 0;
    for (const number of this.#turnedAway) if (number < below) this.#turnedAway.delete(number);
  }

  refuse(frame: MessageFrame, reason: number): void {
    const { bytes, digest16At, number } = frame;
    const digestLow = frame.fragmented ? signedWordAt(bytes, digest16At) : 0;
    const digestHigh = frame.fragmented ? signedWordAt(bytes, digest16At + 4) : 0;
    const delaySeconds = reason === REFUSAL.tooLarge ? 0 : RETRY_SECONDS;
    this.refusals.append({ number, digestLow, digestHigh, reason, delaySeconds });
  }

  /** What the store did not take. */
  refuseFor({ number, outcome, digestLow, digestHigh }: DeliveredRecord): void {
    const [reason, delaySeconds] = REFUSED[outcome] ?? [REFUSAL.busy, RETRY_SECONDS];
    this.refusals.append({ number, digestLow, digestHigh, reason, delaySeconds });
  }

  /** A new boot of the peer. */
  restart(): void {
    this.numbers.restart();
    this.refusals.clear();
    this.#turnedAway.clear();
  }
}

const REFUSED: Readonly<Partial<Record<number, readonly [number, number]>>> = {
  [DELIVERED.conflict]: [REFUSAL.conflict, 0],
  [DELIVERED.quota]: [REFUSAL.quota, RETRY_FULL_SECONDS],
  [DELIVERED.full]: [REFUSAL.diskFull, RETRY_FULL_SECONDS],
  [DELIVERED.busy]: [REFUSAL.busy, RETRY_SECONDS],
  [DELIVERED.held]: [REFUSAL.busy, RETRY_SECONDS],
};
