// How much may be unfinished at the other end: messages released without receipt or refusal, and
// their bytes. The last part of it is for urgent messages only.

import { MESSAGE_IN_MEMORY_BYTES_MAX } from "./limits.js";
import type { Outgoing } from "./outgoing.js";

const PRIORITY_URGENT = 3;
/** Share that messages of lower priority leave. */
const COMMON_SHARE = 7 / 8;
/** A CREDIT of fewer bytes more, and no message, is not worth a look at all that waits for it. */
const RAISE_BYTES_MIN = 65_536;

export class Credit {
  #messagesMax = 0;
  #bytesMax = 0;
  #messages = 0;
  #bytes = 0;
  /** Rises when there may be room that was not there. */
  version = 0;

  get messages(): number {
    return this.#messages;
  }

  /** What the other end grants in a new session. */
  reset(messages: number, bytes: number): void {
    this.#messagesMax = messages;
    this.#bytesMax = bytes;
    this.version += 1;
  }

  /** A CREDIT frame: what it grants never shrinks within a session. */
  raise(messages: number, bytes: number): void {
    if (messages <= this.#messagesMax && bytes < this.#bytesMax + RAISE_BYTES_MIN) return;
    this.version += 1;
    this.#messagesMax = Math.max(this.#messagesMax, messages);
    this.#bytesMax = Math.max(this.#bytesMax, bytes);
  }

  /** Whether a message may be released. One alone always may: it fits or is refused. */
  allows(out: Outgoing, slot: number): boolean {
    if (this.#messages === 0) return this.#messagesMax > 0;
    const share = out.priorities[slot] === PRIORITY_URGENT ? 1 : COMMON_SHARE;
    if (this.#messages + 1 > this.#messagesMax * share) return false;
    const bytes = this.#bytes + weightOf(out, slot);
    return bytes <= this.#bytesMax * share || this.#bytes === 0;
  }

  count(out: Outgoing, slot: number): void {
    if (out.counted[slot] === 1) return;
    out.counted[slot] = 1;
    this.#messages += 1;
    this.#bytes += weightOf(out, slot);
  }

  uncount(out: Outgoing, slot: number): void {
    if (out.counted[slot] === 0) return;
    out.counted[slot] = 0;
    this.version += 1;
    this.#messages -= 1;
    this.#bytes -= weightOf(out, slot);
  }
}

/** Bytes of a message that lie in the other end's memory until it is finished. */
function weightOf(out: Outgoing, slot: number): number {
  const total = out.totals[slot] as number;
  return total <= MESSAGE_IN_MEMORY_BYTES_MAX ? total : 0;
}
