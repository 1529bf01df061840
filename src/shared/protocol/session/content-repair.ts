// What an acknowledged or lost packet carried, given back to who wrote it.

import { CONTENT, type Content, type ContentReader } from "./content-log.js";
import type { ControlFrames } from "./control-frames.js";
import type { Receiver } from "./receiver.js";
import type { Rekeys } from "./rekeys.js";
import type { Sender } from "./sender.js";

export class ContentRepair implements ContentReader {
  /** What became of the packet whose content is read. */
  acked = false;
  readonly #sender: Sender;
  readonly #receiver: Receiver;
  readonly #rekeys: Rekeys;
  readonly #control: ControlFrames;

  constructor(sender: Sender, receiver: Receiver, rekeys: Rekeys, control: ControlFrames) {
    this.#sender = sender;
    this.#receiver = receiver;
    this.#rekeys = rekeys;
    this.#control = control;
  }

  item(content: Content, a: number, b: number, c: number): void {
    const { receipts, refusals } = this.#receiver;
    switch (content) {
      case CONTENT.piece:
        if (this.acked) this.#sender.acked(a, b, c);
        else this.#sender.lost(a, b, c);
        return;
      case CONTENT.receipts:
        if (this.acked) receipts.acknowledged(a, b);
        else receipts.lost(a, b);
        return;
      case CONTENT.refusal:
        if (this.acked) refusals.acknowledged(a);
        else refusals.lost(a);
        return;
      case CONTENT.rekey:
        if (this.acked) this.#rekeys.acked(b);
        else this.#rekeys.lost(b);
        return;
      default:
        if (!this.acked) this.#lost(content, a, b);
    }
  }

  /** What is said again as it stands then. */
  #lost(content: Content, a: number, b: number): void {
    switch (content) {
      case CONTENT.settled:
        this.#sender.settled.untold();
        return;
      case CONTENT.have:
        this.#receiver.files.untold(a, b === 1);
        return;
      case CONTENT.challenge:
        this.#control.challengeLost();
        return;
      case CONTENT.keys:
        this.#control.keysLost();
        return;
      default:
    }
  }
}
