// Processes that a suite started, each ended by its id whatever happens, and folders to throw away.

import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Ends {
  abandon(): void;
}

const children = new Set<Ends>();
const folders = new Set<string>();

/** Remembers a child until `forget`; what is left is ended when this process ends. */
export function remember(child: Ends): void {
  children.add(child);
}
export function forget(child: Ends): void {
  children.delete(child);
}

/** Ends every child and removes every folder that is left. Does not wait, does not throw. */
export function endChildren(): void {
  for (const child of children) child.abandon();
  children.clear();
  for (const folder of folders) remove(folder);
}

/** Gives `work` a fresh folder, gone afterwards. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "securedgram-bench-"));
  folders.add(folder);
  try {
    return await work(folder);
  } finally {
    remove(folder);
  }
}

function remove(folder: string): void {
  folders.delete(folder);
  try {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  } catch (error) {
    console.error(`could not remove ${folder}:`, error);
  }
}
