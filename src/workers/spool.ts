// Messages above 256 KiB on their way in, one file each in the folder `<database>-spool`, so that a
// transfer goes on after a restart of either end. Nothing here draws a receipt: a message counts once
// it is a row (delivery.ts).

import { closeSync, fsyncSync, lstatSync, mkdirSync, openSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { assert } from "../shared/base/assert.js";
import { DaemonError, reasonOf } from "../shared/base/errors.js";
import { MESSAGE_ID_BYTES } from "../shared/protocol/constants.js";
import { messageIdToHex } from "../shared/protocol/message-id.js";
import { LARGE_TRANSFERS_MAX } from "../shared/protocol/session/large-in.js";
import {
  BOOT_ID_BYTES,
  DIGEST_PIECE_BYTES,
  MESSAGE_BYTES_MAX,
} from "../shared/protocol/session/limits.js";
import { DELIVERED, type Delivered } from "../shared/protocol/session/ports.js";
import type { DeliveryBatchReader } from "../shared/runtime/delivery-batch.js";
import type { SpoolFound } from "../shared/runtime/messages.js";
import { removeAll } from "../shared/store/file-guard.js";
import { blake2b } from "./aead.js";
import { SpoolFile } from "./spool-file.js";
import { PUBLIC_KEY_BYTES, type SpoolSubject } from "./spool-header.js";

/** Age at which nobody goes on with a transfer, ms: a day more than the default life. */
export const SPOOL_LIFE_MS = 8 * 86_400_000;
const FOLDER_MODE = 0o700;
const OTHERS_MASK = 0o077;
const NAME_BYTES = 16;
const NAME = /^[0-9a-f]{32}$/;

/** The folder of a database's spool files. */
export const spoolFolder = (databasePath: string): string => `${databasePath}-spool`;

export interface SpoolOptions {
  readonly folder: string;
  /** Wall ms since the epoch. */
  readonly now: () => number;
}

export class Spool {
  readonly #options: SpoolOptions;
  readonly #files = new Map<string, SpoolFile>();
  /** Bytes and files of each peer: what its quota has to hold in the end. */
  readonly #held = new Map<string, { bytes: number; files: number }>();
  /** Written since the last sync. */
  readonly #unsynced = new Set<SpoolFile>();
  #folderChanged = false;

  constructor(options: SpoolOptions) {
    this.#options = options;
  }

  /**
   * Takes up what an earlier run left, and says what of it is on disk. Removed: damaged files, old
   * ones, those of messages that are `stored`.
   */
  load(stored: (scope: string, messageId: string) => boolean): readonly SpoolFound[] {
    const { folder, now } = this.#options;
    requirePrivateFolder(folder);
    const found: SpoolFound[] = [];
    for (const name of namesIn(folder)) {
      const path = join(folder, name);
      const file = openFound(path);
      const { peerKey, messageId } = file?.subject ?? {};
      if (file === undefined || peerKey === undefined || messageId === undefined) {
        removeAll([path]);
        continue;
      }
      const scope = peerKey.toString("base64");
      const isOld = now() - file.touchedAt > SPOOL_LIFE_MS;
      if (
        nameOf(peerKey, messageId) !== name ||
        isOld ||
        stored(scope, messageIdToHex(messageId))
      ) {
        removeAll([path]);
        continue;
      }
      this.#adopt(name, file);
      found.push(foundOf(scope, file));
    }
    return found;
  }

  /** Bytes that the unfinished messages of a peer will have. */
  bytesOf(scope: string): number {
    return this.#held.get(scope)?.bytes ?? 0;
  }

  find(scope: string, messageId: Uint8Array): SpoolFile | undefined {
    return this.#files.get(nameOf(Buffer.from(scope, "base64"), messageId));
  }

  /** Whether the piece at the cursor goes on with a file that is there. */
  continues(record: DeliveryBatchReader): boolean {
    const file = this.find(record.scope, messageIdOf(record));
    return file?.isOf(digest16Of(record), record.total) === true;
  }

  /** Writes the piece at the cursor; on disk behind the next {@link sync}. */
  write(record: DeliveryBatchReader): Delivered {
    const { scope } = record;
    const { offset, total, payloadLength } = record;
    assert(total > 0 && total <= MESSAGE_BYTES_MAX, "the core keeps the limit that it announced");
    assert(offset + payloadLength <= total, "a piece lies within its message");
    try {
      const file = this.#fileOf(record);
      if (file === undefined) return DELIVERED.busy;
      const piece = view(record, record.payloadAt, payloadLength);
      this.#unsynced.add(file);
      file.touchedAt = this.#options.now();
      return file.write(offset, piece) ? DELIVERED.spooled : DELIVERED.busy;
    } catch (thrown) {
      if (!isFull(thrown)) throw broken(this.#options.folder, thrown);
      this.drop(scope, messageIdOf(record));
      return DELIVERED.full;
    }
  }

  /** Syncs what was written; a file that the disk had no room for is gone afterwards. */
  sync(): void {
    for (const file of this.#unsynced) {
      try {
        file.sync();
        file.close();
      } catch (thrown) {
        if (!isFull(thrown)) throw broken(this.#options.folder, thrown);
        const { peerKey, messageId } = file.subject;
        this.drop(peerKey.toString("base64"), messageId);
      }
    }
    this.#unsynced.clear();
    if (!this.#folderChanged) return;
    this.#folderChanged = false;
    syncFolder(this.#options.folder);
  }

  /** Forgets a message and its file, if there is one. */
  drop(scope: string, messageId: Uint8Array): void {
    const name = nameOf(Buffer.from(scope, "base64"), messageId);
    const file = this.#files.get(name);
    if (file !== undefined) this.#remove(name, file);
  }

  /** Removes the files of peers that are not configured any more. */
  keepOnly(scopes: ReadonlySet<string>): void {
    this.#removeWhere((file) => !scopes.has(file.subject.peerKey.toString("base64")));
  }

  /** Removes what nobody went on with. */
  tend(): void {
    const before = this.#options.now() - SPOOL_LIFE_MS;
    this.#removeWhere((file) => file.touchedAt < before);
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
  }

  #removeWhere(unwanted: (file: SpoolFile) => boolean): void {
    for (const [name, file] of this.#files) {
      if (unwanted(file)) this.#remove(name, file);
    }
  }

  /** The file of the message at the cursor, begun anew for another content; undefined: too many. */
  #fileOf(record: DeliveryBatchReader): SpoolFile | undefined {
    const { scope } = record;
    const peerKey = Buffer.from(scope, "base64");
    assert(peerKey.length === PUBLIC_KEY_BYTES, "a session peer's scope is its public key");
    const name = nameOf(peerKey, messageIdOf(record));
    const file = this.#files.get(name);
    if (file?.isOf(digest16Of(record), record.total) === true) return file;
    if (file !== undefined) this.#remove(name, file);
    if ((this.#held.get(scope)?.files ?? 0) >= LARGE_TRANSFERS_MAX) return undefined;
    const subject: SpoolSubject = {
      peerKey,
      messageId: Buffer.from(messageIdOf(record)),
      digest16: Buffer.from(digest16Of(record)),
      total: record.total,
      boot: Buffer.from(view(record, record.bootAt, BOOT_ID_BYTES)),
    };
    mkdirSync(this.#options.folder, { recursive: true, mode: FOLDER_MODE });
    const path = join(this.#options.folder, name);
    const made = SpoolFile.create(path, subject, this.#options.now());
    this.#folderChanged = true;
    this.#adopt(name, made);
    return made;
  }

  #adopt(name: string, file: SpoolFile): void {
    const scope = file.subject.peerKey.toString("base64");
    const held = this.#held.get(scope) ?? { bytes: 0, files: 0 };
    held.bytes += file.subject.total;
    held.files += 1;
    this.#held.set(scope, held);
    this.#files.set(name, file);
  }

  #remove(name: string, file: SpoolFile): void {
    const scope = file.subject.peerKey.toString("base64");
    const held = this.#held.get(scope);
    if (held !== undefined) {
      held.bytes -= file.subject.total;
      held.files -= 1;
      if (held.files === 0) this.#held.delete(scope);
    }
    this.#files.delete(name);
    this.#unsynced.delete(file);
    file.close();
    removeAll([file.path]);
  }
}

function foundOf(scope: string, { subject, ranges }: SpoolFile): SpoolFound {
  const listed = Array.from({ length: ranges.size }, (_, i) => ({
    start: ranges.startOf(i),
    end: ranges.endOf(i),
  }));
  return {
    peer: scope,
    messageId: Uint8Array.from(subject.messageId),
    digest16: Uint8Array.from(subject.digest16),
    total: subject.total,
    boot: Uint8Array.from(subject.boot),
    ranges: listed,
  };
}

/** Hex of BLAKE2b-128 of public key and message id. */
function nameOf(peerKey: Buffer, messageId: Uint8Array): string {
  const name = Buffer.alloc(NAME_BYTES);
  blake2b(name, Buffer.concat([peerKey, messageId]));
  return name.toString("hex");
}

const view = (record: DeliveryBatchReader, at: number, length: number): Uint8Array =>
  record.bytes.subarray(at, at + length);
const messageIdOf = (record: DeliveryBatchReader): Uint8Array =>
  view(record, record.messageIdAt, MESSAGE_ID_BYTES);
const digest16Of = (record: DeliveryBatchReader): Uint8Array =>
  view(record, record.digest16At, DIGEST_PIECE_BYTES);

// --- The folder -----------------------------------------------------------------------------------

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).filter((name) => NAME.test(name));
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return [];
    throw broken(folder, thrown);
  }
}

function requirePrivateFolder(folder: string): void {
  const stats = lstatSync(folder, { throwIfNoEntry: false });
  if (stats === undefined) return;
  const own = process.geteuid?.() ?? stats.uid;
  if (stats.isDirectory() && stats.uid === own && (stats.mode & OTHERS_MASK) === 0) return;
  throw new DaemonError(
    "ERR_FILE_MODE",
    `${folder} is no folder of user ${own} alone: other users could get at the messages in it`,
    `remove it, or run: chown ${own} ${folder} && chmod 0700 ${folder}`,
  );
}

function syncFolder(folder: string): void {
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Undefined for what is no whole spool file; also for a link, which is none of ours. */
function openFound(path: string): SpoolFile | undefined {
  try {
    return SpoolFile.open(path);
  } catch (thrown) {
    if (codeOf(thrown) === "ELOOP") return undefined;
    throw broken(path, thrown);
  }
}

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";

/** No room, of one kind or another: the peer tries again later. */
const isFull = (thrown: unknown): boolean =>
  ["ENOSPC", "EDQUOT", "EMFILE", "ENFILE"].includes(codeOf(thrown));

const broken = (folder: string, thrown: unknown): DaemonError =>
  new DaemonError(
    "ERR_DB_IO",
    `the system failed to read or write in ${folder}: ${reasonOf(thrown)}`,
    "check the disk, then start the daemon again",
    thrown,
  );
