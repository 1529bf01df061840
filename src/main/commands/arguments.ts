// The yargs frame, and the only importer of yargs: types, choices, conflicts, help and completion
// come from it, its words and its exits do not. What it is given has been spelled out by argv.ts.

import yargs, { type Argv, type Options } from "yargs";
import { assert } from "../../shared/base/assert.js";
import { DaemonError, reasonOf } from "../../shared/base/errors.js";
import { expandWords, usageError } from "./argv.js";
import {
  type Action,
  type Arguments,
  COMMON_OPTIONS,
  type Command,
  type CommandEntry,
  type OptionSpec,
  type OptionTable,
} from "./command.js";
import { nearest } from "./nearest.js";
import { printable, quoted } from "./printable.js";

const HELP_COLUMNS = 100;

type Value = boolean | string | number | readonly string[] | undefined;

/** Values stay the text that was typed; a name stands for itself. */
const PARSER = {
  "boolean-negation": false,
  "camel-case-expansion": false,
  "dot-notation": false,
  "duplicate-arguments-array": false,
  "greedy-arrays": false,
  "parse-numbers": false,
  "parse-positional-numbers": false,
  "populate--": true,
  "strip-aliased": true,
} as const;

/** All options that a command takes. */
export const optionsOf = (command: Command): OptionTable => ({
  ...COMMON_OPTIONS,
  ...command.options,
});

/** Reads the words behind a command's name. Throws ERR_USAGE, one line, for what does not fit. */
export function parseArguments(program: string, command: Command, line: readonly string[]) {
  const table = optionsOf(command);
  const words = expandWords(line, table);
  const parser = frame(program, command);
  let parsed: Readonly<Record<string, unknown>> = {};
  try {
    parsed = parser.parseSync([...words.options, "--", ...words.positionals]);
  } catch (error) {
    if (error instanceof DaemonError) throw error;
    throw usageError(printable(reasonOf(error)), "Use --help to see all options.");
  }
  const options: Record<string, Value> = {};
  for (const [name, spec] of Object.entries(table)) {
    const value = Object.hasOwn(parsed, name) ? parsed[name] : undefined;
    options[name] = spec.kind === "list" ? listOf(name, words.options) : convert(name, spec, value);
  }
  refuseConflicts(command, options);
  const positionals = words.positionals;
  return { options, positionals } satisfies Arguments<OptionTable>;
}

/** Values of an option that may be given more than once, in their order. */
const listOf = (name: string, words: readonly string[]): readonly string[] =>
  words.flatMap((word) => (word.startsWith(`--${name}=`) ? [word.slice(name.length + 3)] : []));

/**
 * The action that a line names, and the words behind it. Throws ERR_USAGE for one that does not exist,
 * for options that it does not take, for too few words or too many.
 */
export function actionOf(
  program: string,
  command: Command,
  { options, positionals }: Arguments<OptionTable>,
): Action | undefined {
  const { actions } = command;
  if (actions === undefined || positionals.length === 0) return undefined;
  const [word] = positionals;
  const action = actions.find(({ name }) => name === word);
  const names = actions.map(({ name }) => name);
  if (action === undefined) {
    const guess = nearest(word, names);
    throw usageError(
      `${command.name} does not know ${quoted(word)}`,
      guess === undefined ? `Give one of ${names.join(", ")}.` : `Did you mean ${guess}?`,
    );
  }
  const allowed = new Set([...Object.keys(COMMON_OPTIONS), ...action.options]);
  for (const [name, value] of Object.entries(options)) {
    const isGiven = Array.isArray(value)
      ? value.length > 0
      : value !== undefined && value !== false;
    if (!isGiven || allowed.has(name)) continue;
    throw usageError(
      `${command.name} ${action.name} does not take --${name}`,
      "Use --help to see what it takes.",
    );
  }
  checkCount(
    positionals.slice(1),
    action.positionals,
    `Usage: ${calledAs(program, command)} ${action.name} ${action.usage}`.trimEnd(),
  );
  return action;
}

/** Refuses too few or too many words; apart from parsing, so that --help needs none. */
export function checkPositionals(
  program: string,
  command: Command,
  positionals: readonly string[],
): void {
  const usage = `Usage: ${calledAs(program, command)} ${command.usage}`.trimEnd();
  checkCount(positionals, command.positionals, usage);
}

function checkCount(
  words: readonly string[],
  [least, most]: readonly [number, number],
  usage: string,
): void {
  if (words.length < least) throw usageError("arguments are missing", usage);
  if (words.length > most) {
    throw usageError(`${quoted(words[most])} is one argument too many`, usage);
  }
}

/** Help of one command. */
export async function commandHelp(program: string, command: Command): Promise<string> {
  const usage = `Usage: ${calledAs(program, command)} ${command.usage}`.trimEnd();
  const parser = frame(program, command).usage(`${usage}\n\n${command.summary}`);
  if (command.epilogue !== undefined) parser.epilogue(command.epilogue);
  return withPlaceholders(await parser.getHelp(), optionsOf(command));
}

