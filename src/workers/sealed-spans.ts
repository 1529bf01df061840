// Which stamps this host may have sealed, as the table `meta` keeps it: a JSON list of pairs, first and
// last stamp of a span in ns since the epoch. What the core makes of it: protocol/sealed-stamps.ts.

import { NS_PER_MS } from "../shared/base/units.js";
import type { StampSpan } from "../shared/protocol/sealed-stamps.js";
import { writeTransaction } from "../shared/store/busy.js";
import type { Connection } from "../shared/store/driver.js";

const KEY = "sealed_stamps";
/** Of earlier versions: the greatest stamp. */
const KEY_BEFORE = "sealed_until";

/**
 * Reads what earlier runs left, in the caller's transaction; `now`: wall ms since the epoch. Of a file
 * of an earlier version everything up to its one bound counts: it does not say where the clock was
 * before, and a narrower span would believe what it leaves out.
 */
export function readSealed(db: Connection, now: number): readonly StampSpan[] {
  const read = db.prepare("SELECT value FROM meta WHERE key = ?").pluck();
  const stored = read.get(KEY);
  const spans = stored === undefined ? [] : parse(stored, now * NS_PER_MS);
  const bound = read.get(KEY_BEFORE);
  if (typeof bound !== "number") return spans;
  const both = bound > 0 ? [{ fromNs: 0, untilNs: bound }, ...spans] : spans;
  write(db, both);
  db.prepare("DELETE FROM meta WHERE key = ?").run(KEY_BEFORE);
  return both;
}

/** Makes durable which stamps may have been sealed, in place of what was said before. */
export function writeSealed(db: Connection, spans: readonly StampSpan[], deadlineMs: number): void {
  writeTransaction(db, () => write(db, spans), { deadlineMs });
}

function write(db: Connection, spans: readonly StampSpan[]): void {
  db.prepare(
    `INSERT INTO meta(key, value) VALUES ('${KEY}', ?)
     ON CONFLICT(key) DO UPDATE SET value = excluded.value`,
  ).run(JSON.stringify(spans.map(({ fromNs, untilNs }) => [fromNs, untilNs])));
}

/** What somebody made unreadable counts as all time up to now. */
function parse(stored: unknown, nowNs: number): readonly StampSpan[] {
  try {
    const pairs: unknown = JSON.parse(String(stored));
    if (Array.isArray(pairs) && pairs.every(isPair)) {
      return pairs.map(([fromNs, untilNs]) => ({ fromNs, untilNs }));
    }
  } catch {
    // Not JSON.
  }
  return [{ fromNs: 0, untilNs: nowNs }];
}

const isPair = (pair: unknown): pair is readonly [number, number] =>
  Array.isArray(pair) &&
  pair.length === 2 &&
  pair.every((stamp) => typeof stamp === "number") &&
  pair[0] <= pair[1];
