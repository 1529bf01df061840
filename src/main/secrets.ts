// Secrets on their way in: 64 hex digits, or 44 characters of base64, become 32 bytes that the caller
// can zero, and the files that hold them are refused, not warned about, when somebody else could read
// or replace them. No message of this file ever shows a part of a secret.

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
/** 32 bytes in base64: the last of the characters is `=`. */
export const BASE64_CHARACTERS = 44;
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
 * Reads 64 hex digits of either case, or 44 characters of base64, into 32 new bytes that the caller
 * owns. `source` names the setting or the file in the refusal.
 */
export function parseSecret(text: string | Uint8Array, source: string): Uint8Array {
  const isBase64 = text.length === BASE64_CHARACTERS;
  if (!isBase64 && text.length !== SECRET_DIGITS) {
    throw refusedSecret(
      `${source} has ${text.length} characters, a secret has 64 hex digits or 44 of base64`,
    );
  }
  const secret = isBase64 ? parseBase64(text) : parseHex(text, source);
  if (secret === undefined) throw refusedSecret(`${source} is not 32 bytes in base64`);
  if (secret.every((byte) => byte === 0)) throw refusedSecret(`${source} is all zeros`);
  return secret;
}

function parseHex(digits: string | Uint8Array, source: string): Uint8Array {
  const secret = new Uint8Array(SECRET_BYTES);
  for (let i = 0; i < SECRET_DIGITS; i++) {
    const nibble = nibbleOf(codeAt(digits, i));
    if (nibble < 0) {
      wipe(secret);
      throw refusedSecret(`${source} has a character at place ${i + 1} that is no hex digit`);
    }
    secret[i >> 1] = (secret[i >> 1] << 4) | nibble;
  }
  return secret;
}

/**
 * The 32 bytes of 44 characters of base64, in memory of their own; undefined for any other text, and
 * for one that has bits which no byte takes. Not Buffer: that skips what it does not know, and reads
 * into a pool that cannot be wiped.
 */
export function parseBase64(text: string | Uint8Array): Uint8Array | undefined {
  if (text.length !== BASE64_CHARACTERS) return undefined;
  if (codeAt(text, BASE64_CHARACTERS - 1) !== 0x3d) return undefined;
  const bytes = new Uint8Array(SECRET_BYTES);
  let bits = 0;
  let width = 0;
  let at = 0;
  let isGood = true;
  for (let i = 0; i < BASE64_CHARACTERS - 1; i++) {
    const value = base64Value(codeAt(text, i));
    isGood &&= value >= 0;
    bits = ((bits << 6) | value) & 0xffff;
    width += 6;
    if (width < 8) continue;
    width -= 8;
    bytes[at++] = bits >> width;
  }
  if (isGood && (bits & ((1 << width) - 1)) === 0) return bytes;
  wipe(bytes);
  return undefined;
}

/** 32 bytes as one line of base64, without its end. */
export const base64Text = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");

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
  return readKeyFile(name, places, "secret file", parseSecret);
}

/** Reads one key of another kind from such a file; `parse` gets its text, without white space around. */
export function readKeyFile(
  name: string,
  places: SecretPlaces,
  kind: string,
  parse: (text: Uint8Array, source: string) => Uint8Array,
): Uint8Array {
  const path = secretPath(name, places);
  const file = readPrivateFile(path, SECRET_FILE_BYTES_MAX, kind);
  try {
    refuseUnlessPrivate(file, places.credentials);
    return parse(trimmed(file.bytes), `${kind} ${path}`);
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
  for (const directory of directoriesOf(realpathSync(file.path))) {
    const { mode } = statSync(directory);
    if ((mode & 0o022) === 0 || (mode & 0o1000) !== 0) continue;
    throw new DaemonError(
      "ERR_FILE_MODE",
      `${file.path} holds a secret, and other users can write to its directory ${directory}`,
      `Run: chmod go-w ${directory}`,
    );
  }
}

/** The directory of a file, and those that lead to it. */
function directoriesOf(path: string): readonly string[] {
  const directory = dirname(path);
  return directory === path ? [] : [directory, ...directoriesOf(directory)];
}

/** Removes the secret from the environment, so that neither children nor reports get it. */
export function wipeEnvironmentSecret(): void {
  delete process.env["SECUREDGRAM_SECRET"];
}

/** Where a key file of this name is, or should be. */
export function secretPath(name: string, places: SecretPlaces): string {
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
export function trimmed(bytes: Uint8Array): Uint8Array {
  let start = 0;
  let end = bytes.length;
  while (start < end && bytes[start] <= 0x20) start++;
  while (end > start && bytes[end - 1] <= 0x20) end--;
  return bytes.subarray(start, end);
}

const codeAt = (text: string | Uint8Array, i: number): number =>
  typeof text === "string" ? text.charCodeAt(i) : text[i];

/** 0 to 63, or -1. */
function base64Value(code: number): number {
  if (code >= 0x41 && code <= 0x5a) return code - 0x41;
  if (code >= 0x61 && code <= 0x7a) return code - 0x61 + 26;
  if (code >= 0x30 && code <= 0x39) return code - 0x30 + 52;
  return code === 0x2b ? 62 : code === 0x2f ? 63 : -1;
}

function nibbleOf(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}
