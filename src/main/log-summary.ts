// What happened too often for a line of its own: counts by reason, and one line about all of them
// now and then, so that no flood of packets becomes a flood of lines.

import { type Nanoseconds, NS_PER_SECOND } from "../shared/base/units.js";
import type { Log } from "./log.js";

/** One summary line at most in this time, ns. Source: reliability.md T38. */
export const SUMMARY_EVERY_NS = 10 * NS_PER_SECOND;

export class SummaryLog {
  readonly #log: Pick<Log, "info" | "warn">;
  readonly #sentence: string;
  readonly #counts = new Map<string, number>();
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor(log: Pick<Log, "info" | "warn">, sentence = "since the last summary") {
    this.#log = log;
    this.#sentence = sentence;
  }

  /** Adds what was counted since the last call, and says all of it when its time has come. */
  add(now: Nanoseconds, deltas: Readonly<Record<string, number>>): void {
    for (const [reason, delta] of Object.entries(deltas)) {
      if (delta > 0) this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + delta);
    }
    if (now - this.#saidAt >= SUMMARY_EVERY_NS) this.flush(now);
  }

  /** Says what is left, as at the end. Nothing when nothing was counted. */
  flush(now: Nanoseconds): void {
    if (this.#counts.size === 0) return;
    this.#saidAt = now;
    this.#log.info(this.#sentence, Object.fromEntries(this.#counts));
    this.#counts.clear();
  }
}
