// Keeps one database of bench/soak as long as an operator would, a process of its own: deletes what is
// done with and some seconds old, as `securedgram clean --yes --no-vacuum --include-unread 30s` does, again
// and again. Any word from its parent ends it, behind one turn more that deletes all.

import { setTimeout as nap } from "node:timers/promises";
import type { Direction } from "../src/client/message-pages.js";
import { Purge } from "../src/main/client/purge.js";
import { openDatabase } from "../src/shared/store/open.js";
import { timeText } from "../src/shared/store/text-time.js";
import { optionsOf } from "./child.js";

export interface SoakCleanerOptions {
  readonly database: string;
  readonly direction: Direction;
  /** How old rows become, ms. */
  readonly keptMs: number;
}

/** What a cleaner says after each turn. */
export interface Cleaned {
  /** Since its start. */
  readonly rows: number;
}

/** Between two turns, ms. */
const TURN_MS = 1_000;

async function main({ database, direction, keptMs }: SoakCleanerOptions): Promise<void> {
  const db = openDatabase(database, { role: "client", create: false });
  let rows = 0;
  let isLast = false;
  process.once("message", () => {
    isLast = true;
  });
  for (;;) {
    const last = isLast;
    const cutoff = timeText(Date.now() - (last ? 0 : keptMs));
    rows += await new Purge(db, direction, {
      cutoff,
      state: undefined,
      includeUnread: true,
    }).delete();
    process.send?.({ rows });
    if (last) break;
    await nap(TURN_MS);
  }
  process.disconnect();
}

await main(optionsOf<SoakCleanerOptions>());
