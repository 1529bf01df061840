// `recv`, also known as sg-recv: prints messages as JSON and counts the reading. A row counts as read
// only after stdout took it: a reader that went away finds it again.

import { type Filter, MessagePages, PAGE_ROWS_MAX, type Row } from "../../client/message-pages.js";
import { CommitWatch } from "../../client/watch.js";
import { DaemonError, EXIT, type ExitCode } from "../../shared/base/errors.js";
import { STATES } from "../client/purge.js";
import { usageError } from "./argv.js";
import { type Arguments, defineCommand } from "./command.js";
import { DB_OPTION, withDatabase } from "./database.js";
import type { Io } from "./io.js";
import { COMPACT, deeper, type Layout, lineStart, PRETTY } from "./json-text.js";
import { messageText } from "./message-text.js";
import { requireState } from "./states.js";

const LIMIT_DEFAULT = 20;
const INTERVAL_DEFAULT_SECONDS = 1;
const IDS_MAX = Number.MAX_SAFE_INTEGER;

const OPTIONS = {
  db: DB_OPTION,
  limit: {
    kind: "integer",
    short: "n",
    placeholder: "N",
    min: 0,
    max: 1_000_000_000,
    summary: "messages at most; 0 for all (default: 20)",
  },
  outbound: { kind: "flag", short: "o", summary: "messages that go out, and how far they got" },
  state: { kind: "text", short: "s", placeholder: "STATE", summary: "only those in this state" },
  from: { kind: "text", placeholder: "ADDRESS", summary: "only those from this address" },
  to: { kind: "text", placeholder: "ADDRESS", summary: "with -o, only those to this address" },
  id: { kind: "text", short: "i", placeholder: "HEX", summary: "only the message with this id" },
  "read-included": { kind: "flag", short: "r", summary: "those already read, too" },
  "no-mark": { kind: "flag", summary: "look without counting it as read" },
  follow: { kind: "flag", short: "f", summary: "wait for new messages until interrupted" },
  interval: {
    kind: "number",
    placeholder: "SECONDS",
    min: 0.01,
    max: 86_400,
    summary: "with -f, look at least this often (default: 1.0)",
  },
  "since-id": {
    kind: "integer",
    placeholder: "ROW",
    min: 0,
    max: IDS_MAX,
    summary: "only rows above this id",
  },
  compact: { kind: "flag", short: "c", summary: "one JSON object a line" },
  "payload-only": { kind: "flag", short: "p", summary: "print the payloads alone" },
  json: { kind: "flag", summary: "accepted for uniformity: the output is JSON already" },
} as const;

type Options = Arguments<typeof OPTIONS>["options"];

export const recvCommand = defineCommand({
  name: "recv",
  summary: "Print unread messages, newest first, and count them as read",
  usage: "[options]",
  options: OPTIONS,
  conflicts: [["from", "to"]],
  positionals: [0, 0],
  epilogue:
    "A payload is shown as the JSON that arrived, laid out but otherwise untouched; one that is no " +
    "JSON object is shown as a string.",
  run,
});

async function run({ options }: Arguments<typeof OPTIONS>, io: Io): Promise<ExitCode> {
  const filter = filterOf(options);
  return await withDatabase(options.db, io, async (db, path) => {
    const reader = new Reader(new MessagePages(db, filter), filter, options, io);
    if (!options.follow) {
      if (options.compact) await reader.lines();
      else await reader.document();
      return EXIT.done;
    }
    const intervalMs = (options.interval ?? INTERVAL_DEFAULT_SECONDS) * 1_000;
    const watch = new CommitWatch([{ path, db }], intervalMs);
    try {
      await reader.follow(watch);
    } finally {
      watch.close();
    }
    io.say("Stopped.");
    return EXIT.interrupted;
  });
}

function filterOf(options: Options): Filter {
  if (options.outbound && options.from !== undefined) {
    throw usageError("--from is about inbound messages", "Use --to with --outbound.");
  }
  if (!options.outbound && options.to !== undefined) {
    throw usageError("--to is about outbound messages", "Add --outbound, or use --from.");
  }
  const direction = options.outbound ? "outbound" : "inbound";
  requireState(options.state, STATES[direction], options.outbound ? "" : " (-o: outbound ones)");
  const messageId = options.id?.trim().toLowerCase();
  return {
    direction,
    messageId,
    state: options.state,
    address: options.from ?? options.to,
    unreadOnly: !options.outbound && !options["read-included"] && messageId === undefined,
  };
}

class Reader {
  readonly #mailbox: MessagePages;
  readonly #options: Options;
  readonly #io: Io;
  readonly #single: boolean;
  readonly #marks: boolean;

