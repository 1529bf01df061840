// What a command is: plain tables that arguments.ts turns into a parser, help and completion, and one
// function that does the work. A command's module must import little at its top: every program that
// knows its name loads it, and sg-send should have run before a person looks up.

import type { ExitCode } from "../../shared/base/errors.js";
import type { Io } from "./io.js";

interface OptionBase {
  /** One letter, without the dash. */
  readonly short?: string;
  readonly summary: string;
  /** Works, but help and completion do not show it. */
  readonly hidden?: boolean;
}

export type OptionSpec =
  | (OptionBase & { readonly kind: "flag" })
  | (OptionBase & { readonly kind: "text"; readonly placeholder: string })
  /** May be given more than once. */
  | (OptionBase & { readonly kind: "list"; readonly placeholder: string })
  | (OptionBase & { readonly kind: "choice"; readonly choices: readonly string[] })
  | (OptionBase & {
      readonly kind: "integer" | "number";
      readonly placeholder: string;
      /** Both inclusive. */
      readonly min: number;
      readonly max: number;
    });

/** Options by their long name. */
export type OptionTable = Readonly<Record<string, OptionSpec>>;

type ValueOf<S extends OptionSpec> = S extends { readonly kind: "flag" }
  ? boolean
  : S extends { readonly kind: "integer" | "number" }
    ? number | undefined
    : S extends { readonly kind: "choice"; readonly choices: readonly (infer C)[] }
      ? C | undefined
      : S extends { readonly kind: "list" }
        ? readonly string[]
        : string | undefined;

/** What a command line said; an option that was not given is undefined, a flag false. */
export interface Arguments<O extends OptionTable> {
  readonly options: { readonly [K in keyof O]: ValueOf<O[K]> };
  readonly positionals: readonly string[];
}

/** What the first word behind a command's name may be, where it has several. */
export interface Action {
  readonly name: string;
  readonly summary: string;
  /** What follows it in the usage line. */
  readonly usage: string;
  /** Words behind it at least and at most. */
  readonly positionals: readonly [min: number, max: number];
  /** Options of the command that it takes beside the common ones. */
  readonly options: readonly string[];
}

export interface Command<O extends OptionTable = OptionTable> {
  readonly name: string;
  readonly summary: string;
  /** What follows the name in the usage line. */
  readonly usage: string;
  readonly options: O;
  /** Pairs and groups of options that cannot be given together, by long name. */
  readonly conflicts?: readonly (readonly string[])[];
  /** Positional arguments at least and at most, the action among them. */
  readonly positionals: readonly [min: number, max: number];
  readonly actions?: readonly Action[];
  /** Examples and rules, below the options in the help. */
  readonly epilogue?: string;
  /** Does the work. Throws DaemonError for whatever the person can mend. */
  run(args: Arguments<O>, io: Io): Promise<ExitCode>;
}

/** A command by name, loaded when it is asked for. */
export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

/** Options of every command; each command's table is laid over them. */
export const COMMON_OPTIONS = {
  debug: { kind: "flag", summary: "show the stack trace of an error" },
  version: { kind: "flag", short: "V", summary: "show the version" },
  help: { kind: "flag", short: "h", summary: "show this help" },
} as const satisfies OptionTable;

/** Keeps the exact types of a command's option table. */
export const defineCommand = <const O extends OptionTable>(command: Command<O>): Command<O> =>
  command;
