// The TOML file: where it is looked for, and its text as a judged table. Only importer of
// smol-toml.

import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parse, TomlError } from "smol-toml";
import { DaemonError } from "../shared/base/errors.js";
import { nearest } from "./commands/nearest.js";
import { quoted } from "./commands/printable.js";
import { type OpenedFile, readTextFile, refuseUnlessOurs, refuseUnlessPrivate } from "./secrets.js";
import { type FileTable, readTable, type TableFault } from "./settings.js";

export const CONFIG_FILE_NAME = "securedgram.toml";

export interface ConfigFile {
  readonly path: string;
  /** Where relative paths in it start. */
  readonly directory: string;
  readonly table: FileTable;
}

/** Path of the file, and whether somebody named it: a named one must exist. */
export function findConfigFile(
  named: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  cwd: string,
): { readonly path: string; readonly isNamed: boolean } | undefined {
  if (named !== undefined) return { path: resolve(cwd, named), isNamed: true };
  const directories = [userDirectory(env), "/etc"];
  for (const directory of directories) {
    if (directory === undefined) continue;
    const path = join(directory, "securedgram", CONFIG_FILE_NAME);
    if (existsSync(path)) return { path, isNamed: false };
  }
  return undefined;
}

/** Directory of the file that a command makes when there is none. */
export const configDirectory = (env: Readonly<Record<string, string | undefined>>): string =>
  join(userDirectory(env) ?? "/etc", "securedgram");

/**
 * Root's HOME may be another user's (sudo keeps it), so root's file is looked for where XDG says.
 */
function userDirectory(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const { XDG_CONFIG_HOME: directory, HOME: home } = env;
  if (directory?.startsWith("/")) return directory;
  return home?.startsWith("/") && process.geteuid?.() !== 0 ? join(home, ".config") : undefined;
}

/** Reads and judges the file at `path`. Throws when it is missing, not ours, or not understood. */
export function readConfigFile(path: string): ConfigFile {
  const file = readTextFile(path);
  if (file === undefined) {
    throw new DaemonError(
      "ERR_CONFIG",
      `configuration file ${path} does not exist`,
      "Create it, or name another with --config.",
    );
  }
  refuseUnlessOurs(file);
  const judged = readTable(parseText(file));
  if (!("table" in judged)) throw faultError(path, judged);
  const { table } = judged;
  const hasSecret =
    table.secret !== undefined || (table.peer ?? []).some(({ secret }) => secret !== undefined);
  if (hasSecret) refuseUnlessPrivate(file);
  return { path, directory: dirname(path), table };
}

function parseText(file: OpenedFile): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(file.bytes);
  } catch {
    throw new DaemonError("ERR_CONFIG", `${file.path} is not UTF-8 text`, "Save it as UTF-8.");
  }
  return parseToml(text, file.path);
}

/**
 * What a TOML text says; `path` is for the refusal. The parser's own message quotes the line, which may
 * be the one with the secret: it is not shown.
 */
export function parseToml(text: string, path: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    const place = error instanceof TomlError ? `line ${error.line}, column ${error.column}` : "it";
    throw new DaemonError(
      "ERR_CONFIG",
      `${path}: ${place} is not valid TOML`,
      "Correct it; text needs quotes, a table needs brackets.",
    );
  }
}

function faultError(path: string, fault: TableFault): DaemonError {
  const place = fault.at === "" ? "" : ` (${fault.at})`;
  if (fault.kind === "unfit") {
    return new DaemonError(
      "ERR_CONFIG",
      `${path}: ${fault.at} does not fit or is missing`,
      `It takes ${fault.expects}.`,
    );
  }
  const guess = nearest(fault.key, fault.known);
  return new DaemonError(
    "ERR_CONFIG",
    `${path}: unknown key ${quoted(fault.key)}${place}`,
    guess === undefined ? `Known here: ${fault.known.join(", ")}.` : `Did you mean ${guess}?`,
  );
}
