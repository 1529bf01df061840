// Changes the configuration file for a person: the text as little as possible, the result parsed and
// judged as the daemon will before it takes the file's place, and never over what somebody else wrote
// meanwhile.

import { existsSync, realpathSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { DaemonError } from "../shared/base/errors.js";
import { loadConfig, wipeSecrets } from "./config.js";
import { CONFIG_FILE_NAME, configDirectory, parseToml } from "./config-file.js";
import type { ConfigInput, Sources } from "./config-sources.js";
import {
  draftOf,
  makePrivateFolder,
  type Ownership,
  ownershipOf,
  putInPlace,
  writeWhole,
} from "./private-file.js";
import { readTextFile, refuseUnlessOurs } from "./secrets.js";

/** One change, twice: on the text, and on what the text means. They must agree. */
export interface Edit {
  /** Undefined: the text has no place for it. */
  readonly onText: (text: string) => string | undefined;
  readonly onTable: (table: TomlTable) => void;
  /** Takes something away: what is wrong afterwards is said, not refused. */
  readonly removes?: true;
}

export interface TomlTable {
  [key: string]: unknown;
  peer?: Record<string, unknown>[];
}

export interface Edited {
  readonly path: string;
  /** What is wrong with the configuration although the change was made. */
  readonly wrong: string | undefined;
}

const BY_HAND = "Change the file by hand.";

/** The file that an edit goes to; it need not exist. */
export function editedPath(sources: Sources, named: string | undefined): string {
  const found = sources.file?.path ?? named;
  return found ?? join(configDirectory(sources.env), CONFIG_FILE_NAME);
}

/** Makes the change, or throws and leaves the file as it was. */
export function editConfig(path: string, edit: Edit, input: ConfigInput): Edited {
  const target = existsSync(path) ? realpathSync(path) : path;
  const before = textOf(target);
  const after = before === undefined ? edit.onText("") : edit.onText(before.text);
  const wanted = parseToml(before?.text ?? "", target) as TomlTable;
  edit.onTable(wanted);
  if (after === undefined || !isSame(parseOr(after, target), wanted)) {
    throw new DaemonError(
      "ERR_CONFIG",
      `${path} is written in a way that this command does not know`,
      BY_HAND,
    );
  }
  if (before === undefined) makePrivateFolder(dirname(target));
  const draft = draftOf(target);
  writeWhole(draft, after, before?.like);
  try {
    const isLenient = edit.removes === true;
    const wrong = judge(draft, path, before !== undefined, isLenient, input);
    if (textOf(target)?.text !== before?.text) {
      throw new DaemonError(
        "ERR_CONFIG",
        `${path} was changed meanwhile`,
        "Run the command again.",
      );
    }
    putInPlace(draft, target);
    return { path, wrong };
  } finally {
    rmSync(draft, { force: true });
  }
}

/** An edit of several steps. */
export const editOf = (...edits: readonly Edit[]): Edit => ({
  onText: (text) =>
    edits.reduce<string | undefined>(
      (done, edit) => (done === undefined ? undefined : edit.onText(done)),
      text,
    ),
  onTable: (table) => {
    for (const edit of edits) edit.onTable(table);
  },
});

interface Before {
  readonly text: string;
  readonly like: Ownership;
}

function textOf(path: string): Before | undefined {
  const file = readTextFile(path);
  if (file === undefined) return undefined;
  refuseUnlessOurs(file);
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(file.bytes);
  file.bytes.fill(0);
  return { text, like: ownershipOf(path, file.stats.mode & 0o777) };
}

/** Clones have no prototypes to differ in. */
const isSame = (a: unknown, b: unknown): boolean =>
  isDeepStrictEqual(structuredClone(a), structuredClone(b));

function parseOr(text: string, path: string): unknown {
  try {
    return parseToml(text, path);
  } catch {
    return undefined;
  }
}

/**
 * Refuses a change after which the daemon would refuse the configuration, unless it refuses it now for
 * the same reason.
 */
function judge(
  draft: string,
  path: string,
  hasBefore: boolean,
  isLenient: boolean,
  input: ConfigInput,
): string | undefined {
  const fault = faultOf(draft, input);
  if (fault === undefined) return undefined;
  const said = (error: DaemonError, file: string): string =>
    `${error.message.replaceAll(file, path)}. ${error.next.replaceAll(file, path)}`;
  const before = hasBefore ? faultOf(path, input) : undefined;
  const isOld = before !== undefined && said(before, path) === said(fault, draft);
  if (isLenient || isOld) return said(fault, draft);
  throw new DaemonError(
    fault.code,
    fault.message.replaceAll(draft, path),
    fault.next.replaceAll(draft, path),
  );
}

function faultOf(path: string, input: ConfigInput): DaemonError | undefined {
  try {
    wipeSecrets(loadConfig({ ...input, flags: { ...input.flags, config: path } }));
    return undefined;
  } catch (error) {
    if (error instanceof DaemonError) return error;
    throw error;
  }
}
