// The database of a command: which file, and a connection to it that is closed again.

import type { ExitCode } from "../../shared/base/errors.js";
import type { Connection } from "../../shared/store/driver.js";
import { openDatabase } from "../../shared/store/open.js";
import { sqliteCode, storeError } from "../../shared/store/sqlite-error.js";
import { databasePath } from "../client/database-path.js";
import type { OptionSpec } from "./command.js";
import type { Io } from "./io.js";

export const DB_OPTION = {
  kind: "text",
  placeholder: "FILE",
  summary: "database (default: SECUREDGRAM_DB, from the environment or .env)",
} as const satisfies OptionSpec;

/** Opens the database that flag, environment or `.env` name, runs `work` and closes it. */
export async function withDatabase(
  flag: string | undefined,
  io: Io,
  work: (db: Connection, path: string) => Promise<ExitCode>,
): Promise<ExitCode> {
  const path = await databasePath(flag, io.environment, io.directory);
  const db = openDatabase(path, { role: "client", create: false });
  try {
    return await work(db, path);
  } catch (thrown) {
    throw sqliteCode(thrown) === "" ? thrown : storeError(path, thrown);
  } finally {
    db.close();
  }
}
