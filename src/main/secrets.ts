// Secrets on their way in: 64 hex digits become 32 bytes that the caller can zero, and the files
// that hold them are refused, not warned about, when somebody else could read or replace them.
// No message of this file ever shows a part of a secret.

import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  realpathSync,
  type Stats,
  statSync,
} from "node:fs";
import { dirname, isAbsolute, join, resolve, sep } from "node:path";
import { DaemonError, reasonOf } from "../shared/base/errors.js";

/** Secret of a ring, or master of pairs, bytes. */
export const SECRET_BYTES = 32;
const SECRET_DIGITS = SECRET_BYTES * 2;
/** Longest file that can be a secret: the digits and some white space around them. */
const SECRET_FILE_BYTES_MAX = 4_096;
/** Longest `.env` or TOML file that is read. */
const TEXT_FILE_BYTES_MAX = 1_048_576;

/** How a new secret is made; ends every refusal of a missing or bad one. */
export const MAKE_SECRET = "Make one with `openssl rand -hex 32`.";

/** Overwrites bytes with zeros. */
export function wipe(bytes: Uint8Array | undefined): void {
  bytes?.fill(0);
}

/**
 * Reads 64 hex digits, of either case, into 32 new bytes that the caller owns. `source` names the
 * setting or the file in the refusal.
 */
export function parseSecret(digits: string | Uint8Array, source: string): Uint8Array {
  if (digits.length !== SECRET_DIGITS) {
    throw refusedSecret(`${source} has ${digits.length} characters, a secret has 64 hex digits`);
  }
  const secret = new Uint8Array(SECRET_BYTES);
  for (let i = 0; i < SECRET_DIGITS; i++) {
    const code = typeof digits === "string" ? digits.charCodeAt(i) : digits[i];
    const nibble = nibbleOf(code);
    if (nibble < 0) {
      wipe(secret);
      throw refusedSecret(`${source} has a character at place ${i + 1} that is no hex digit`);
    }
    secret[i >> 1] = (secret[i >> 1] << 4) | nibble;
  }
  if (secret.every((byte) => byte === 0)) throw refusedSecret(`${source} is all zeros`);
  return secret;
}

/** Where a secret file is looked for. */
export interface SecretPlaces {
  /** Directory that relative names start from: that of the file they stand in. */
  readonly base: string;
  /** $CREDENTIALS_DIRECTORY of systemd, where a relative name is looked for first. */
  readonly credentials: string | undefined;
}

/**
 * Reads a secret from a file that only its owner and root can read; the buffers on the way are
 * wiped.
 */
export function readSecretFile(name: string, places: SecretPlaces): Uint8Array {
  const path = secretPath(name, places);
  const file = readPrivateFile(path, SECRET_FILE_BYTES_MAX, "secret file");
  try {
    refuseUnlessPrivate(file, places.credentials);
    return parseSecret(trimmed(file.bytes), `secret file ${path}`);
  } finally {
    wipe(file.bytes);
  }
}

/** What was found where a file was opened. The bytes are the caller's, to wipe. */
export interface OpenedFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly stats: Stats;
  readonly symlink: boolean;
}

/**
 * Reads a `.env` or TOML file, a symbolic link too; `undefined` when there is none. What it may
 * hold is judged afterwards: {@link refuseUnlessOurs}, {@link refuseUnlessPrivate}.
 */
export function readTextFile(path: string): OpenedFile | undefined {
  if (!existsSync(path)) return undefined;
  const symlink = lstatSync(path).isSymbolicLink();
  const file = readPrivateFile(symlink ? realpathSync(path) : path, TEXT_FILE_BYTES_MAX, "file");
  return { ...file, path, symlink };
}

/** Refuses a file that another user than root and ourselves wrote, or could write. */
export function refuseUnlessOurs(file: OpenedFile): void {
  const own = process.geteuid?.() ?? file.stats.uid;
  if (file.stats.uid !== 0 && file.stats.uid !== own) {
    throw new DaemonError(
      "ERR_FILE_MODE",
      `${file.path} belongs to user id ${file.stats.uid}, not to this user (${own}) or root`,
      `Run: chown ${own} ${file.path}`,
    );
  }
  if ((file.stats.mode & 0o022) !== 0) {
    throw modeError(file, "can be written by other users", "chmod go-w");
  }
}

