// From argv to exit code: finds the command, parses by its table, runs it, and turns whatever it
// throws into one line on stderr. All programs of the package pass through `launch`.

import { DaemonError, EXIT, type ExitCode, reasonOf } from "../../shared/base/errors.js";
import { VERSION } from "../version.js";
import {
  actionOf,
  checkPositionals,
  commandHelp,
  completionsFor,
  optionsOf,
  parseArguments,
  programHelp,
} from "./arguments.js";
import { expandWords, splitLine, usageError } from "./argv.js";
import { COMMON_OPTIONS, type Command, type CommandEntry, type OptionTable } from "./command.js";
import { type Io, OutputClosed, processIo } from "./io.js";
import { nearest } from "./nearest.js";
import { quoted } from "./printable.js";

/** First word of a call by a shell's completion; fixed by yargs. */
const COMPLETION_CALL = "--get-yargs-completions";

/** Runs the program that carries all commands, and ends the process. */
export async function launchProgram(
  program: string,
  entries: readonly CommandEntry[],
  globals: OptionTable,
): Promise<never> {
  return await launch(program, (line, io) => runProgram(program, entries, globals, line, io));
}

/** Runs a program that is one command under a name of its own, and ends the process. */
export async function launchCommand(program: string, command: Command): Promise<never> {
  return await launch(program, async (line, io) => {
    if (line[0] === COMPLETION_CALL) return await complete(program, command, [], {}, line, io);
    return await runCommand(program, command, line, io);
  });
}

async function launch(
  program: string,
  main: (line: readonly string[], io: Io) => Promise<ExitCode>,
): Promise<never> {
  const line = process.argv.slice(2);
  const io = processIo(program);
  let code: ExitCode;
  try {
    code = await main(line, io);
  } catch (error) {
    code = report(error, line.includes("--debug"), io);
  }
  process.exit(code);
}

async function runProgram(
  program: string,
  entries: readonly CommandEntry[],
  globals: OptionTable,
  line: readonly string[],
  io: Io,
): Promise<ExitCode> {
  const table = { ...COMMON_OPTIONS, ...globals };
  if (line[0] === COMPLETION_CALL) {
    const entry = entries.find(({ name }) => line.slice(1, -1).includes(name));
    return await complete(program, await entry?.load(), entries, globals, line, io);
  }
  const { before, command: name, after } = splitLine(line, table);
  if (before.includes("--version")) return await showVersion(program, io);
  if (name === undefined) {
    const help = `${await programHelp(program, entries, globals)}\n`;
    if (!before.includes("--help")) {
      io.prompt(help);
      return EXIT.usage;
    }
    await io.write(help);
    return EXIT.done;
  }
  const entry = entries.find((candidate) => candidate.name === name);
  if (entry === undefined) throw unknownCommand(name, entries);
  return await runCommand(program, await entry.load(), [...before, ...after], io);
}

async function runCommand(
  program: string,
  command: Command,
  line: readonly string[],
  io: Io,
): Promise<ExitCode> {
  const wanted = expandWords(line, optionsOf(command)).options;
  if (wanted.includes("--version")) return await showVersion(program, io);
  if (wanted.includes("--help")) {
    await io.write(`${await commandHelp(program, command)}\n`);
    return EXIT.done;
  }
  const parsed = parseArguments(program, command, line);
  checkPositionals(program, command, parsed.positionals);
  actionOf(program, command, parsed);
  return await command.run(parsed, io);
}

async function complete(
  program: string,
  command: Command | undefined,
  entries: readonly CommandEntry[],
  globals: OptionTable,
  line: readonly string[],
  io: Io,
): Promise<ExitCode> {
  // The word to complete, and the one before it, whose values it may be.
  const words = line.slice(1).slice(-2);
  const found = await completionsFor(program, command, entries, globals, words);
  await io.write(found.map((completion) => `${completion}\n`).join(""));
  return EXIT.done;
}

async function showVersion(program: string, io: Io): Promise<ExitCode> {
  await io.write(`${program} (SecureDGram) ${VERSION}\n`);
  return EXIT.done;
}

const ENDING: ReadonlySet<string> = new Set(["stop", "restart"]);

function unknownCommand(name: string, entries: readonly CommandEntry[]): DaemonError {
  const names = entries.map((entry) => entry.name);
  const near = nearest(name, names);
  // Whoever follows the hint must not end a daemon by it: `top` is near to `stop`.
  const guess = near !== undefined && ENDING.has(near) && near[0] !== name[0] ? undefined : near;
  const next = guess === undefined ? `Commands: ${names.join(", ")}.` : `Did you mean ${guess}?`;
  return usageError(`unknown command ${quoted(name)}`, next);
}

/** Says what went wrong, if anybody is to hear it; returns the exit code for it. */
function report(error: unknown, trace: boolean, io: Io): ExitCode {
  if (error instanceof OutputClosed) return EXIT.failed;
  if (error instanceof DaemonError) {
    io.say(`${io.program}: ${joined(error.message, error.next)}`);
  } else if (codeOf(error) === "EMFILE" || codeOf(error) === "ENFILE") {
    io.say(`${io.program}: ${joined("there are no file descriptors left", MORE_FILES)}`);
  } else if (codeOf(error) === "ERR_MODULE_NOT_FOUND") {
    // Node says so, too, of a module that it had no file descriptor for.
    const next = `install it anew with npm ci; if the file is there, ${MORE_FILES}`;
    io.say(`${io.program}: ${joined(reasonOf(error), next)}`);
  } else {
    io.say(
      `${io.program}: internal error: ${sentence(reasonOf(error))} Run it with --debug and report it.`,
    );
  }
  if (trace && error instanceof Error && error.stack !== undefined) {
    for (const line of error.stack.split("\n")) io.say(line);
  }
  return error instanceof DaemonError ? error.exitCode : EXIT.failed;
}

/** Node opens the files of a program side by side: its start takes more than the daemon ever does later. */
const MORE_FILES = "allow 1024: `ulimit -n 1024`, or LimitNOFILE=1024 in the unit";
const codeOf = (error: unknown): unknown =>
  error instanceof Error && "code" in error ? error.code : undefined;

/** What is wrong and what to do: two sentences, or one when the second begins small. */
export const joined = (message: string, next: string): string =>
  /^[a-z]/.test(next) ? `${message}; ${sentence(next)}` : `${sentence(message)} ${sentence(next)}`;

/** Ends like a sentence; the first letter stays, it may be a name. */
const sentence = (text: string): string => (/[.!?:\]-]$/.test(text) ? text : `${text}.`);
