// Times and ages as people type them, into the text times of the store. All times are UTC unless
// they carry a zone: the tables hold UTC, and the same command must mean the same in every cron job.
// (The older sg-clean compared local time with the UTC of the tables, and was off by the zone.)

import { parseTime, timeText } from "../../shared/store/text-time.js";
import { usageError } from "./argv.js";
import { quoted } from "./printable.js";

const MS_OF_SUFFIX = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;
const AGE = /^(\d{1,12})([smhdw])$/;
const ZONE = /^(.*\d)([+-])(\d\d):?(\d\d)$/;
const MINUTES_OF_DAY = 24 * 60;

/** How an age is written, for messages. */
export const AGE_FORM = "a number and s, m, h, d or w (30s, 15m, 24h, 7d, 4w)";
export const TIME_FORM = "YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, UTC unless a zone follows";

/** ms of `15m`; undefined for anything that is no age. */
export function ageMs(text: string): number | undefined {
  const match = AGE.exec(text.trim());
  if (match === null) return undefined;
  return Number(match[1]) * MS_OF_SUFFIX[match[2] as keyof typeof MS_OF_SUFFIX];
}

/** Wall ms of an ISO 8601 time; undefined for anything else. */
export function instantMs(text: string): number | undefined {
  const zone = ZONE.exec(text.trim());
  if (zone === null || !text.includes(":")) return parseTime(text.trim());
  const [, local, sign, hours, minutes] = zone;
  const wallMs = parseTime(local);
  const offset = Number(hours) * 60 + Number(minutes);
  if (wallMs === undefined || !local.includes(":") || offset >= MINUTES_OF_DAY) return undefined;
  return wallMs - (sign === "-" ? -offset : offset) * 60_000;
}

/** The instant an option names; an age counts from now on. Throws ERR_USAGE. */
export function timeAhead(option: string, text: string, nowMs: number): string {
  const age = ageMs(text);
  const at = age === undefined ? instantMs(text) : nowMs + age;
  if (at !== undefined && at <= LATEST_MS) return timeText(at);
  throw usageError(
    `--${option} ${quoted(text)} is no time`,
    `Write ${TIME_FORM}, or ${AGE_FORM} from now.`,
  );
}

/** The instant before which things are old; an age counts back from now. Throws ERR_USAGE. */
export function cutoffMs(text: string, nowMs: number): number {
  const age = ageMs(text);
  const at = age === undefined ? instantMs(text) : nowMs - age;
  if (at !== undefined && at >= EARLIEST_MS) return at;
  throw usageError(`${quoted(text)} is no age`, `Write ${AGE_FORM}; or ${TIME_FORM}.`);
}

/** Bounds of what four digits of a year can say. */
const LATEST_MS = Date.UTC(9_999, 11, 31);
const EARLIEST_MS = -62_167_219_200_000;
