// Times as the tables hold them: UTC text, `YYYY-MM-DDTHH:MM:SS.mmm` as SQLite's
// strftime('%Y-%m-%dT%H:%M:%f', 'now') writes it; a sender's stamp with nine digits of fraction.
// Such texts sort as the instants do. Other programs write `YYYY-MM-DD HH:MM:SS` too, so reading
// is more tolerant than writing; what cannot be read counts as absent.

const MS_PER_SECOND = 1_000;
const NS_PER_SECOND = 1_000_000_000n;
const TIME =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?(?:Z|\+00:?00)?$/;
/** The texts of the years 0 to 9999. */
const MS_MIN = Date.parse("0000-01-01T00:00:00Z");
const MS_MAX = Date.UTC(10_000, 0, 1) - 1;

/** Text of wall ms since the epoch; outside the years 0 to 9999 the nearest that can be written. */
export function timeText(wallMs: number): string {
  const ms = Number.isNaN(wallMs) ? 0 : Math.max(MS_MIN, Math.min(MS_MAX, Math.floor(wallMs)));
  return new Date(ms).toISOString().slice(0, 23);
}

/** Rows come in bursts that were written in the same instant: the text read last, and its time. */
let lastText = "";
let lastMs: number | undefined;

/** Wall ms since the epoch of a text time; undefined when it is none. */
export function parseTime(text: unknown): number | undefined {
  if (typeof text !== "string") return undefined;
  if (text !== lastText) {
    lastMs = parse(text);
    lastText = text;
  }
  return lastMs;
}

function parse(text: string): number | undefined {
  const match = TIME.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour = "0", minute = "0", second = "0", fraction = ""] = match;
  const ms = Math.floor(Number(fraction.padEnd(9, "0")) / 1_000_000);
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  if (date.getUTCMonth() !== Number(month) - 1 || date.getUTCDate() !== Number(day)) {
    return undefined;
  }
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  date.setUTCHours(Number(hour), Number(minute), Number(second), ms);
  return date.getTime();
}

/** Texts of stamps; remembers the second it wrote last, since stamps come in bursts. */
export class StampText {
  #second = -1n;
  #prefix = "";

  /** `YYYY-MM-DDTHH:MM:SS.nnnnnnnnn` of ns since the epoch, 0 to 2^62 - 1. */
  of(stampNs: bigint): string {
    const second = stampNs / NS_PER_SECOND;
    if (second !== this.#second) {
      this.#second = second;
      this.#prefix = timeText(Number(second) * MS_PER_SECOND).slice(0, 20);
    }
    return this.#prefix + String(stampNs % NS_PER_SECOND).padStart(9, "0");
  }
}

/** Nanoseconds since the epoch of a stamp's text; undefined when it is none. */
export function parseStamp(text: string): bigint | undefined {
  const ms = parseTime(text);
  if (ms === undefined) return undefined;
  const fraction = /[.,](\d{1,9})/.exec(text)?.[1] ?? "";
  const second = BigInt(Math.floor(ms / MS_PER_SECOND));
  return second * NS_PER_SECOND + BigInt(fraction.padEnd(9, "0"));
}
