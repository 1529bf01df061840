// What a database file is to a crash: transactions that are synced, transactions that are committed and
// not synced yet, and the open one. Changes are made in place; a list of what each transaction replaced
// takes it back.

import assert from "node:assert/strict";

export class Layers {
  #open: (() => void)[] | undefined;
  /** Committed and not synced, oldest first. */
  #unsynced: (() => void)[][] = [];
  #synced = 0;

  /** Number of the last transaction that a failing power supply cannot take back. */
  get synced(): number {
    return this.#synced;
  }
  /** Number of the last committed transaction. */
  get committed(): number {
    return this.#synced + this.#unsynced.length;
  }
  /** Number of the transaction that is open, or would be opened now. */
  get next(): number {
    return this.committed + 1;
  }

  /** Runs `work` in a transaction; returns its number, or 0 when it changed nothing. */
  transaction(work: () => void): number {
    assert.ok(this.#open === undefined, "transactions do not nest");
    this.#open = [];
    try {
      work();
    } catch (thrown) {
      undo(this.#open);
      this.#open = undefined;
      throw thrown;
    }
    const changes = this.#open;
    this.#open = undefined;
    if (changes.length === 0) return 0;
    this.#unsynced.push(changes);
    return this.committed;
  }

  /** Sets or, with undefined, deletes an entry. Only in a transaction. */
  put<K, V>(table: Map<K, V>, key: K, value: V | undefined): void {
    assert.ok(this.#open !== undefined, "tables change in transactions");
    const before = table.get(key);
    if (before === undefined && value === undefined) return;
    this.#open.push(() => {
      if (before === undefined) table.delete(key);
      else table.set(key, before);
    });
    if (value === undefined) table.delete(key);
    else table.set(key, value);
  }

  /** Whatever is committed is on the disk: a sync syncs the whole log. */
  sync(): void {
    this.#synced += this.#unsynced.length;
    this.#unsynced = [];
  }

  /** The power failed: of the unsynced transactions the first `kept` of 2^32 parts are left. */
  losePower(kept: number): void {
    const left = Math.floor((this.#unsynced.length * kept) / 2 ** 32);
    for (const changes of this.#unsynced.splice(left).reverse()) undo(changes);
    this.sync();
  }

  /** The file was replaced by another one, all of it on the disk. */
  replaced(): void {
    this.#synced = this.committed + 1;
    this.#unsynced = [];
  }
}

function undo(changes: (() => void)[]): void {
  for (const change of changes.reverse()) change();
}
