// Locked memory that grows: blocks of slots, made when they are needed, kept until the worker ends.
// For what comes and goes with peers: keys of sessions, states of handshakes.

import { SecretPool } from "./noise-primitives.js";

/** A slot that was taken, and the block that it goes back to. */
export interface SecretSlot {
  readonly memory: Uint8Array;
  readonly block: SecretPool;
}

export class SecretBlocks {
  readonly #slotBytes: number;
  readonly #slotsPerBlock: number;
  readonly #slotsMax: number;
  #blocks: SecretPool[] = [];
  #taken = 0;

  /** `slotsMax`: more are never given out, so locked memory stays bounded. */
  constructor(slotBytes: number, slotsPerBlock: number, slotsMax: number) {
    this.#slotBytes = slotBytes;
    this.#slotsPerBlock = slotsPerBlock;
    this.#slotsMax = slotsMax;
  }

  get taken(): number {
    return this.#taken;
  }

  /** A slot of zeroes; undefined when the bound is reached. */
  take(): SecretSlot | undefined {
    if (this.#taken >= this.#slotsMax) return undefined;
    for (const block of this.#blocks) {
      const memory = block.take();
      if (memory !== undefined) return this.#give(block, memory);
    }
    const block = new SecretPool(this.#slotsPerBlock, this.#slotBytes);
    this.#blocks.push(block);
    const memory = block.take();
    return memory === undefined ? undefined : this.#give(block, memory);
  }

  /** Wipes a slot and takes it back. */
  giveBack({ memory, block }: SecretSlot): void {
    block.giveBack(memory);
    this.#taken -= 1;
  }

  /** Wipes and unmaps all; every slot is dead afterwards. */
  free(): void {
    for (const block of this.#blocks) block.free();
    this.#blocks = [];
    this.#taken = 0;
  }

  #give(block: SecretPool, memory: Uint8Array): SecretSlot {
    this.#taken += 1;
    return { memory, block };
  }
}
