// The folder beside the database in which large messages gather on their way in (docs/OPERATIONS.md,
// section 7): what lies there, for people. Only the daemon writes in it, in src/workers/spool.ts.

import { lstatSync, readdirSync, type Stats } from "node:fs";
import { join } from "node:path";
import { DaemonError, reasonOf } from "../../shared/base/errors.js";

const OTHERS_MASK = 0o077;
const BLOCK_BYTES = 512;
/** Names that the daemon gives. */
const NAME = /^[0-9a-f]{32}$/;

/** The folder of a database's spool files; it is made with the first large message. */
export const spoolFolder = (database: string): string => `${database}-spool`;

export interface SpoolContent {
  /** Messages that have begun to arrive. */
  readonly files: number;
  /** What they take on the disk. */
  readonly bytes: number;
  /** Names that are none of the daemon's, which it leaves alone. */
  readonly strangers: readonly string[];
  /** Age of the file that nobody went on with for the longest time, s; undefined without files. */
  readonly oldestSeconds: number | undefined;
}

/**
 * What lies in the folder; undefined where there is none. Throws a DaemonError when it is not private to
 * the database's owner, which the daemon refuses at its start.
 */
export function spoolContent(database: string, wallMs: number): SpoolContent | undefined {
  const folder = spoolFolder(database);
  const stats = lstatSync(folder, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  const owner = lstatSync(database, { throwIfNoEntry: false })?.uid ?? stats.uid;
  if (!stats.isDirectory() || stats.uid !== owner || (stats.mode & OTHERS_MASK) !== 0) {
    throw new DaemonError(
      "ERR_FILE_MODE",
      `${folder} is no folder of user ${owner} alone: the daemon refuses it`,
      `remove it, or run: chown ${owner} ${folder} && chmod 0700 ${folder}`,
    );
  }
  try {
    return contentOf(folder, wallMs);
  } catch (error) {
    throw new DaemonError(
      "ERR_PERMISSION",
      `cannot look into ${folder}: ${reasonOf(error)}`,
      "run as the user of the daemon",
      error,
    );
  }
}

function contentOf(folder: string, wallMs: number): SpoolContent {
  const strangers: string[] = [];
  let [files, bytes, oldestMs] = [0, 0, Number.POSITIVE_INFINITY];
  for (const name of readdirSync(folder)) {
    // One may be gone by now: its message became a row.
    const stats: Stats | undefined = lstatSync(join(folder, name), { throwIfNoEntry: false });
    if (stats === undefined) continue;
    if (!NAME.test(name) || !stats.isFile()) strangers.push(name);
    else {
      files += 1;
      bytes += stats.blocks * BLOCK_BYTES;
      oldestMs = Math.min(oldestMs, stats.mtimeMs);
    }
  }
  const oldestSeconds =
    files === 0 ? undefined : Math.max(0, Math.round((wallMs - oldestMs) / 1_000));
  return { files, bytes, strangers, oldestSeconds };
}

/** A line about it. */
export function spoolSentence({ files, bytes, oldestSeconds = 0 }: SpoolContent): string {
  if (files === 0) return "no large message is under way";
  const mib = (bytes / 1_048_576).toFixed(1);
  return `large messages under way: ${files}, ${mib} MiB on disk, quiet for ${oldestSeconds} s at most`;
}