  constructor(mailbox: MessagePages, filter: Filter, options: Options, io: Io) {
    this.#mailbox = mailbox;
    this.#options = options;
    this.#io = io;
    this.#single = filter.messageId !== undefined;
    this.#marks = filter.direction === "inbound" && !options["no-mark"];
  }

  /** One JSON document: an array, or the object when an id names just one. */
  async document(): Promise<void> {
    const rowIds: number[] = [];
    let first: Row | undefined;
    for (const page of this.#pages()) {
      for (const row of page) {
        rowIds.push(row.id);
        if (rowIds.length === 1) {
          first = row;
          continue;
        }
        if (first !== undefined) await this.#write(this.#element("[", first));
        first = undefined;
        await this.#write(this.#element(",", row));
      }
    }
    if (first === undefined) {
      await this.#write(rowIds.length === 0 ? "[]\n" : "\n]\n");
    } else if (this.#single) {
      await this.#write(`${this.#text(first, PRETTY)}\n`);
    } else {
      await this.#write(`${this.#element("[", first)}\n]\n`);
    }
    // Half a document is of no use to anybody: all or nothing counts as read.
    this.#mark(rowIds);
  }

  /** One JSON object a line; each page counts as read as soon as it is out. */
  async lines(): Promise<void> {
    for (const page of this.#pages()) await this.#print(page, COMPACT);
  }

  /** Prints what is committed from now on, or above --since-id, until interrupted. */
  async follow(watch: CommitWatch): Promise<void> {
    const interruption = this.#io.interruption();
    const layout = this.#options.compact ? COMPACT : PRETTY;
    let since = this.#options["since-id"];
    if (since === undefined) {
      since = this.#mailbox.newestId();
      this.#io.say(`Following new messages (since id ${since}). Press Ctrl+C to stop.`);
    }
    const page = (above: number) => this.#mailbox.page("oldest", above, Infinity, PAGE_ROWS_MAX);
    const print = (rows: readonly Row[]) => this.#print(rows, layout);
    await follow({ watch, since, interruption, page, print });
  }

  /** Newest first, up to the limit; each page is a query of its own. */
  *#pages(): Generator<readonly Row[]> {
    const limit = this.#options.limit ?? LIMIT_DEFAULT;
    let left = limit === 0 ? Infinity : limit;
    let below = Infinity;
    while (left > 0) {
      const rows = Math.min(left, PAGE_ROWS_MAX);
      const page = this.#mailbox.page(
        "newest",
        this.#options["since-id"] ?? -Infinity,
        below,
        rows,
      );
      if (page.length > 0) yield page;
      if (page.length < rows) return;
      left -= page.length;
      below = page[page.length - 1].id;
    }
  }

  async #print(page: readonly Row[], layout: Layout): Promise<void> {
    await this.#write(page.map((row) => `${this.#text(row, layout)}\n`).join(""));
    this.#mark(page.map((row) => row.id));
  }

  async #write(text: string): Promise<void> {
    try {
      await this.#io.write(text);
    } catch (error) {
      if (!(error instanceof DaemonError)) throw error;
      const next = "What was not written does not count as read. Make room, or write it elsewhere.";
      throw new DaemonError(error.code, error.message, next, error);
    }
  }

  #mark(rowIds: readonly number[]): void {
    if (this.#marks) this.#mailbox.markRead(rowIds);
  }

  #element(opening: string, row: Row): string {
    const inner = deeper(PRETTY);
    return `${opening}${lineStart(inner)}${this.#text(row, inner)}`;
  }

  #text(row: Row, layout: Layout): string {
    return messageText(row, this.#options["payload-only"], layout);
  }
}

/** What following needs; apart from the reader, so that a test can stand between its steps. */
export interface Follow {
  readonly watch: CommitWatch;
  /** Row id. */
  readonly since: number;
  readonly interruption: AbortSignal;
  readonly page: (above: number) => readonly Row[];
  readonly print: (rows: readonly Row[]) => Promise<void>;
}

/** Prints rows above `since` as they are committed, each once, until interrupted. */
export async function follow({ watch, since, interruption, page, print }: Follow): Promise<void> {
  let last = since;
  while (!interruption.aborted) {
    // The mark is older than the query: what is committed between them ends the wait at once.
    const seen = watch.version();
    let rows = page(last);
    while (rows.length > 0 && !interruption.aborted) {
      await print(rows);
      last = rows[rows.length - 1].id;
      rows = page(last);
    }
    await watch.changedSince(seen, interruption);
  }
}
