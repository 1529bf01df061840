// What a consumer makes of the messages of bench/payload: each counted once by its number, until the one
// that says how many came before it.

/** `{"message_id":"` and 24 digits and `","n":` stand in front of the number. */
const NUMBER_AT_BYTES = 45;
const DIGIT_ZERO = 0x30;
/** Second letter of `{"end":`. */
const END = "e".charCodeAt(0);
const COUNT_START_ROWS = 1 << 20;

export class MessageCount {
  readonly #bytes: number;
  #seen = new Uint8Array(COUNT_START_ROWS);
  #end = Number.POSITIVE_INFINITY;
  #resolve: (lastAtMs: number) => void = () => {};
  #reject: (error: Error) => void = () => {};
  /** Messages, the last one included. */
  messages = 0;
  /** Those that came again. */
  again = 0;
  /** When all were there: wall clock, ms since the epoch. Rejects for what nobody sent. */
  readonly whole: Promise<number>;

  get isWhole(): boolean {
    return this.messages === this.#end + 1;
  }

  /** `bytes`: length of each payload but the last. */
  constructor(bytes: number) {
    this.#bytes = bytes;
    this.whole = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  take(payload: Uint8Array): void {
    if (payload[2] === END) {
      this.#end = (JSON.parse(new TextDecoder().decode(payload)) as { readonly end: number }).end;
      this.#count(this.#end);
    } else if (payload.length === this.#bytes) {
      this.#count(numberOf(payload));
    } else {
      this.#reject(new Error(`a message of ${payload.length} bytes arrived`));
    }
    if (this.isWhole) this.#resolve(performance.timeOrigin + performance.now());
  }

  #count(n: number): void {
    if (n >= this.#seen.length) {
      const more = new Uint8Array(2 * n);
      more.set(this.#seen);
      this.#seen = more;
    }
    if (this.#seen[n] === 1) {
      this.again += 1;
      return;
    }
    this.#seen[n] = 1;
    this.messages += 1;
  }
}

function numberOf(payload: Uint8Array): number {
  let n = 0;
  for (let at = NUMBER_AT_BYTES; ; at++) {
    const digit = payload[at] - DIGIT_ZERO;
    if (!(digit >= 0 && digit <= 9)) return n;
    n = 10 * n + digit;
  }
}
