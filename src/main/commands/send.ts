// `send`, also known as sg-send: puts messages into the queue of the daemon, which need not run.

import { type Draft, draft, plainDraft } from "../../client/drafts.js";
import {
  type Destination,
  ENQUEUE_ROWS_MAX,
  Outbox,
  PRIORITIES,
  type Priority,
  type Terms,
} from "../../client/outbox.js";
import { DaemonError, EXIT, type ExitCode } from "../../shared/base/errors.js";
import { messageIdFromHex } from "../../shared/protocol/message-id.js";
import { MESSAGE_BYTES_MAX, STREAM_BYTES_MAX } from "../../shared/protocol/session/limits.js";
import { timeText } from "../../shared/store/text-time.js";
import { usageError } from "./argv.js";
import { type Arguments, defineCommand } from "./command.js";
import { DB_OPTION, withDatabase } from "./database.js";
import { type Io, OutputClosed } from "./io.js";
import { COMPACT, type Layout, objectText, PRETTY, stringText } from "./json-text.js";
import { argumentPayload, filePayload, lineGroups, readWhole } from "./payload-source.js";
import { quoted } from "./printable.js";
import { Progress } from "./progress.js";
import { timeAhead } from "./times.js";

const PORT_MAX = 65_535;
/** A DNS name is shorter, and so is a peer's. */
const ADDRESS_CHARACTERS_MAX = 255;
const PRIORITY_NAMES = Object.keys(PRIORITIES) as Priority[];

const OPTIONS = {
  db: DB_OPTION,
  "message-id": {
    kind: "text",
    short: "m",
    placeholder: "HEX",
    summary: "id of the message, 24 hex digits (default: the daemon makes one)",
  },
  file: { kind: "text", short: "f", placeholder: "FILE", summary: "read the payload from a file" },
  quiet: { kind: "flag", short: "q", summary: "print nothing when it is queued" },
  priority: {
    kind: "choice",
    choices: PRIORITY_NAMES,
    summary: "which go first (default: normal)",
  },
  "not-before": {
    kind: "text",
    placeholder: "TIME",
    summary: "send no earlier: an ISO time (UTC), or 15m for in 15 minutes",
  },
  expires: {
    kind: "text",
    placeholder: "TIME",
    summary:
      "give up then: an ISO time (UTC), or 24h for in 24 hours (default: as the daemon is set)",
  },
  text: { kind: "flag", summary: "the payload is any text, to 64 MiB (session peers)" },
  bytes: { kind: "flag", summary: "the payload is any bytes, to 64 MiB (session peers)" },
  stream: {
    kind: "text",
    placeholder: "NAME",
    summary: "arrives in order with others of this name (session peers)",
  },
  "reply-to": {
    kind: "text",
    placeholder: "HEX",
    summary: "id of the message that it answers (session peers)",
  },
  "json-lines": { kind: "flag", summary: "each line of standard input is a payload" },
} as const;

type Options = Arguments<typeof OPTIONS>["options"];

export const sendCommand = defineCommand({
  name: "send",
  summary: "Queue a message; the daemon seals and sends it",
  usage: "[options] DST_ADDR DST_PORT PAYLOAD|-",
  options: OPTIONS,
  conflicts: [
    ["file", "json-lines"],
    ["message-id", "json-lines"],
    ["text", "bytes", "json-lines"],
  ],
  positionals: [2, 3],
  epilogue:
    "DST_ADDR is an IP address, a host name or the name of a configured peer. PAYLOAD is a JSON " +
    "object; without it, or with -, it is read from standard input, and goes out byte for byte. " +
    "With --text or --bytes it is anything: only peers that speak sessions take that.",
  run,
});

async function run({ options, positionals }: Arguments<typeof OPTIONS>, io: Io): Promise<ExitCode> {
  const [address, portText, payload] = positionals;
  const to: Destination = { address: destinationAddress(address), port: destinationPort(portText) };
  const terms = termsOf(options, Date.now());
  if (options["json-lines"]) {
    if (payload !== undefined && payload !== "-") {
      throw usageError("--json-lines reads standard input", "Leave the payload argument out.");
    }
    return await withDatabase(options.db, io, async (db, path) => {
      const progress = new Progress(io, io.stdinBytes());
      try {
        return await sendLines(new Outbox(path, db), to, terms, options.quiet, io, progress);
      } finally {
        progress.end();
      }
    });
  }
  const kind = options.text ? "text" : options.bytes ? "bytes" : undefined;
  const bytes = await readPayload(options.file, payload, kind !== undefined, io);
  const id = messageIdOf(options);
  const message = kind === undefined ? draft(bytes, id) : plainDraft(bytes, id, kind);
  return await withDatabase(options.db, io, async (db, path) => {
    const [rowId] = new Outbox(path, db).enqueue(to, terms, [message]);
    if (!options.quiet) {
      await tell(io, `${queuedText(to, message, rowId, PRETTY)}\n`, `row ${rowId} is queued`);
    }
    return EXIT.done;
  });
}

