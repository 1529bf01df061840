// Which messages of one boot of a peer are taken up, and how those are turned away that are not: by
// number. What is turned away for a while draws a refusal, since its packet is acknowledged.

import { wordAt } from "../keyed-hash.js";
import { IncomingNumbers } from "./incoming-numbers.js";
import type { MessageFrame } from "./message-frame.js";
import { DELIVERED, type DeliveredRecord } from "./ports.js";
import { REFUSAL } from "./reasons.js";
import { Refusals } from "./refusals.js";

/** Waits that refusals for a while ask for, s. */
const RETRY_SECONDS = 1;
const RETRY_FULL_SECONDS = 10;

export class Admission {
  readonly numbers = new IncomingNumbers();
  readonly refusals = new Refusals();

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

  refuse(frame: MessageFrame, reason: number): void {
    const { bytes, digest16At, number } = frame;
    const digestLow = frame.fragmented ? wordAt(bytes, digest16At) : 0;
    const digestHigh = frame.fragmented ? wordAt(bytes, digest16At + 4) : 0;
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
  }
}

const REFUSED: Readonly<Partial<Record<number, readonly [number, number]>>> = {
  [DELIVERED.conflict]: [REFUSAL.conflict, 0],
  [DELIVERED.quota]: [REFUSAL.quota, RETRY_FULL_SECONDS],
  [DELIVERED.full]: [REFUSAL.diskFull, RETRY_FULL_SECONDS],
  [DELIVERED.busy]: [REFUSAL.busy, RETRY_SECONDS],
  [DELIVERED.held]: [REFUSAL.busy, RETRY_SECONDS],
};
