// The oracle's account of ordered streams: within one boot of a sender what a host stores goes up, and
// what it leaves out it notices.

import type { Account } from "./ledger.js";
import { type Came, gapKey } from "./tables.js";
import { Violation } from "./violation.js";

interface Stream {
  /** Process that stored the last one: a new one begins where the sender says. */
  lives: number;
  /** Highest sequence stored, or known from before. */
  highest: number;
  readonly passed: Set<number>;
}

export class StreamLedger {
  readonly #streams = new Map<string, Stream>();

  /** A file is not what it was: what is missing may come again. */
  forget({ index }: Account): void {
    for (const key of this.#streams.keys()) {
      if (key.startsWith(`${index}|`)) this.#streams.delete(key);
    }
  }

  /** A message was there already. */
  passed(account: Account, scope: string, came: Came): void {
    if (came.stream === "") return;
    const stream = this.#of(account, scope, came);
    stream.passed.add(came.sequence);
  }

  /**
   * `again`: it was settled since, so that only another file with the same row stores it once more. A
   * clone settles what the host it was made from still sends, and that one's position is the old one.
   */
  inserted(account: Account, scope: string, came: Came, again: boolean): void {
    const { stream: name, sequence, boot } = came;
    if (name === "") return;
    const stream = this.#of(account, scope, came);
    if (again && stream.passed.has(sequence)) return;
    if (sequence <= stream.highest) {
      throw new Violation(
        "stored behind its position",
        `host ${account.index} stores ${sequence} of "${name}" behind ${stream.highest}`,
      );
    }
    for (let missing = stream.highest + 1; stream.highest > 0 && missing < sequence; missing++) {
      if (stream.passed.has(missing) || isNoticed(account, scope, name, boot, missing)) continue;
      throw new Violation(
        "a gap went unnoticed",
        `host ${account.index} stores ${sequence} of "${name}", and ${missing} never came`,
      );
    }
    stream.passed.add(sequence);
    stream.highest = sequence;
  }

  #of({ index, lives }: Account, scope: string, { boot, stream: name }: Came): Stream {
    const key = `${index}|${scope}|${boot}|${name}`;
    let stream = this.#streams.get(key);
    if (stream === undefined) {
      stream = { lives, highest: 0, passed: new Set() };
      this.#streams.set(key, stream);
    }
    if (stream.lives !== lives) {
      stream.lives = lives;
      stream.highest = 0;
    }
    return stream;
  }
}

function isNoticed(
  { tables }: Account,
  scope: string,
  stream: string,
  boot: string,
  sequence: number,
): boolean {
  for (let first = sequence; first > 0; first--) {
    const last = tables.gaps.get(gapKey(scope, stream, boot, first));
    if (last !== undefined && last >= sequence) return true;
  }
  return false;
}
