// Command line words -> long options and positionals, by the tables of command.ts. It exists beside
// yargs because the older tools' lines must work as typed: options of the daemon before the command
// word, `-fpayload.json` and `-m0123...` with the value glued on, values that look like numbers; and
// because a wrong flag must be named as the person wrote it. What comes out has one spelling only.

import { DaemonError } from "../../shared/base/errors.js";
import type { OptionSpec, OptionTable } from "./command.js";
import { nearest } from "./nearest.js";
import { quoted } from "./printable.js";

export interface Words {
  /** `--name` or `--name=value`, in the order given. */
  readonly options: readonly string[];
  readonly positionals: readonly string[];
}

export interface SplitLine {
  /** Options in front of the command word, spelled long. */
  readonly before: readonly string[];
  /** Undefined when the line has no command. */
  readonly command: string | undefined;
  readonly after: readonly string[];
}

export const usageError = (message: string, next: string): DaemonError =>
  new DaemonError("ERR_USAGE", message, next);

/** Reads a whole line by one table. */
export function expandWords(line: readonly string[], table: OptionTable): Words {
  const reader = new WordReader(line, table);
  const positionals: string[] = [];
  for (let word = reader.positional(); word !== undefined; word = reader.positional()) {
    positionals.push(word);
  }
  return { options: reader.options, positionals };
}

/** Finds the command word: the first that is no option of `table` and no value of one. */
export function splitLine(line: readonly string[], table: OptionTable): SplitLine {
  const reader = new WordReader(line, table);
  const command = reader.positional();
  return { before: reader.options, command, after: reader.rest };
}

/** Walks the words; collects options until a positional comes. */
class WordReader {
  readonly options: string[] = [];
  readonly #line: readonly string[];
  readonly #table: OptionTable;
  #at = 0;
  #onlyPositionals = false;

  constructor(line: readonly string[], table: OptionTable) {
    this.#line = line;
    this.#table = table;
  }

  get rest(): readonly string[] {
    return this.#line.slice(this.#at);
  }

  positional(): string | undefined {
    while (this.#at < this.#line.length) {
      const word = this.#line[this.#at++];
      if (this.#onlyPositionals || word === "-" || !word.startsWith("-")) return word;
      if (word === "--") this.#onlyPositionals = true;
      else if (word.startsWith("--")) this.#long(word);
      else this.#cluster(word);
    }
    return undefined;
  }

  #long(word: string): void {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word.slice(2) : word.slice(2, equals);
    const spec = Object.hasOwn(this.#table, name) ? this.#table[name] : undefined;
    if (spec === undefined) throw this.#unknown(equals < 0 ? word : word.slice(0, equals), name);
    if (spec.kind !== "flag") {
      this.#take(name, spec, equals < 0 ? undefined : word.slice(equals + 1), `--${name}`);
    } else if (equals < 0) {
      this.options.push(`--${name}`);
    } else {
      throw usageError(`--${name} takes no value`, `Write --${name} alone.`);
    }
  }

  /** `-q`, `-qf file`, `-n20`: flags, then at most one option whose value is the rest. */
  #cluster(word: string): void {
    for (let i = 1; i < word.length; i++) {
      const letter = word[i];
      const [name, spec] = this.#byLetter(letter);
      if (spec === undefined) throw this.#unknown(i === 1 ? word : `-${letter}`, "");
      if (spec.kind === "flag") {
        this.options.push(`--${name}`);
        continue;
      }
      const glued = word.slice(i + 1);
      this.#take(name, spec, glued === "" ? undefined : glued.replace(/^=/, ""), `-${letter}`);
      return;
    }
  }

  #take(name: string, spec: OptionSpec, glued: string | undefined, asTyped: string): void {
    const value = glued ?? this.#line[this.#at++];
    if (value === undefined) throw usageError(`${asTyped} needs a value`, this.#seeHelp());
    if (spec.kind === "choice" && !spec.choices.includes(value)) {
      const guess = nearest(value, spec.choices);
      throw usageError(
        `${asTyped} does not know ${quoted(value)}`,
        guess === undefined ? `Give one of ${spec.choices.join(", ")}.` : `Did you mean ${guess}?`,
      );
    }
    this.options.push(`--${name}=${value}`);
  }

  #byLetter(letter: string): readonly [string, OptionSpec | undefined] {
    for (const [name, spec] of Object.entries(this.#table)) {
      if (spec.short === letter) return [name, spec];
    }
    return ["", undefined];
  }

  #unknown(asTyped: string, name: string): DaemonError {
    const shown = Object.keys(this.#table).filter((known) => this.#table[known].hidden !== true);
    const guess = nearest(name, shown);
    const next = guess === undefined ? this.#seeHelp() : `Did you mean --${guess}?`;
    return usageError(`unknown option ${quoted(asTyped)}`, next);
  }

  #seeHelp(): string {
    return "Use --help to see all options.";
  }
}
