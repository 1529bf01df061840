// How far a long command is, on one line of the terminal that is drawn over itself and taken away at the
// end. Drawn a few times a second, whatever happens in between; nothing where stderr is no terminal.

import type { Io } from "./io.js";

/** Between two drawings, ms. */
const DRAW_INTERVAL_MS = 100;
/** Shorter runs need no bar, ms. */
const SILENT_MS = 300;
const BAR_CHARACTERS = 24;
const TAKE_AWAY = "\r\u001b[K";
const BOLD = "\u001b[1m";
const PLAIN = "\u001b[22m";

/** Where the time comes from, ms, monotonic; a test has its own. */
type Clock = () => number;

export class Progress {
  readonly #io: Pick<Io, "prompt" | "environment" | "stderrIsTerminal">;
  readonly #totalBytes: number | undefined;
  readonly #clock: Clock;
  readonly #startedAt: number;
  #drawAt: number;
  #bytes = 0;
  #messages = 0;
  #isDrawn = false;

  /** `totalBytes`: of the input, where that is known. */
  constructor(
    io: Pick<Io, "prompt" | "environment" | "stderrIsTerminal">,
    totalBytes: number | undefined,
    clock: Clock = () => performance.now(),
  ) {
    this.#io = io;
    this.#totalBytes = totalBytes;
    this.#clock = clock;
    this.#startedAt = clock();
    this.#drawAt = io.stderrIsTerminal ? this.#startedAt + SILENT_MS : Infinity;
  }

  /** So much more of the input was read, and so many messages more were queued. */
  add(bytes: number, messages: number): void {
    this.#bytes += bytes;
    this.#messages += messages;
    const now = this.#clock();
    if (now < this.#drawAt) return;
    this.#drawAt = now + DRAW_INTERVAL_MS;
    this.#isDrawn = true;
    this.#io.prompt(TAKE_AWAY + this.#line(now));
  }

  /** Takes the line away, so that what is said next stands alone. */
  end(): void {
    this.#drawAt = Infinity;
    if (this.#isDrawn) this.#io.prompt(TAKE_AWAY);
    this.#isDrawn = false;
  }

  #line(now: number): string {
    const count = grouped(this.#messages);
    const rate = grouped((this.#messages * 1_000) / (now - this.#startedAt));
    const isPlain = (this.#io.environment["NO_COLOR"] ?? "") !== "";
    const said = `${isPlain ? count : BOLD + count + PLAIN} messages queued, ${rate}/s`;
    if (this.#totalBytes === undefined) return said;
    const share = Math.min(1, this.#bytes / Math.max(1, this.#totalBytes));
    const full = Math.floor(share * BAR_CHARACTERS);
    const bar = "#".repeat(full) + ".".repeat(BAR_CHARACTERS - full);
    return `[${bar}] ${String(Math.floor(share * 100)).padStart(3)} %  ${said}`;
  }
}

/** With commas between groups of three digits. */
const grouped = (value: number): string =>
  String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
