// Which database a program means: flag, then environment, then the `.env` of the working directory,
// then the daemon's configuration file, then the name that the older daemon used.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DaemonError, reasonOf } from "../../shared/base/errors.js";
import { parseEnvFile } from "../env-file.js";

const VARIABLE = "SECUREDGRAM_DB";
const CONFIG_VARIABLE = "SECUREDGRAM_CONFIG";
const DEFAULT_NAME = "securedgram.db";

/** The path, as it was given. An empty variable counts as not set. */
export async function databasePath(
  flag: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
  directory: string,
): Promise<string> {
  if (flag !== undefined) return flag;
  const set = environment[VARIABLE] ?? "";
  if (set !== "") return set;
  const file = envFileOf(directory);
  const inFile = file.get(VARIABLE) ?? "";
  if (inFile !== "") return inFile;
  if (!mayHaveConfigFile(environment, file.get(CONFIG_VARIABLE))) return DEFAULT_NAME;
  // Judging that file takes longer than all the rest of a short command: only when there may be one.
  const { loadPlaces } = await import("../config.js");
  return loadPlaces({ flags: {}, env: environment, cwd: directory }).db;
}

/** A file that somebody named must be there; the daemon's own judgement says so when it is not. */
function mayHaveConfigFile(
  environment: Readonly<Record<string, string | undefined>>,
  named: string | undefined,
): boolean {
  if (named || environment[CONFIG_VARIABLE]) return true;
  const { XDG_CONFIG_HOME: user, HOME: home } = environment;
  const places = [user && join(user, "securedgram"), home && join(home, ".config/securedgram")];
  return [...places, "/etc/securedgram"].some((place) => place !== undefined && existsSync(place));
}

function envFileOf(directory: string): ReadonlyMap<string, string> {
  const path = join(directory, ".env");
  try {
    return parseEnvFile(readFileSync(path, "utf8"));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "EISDIR" || code === "ENOTDIR") return new Map();
    throw new DaemonError(
      "ERR_PERMISSION",
      `cannot read ${path}: ${reasonOf(error)}`,
      "Name the database with --db, or make the file readable for you.",
      error,
    );
  }
}
