// Where the configuration is read from: command line, environment, `.env` of the working directory and
// the TOML file. What stands in them is judged in config.ts and config-keys.ts.

import { resolve } from "node:path";
import { DaemonError } from "../shared/base/errors.js";
import { nearest } from "./commands/nearest.js";
import { quoted } from "./commands/printable.js";
import { type ConfigFile, findConfigFile, readConfigFile } from "./config-file.js";
import { parseEnvFile } from "./env-file.js";
import { readTextFile, refuseUnlessOurs, refuseUnlessPrivate } from "./secrets.js";
import { namesOf, SETTING_NAMES } from "./settings.js";

export const ENV_SECRET = "SECUREDGRAM_SECRET";
export const ENV_IDENTITY = "SECUREDGRAM_IDENTITY";
const ENV_CONFIG = "SECUREDGRAM_CONFIG";

/**
 * Where a value may come from. `flags`: by the long name of the option, undefined when not given.
 */
export interface ConfigInput {
  readonly flags: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

/** The places, opened. */
export interface Sources extends ConfigInput {
  readonly envFile: ReadonlyMap<string, string>;
  readonly envFilePath: string;
  readonly file: ConfigFile | undefined;
  readonly warnings: string[];
}

/** `places`: a file that this user may not read is passed over. */
export function openSources(input: ConfigInput, purpose: "all" | "places"): Sources {
  const warnings: string[] = [];
  const envFilePath = resolve(input.cwd, ".env");
  const lenient = purpose === "places";
  const envFile = tolerant(lenient, () => readEnvFile(envFilePath, lenient, warnings)) ?? new Map();
  const named = input.flags["config"] ?? input.env[ENV_CONFIG] ?? envFile.get(ENV_CONFIG);
  const found = findConfigFile(named ? String(named) : undefined, input.env, input.cwd);
  const file =
    found === undefined
      ? undefined
      : tolerant(lenient && !found.isNamed, () => readConfigFile(found.path));
  return { ...input, envFile, envFilePath, file, warnings };
}

/** The result, or undefined when the file belongs to others and that may be so. */
function tolerant<T>(isTolerant: boolean, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const code = error instanceof DaemonError ? error.code : undefined;
    if (isTolerant && (code === "ERR_PERMISSION" || code === "ERR_FILE_MODE")) return undefined;
    throw error;
  }
}

function readEnvFile(
  path: string,
  lenient: boolean,
  warnings: string[],
): ReadonlyMap<string, string> {
  const file = readTextFile(path);
  if (file === undefined) return new Map();
  const values = parseEnvFile(new TextDecoder().decode(file.bytes));
  file.bytes.fill(0);
  const ours = [...values.keys()].filter((name) => name.startsWith("SECUREDGRAM_"));
  if (ours.length === 0 || lenient) return values;
  refuseUnlessOurs(file);
  if (values.get(ENV_SECRET)) refuseUnlessPrivate(file);
  const known = [ENV_SECRET, ENV_IDENTITY, ENV_CONFIG, ...variables()];
  for (const name of ours) {
    if (known.includes(name)) continue;
    const guess = nearest(name, known);
    const hint = guess === undefined ? "" : `; did you mean ${guess}?`;
    warnings.push(`${path} sets ${quoted(name)}, which nothing reads${hint}`);
  }
  return values;
}

const variables = (): readonly string[] =>
  SETTING_NAMES.flatMap((name) => namesOf(name).variable ?? []);
