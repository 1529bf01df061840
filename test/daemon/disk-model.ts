// What a disk holds after a power failure: writes count only once their file was synced, names only
// once their folder was. What came after may be there, in part or not at all.
//
// The -shm file is left out: it is written through a mapping, which strace cannot see, and it need not
// be kept, since SQLite makes the index of the log anew when it opens a log without one.

/** How much of what was not synced survives: nothing, each write or not, each sector or not. */
export const CRASHES = ["dropped", "half", "torn"] as const;
export type Crash = (typeof CRASHES)[number];

const SECTOR_BYTES = 512;

type Change =
  | { readonly kind: "write"; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: "length"; readonly bytes: number };

class ModelFile {
  synced = new Image();
  pending: Change[] = [];
}

export class DiskModel {
  readonly #folder: string;
  #names = new Map<string, ModelFile>();
  #syncedNames = new Map<string, ModelFile>();
  #renamed: { readonly path: string; readonly file: ModelFile | undefined }[] = [];

  /** Follows the files of one folder, which is there and synced. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** A file was opened: made when it is not there, emptied when so asked. */
  open(path: string, create: boolean, empty: boolean): void {
    if (!this.#follows(path)) return;
    const file = this.#names.get(path);
    if (file === undefined && create) this.#name(path, new ModelFile());
    else if (empty) file?.pending.push({ kind: "length", bytes: 0 });
  }

  write(path: string, at: number, bytes: Buffer): void {
    this.#names.get(path)?.pending.push({ kind: "write", at, bytes });
  }

  truncate(path: string, bytes: number): void {
    this.#names.get(path)?.pending.push({ kind: "length", bytes });
  }

  link(from: string, to: string): void {
    const file = this.#names.get(from);
    if (file !== undefined) this.#name(to, file);
  }

  unlink(path: string): void {
    if (this.#names.has(path)) this.#name(path, undefined);
  }

  rename(from: string, to: string): void {
    this.link(from, to);
    this.unlink(from);
  }

  /** A file, or the folder, is on the disk as it is. */
  sync(path: string): void {
    if (path === this.#folder) {
      this.#syncedNames = new Map(this.#names);
      this.#renamed = [];
    }
    const file = this.#names.get(path);
    if (file === undefined) return;
    for (const change of file.pending) file.synced.apply(change);
    file.pending = [];
  }

  /** The files that a crash leaves. `random`: uniform in [0, 1). */
  crash(how: Crash, random: () => number): ReadonlyMap<string, Buffer> {
    const survives = () => how !== "dropped" && random() < 0.5;
    const names = new Map(this.#syncedNames);
    for (const { path, file } of this.#renamed) {
      if (!survives()) continue;
      if (file === undefined) names.delete(path);
      else names.set(path, file);
    }
    const files = new Map<string, Buffer>();
    for (const [path, file] of names) {
      const image = file.synced.copy();
      for (const change of file.pending) {
        if (how === "torn" && change.kind === "write") tear(image, change, survives);
        else if (survives()) image.apply(change);
      }
      files.set(path, image.bytes());
    }
    return files;
  }

  #follows(path: string): boolean {
    return path.startsWith(`${this.#folder}/`) && !path.endsWith("-shm");
  }

  #name(path: string, file: ModelFile | undefined): void {
    if (!this.#follows(path)) return;
    if (file === undefined) this.#names.delete(path);
    else this.#names.set(path, file);
    this.#renamed.push({ path, file });
  }
}

/** Some sectors of a write, each whole. */
function tear(
  image: Image,
  { at, bytes }: { readonly at: number; readonly bytes: Buffer },
  survives: () => boolean,
): void {
  for (let from = 0; from < bytes.length; ) {
    const to = Math.min(bytes.length, from + SECTOR_BYTES - ((at + from) % SECTOR_BYTES));
    if (survives()) {
      image.apply({ kind: "write", at: at + from, bytes: bytes.subarray(from, to) });
    }
    from = to;
  }
}

/** Content of a file; what was never written reads as zeros. */
class Image {
  #memory: Buffer;
  #length: number;

  constructor(memory: Buffer = Buffer.alloc(0), length = 0) {
    this.#memory = memory;
    this.#length = length;
  }

  apply(change: Change): void {
    if (change.kind === "length") {
      this.#grow(change.bytes);
      this.#memory.fill(0, change.bytes);
      this.#length = change.bytes;
      return;
    }
    const end = change.at + change.bytes.length;
    this.#grow(end);
    change.bytes.copy(this.#memory, change.at);
    this.#length = Math.max(this.#length, end);
  }

  copy(): Image {
    return new Image(Buffer.from(this.#memory), this.#length);
  }

  bytes(): Buffer {
    return this.#memory.subarray(0, this.#length);
  }

  #grow(length: number): void {
    if (length <= this.#memory.length) return;
    const memory = Buffer.alloc(length * 2);
    this.#memory.copy(memory);
    this.#memory = memory;
  }
}
