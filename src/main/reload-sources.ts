// What a reload must be able to read again. A daemon that root started has given its rights up by then,
// and a file in a folder that it cannot even look into must not pass for one that was taken away: its
// settings would fall back to the defaults, and its peers would be gone.

import { accessSync, constants, existsSync } from "node:fs";
import { resolve } from "node:path";
import { DaemonError, reasonOf } from "../shared/base/errors.js";
import type { Config } from "./config.js";

const RESTART_AS_ROOT =
  "Run `securedgram restart` as root, or have the daemon started as its own user, which owns its files.";

/** Files that a configuration was read from. Asked before the daemon gives up any right. */
export function sourcesOf(
  { file, keyFiles }: Pick<Config, "file" | "keyFiles">,
  directory: string,
): readonly string[] {
  const paths = [resolve(directory, ".env"), ...(file === undefined ? [] : [file]), ...keyFiles];
  return [...new Set(paths)].filter((path) => existsSync(path));
}

/** Refuses a reload when one of them is closed to us; one that is gone counts as taken away. */
export function requireSources(paths: readonly string[]): void {
  for (const path of paths) {
    try {
      accessSync(path, constants.R_OK);
    } catch (error) {
      if (!isDenial(error)) continue;
      throw new DaemonError(
        "ERR_PERMISSION",
        `file ${path} cannot be read by this user`,
        "Run as its owner or as root.",
        error,
      );
    }
  }
}

/** Why a reload failed, as a log line has it. `user`: who the daemon has become, if root started it. */
export function reloadFailure(
  error: unknown,
  user: string | undefined,
): { readonly reason: string; readonly next: string } {
  const next = error instanceof DaemonError ? error.next : "";
  const reason = reasonOf(error);
  if (user === undefined || !isDenial(error)) return { reason, next };
  return {
    reason: `${reason}: the daemon was started by root and is user ${user} now`,
    next: RESTART_AS_ROOT,
  };
}

function isDenial(error: unknown): boolean {
  if (error instanceof DaemonError) return error.code === "ERR_PERMISSION";
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "EACCES" || code === "EPERM";
}
