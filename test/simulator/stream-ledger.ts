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
  /** Turn of its boot at the host in which the last one was stored. */
  turn: number;
}

/** Boot of a peer that a host hears, and how often it was another one than before. */
interface Heard {
  boot: string;
  turn: number;
}

export class StreamLedger {
  readonly #streams = new Map<string, Stream>();
  /** By host and peer. */
  readonly #heard = new Map<string, Heard>();

  /** A file is not what it was: what is missing may come again. */
  forget({ index }: Account): void {
    for (const key of this.#streams.keys()) {
      if (key.startsWith(`${index}|`)) this.#streams.delete(key);
    }
  }

  /** A message was there already. */
  passed(account: Account, scope: string, came: Came): void {
    this.#hear(account, scope, came);
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
    const turn = this.#hear(account, scope, came);
    if (name === "") return;
    const stream = this.#of(account, scope, came);
    if (again && stream.passed.has(sequence)) return;
    if (sequence <= stream.highest) {
      throw new Violation(
        "stored behind its position",
        `host ${account.index} stores ${sequence} of "${name}" behind ${stream.highest}`,
      );
    }
    // A boot that a clone of its host took turns with is begun anew, where its sender says.
    const known = stream.highest > 0 && stream.turn === turn;
    for (let missing = stream.highest + 1; known && missing < sequence; missing++) {
      if (stream.passed.has(missing) || isNoticed(account, scope, name, boot, missing)) continue;
      throw new Violation(
        "a gap went unnoticed",
        `host ${account.index} stores ${sequence} of "${name}", and ${missing} never came`,
      );
    }
    stream.passed.add(sequence);
    stream.highest = sequence;
    stream.turn = turn;
  }

  #hear({ index }: Account, scope: string, { boot }: Came): number {
    const key = `${index}|${scope}`;
    const heard = this.#heard.get(key) ?? { boot, turn: 0 };
    if (heard.boot !== boot) heard.turn += 1;
    heard.boot = boot;
    this.#heard.set(key, heard);
    return heard.turn;
  }

  #of({ index, lives }: Account, scope: string, { boot, stream: name }: Came): Stream {
    const key = `${index}|${scope}|${boot}|${name}`;
    let stream = this.#streams.get(key);
    if (stream === undefined) {
      stream = { lives, highest: 0, passed: new Set(), turn: 0 };
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
