// Where sg-send takes payloads from: the argument, a file, or standard input; whole or line by line.
// What is read is bounded: an endless pipe is refused once it is larger than any message.

import { isUtf8 } from "node:buffer";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { DaemonError, reasonOf } from "../../shared/base/errors.js";
import { BODY_BYTES_MAX } from "../../shared/protocol/constants.js";
import { fileBytes } from "./io.js";
import { quoted } from "./printable.js";

const NEWLINE = 0x0a;

/** How long lines wait for company before they are handed on, ms. */
const LINES_WAIT_MS = 5;

/** The payload in an argument. Node hands over damaged arguments silently mended: refused here. */
export function argumentPayload(argument: string): Uint8Array {
  if (argument.includes("\ufffd") && !commandLineIsUtf8()) {
    throw new DaemonError(
      "ERR_PAYLOAD",
      "payload is not valid UTF-8",
      "Write it in UTF-8, or hand it over in a file.",
    );
  }
  return Buffer.from(argument);
}

/** `bytesMax`: of the kind of message that it is for. */
export async function filePayload(
  path: string,
  bytesMax: number = BODY_BYTES_MAX,
): Promise<Uint8Array> {
  try {
    return await readWhole(fileBytes(path), bytesMax);
  } catch (error) {
    if (error instanceof DaemonError) throw error;
    const denied = (error as NodeJS.ErrnoException).code === "EACCES";
    throw new DaemonError(
      denied ? "ERR_PERMISSION" : "ERR_PAYLOAD",
      `cannot read the payload file ${quoted(path)}: ${reasonOf(error)}`,
      denied ? "Make the file readable for you." : "Check the path.",
      error,
    );
  }
}

/** All bytes of a stream. Throws ERR_PAYLOAD when it is longer than any message. */
export async function readWhole(
  stream: AsyncIterable<Uint8Array>,
  bytesMax: number = BODY_BYTES_MAX,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > bytesMax) throw tooLarge(bytesMax);
  }
  return Buffer.concat(chunks);
}

/**
 * Lines of a stream in groups of at most `linesMax`, as many as there are without waiting long.
 * Line ends are taken off, a last line without one counts.
 */
export async function* lineGroups(
  stream: AsyncIterable<Uint8Array>,
  linesMax: number,
): AsyncGenerator<readonly Uint8Array[]> {
  const chunks = stream[Symbol.asyncIterator]();
  let lines: Uint8Array[] = [];
  let rest: Uint8Array = Buffer.alloc(0);
  let arriving = chunks.next();
  for (;;) {
    const soon = lines.length === 0 ? await arriving : await within(arriving, LINES_WAIT_MS);
    if (soon === undefined) {
      yield lines;
      lines = [];
      continue;
    }
    if (soon.done === true) break;
    const bytes = Buffer.concat([rest, soon.value]);
    let from = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
      lines.push(bytes.subarray(from, end));
      from = end + 1;
      if (lines.length < linesMax) continue;
      yield lines;
      lines = [];
    }
    rest = bytes.subarray(from);
    if (rest.length > BODY_BYTES_MAX + 1) {
      if (lines.length > 0) yield lines;
      throw tooLarge(BODY_BYTES_MAX);
    }
    arriving = chunks.next();
    // Awaited above, later: until then its failure must not count as unhandled.
    arriving.catch(() => undefined);
  }
  if (rest.length > 0) lines.push(rest);
  if (lines.length > 0) yield lines;
}

/** What the promise brings if it does so in time; undefined otherwise. */
async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  const timer = new AbortController();
  const timeout = delay(ms, undefined, { signal: timer.signal }).catch(() => undefined);
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    timer.abort();
  }
}

const tooLarge = (bytesMax: number): DaemonError =>
  bytesMax === BODY_BYTES_MAX
    ? new DaemonError(
        "ERR_PAYLOAD",
        `payload is more than ${bytesMax} bytes, the most a classic datagram carries`,
        "Shorten or split it; to a session peer, send it with --text or --bytes.",
      )
    : new DaemonError(
        "ERR_PAYLOAD",
        `payload is more than ${bytesMax} bytes, the longest message`,
        "Split it.",
      );

/** True where the system does not show the bytes of the command line. */
function commandLineIsUtf8(): boolean {
  try {
    return isUtf8(readFileSync("/proc/self/cmdline"));
  } catch {
    return true;
  }
}
