// Files with keys, written so that nobody else ever sees them and none is lost: mode 600 from the first
// byte, whole and synced before they have their name, never over another file unless that was asked.

import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DaemonError, reasonOf } from "../shared/base/errors.js";

/** Who a file belongs to, and what its mode is. */
export interface Ownership {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

const PRIVATE_MODE = 0o600;

/**
 * Makes a file of mode 600, or with `replace` puts it in another's place. `like`: whose it is to be, when
 * root writes for the daemon's user.
 */
export function writePrivateFile(
  path: string,
  content: string | Uint8Array,
  options: { readonly replace: boolean; readonly like?: Ownership | undefined },
): void {
  const { replace, like } = options;
  if (!replace) return writeWhole(path, content, like);
  const draft = draftOf(path);
  writeWhole(draft, content, like);
  putInPlace(draft, path);
}

/** Name of the file that becomes `path` once it is judged. */
export const draftOf = (path: string): string => `${path}.new-${process.pid}`;

/** Gives a whole and synced file its name, over what has it. */
export function putInPlace(draft: string, path: string): void {
  try {
    renameSync(draft, path);
    syncDirectory(dirname(path));
  } catch (error) {
    rmSync(draft, { force: true });
    throw unwritable(path, error);
  }
}

/** Writes and syncs a file that did not exist. */
export function writeWhole(
  path: string,
  content: string | Uint8Array,
  like: Ownership | undefined,
): void {
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
  let fd: number;
  try {
    fd = openSync(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, PRIVATE_MODE);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") throw exists(path);
    throw unwritable(path, error);
  }
  try {
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    if (like !== undefined && process.geteuid?.() === 0) fchownSync(fd, like.uid, like.gid);
    fchmodSync(fd, (like?.mode ?? PRIVATE_MODE) & 0o777);
    fsyncSync(fd);
  } catch (error) {
    rmSync(path, { force: true });
    throw unwritable(path, error);
  } finally {
    closeSync(fd);
  }
  syncDirectory(dirname(path));
}

/** Makes a folder that is ours alone, and those above it. */
export function makePrivateFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw unwritable(path, error);
  }
}

/** Makes a folder under that of the system for temporary files; whoever asks for it removes it. */
export function temporaryFolder(prefix: string): string {
  try {
    return mkdtempSync(join(tmpdir(), prefix));
  } catch (error) {
    const next = "Set TMPDIR to a folder that can be written to.";
    throw new DaemonError("ERR_PERMISSION", `no temporary folder: ${reasonOf(error)}`, next, error);
  }
}

/** Owner of a file, for others beside it. */
export function ownershipOf(path: string, mode = PRIVATE_MODE): Ownership {
  const { uid, gid } = statSync(path);
  return { uid, gid, mode };
}

/** `directory/name`, or the first of `name.2`, `name.3` that does not exist. */
export function freePath(directory: string, name: string): string {
  for (let i = 2, path = join(directory, name); ; i++) {
    if (!existsSync(path)) return path;
    path = join(directory, `${name}.${i}`);
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

const exists = (path: string): DaemonError =>
  new DaemonError(
    "ERR_OUTPUT",
    `${path} exists`,
    "Name another file; --force writes over it, and what is in it is lost.",
  );

const DRAFT = new RegExp(`\\.new-${process.pid}$`);
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "Make its folder first.",
  ENOTDIR: "What stands in front of its name is no folder.",
  ENOSPC: "Make room on that disk.",
  EDQUOT: "Make room: the quota of this user is used up.",
};
const FORBIDDEN = new Set(["EACCES", "EPERM", "EROFS"]);

/** Of the file that was meant, whatever it is called until it is whole. */
function unwritable(path: string, error: unknown): DaemonError {
  if (error instanceof DaemonError) return error;
  const code = String((error as NodeJS.ErrnoException).code);
  const shown = path.replace(DRAFT, "");
  return new DaemonError(
    FORBIDDEN.has(code) ? "ERR_PERMISSION" : "ERR_OUTPUT",
    `cannot write ${shown}: ${reasonOf(error).replaceAll(path, shown)}`,
    REASONS[code] ?? "See who owns its folder, and whether it can be written to.",
    error,
  );
}