/** Queues what comes until it ends. At a bad line it stops; the lines before it are queued. */
async function sendLines(
  outbox: Outbox,
  to: Destination,
  terms: Terms,
  quiet: boolean,
  io: Io,
  progress: Progress,
): Promise<ExitCode> {
  let line = 0;
  let queued = 0;
  for await (const group of lineGroups(io.stdin(), ENQUEUE_ROWS_MAX)) {
    const drafts: Draft[] = [];
    let fault: unknown;
    let bytesRead = 0;
    for (const bytes of group) {
      line += 1;
      bytesRead += bytes.length + 1;
      if (isBlank(bytes)) continue;
      try {
        drafts.push(draft(bytes, undefined));
      } catch (error) {
        fault = error;
        break;
      }
    }
    if (drafts.length > 0) {
      const rowIds = enqueueSome(outbox, to, terms, drafts, queued);
      queued += rowIds.length;
      if (!quiet) {
        const texts = rowIds.map((id, i) => `${queuedText(to, drafts[i], id, COMPACT)}\n`);
        await tell(io, texts.join(""), `messages queued so far: ${queued}`);
      }
    }
    progress.add(bytesRead, drafts.length);
    if (fault !== undefined) throw afterSome(queued, fault, `line ${line}: `);
  }
  return EXIT.done;
}

function enqueueSome(
  outbox: Outbox,
  to: Destination,
  terms: Terms,
  drafts: readonly Draft[],
  queued: number,
): readonly number[] {
  try {
    return outbox.enqueue(to, terms, drafts);
  } catch (error) {
    throw afterSome(queued, error, "");
  }
}

/** The error, with how far we got: whoever mends the input must know what not to send again. */
function afterSome(queued: number, fault: unknown, where: string): unknown {
  if (!(fault instanceof DaemonError)) return fault;
  const message = `${where}${fault.message} (messages queued so far: ${queued})`;
  return new DaemonError(fault.code, message, fault.next, fault);
}

/** Prints what is queued already: that nobody can read it must not look like a failure to send. */
async function tell(io: Io, text: string, queued: string): Promise<void> {
  try {
    await io.write(text);
  } catch (error) {
    const isKnown = error instanceof DaemonError || error instanceof OutputClosed;
    if (!isKnown) throw error;
    const why = error instanceof DaemonError ? error.message : "nobody reads the output";
    throw new DaemonError(
      "ERR_OUTPUT",
      `${queued}; ${why}`,
      "Do not send that again. With --quiet nothing is printed.",
      error,
    );
  }
}

const isBlank = (bytes: Uint8Array): boolean =>
  bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);

async function readPayload(
  file: string | undefined,
  argument: string | undefined,
  isPlain: boolean,
  io: Io,
): Promise<Uint8Array> {
  const bytesMax = isPlain ? MESSAGE_BYTES_MAX : undefined;
  if (file !== undefined) {
    if (argument === undefined) return await filePayload(file, bytesMax);
    throw usageError("there is a payload argument and --file", "Give one of them.");
  }
  if (argument !== undefined && argument !== "-") return argumentPayload(argument);
  if (argument === undefined && io.stdinIsTerminal) {
    const what = isPlain ? "it" : "a JSON object";
    throw usageError("the payload is missing", `Give ${what}, - for standard input, or -f.`);
  }
  return await readWhole(io.stdin(), bytesMax);
}

function destinationAddress(text: string): string {
  const fits = text !== "" && text.length <= ADDRESS_CHARACTERS_MAX && !/[\s\p{C}]/u.test(text);
  if (fits) return text;
  throw usageError(
    `destination ${quoted(text)} is no address`,
    "Give an IP address, a host name or the name of a peer.",
  );
}

function destinationPort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= PORT_MAX) return port;
  throw usageError(`port ${quoted(text)} does not exist`, `Give a number from 1 to ${PORT_MAX}.`);
}

function messageIdOf(options: Options): string | undefined {
  return options["message-id"]?.trim().toLowerCase();
}

function termsOf(options: Options, nowMs: number): Terms {
  const ahead = (name: "not-before" | "expires"): string | undefined => {
    const given = options[name];
    return given === undefined ? undefined : timeAhead(name, given, nowMs);
  };
  const notBefore = ahead("not-before");
  const expiresAt = ahead("expires");
  if (expiresAt !== undefined && expiresAt <= timeText(nowMs)) {
    throw usageError(`--expires ${expiresAt} is over`, "Give a time that is still to come.");
  }
  if (expiresAt !== undefined && notBefore !== undefined && expiresAt <= notBefore) {
    throw usageError("--expires comes before --not-before", "Give the message time in between.");
  }
  const inReplyTo = options["reply-to"]?.trim().toLowerCase();
  if (inReplyTo !== undefined && messageIdFromHex(inReplyTo) === undefined) {
    throw usageError(
      `--reply-to ${quoted(inReplyTo)} is no message id`,
      "Give the 24 characters 0-9 a-f of the message that is answered.",
    );
  }
  const stream = options.stream === undefined ? undefined : streamName(options.stream);
  return { priority: options.priority ?? "normal", notBefore, expiresAt, stream, inReplyTo };
}

function streamName(name: string): string {
  if (name !== "" && Buffer.byteLength(name) <= STREAM_BYTES_MAX) return name;
  throw usageError(
    `stream ${quoted(name)} is no text of 1 to ${STREAM_BYTES_MAX} bytes`,
    "Give a shorter name, or none.",
  );
}

const queuedText = (to: Destination, message: Draft, rowId: number, layout: Layout): string =>
  objectText(
    [
      ["status", '"queued"'],
      ["row_id", String(rowId)],
      ["message_id", message.messageId === undefined ? "null" : stringText(message.messageId)],
      ["dst_addr", stringText(to.address)],
      ["dst_port", String(to.port)],
    ],
    layout,
  );
