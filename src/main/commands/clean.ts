// `clean`, also known as sg-clean: deletes messages that are done with and old.

import type { Direction } from "../../client/message-pages.js";
import { DaemonError, EXIT, type ExitCode } from "../../shared/base/errors.js";
import type { Connection } from "../../shared/store/driver.js";
import { timeText } from "../../shared/store/text-time.js";
import { Purge, type PurgeRule, STATES, type StateCount, vacuum } from "../client/purge.js";
import { usageError } from "./argv.js";
import { type Arguments, defineCommand } from "./command.js";
import { DB_OPTION, withDatabase } from "./database.js";
import type { Io } from "./io.js";
import { printable } from "./printable.js";
import { requireState } from "./states.js";
import { cutoffMs } from "./times.js";

/** How long VACUUM tries for the write lock, ms. */
const VACUUM_DEADLINE_MS = 2_000;
const ANSWER_BYTES_MAX = 1_024;
const LABEL: Readonly<Record<Direction, string>> = { outbound: "Outbound", inbound: "Inbound" };

const OPTIONS = {
  db: DB_OPTION,
  before: {
    kind: "text",
    placeholder: "TIME",
    summary: "instead of AGE: an ISO time, UTC unless a zone follows",
  },
  "dry-run": { kind: "flag", summary: "count, delete nothing" },
  yes: { kind: "flag", short: "y", summary: "do not ask" },
  "no-vacuum": { kind: "flag", summary: "do not give the space back to the disk" },
  "outbound-only": { kind: "flag", summary: "only messages that went out" },
  "inbound-only": { kind: "flag", summary: "only messages that came in" },
  "include-unread": { kind: "flag", summary: "inbound messages that nobody read, too" },
  state: {
    kind: "text",
    short: "s",
    placeholder: "STATE",
    summary: "only this state, even if it is not final",
  },
  "all-states": { kind: "flag", summary: "DANGEROUS: whatever the state, read or not" },
} as const;

type Options = Arguments<typeof OPTIONS>["options"];

export const cleanCommand = defineCommand({
  name: "clean",
  summary: "Delete messages in a final state that were last updated before a time",
  usage: "[options] AGE",
  options: OPTIONS,
  conflicts: [
    ["outbound-only", "inbound-only"],
    ["state", "all-states"],
  ],
  positionals: [0, 1],
  epilogue:
    "AGE is a number and s, m, h, d or w: 30s, 15m, 24h, 7d, 4w. Deleted are outbound messages that " +
    "are acknowledged or send_failed, and inbound ones that are ack_sent or ack_failed and were read. " +
    "Large messages that are still arriving lie in the folder -spool beside the database and are the " +
    "daemon's: it removes what nobody went on with for eight days.",
  run,
});

async function run({ options, positionals }: Arguments<typeof OPTIONS>, io: Io): Promise<ExitCode> {
  const cutoff = timeText(cutoffMs(cutoffText(options.before, positionals[0]), Date.now()));
  const rule = ruleOf(options, cutoff);
  return await withDatabase(options.db, io, async (db) => {
    const purges = directionsOf(options).map((direction) => ({
      label: LABEL[direction],
      purge: new Purge(db, direction, rule),
    }));
    const counts = purges.map(({ label, purge }) => ({ label, states: purge.count() }));
    const total = counts.reduce((sum, { states }) => sum + rowsOf(states), 0);
    await io.write(reportText(cutoff, counts));

    if (total === 0) return await end(io, "Nothing to delete.");
    if (options["dry-run"]) return await end(io, "(dry run - no rows were deleted)");
    if (options["all-states"]) {
      io.say("DANGEROUS: --all-states also deletes messages not yet delivered and not yet read.");
    }
    if (!options.yes && !(await agreed(total, io))) return await end(io, "Cancelled.");

    let deleted = 0;
    for (const { label, purge } of purges) {
      const rows = await purge.delete();
      deleted += rows;
      if (rows > 0) await io.write(`  ${label}: ${rows} rows deleted\n`);
    }
    await io.write(`\nTotal: ${deleted} rows deleted.\n`);
    if (!options["no-vacuum"]) await giveSpaceBack(db, io);
    return EXIT.done;
  });
}

function cutoffText(before: string | undefined, age: string | undefined): string {
  if (before !== undefined && age !== undefined) {
    throw usageError("there is an AGE and --before", "Give one of them.");
  }
  const text = before ?? age;
  if (text !== undefined) return text;
  throw usageError("the age is missing", "Say how old: sg-clean 7d, or --before 2026-01-31.");
}

function ruleOf(options: Options, cutoff: string): PurgeRule {
  const known = directionsOf(options).flatMap((direction) => STATES[direction]);
  requireState(options.state, known);
  return {
    cutoff,
    state: options["all-states"] ? "all" : options.state,
    includeUnread: options["include-unread"] || options["all-states"],
  };
}

function directionsOf(options: Options): readonly Direction[] {
  if (options["outbound-only"]) return ["outbound"];
  return options["inbound-only"] ? ["inbound"] : ["outbound", "inbound"];
}

function reportText(
  cutoff: string,
  counts: readonly { readonly label: string; readonly states: readonly StateCount[] }[],
): string {
  const when = cutoff.slice(0, 19).replace("T", " ");
  const lines = [`Cutoff: ${when} UTC (messages last updated before this time)`, ""];
  for (const { label, states } of counts) {
    lines.push(`  ${label}: ${rowsOf(states)} rows to delete`);
    for (const { state, rows } of states) lines.push(`    ${printable(String(state))}: ${rows}`);
  }
  return `${lines.join("\n")}\n\n`;
}

const rowsOf = (states: readonly StateCount[]): number =>
  states.reduce((sum, { rows }) => sum + rows, 0);

/** Asks on stderr, so that the report can be piped; anything but y or yes means no. */
async function agreed(total: number, io: Io): Promise<boolean> {
  io.prompt(`Delete ${total} rows? [y/N] `);
  let answer = "";
  for await (const chunk of io.stdin()) {
    answer += Buffer.from(chunk).toString("latin1");
    if (answer.includes("\n") || answer.length > ANSWER_BYTES_MAX) break;
  }
  if (!io.stdinIsTerminal) io.prompt("\n");
  return /^\s*y(es)?\s*$/i.test(answer.split("\n")[0]);
}

async function end(io: Io, line: string): Promise<ExitCode> {
  await io.write(`${line}\n`);
  return EXIT.done;
}

/** The rows are gone whatever happens here, so what fails is said and no error. */
async function giveSpaceBack(db: Connection, io: Io): Promise<void> {
  await io.write("Running VACUUM to reclaim disk space...\n");
  try {
    await vacuum(db, VACUUM_DEADLINE_MS);
    await io.write("VACUUM complete.\n");
  } catch (error) {
    if (!(error instanceof DaemonError) || error.code !== "ERR_DB_BUSY") throw error;
    io.say(
      "VACUUM skipped: the database is in use. Free pages will be used again; nothing is lost.",
    );
  }
}
