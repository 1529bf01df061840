// What a receiver has to say to the sender of messages: receipts, refusals, what of large messages is on
// disk; and what a sender says about itself, SETTLED. Written in front of new messages.

import type { Nanoseconds } from "../../base/units.js";
import { CONTENT } from "./content-log.js";
import {
  putRefuse,
  putSettled,
  ReceiptWriter,
  refuseBytes,
  settledBytes,
} from "./frame-receipt.js";
import { HAVE_BYTES_MAX, putHave } from "./frame-transfer.js";
import type { PacketBuilder } from "./packet-builder.js";
import type { Receiver } from "./receiver.js";
import type { SettledNumbers } from "./settled-numbers.js";

export class AnswerFrames {
  readonly #receiver: Receiver;
  readonly #settled: SettledNumbers;
  readonly #receipts = new ReceiptWriter();

  constructor(receiver: Receiver, settled: SettledNumbers) {
    this.#receiver = receiver;
    this.#settled = settled;
  }

  /** Something waits to be written. */
  waiting(now: Nanoseconds): boolean {
    const { receipts, refusals, files } = this.#receiver;
    return receipts.waiting > 0 || refusals.waiting || files.telling || this.#settled.due(now);
  }

  write(now: Nanoseconds, packet: PacketBuilder): void {
    this.#writeReceipts(packet);
    this.#writeRefusals(packet);
    this.#writeHaves(packet);
    if (!this.#settled.due(now) || packet.room < settledBytes(this.#settled.below)) return;
    if (!packet.note(CONTENT.settled, 0, 0, 0)) return;
    packet.at = putSettled(packet.bytes, packet.at, this.#settled.below);
    packet.eliciting = true;
    this.#settled.told();
  }

  #writeReceipts(packet: PacketBuilder): void {
    const { receipts, boot } = this.#receiver;
    while (receipts.waiting > 0) {
      const first = receipts.next;
      const writer = this.#receipts;
      writer.open(packet.bytes, packet.at, packet.end, boot);
      while (writer.count < receipts.waiting) {
        const position = (first + writer.count) >>> 0;
        const number = receipts.numberAt(position);
        const low = receipts.digestLowAt(position);
        if (!writer.add(number, low, receipts.digestHighAt(position))) break;
      }
      if (writer.count === 0) return;
      if (!packet.note(CONTENT.receipts, first, writer.count, 0)) return;
      receipts.sent(writer.count);
      packet.at = writer.close();
      packet.eliciting = true;
    }
  }

  #writeRefusals(packet: PacketBuilder): void {
    const { refusals, boot } = this.#receiver;
    for (let next = refusals.peek(); next !== undefined; next = refusals.peek()) {
      const { number, digestLow, digestHigh, reason, delaySeconds } = next.refusal;
      if (packet.room < refuseBytes(number, delaySeconds)) return;
      if (!packet.note(CONTENT.refusal, next.token, 0, 0)) return;
      const { bytes, at } = packet;
      packet.at = putRefuse(bytes, at, boot, number, digestLow, digestHigh, reason, delaySeconds);
      packet.eliciting = true;
      refusals.sent();
    }
  }

  #writeHaves(packet: PacketBuilder): void {
    const { files } = this.#receiver;
    for (let large = files.nextTelling(); large !== undefined; large = files.nextTelling()) {
      const { ids, total, onDisk, dropped } = large;
      if (packet.room < HAVE_BYTES_MAX && packet.length > 0) return;
      const at = putHave(packet.bytes, packet.at, packet.end, ids, dropped, total, onDisk);
      if (at === packet.at || !packet.note(CONTENT.have, large.token, dropped ? 1 : 0, 0)) return;
      packet.at = at;
      packet.eliciting = true;
      files.told(large);
    }
  }
}