/**
 * Refuses a file with a secret unless it is no link, belongs to root or ourselves, is closed to
 * everybody else, and nobody else can put another one in its place. A directory with the sticky bit
 * will do: in it, only the owner of a file can replace it.
 */
export function refuseUnlessPrivate(file: OpenedFile, credentials?: string): void {
  if (file.symlink) {
    throw new DaemonError(
      "ERR_FILE_MODE",
      `${file.path} holds a secret and is a symbolic link`,
      "Put the file itself there, or name its real path.",
    );
  }
  refuseUnlessOurs(file);
  // systemd gives a service read access by an ACL, whose mask shows as the group's bits: 0440.
  const isCredential = credentials !== undefined && isInside(file.path, credentials);
  const forbidden = isCredential && file.stats.uid === 0 ? 0o037 : 0o077;
  if ((file.stats.mode & forbidden) !== 0) {
    throw modeError(file, "holds a secret and can be read by other users", "chmod 600");
  }
  const directory = dirname(realpathSync(file.path));
  const { mode } = statSync(directory);
  if ((mode & 0o022) !== 0 && (mode & 0o1000) === 0) {
    throw new DaemonError(
      "ERR_FILE_MODE",
      `${file.path} holds a secret, and other users can write to its directory`,
      `Run: chmod go-w ${directory}`,
    );
  }
}

/** Removes the secret from the environment, so that neither children nor reports get it. */
export function wipeEnvironmentSecret(): void {
  delete process.env["SECUREDGRAM_SECRET"];
}

function secretPath(name: string, places: SecretPlaces): string {
  if (isAbsolute(name)) return name;
  if (places.credentials !== undefined) {
    const path = resolve(places.credentials, name);
    if (isInside(path, places.credentials) && existsSync(path)) return path;
  }
  return join(places.base, name);
}

const isInside = (path: string, directory: string): boolean =>
  path.startsWith(resolve(directory) + sep);

/** Opens without following a link or waiting for a pipe, and reads from what was opened. */
function readPrivateFile(path: string, bytesMax: number, kind: string): OpenedFile {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw openError(path, kind, error);
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) {
      throw new DaemonError("ERR_FILE_MODE", `${path} is no regular file`, `Name a ${kind}.`);
    }
    if (stats.size > bytesMax) {
      throw new DaemonError("ERR_CONFIG", `${path} is too long`, `Name a ${kind}.`);
    }
    const bytes = new Uint8Array(stats.size);
    let length = 0;
    while (length < bytes.length) {
      const count = readSync(fd, bytes, length, bytes.length - length, null);
      if (count === 0) break;
      length += count;
    }
    return { path, bytes: bytes.subarray(0, length), stats, symlink: false };
  } finally {
    closeSync(fd);
  }
}

function openError(path: string, kind: string, error: unknown): DaemonError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOENT") {
    return new DaemonError(
      "ERR_CONFIG",
      `${kind} ${path} does not exist`,
      "Create it, with mode 600, or name another.",
    );
  }
  if (code === "ELOOP" || code === "EMLINK") {
    return new DaemonError(
      "ERR_FILE_MODE",
      `${kind} ${path} is a symbolic link`,
      "Put the file itself there, or name its real path.",
    );
  }
  if (code === "EACCES" || code === "EPERM") {
    return new DaemonError(
      "ERR_PERMISSION",
      `${kind} ${path} cannot be read by this user`,
      "Run as its owner or as root.",
    );
  }
  return new DaemonError("ERR_CONFIG", `${kind} ${path}: ${reasonOf(error)}`, "Check the path.");
}

function modeError(file: OpenedFile, trouble: string, remedy: string): DaemonError {
  const mode = (file.stats.mode & 0o7777).toString(8).padStart(4, "0");
  return new DaemonError(
    "ERR_FILE_MODE",
    `${file.path} ${trouble} (mode ${mode})`,
    `Run: ${remedy} ${file.path}`,
  );
}

const refusedSecret = (message: string): DaemonError =>
  new DaemonError("ERR_CONFIG_SECRET", message, MAKE_SECRET);

/** The bytes between leading and trailing white space, in the same memory. */
function trimmed(bytes: Uint8Array): Uint8Array {
  let start = 0;
  let end = bytes.length;
  while (start < end && bytes[start] <= 0x20) start++;
  while (end > start && bytes[end - 1] <= 0x20) end--;
  return bytes.subarray(start, end);
}

function nibbleOf(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}
