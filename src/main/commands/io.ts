// The world as a command sees it: three streams, the environment, the interrupt key. Data goes to
// stdout and is awaited, so that a command knows what its reader took; talk goes to stderr.
// Writes are plain system calls: an error arrives where the write was, not in an event.

import { createReadStream, fstatSync, writeSync } from "node:fs";
import { setTimeout as nap } from "node:timers/promises";
import { isatty } from "node:tty";
import { DaemonError, reasonOf } from "../../shared/base/errors.js";
import { printable } from "./printable.js";

export interface Io {
  /** Name of the program as it was called, for messages. */
  readonly program: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly directory: string;
  readonly stdinIsTerminal: boolean;
  readonly stderrIsTerminal: boolean;
  /** Length of standard input, bytes, where it is a file; undefined of a pipe or a terminal. */
  stdinBytes(): number | undefined;
  /** Standard input, once. */
  stdin(): AsyncIterable<Uint8Array>;
  /** Resolves when stdout took it all; rejects with OutputClosed when nobody reads any more. */
  write(text: string | Uint8Array): Promise<void>;
  /** One line of talk on stderr; control characters are escaped. */
  say(line: string): void;
  /** Text on stderr as it is, for help and prompts. */
  prompt(text: string): void;
  /** Aborts at the first SIGINT; from the first call on, SIGINT does not end the process. */
  interruption(): AbortSignal;
}

/** Nobody reads stdout any more. The program ends without a word. */
export class OutputClosed extends Error {}

/** How long to wait when a non-blocking stdout is full, ms. */
const STDOUT_NAP_MS = 5;

/** The Io of this process. */
export function processIo(program: string): Io {
  let interruption: AbortSignal | undefined;
  return {
    program,
    environment: process.env,
    directory: process.cwd(),
    stdinIsTerminal: isatty(0),
    stderrIsTerminal: isatty(2),
    stdinBytes: stdinLength,
    stdin: stdinBytes,
    write: (text) => writeAll(typeof text === "string" ? Buffer.from(text) : text),
    say: (line) => talk(`${printable(line)}\n`),
    prompt: talk,
    interruption: () => {
      interruption ??= interruptSignal();
      return interruption;
    },
  };
}

/** Bytes of a file or a pipe as they come; unlike readFile, an endless one can be left. */
export const fileBytes = (path: string): AsyncIterable<Uint8Array> => createReadStream(path);

function stdinLength(): number | undefined {
  try {
    const stats = fstatSync(0);
    return stats.isFile() ? stats.size : undefined;
  } catch {
    return undefined;
  }
}

async function* stdinBytes(): AsyncGenerator<Uint8Array> {
  try {
    yield* process.stdin as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw new DaemonError(
      "ERR_PAYLOAD",
      `cannot read standard input: ${reasonOf(error)}`,
      "Redirect a file or a pipe to it.",
      error,
    );
  }
}

async function writeAll(bytes: Uint8Array): Promise<void> {
  let at = 0;
  while (at < bytes.length) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === "EPIPE") throw new OutputClosed();
      if (code !== "EAGAIN") {
        throw new DaemonError(
          "ERR_OUTPUT",
          `cannot write the output: ${reasonOf(error)}`,
          "Make room, or write it elsewhere.",
          error,
        );
      }
      await nap(STDOUT_NAP_MS);
    }
  }
}

function talk(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // Nobody listens: what was to be said is lost, what was to be done is not.
  }
}

function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  process.on("SIGINT", () => controller.abort());
  return controller.signal;
}
