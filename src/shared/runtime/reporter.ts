// Sentences for a person, at most a few in a while: what a stranger can cause a million times must
// not fill a log.

/** Sentences that pass in one span. */
const REPORTS_MAX = 5;
const SPAN_MS = 10_000;

export class Reporter {
  readonly #post: (sentence: string) => void;
  readonly #now: () => number;
  readonly #what: string;
  #spanEndsAt = Number.NEGATIVE_INFINITY;
  #passed = 0;
  #held = 0;

  /** `now`: monotonic ms. `what`: "events of" these are counted once too many were said. */
  constructor(post: (sentence: string) => void, now: () => number, what = "the store") {
    this.#post = post;
    this.#now = now;
    this.#what = what;
  }

  report(sentence: string): void {
    this.#turn();
    if (this.#passed >= REPORTS_MAX) {
      this.#held += 1;
      return;
    }
    this.#passed += 1;
    this.#post(sentence);
  }

  /** Says how many were held back once the span is over. Called now and then. */
  flush(): void {
    this.#turn();
  }

  #turn(): void {
    const now = this.#now();
    if (now < this.#spanEndsAt) return;
    if (this.#held > 0) this.#post(`${this.#held} more events of ${this.#what} in the last 10 s`);
    this.#spanEndsAt = now + SPAN_MS;
    this.#passed = 0;
    this.#held = 0;
  }
}
