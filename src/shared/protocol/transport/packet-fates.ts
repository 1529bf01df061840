// What became of packets, waiting for the message layer: a queue of handles that grows as it must
// and is emptied after each input. Each content goes through exactly once for each packet that
// carried it.

export const FATE = { none: 0, acked: 1, lost: 2 } as const;
export type Fate = (typeof FATE)[keyof typeof FATE];

const FATES_INITIAL = 64;

export class PacketFates {
  #content = new Uint32Array(FATES_INITIAL);
  #fate = new Uint8Array(FATES_INITIAL);
  #read = 0;
  #write = 0;
  #current = 0;

  push(content: number, fate: Fate): void {
    if (this.#write === this.#content.length) this.#makeRoom();
    this.#content[this.#write] = content;
    this.#fate[this.#write] = fate;
    this.#write += 1;
  }

  /** Moves to the next fate; FATE.none when there is none. Its handle is `content`. */
  poll(): Fate {
    if (this.#read === this.#write) {
      this.#read = 0;
      this.#write = 0;
      return FATE.none;
    }
    const at = this.#read++;
    this.#current = this.#content[at];
    return this.#fate[at] as Fate;
  }

  /** Handle of what the packet carried, of the fate polled last. */
  get content(): number {
    return this.#current;
  }

  #makeRoom(): void {
    const waiting = this.#write - this.#read;
    const content =
      waiting * 2 > this.#content.length ? new Uint32Array(waiting * 2) : this.#content;
    const fate = content === this.#content ? this.#fate : new Uint8Array(content.length);
    content.set(this.#content.subarray(this.#read, this.#write));
    fate.set(this.#fate.subarray(this.#read, this.#write));
    this.#content = content;
    this.#fate = fate;
    this.#read = 0;
    this.#write = waiting;
  }
}
