// The log: one JSON object a line, one line a change of state, never one per packet, never payload
// or keys. Whatever the values hold, a line is printable ASCII: no stranger can forge a second line
// or send a terminal an escape. Only importer of pino.

import { type Logger, pino } from "pino";
import { DaemonError, reasonOf } from "../shared/base/errors.js";
import type { LogLevel } from "./config.js";
import {
  DescriptorSink,
  FileSink,
  findLogger,
  type Priority,
  type Sink,
  SyslogSink,
  stderrIsJournal,
} from "./log-sinks.js";

/** Values beside the sentence, by name. Anything but text, numbers and booleans is made text. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface LogOptions {
  /** `syslog`, `stdout`, or the path of a file. */
  readonly target: string;
  /** The least severe level that is written. */
  readonly level: LogLevel;
  /** JOURNAL_STREAM is looked for here. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

type Level = "error" | "warn" | "info" | "debug";

const PRIORITY: Readonly<Record<Level, Priority>> = { error: 3, warn: 4, info: 6, debug: 7 };
/** Characters of a value or a sentence at most. Source: reliability.md T37. */
const VALUE_CHARACTERS_MAX = 256;
const KEY_CHARACTERS_MAX = 64;
const FIELDS_MAX = 64;
/** Names that a line has already; a second one would hide the first from most readers. */
const RESERVED = new Set(["level", "time", "msg", "err"]);

/**
 * Opens the log. Throws DaemonError when a file cannot be had; without a syslog it says so once and
 * writes to stderr. Call it as the user that the daemon runs as: logger(1) and the file are opened
 * here.
 */
export function createLog(options: LogOptions): Log {
  return new Log(options);
}

export class Log {
  readonly #logger: Logger;
  #sink: Sink;
  #level: Level = "info";
  #linesLost = 0;
  #isClosed = false;

  constructor({ target, level, env = process.env }: LogOptions) {
    const base = { base: null, timestamp: pino.stdTimeFunctions.isoTime };
    const formatters = { level: (label: string) => ({ level: label }) };
    const stream = { write: (line: string) => this.#write(line) };
    this.#logger = pino({ ...base, level, formatters }, stream);
    this.#sink = new DescriptorSink("stderr", 2, false);
    if (target === "stdout") this.#sink = new DescriptorSink("stdout", 1, false);
    else if (target !== "syslog") this.#sink = new FileSink(target);
    else if (stderrIsJournal(env["JOURNAL_STREAM"])) {
      this.#sink = new DescriptorSink("journal", 2, true);
    } else this.#openSyslog();
  }

  /** Where the lines go: `syslog`, `journal`, `stdout`, `stderr`, or a path. */
  get target(): string {
    return this.#sink.name;
  }

  error(sentence: string, fields?: LogFields): void {
    this.#say("error", sentence, fields);
  }
  warn(sentence: string, fields?: LogFields): void {
    this.#say("warn", sentence, fields);
  }
  info(sentence: string, fields?: LogFields): void {
    this.#say("info", sentence, fields);
  }
  debug(sentence: string, fields?: LogFields): void {
    this.#say("debug", sentence, fields);
  }

  /** Opens the target anew, after logrotate moved it. If that fails it says so, in the old one. */
  reopen(): void {
    try {
      this.#sink.reopen();
    } catch (error) {
      const { message, next } = error instanceof DaemonError ? error : { message: "", next: "" };
      this.error("the log could not be opened anew, and goes on where it was", { message, next });
    }
  }

  /** Writes out what waits; later lines are dropped. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#sink.close();
  }

  #openSyslog(): void {
    const found = findLogger();
    if ("why" in found) {
      this.warn("no syslog, so the log goes to stderr", { why: found.why });
      return;
    }
    const syslog = new SyslogSink(found.path, () => {
      if (this.#isClosed) return;
      this.#sink = fallbackOf(syslog);
      this.warn("logger(1) ended, so the log goes to stderr until the next reload");
    });
    this.#sink = syslog;
    // When the log goes back to syslog, the fallback hands its place over.
    const fallbackOf = (origin: SyslogSink): Sink => {
      const stderr = new DescriptorSink("stderr", 2, false);
      return {
        name: stderr.name,
        write: (line, priority) => stderr.write(line, priority),
        reopen: () => {
          origin.reopen();
          this.#sink = origin;
        },
        close: () => origin.close(),
      };
    };
  }

  #say(level: Level, sentence: string, fields: LogFields | undefined): void {
    if (this.#isClosed || !this.#logger.isLevelEnabled(level)) return;
    this.#level = level;
    this.#logger[level](fields === undefined ? {} : safeFields(fields), cut(sentence));
  }

  #write(line: string): void {
    const isWritten = this.#sink.write(escapeLine(line), PRIORITY[this.#level]);
    if (!isWritten) {
      this.#linesLost += 1;
    } else if (this.#linesLost > 0) {
      const lines = this.#linesLost;
      this.#linesLost = 0;
      this.warn("log lines were lost: the target did not take them", { lines });
    }
  }
}

/** Everything but printable ASCII as \uXXXX, which inside JSON text means the same. */
export const escapeLine = (line: string): string =>
  `${line.replace(/\n$/, "").replace(/[^\x20-\x7e]/g, unicodeEscape)}\n`;

const unicodeEscape = (character: string): string =>
  `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

function safeFields(fields: LogFields): Record<string, unknown> {
  const safe: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields).slice(0, FIELDS_MAX)) {
    if (value !== undefined) safe[safeKey(key)] = safeValue(value);
  }
  return safe;
}

function safeKey(key: string): string {
  const plain = key.slice(0, KEY_CHARACTERS_MAX).replace(/[^A-Za-z0-9_.-]/g, "_");
  return RESERVED.has(plain) || plain === "" || plain === "__proto__" ? `_${plain}_` : plain;
}

function safeValue(value: unknown): string | number | boolean | null {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value === "string") return cut(value);
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Error) return cut(reasonOf(value));
  try {
    return cut(JSON.stringify(value) ?? typeof value);
  } catch {
    return typeof value;
  }
}

const cut = (text: string): string =>
  text.length <= VALUE_CHARACTERS_MAX ? text : `${text.slice(0, VALUE_CHARACTERS_MAX - 3)}...`;
