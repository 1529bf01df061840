// The daemon's configuration: command line, environment, `.env` and TOML file, parsed into one
// frozen value. Behind this door every setting has its type, its range and its meaning; nothing
// later looks at the environment again. A reload parses anew and takes over what may change.

import { resolve } from "node:path";
import { DaemonError } from "../shared/base/errors.js";
import { nearest } from "./commands/nearest.js";
import { quoted } from "./commands/printable.js";
import { type ConfigFile, findConfigFile, readConfigFile } from "./config-file.js";
import { parseEnvFile } from "./env-file.js";
import {
  type ConfigRing,
  copyKeys,
  makeRing,
  peerRings,
  readKeys,
  refuseSharedSecrets,
  wipeRing,
} from "./peers.js";
import {
  MAKE_SECRET,
  parseSecret,
  readSecretFile,
  readTextFile,
  refuseUnlessOurs,
  refuseUnlessPrivate,
  type SecretPlaces,
} from "./secrets.js";
import {
  fallbackOf,
  namesOf,
  readSetting,
  SETTING_NAMES,
  type SettingName,
  type Settings,
} from "./settings.js";

/**
 * Where a value may come from. `flags`: by the long name of the option, undefined when not given.
 */
export interface ConfigInput {
  readonly flags: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

export type LogLevel = "warn" | "info" | "debug";

/** Where the shared secret stood; one of the first two cannot change while the process lives. */
export type SecretOrigin = "flag" | "environment" | "env file" | "file" | "none";

/**
 * The settings, absolute paths, and the key rings. Frozen; only the secrets' bytes can be wiped.
 */
export interface Config extends Settings {
  readonly userIsExplicit: boolean;
  readonly logLevel: LogLevel;
  /** The shared ring first, if there is one, then the peers in the order of the file. */
  readonly rings: readonly ConfigRing[];
  readonly secretOrigin: SecretOrigin;
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

const ENV_SECRET = "SECUREDGRAM_SECRET";
const ENV_CONFIG = "SECUREDGRAM_CONFIG";
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
  changed.push(...changedRings(old.rings, fresh.rings));
  return { config, changed, restartOnly };
}

/** Overwrites all secrets of a configuration. */
export function wipeSecrets(config: Pick<Config, "rings">): void {
  for (const ring of config.rings) wipeRing(ring);
}

/** Finds the database and the pid file; a file that this user may not read is passed over. */
export function loadPlaces(input: ConfigInput): Places {
  const sources = openSources(input, "places");
  const settings = readSettings(sources);
  return Object.freeze({ db: settings.db, pidFile: settings.pidFile });
}

// --- Sources -----------------------------------------------------------------------------------

interface Sources extends ConfigInput {
  readonly envFile: ReadonlyMap<string, string>;
  readonly envFilePath: string;
  readonly file: ConfigFile | undefined;
  readonly warnings: string[];
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
  const { rings, origin } = readRings(sources, old);
  if (settings.lifeSeconds > LIFE_SAFE_SECONDS) {
    sources.warnings.push(
      "life is above 7d: a host may store a message twice when it comes after it was forgotten",
    );
  }
  const { debug, verbose } = input.flags;
  return Object.freeze({
    ...settings,
    userIsExplicit: given("user", sources) !== undefined,
    logLevel: debug === true ? "debug" : verbose === true ? "info" : "warn",
    rings,
    secretOrigin: origin,
    file: sources.file?.path,
    warnings: Object.freeze(sources.warnings),
  });
}

function openSources(input: ConfigInput, purpose: "all" | "places"): Sources {
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
  const known = [ENV_SECRET, ENV_CONFIG, ...variables()];
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

// --- Rings -------------------------------------------------------------------------------------

function readRings(
  sources: Sources,
  old: Config | undefined,
): { readonly rings: readonly ConfigRing[]; readonly origin: SecretOrigin } {
  const { file, env, cwd } = sources;
  const credentials = env["CREDENTIALS_DIRECTORY"];
  const places: SecretPlaces = { base: file?.directory ?? cwd, credentials };
  const rings: ConfigRing[] = [];
  try {
    const shared = sharedRing(sources, places, old);
    if (shared.ring !== undefined) rings.push(shared.ring);
    const { peer: peers = [], pair } = file?.table ?? {};
    rings.push(...peerRings(peers, pair, places, file?.path ?? ""));
    if (rings.length === 0) throw noSecret(sources);
    refuseSharedSecrets(rings);
    for (const ring of rings) freezeRing(ring);
    return { rings: Object.freeze(rings), origin: shared.origin };
  } catch (error) {
    for (const ring of rings) wipeRing(ring);
    throw error;
  }
}

function sharedRing(
  sources: Sources,
  places: SecretPlaces,
  old: Config | undefined,
): { readonly ring: ConfigRing | undefined; readonly origin: SecretOrigin } {
  const table = sources.file?.table;
  const { previous_secret_file: previous, next_secret_file: next } = table ?? {};
  const { origin, read } = findSecret(sources, places, old);
  if (origin === "flag") {
    sources.warnings.push("--secret is visible to other users of this machine; use a secret file");
  }
  if (read === undefined) {
    if (previous === undefined && next === undefined) return { ring: undefined, origin };
    throw new DaemonError(
      "ERR_CONFIG",
      `${sources.file?.path} has a previous or next secret and no current one`,
      "Add secret_file.",
    );
  }
  return { ring: makeRing("", Object.freeze([]), readKeys(read, previous, next, places)), origin };
}

/** The strongest source of the shared secret, and how to read it. */
function findSecret(
  { flags, env, envFile, envFilePath, file }: Sources,
  places: SecretPlaces,
  old: Config | undefined,
): { readonly origin: SecretOrigin; readonly read: (() => Uint8Array) | undefined } {
  const flag = flags["secret"];
  if (flag !== undefined)
    return { origin: "flag", read: () => parseSecret(String(flag), "--secret") };
  const variable = env[ENV_SECRET];
  if (variable) return { origin: "environment", read: () => parseSecret(variable, ENV_SECRET) };
  if (old?.secretOrigin === "flag" || old?.secretOrigin === "environment") {
    return { origin: old.secretOrigin, read: () => keptSecret(old) };
  }
  const line = envFile.get(ENV_SECRET);
  if (line) {
    return { origin: "env file", read: () => parseSecret(line, `${ENV_SECRET} in ${envFilePath}`) };
  }
  const { secret, secret_file: secretFile } = file?.table ?? {};
  if (secret !== undefined && secretFile !== undefined) {
    throw new DaemonError(
      "ERR_CONFIG",
      `${file?.path} has both secret and secret_file`,
      "Leave one of them.",
    );
  }
  if (secret !== undefined) {
    return { origin: "file", read: () => parseSecret(secret, `secret in ${file?.path}`) };
  }
  if (secretFile !== undefined) {
    return { origin: "file", read: () => readSecretFile(secretFile, places) };
  }
  return { origin: "none", read: undefined };
}

function keptSecret(old: Config): Uint8Array {
  const secret = copyKeys(old.rings[0].keys).current;
  if (secret.some((byte) => byte !== 0)) return secret;
  throw new DaemonError(
    "ERR_CONFIG_SECRET",
    "the secret of the command line or the environment was wiped after the start",
    "Restart the daemon, or keep the secret in a file.",
  );
}

function noSecret({ file, envFilePath }: Sources): DaemonError {
  const place = file === undefined ? "" : ` or ${file.path}`;
  return new DaemonError(
    "ERR_CONFIG",
    `no secret in the environment, ${envFilePath}${place}, and no peer`,
    `${MAKE_SECRET.slice(0, -1)} and set ${ENV_SECRET} to it in a .env of mode 600.`,
  );
}

function freezeRing(ring: ConfigRing): void {
  Object.freeze(ring.addresses);
  Object.freeze(ring.keys);
  Object.freeze(ring);
}

/** Rings that came, went, or have other keys or addresses. */
function changedRings(old: readonly ConfigRing[], fresh: readonly ConfigRing[]): readonly string[] {
  const before = new Map(old.map(({ name, fingerprint }) => [name, fingerprint]));
  const after = new Map(fresh.map(({ name, fingerprint }) => [name, fingerprint]));
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names]
    .filter((name) => before.get(name) !== after.get(name))
    .map((name) => (name === "" ? "secret" : `peer ${name}`));
}
