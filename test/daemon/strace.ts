// What a daemon asks of the kernel, and when: run under strace(1), its lines read back as calls. Also
// the way to make a call fail. Needs no rights beyond those over a child of one's own.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { until } from "./harness.js";

/** One system call that has ended; a send counts from its begin, since it may be out by then. */
export interface Call {
  /** Seconds since the epoch. */
  readonly at: number;
  readonly name: string;
  /** Arguments as strace prints them, texts as \xNN. */
  readonly words: string;
  /** What it returned; NaN for a send, and when strace prints none. */
  readonly result: number;
  readonly injected: boolean;
}

const SENDS = ["sendto", "sendmsg", "sendmmsg"];
/** Longest text that is printed whole: more than a page of the database. */
const TEXT_BYTES_MAX = 70_000;

/** The tracer is a grandchild: the daemon stays our child, with its own pid and exit code. */
const OPTIONS = ["-D", "-f", "--seccomp-bpf", "-ttt", "-xx", "--decode-fds=path"];

/** Words in front of a program; `output` gets the lines. `inject`: expressions for -e. */
export function straceWrapper(
  output: string,
  calls: readonly string[],
  inject: readonly string[] = [],
): readonly string[] {
  const expressions = [`trace=${calls.join(",")}`, ...inject.map((each) => `inject=${each}`)];
  return [
    "strace",
    ...OPTIONS,
    ...["-s", String(TEXT_BYTES_MAX), "-o", output],
    ...expressions.flatMap((each) => ["-e", each]),
  ];
}

/** Undefined when strace works here; else a sentence that says why it does not. */
export function straceTrouble(): string | undefined {
  const { error, status, stderr } = spawnSync(
    "strace",
    [...OPTIONS, "-o", "/dev/null", "-e", "trace=fsync", process.execPath, "-e", "0"],
    { encoding: "utf8" },
  );
  if (error !== undefined) return `strace cannot be run (${error.message})`;
  if (status === 0) return undefined;
  return `strace may not trace here (${stderr.split("\n")[0]})`;
}

export interface Trace {
  readonly calls: readonly Call[];
  /** When the process ended, seconds since the epoch. */
  readonly endedAt: number;
}

/** What a program did that has ended. Waits until the tracer has written its last line. */
export async function traceOf(output: string, pid: number): Promise<Trace> {
  const last = new RegExp(`^${pid} +(\\d+\\.\\d+) \\+\\+\\+ (?:exited|killed)`, "m");
  const read = () => (existsSync(output) ? readFileSync(output, "latin1") : "");
  await until(() => last.test(read()), "the end of the trace");
  const text = read();
  return { calls: parseTrace(text), endedAt: Number(last.exec(text)?.[1]) };
}

/** Lines: `1234  1700000000.123456 fsync(28<\x2f...>) = 0`, in two parts where threads interleave. */
export function parseTrace(text: string): readonly Call[] {
  const calls: Call[] = [];
  const begun = new Map<string, string>();
  for (const line of text.split("\n")) {
    const found = /^(\d+) +(\d+\.\d+) (.*)$/.exec(line);
    if (found === null) continue;
    const [, thread = "", at = "", said = ""] = found;
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(said);
    const whole = resumed === null ? said : (begun.get(thread) ?? "") + resumed[1];
    const isPart = whole.endsWith(" <unfinished ...>");
    if (isPart) begun.set(thread, whole.slice(0, -" <unfinished ...>".length));
    const [, name = "", words = ""] = /^(\w+)\((.*)$/.exec(whole) ?? [];
    const isSend = SENDS.includes(name);
    if (name === "" || (isSend ? resumed !== null : isPart)) continue;
    const result = isSend ? undefined : / = (-?\d+)(<.*>)?( E\w+ .*)?$/.exec(whole)?.[1];
    calls.push({
      at: Number(at),
      name,
      words,
      result: result === undefined ? Number.NaN : Number(result),
      injected: whole.endsWith("(INJECTED)"),
    });
  }
  return calls;
}

/** Texts among the words of a call, in order; paths of file descriptors are not among them. */
export function textsOf({ words }: Call): readonly Buffer[] {
  return [...words.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map((found) => bytesOf(found[1] ?? ""));
}

/** Path of the file descriptor that a call begins with. */
export function pathOf({ words }: Call): string {
  const found = /^\d+<((?:\\x[0-9a-f]{2})*)>/.exec(words);
  return bytesOf(found?.[1] ?? "").toString();
}

const bytesOf = (escaped: string): Buffer => Buffer.from(escaped.replaceAll("\\x", ""), "hex");