/** Help of the program with all its commands. */
export async function programHelp(
  program: string,
  entries: readonly CommandEntry[],
  globals: OptionTable,
): Promise<string> {
  const help = await programFrame(program, entries, globals)
    .usage("Usage: $0 [options] COMMAND\n\nEncrypted messages between hosts, with receipts.")
    .epilogue(`Use "${program} COMMAND --help" for the options of a command.`)
    .getHelp();
  return withPlaceholders(help, { ...COMMON_OPTIONS, ...globals });
}

/** What may follow on the command line, as the shell named in SHELL wants it. */
export function completionsFor(
  program: string,
  command: Command | undefined,
  entries: readonly CommandEntry[],
  globals: OptionTable,
  words: readonly string[],
): Promise<readonly string[]> {
  const parser =
    command === undefined ? programFrame(program, entries, globals) : frame(program, command);
  return new Promise((resolve) => {
    // yargs offers one letter with two dashes when two were typed: no such option.
    const exists = (word: string): boolean => !/^--.(?:$|[:\t])/.test(word);
    parser.getCompletion([...words], (_error, found) => resolve((found ?? []).filter(exists)));
  });
}

/** The script that `shell` sources to ask `program` for completions. */
export function completionScript(program: string, shell: "bash" | "zsh" | "fish"): string {
  // yargs knows no other way to be told.
  process.env.SHELL = shell;
  delete process.env.ZSH_NAME;
  let script = "";
  bare(program)
    .completion("completion", "")
    .parse(["completion"], (_error: unknown, _parsed: unknown, output: string) => {
      script = output;
    });
  assert(script !== "", "yargs hands its output to the parse callback");
  return `${script}\n`;
}

/** `sg-send`, or `securedgram send`. */
const calledAs = (program: string, command: Command): string =>
  program.endsWith(`-${command.name}`) ? program : `${program} ${command.name}`;

/** yargs says [string] and [boolean]; people want to know what to write. */
function withPlaceholders(help: string, table: OptionTable): string {
  const wanted = Object.values(table)
    .filter((spec) => spec.kind !== "flag" && spec.hidden !== true)
    .map((spec) => ("placeholder" in spec ? spec.placeholder : ""));
  return help.replaceAll(/ *\[boolean\]/g, "").replaceAll(/ ?\[string\]/g, () => {
    const placeholder = wanted.shift() ?? "";
    return placeholder === "" ? "" : `[${placeholder}]`.padStart(" [string]".length);
  });
}

function bare(program: string): Argv {
  return yargs([])
    .scriptName(program)
    .locale("en")
    .parserConfiguration(PARSER)
    .help(false)
    .version(false)
    .exitProcess(false)
    .showHelpOnFail(false)
    .fail(false)
    .wrap(HELP_COLUMNS);
}

function frame(program: string, command: Command): Argv {
  const { actions = [] } = command;
  const parser = bare(actions.length === 0 ? program : calledAs(program, command))
    .strictOptions()
    .options(yargsOptions(optionsOf(command)));
  for (const { name, usage, summary } of actions) {
    parser.command(`${name} ${usage}`.trimEnd(), summary);
  }
  return parser;
}

function programFrame(
  program: string,
  entries: readonly CommandEntry[],
  globals: OptionTable,
): Argv {
  const parser = bare(program).options(yargsOptions({ ...COMMON_OPTIONS, ...globals }));
  for (const entry of entries) parser.command(entry.name, entry.summary);
  return parser;
}

function yargsOptions(table: OptionTable): Record<string, Options> {
  const options: Record<string, Options> = {};
  for (const [name, spec] of Object.entries(table)) {
    options[name] = {
      type: spec.kind === "flag" ? "boolean" : "string",
      description: spec.summary,
      ...(spec.short === undefined ? {} : { alias: spec.short }),
      ...(spec.hidden === undefined ? {} : { hidden: spec.hidden }),
      ...(spec.kind === "choice" ? { choices: spec.choices } : {}),
      ...(spec.kind === "flag" ? {} : { requiresArg: true }),
    };
  }
  return options;
}

function convert(
  name: string,
  spec: OptionSpec,
  value: unknown,
): boolean | string | number | undefined {
  if (spec.kind === "flag") return value === true;
  if (value === undefined) return undefined;
  assert(typeof value === "string", "yargs leaves values the text they were");
  if (spec.kind !== "integer" && spec.kind !== "number") return value;
  const shape = spec.kind === "integer" ? /^\d{1,15}$/ : /^\d{1,15}(\.\d{1,9})?$/;
  const number = shape.test(value) ? Number(value) : Number.NaN;
  if (number >= spec.min && number <= spec.max) return number;
  const what = spec.kind === "integer" ? "a whole number" : "a number";
  throw usageError(
    `--${name} ${quoted(value)} does not fit`,
    `Give ${what} from ${spec.min} to ${spec.max}.`,
  );
}

function refuseConflicts(command: Command, options: Readonly<Record<string, Value>>): void {
  for (const group of command.conflicts ?? []) {
    const given = group.filter((name) => options[name] !== undefined && options[name] !== false);
    if (given.length > 1) {
      const names = given.map((name) => `--${name}`).join(" and ");
      throw usageError(`${names} exclude each other`, "Give one of them.");
    }
  }
}
