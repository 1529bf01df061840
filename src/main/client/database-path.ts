// Which database a program means: flag, then environment, then the `.env` of the working directory,
// then the name that the older daemon used.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DaemonError, reasonOf } from "../../shared/base/errors.js";
import { parseEnvFile } from "../env-file.js";

const VARIABLE = "SECUREDGRAM_DB";
const DEFAULT_NAME = "securedgram.db";

/** The path, as it was given. An empty variable counts as not set. */
export function databasePath(
  flag: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
  directory: string,
): string {
  if (flag !== undefined) return flag;
  const set = environment[VARIABLE] ?? "";
  if (set !== "") return set;
  const inFile = envFileOf(directory).get(VARIABLE) ?? "";
  return inFile === "" ? DEFAULT_NAME : inFile;
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
