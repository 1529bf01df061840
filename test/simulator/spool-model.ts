// The folder of spool files, as a crash leaves it: what is synced is there afterwards, what is not
// synced is not, and a file that was removed may be back when power failed. Source: src/workers/spool.ts.

import { DIGEST_PIECE_BYTES } from "../../src/shared/protocol/session/limits.js";
import { NumberRanges } from "../../src/shared/protocol/session/number-ranges.js";

/** Ranges of a file, as spool-header.ts has it. */
const RANGES_MAX = 4_096;

export interface SpoolModelFile {
  readonly scope: string;
  readonly messageId: string;
  /** Hex, of 16 bytes. */
  readonly digest16: string;
  readonly total: number;
  readonly boot: Uint8Array;
  readonly data: Uint8Array;
  readonly ranges: NumberRanges;
  /** Ranges that a crash leaves. */
  synced: readonly { readonly start: number; readonly end: number }[];
}

export class SpoolModel {
  readonly files = new Map<string, SpoolModelFile>();
  /** Files whose removal is not synced. */
  readonly #removed = new Map<string, SpoolModelFile>();

  static key(scope: string, messageId: string): string {
    return `${scope}|${messageId}`;
  }

  find(scope: string, messageId: string): SpoolModelFile | undefined {
    return this.files.get(SpoolModel.key(scope, messageId));
  }

  bytesOf(scope: string): number {
    let bytes = 0;
    for (const file of this.files.values()) if (file.scope === scope) bytes += file.total;
    return bytes;
  }
  filesOf(scope: string): number {
    let files = 0;
    for (const file of this.files.values()) if (file.scope === scope) files += 1;
    return files;
  }

  create(file: Pick<SpoolModelFile, "scope" | "messageId" | "digest16" | "total" | "boot">): void {
    this.files.set(SpoolModel.key(file.scope, file.messageId), {
      ...file,
      data: new Uint8Array(file.total),
      ranges: new NumberRanges(RANGES_MAX),
      synced: [],
    });
  }

  /** False: more ranges than a file remembers. */
  write(file: SpoolModelFile, offset: number, data: Uint8Array): boolean {
    if (data.length > 0 && !file.ranges.addRange(offset, offset + data.length)) return false;
    file.data.set(data, offset);
    return true;
  }

  sync(): void {
    for (const file of this.files.values()) {
      file.synced = Array.from({ length: file.ranges.size }, (_, i) => ({
        start: file.ranges.startOf(i),
        end: file.ranges.endOf(i),
      }));
    }
    this.#removed.clear();
  }

  drop(scope: string, messageId: string): void {
    const key = SpoolModel.key(scope, messageId);
    const file = this.files.get(key);
    if (file === undefined) return;
    this.files.delete(key);
    this.#removed.set(key, file);
  }

  /** The process ended: what no sync told of its ranges is forgotten. */
  endProcess(): void {
    for (const [key, file] of this.files) {
      if (file.synced.length === 0) this.files.delete(key);
      file.ranges.clear();
      for (const { start, end } of file.synced) file.ranges.addRange(start, end);
    }
  }

  /** Power failed: removals may be undone, and unsynced data is not what it was. */
  losePower(kept: number): void {
    if (kept % 2 === 0) {
      for (const [key, file] of this.#removed) if (!this.files.has(key)) this.files.set(key, file);
    }
    this.#removed.clear();
    for (const file of this.files.values()) {
      let at = 0;
      for (const { start, end } of [...file.synced, { start: file.total, end: file.total }]) {
        file.data.fill(kept & 255, at, start);
        at = end;
      }
    }
    this.endProcess();
  }
}

export const isWhole = (file: SpoolModelFile): boolean => file.ranges.covers(0, file.total);

/** The half of a digest that travels with pieces, as it is kept here. */
export const digest16Hex = (bytes: Uint8Array, at: number): string =>
  Buffer.from(bytes.subarray(at, at + DIGEST_PIECE_BYTES)).toString("hex");
