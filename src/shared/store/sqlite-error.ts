// What SQLite throws, told apart: wait and try again, make room and try again, or stop.

import { DaemonError, type DaemonErrorCode, reasonOf } from "../base/errors.js";

/** SQLite's extended result code, such as SQLITE_IOERR_FSYNC; "" for anything else that was thrown. */
export function sqliteCode(thrown: unknown): string {
  if (!(thrown instanceof Error) || !("code" in thrown)) return "";
  const code = thrown.code;
  return typeof code === "string" && code.startsWith("SQLITE_") ? code : "";
}

const is = (code: string, kind: string): boolean => code === kind || code.startsWith(`${kind}_`);

/** Somebody else holds a lock. */
export function isBusy(thrown: unknown): boolean {
  const code = sqliteCode(thrown);
  return is(code, "SQLITE_BUSY") || is(code, "SQLITE_LOCKED") || is(code, "SQLITE_PROTOCOL");
}

/** How a failed write is to be taken. `broken`: nothing of this file may be trusted from now on. */
export type WriteFailure = "busy" | "full" | "broken";

export function writeFailure(thrown: unknown): WriteFailure {
  if (thrown instanceof DaemonError && thrown.code === "ERR_DB_BUSY") return "busy";
  if (isBusy(thrown)) return "busy";
  return is(sqliteCode(thrown), "SQLITE_FULL") ? "full" : "broken";
}

/** The operating error for a person; a DaemonError passes through. */
export function storeError(path: string, thrown: unknown): DaemonError {
  if (thrown instanceof DaemonError) return thrown;
  const code = sqliteCode(thrown);
  const [ours, what, next] = describe(code);
  const said = code === "" ? reasonOf(thrown) : `${code}: ${reasonOf(thrown)}`;
  return new DaemonError(ours, `${what} ${path} (${said})`, next, thrown);
}

const RESTORE = "check the disk, then restore the file from a backup or move it away";

function describe(code: string): readonly [DaemonErrorCode, string, string] {
  if (is(code, "SQLITE_BUSY") || is(code, "SQLITE_LOCKED") || is(code, "SQLITE_PROTOCOL")) {
    return ["ERR_DB_BUSY", "another process locks", "end that process, then try again"];
  }
  if (is(code, "SQLITE_FULL")) {
    return ["ERR_DB_FULL", "no room left on the disk for", "make room, then try again"];
  }
  if (is(code, "SQLITE_IOERR") || is(code, "SQLITE_NOMEM")) {
    return ["ERR_DB_IO", "the system failed to read or write", "check the disk, then start again"];
  }
  if (is(code, "SQLITE_CORRUPT") || is(code, "SQLITE_NOTADB") || is(code, "SQLITE_FORMAT")) {
    return ["ERR_DB_DAMAGED", "damaged or no database:", RESTORE];
  }
  if (is(code, "SQLITE_ERROR") || is(code, "SQLITE_CONSTRAINT") || is(code, "SQLITE_MISMATCH")) {
    return ["ERR_DB_DAMAGED", "unexpected content in", RESTORE];
  }
  return ["ERR_DB_OPEN", "cannot open", "check the path, its owner and its permissions"];
}
