// The daemon's configuration: command line, environment, `.env` and TOML file, parsed into one
// frozen value. Behind this door every setting has its type, its range and its meaning; nothing
// later looks at the environment again. A reload parses anew and takes over what may change.

import { resolve } from "node:path";
import { DaemonError } from "../shared/base/errors.js";
import { quoted } from "./commands/printable.js";
import { changedKeys, type Keys, readAllKeys } from "./config-keys.js";
import { type ConfigInput, openSources, type Sources } from "./config-sources.js";
import {
  fallbackOf,
  namesOf,
  readSetting,
  SETTING_NAMES,
  type SettingName,
  type Settings,
} from "./settings.js";

export { wipeReadKeys, wipeSecrets } from "./config-keys.js";
export type { ConfigInput } from "./config-sources.js";

export type LogLevel = "warn" | "info" | "debug";

/**
 * The settings, absolute paths, and the key rings. Frozen; only the secrets' bytes can be wiped.
 */
export interface Config extends Settings, Keys {
  readonly userIsExplicit: boolean;
  readonly logLevel: LogLevel;
  /** Path of the TOML file that was read. */
  readonly file: string | undefined;
  /** Sentences that a person should hear once. */
  readonly warnings: readonly string[];
}

/** What a reload did and did not do. */
export interface Reloaded {
  readonly config: Config;
  /** Settings by their key in the file, `secret`, and `peer NAME`. */
  readonly changed: readonly string[];
  /** Settings that differ now and stay as they were until a restart. */
  readonly restartOnly: readonly string[];
}

/** What commands beside the daemon need to find it; reading it takes no secret. */
export type Places = Pick<Config, "db" | "pidFile">;

/** Life up to which a receiver is sure to remember an id. Source: store.md, tombstones. */
const LIFE_SAFE_SECONDS = 7 * 86_400;

/** Reads the whole configuration. Throws DaemonError for the first thing that does not fit. */
export function loadConfig(input: ConfigInput): Config {
  return load(input, undefined);
}

/**
 * Reads the configuration again and keeps of the old one what only a restart may change. A secret
 * from the command line or the environment stays, as the environment was wiped: its bytes in `old`
 * must not have been. The new rings' secrets are copies; wipe the old ones with wipeSecrets.
 */
export function reloadConfig(old: Config, input: ConfigInput): Reloaded {
  const fresh = load(input, old);
  const changed: string[] = [];
  const restartOnly: string[] = [];
  for (const name of SETTING_NAMES) {
    if (Object.is(old[name], fresh[name])) continue;
    const { key, reload } = namesOf(name);
    (reload ? changed : restartOnly).push(key);
  }
  const settings = collect((name) => (namesOf(name).reload ? fresh : old)[name]);
  const { logLevel, userIsExplicit } = old;
  const config = Object.freeze({ ...fresh, ...settings, logLevel, userIsExplicit });
  changed.push(...changedKeys(old, fresh));
  return { config, changed, restartOnly };
}

/** Finds the database and the pid file; a file that this user may not read is passed over. */
export function loadPlaces(input: ConfigInput): Places {
  const sources = openSources(input, "places");
  const settings = readSettings(sources);
  return Object.freeze({ db: settings.db, pidFile: settings.pidFile });
}

/** A value as somebody gave it. */
interface Given {
  readonly value: unknown;
  readonly where: string;
  /** Directory that a relative path starts from. */
  readonly base: string;
}

function load(input: ConfigInput, old: Config | undefined): Config {
  const sources = openSources(input, "all");
  const settings = readSettings(sources);
  const keys = readAllKeys(sources, settings.port, old);
  if (settings.lifeSeconds > LIFE_SAFE_SECONDS) {
    sources.warnings.push(
      "life is above 7d: by classic, a host may store a message twice when it comes after it was forgotten",
    );
  }
  const { debug, verbose } = input.flags;
  return Object.freeze({
    ...settings,
    userIsExplicit: given("user", sources) !== undefined,
    logLevel: debug === true ? "debug" : verbose === true ? "info" : "warn",
    ...keys,
    file: sources.file?.path,
    warnings: Object.freeze(sources.warnings),
  });
}

/**
 * The value of the strongest source: flag, environment, `.env`, file. Empty variables count as
 * unset.
 */
function given(name: SettingName, sources: Sources): Given | undefined {
  const { key, flag, variable } = namesOf(name);
  const { flags, env, envFile, envFilePath, file, cwd } = sources;
  if (flags[flag] !== undefined) return { value: flags[flag], where: `--${flag}`, base: cwd };
  if (variable !== undefined) {
    const value = env[variable];
    if (value) return { value, where: variable, base: cwd };
    const second = envFile.get(variable);
    if (second) return { value: second, where: `${variable} in ${envFilePath}`, base: cwd };
  }
  const third = file?.table[key];
  if (file === undefined || third === undefined) return undefined;
  return { value: third, where: `${key} in ${file.path}`, base: file.directory };
}

// --- Settings ----------------------------------------------------------------------------------

function readSettings(sources: Sources): Settings {
  return collect((name) => {
    const found = given(name, sources);
    return found === undefined ? fallback(name, sources) : judge(name, found);
  });
}

/** Each value must have come out of the schema, or be the fallback, of its own name. */
const collect = (read: (name: SettingName) => Settings[SettingName]): Settings =>
  Object.fromEntries(SETTING_NAMES.map((name) => [name, read(name)])) as Settings;

function judge(name: SettingName, found: Given): Settings[SettingName] {
  const result = readSetting(name, found.value);
  if ("expects" in result) {
    const shown = typeof found.value === "object" ? "a table" : quoted(String(found.value));
    throw new DaemonError(
      "ERR_CONFIG",
      `${found.where} is ${shown}, which does not fit`,
      `It takes ${result.expects}.`,
    );
  }
  return namesOf(name).path ? absolute(name, String(result.value), found.base) : result.value;
}

const absolute = (name: SettingName, path: string, base: string): string =>
  name === "log" && (path === "syslog" || path === "stdout") ? path : resolve(base, path);

/** The default; the files of a service live where systemd made room for them. */
function fallback(name: SettingName, { env, cwd }: Sources): Settings[SettingName] {
  const result = fallbackOf(name);
  if (!namesOf(name).path) return result;
  const directory = name === "db" ? env["STATE_DIRECTORY"] : env["RUNTIME_DIRECTORY"];
  return absolute(name, String(result), directory?.split(":")[0] || cwd);
}
